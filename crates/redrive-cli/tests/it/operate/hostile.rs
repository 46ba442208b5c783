//! Bytes of strangers: whatever stands in an entry or a name, nothing of it steers a terminal.

use super::super::Ended;
use super::rig::{Rig, bare, ended};

/// Clears the screen, sets the title, rings, goes back a line, turns the text around, hides.
const EVIL: &str = "\x1b[2J\x1b]0;pwned\x07\r\n\u{9b}31m\u{202e}\u{200b}\u{7f}\0evil";

#[track_caller]
fn assert_tame(told: &Ended, what: &[&str]) {
    for text in [&told.stdout, &told.stderr] {
        let steers = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        };
        let at = text.find(steers);
        assert_eq!(at, None, "{what:?}: {text:?}");
    }
    assert!(
        !told.stderr.contains("panicked"),
        "{what:?}: {}",
        told.stderr
    );
}

async fn infested() -> Rig {
    let rig = Rig::start().await;
    let evil = EVIL.as_bytes();
    let said = [
        ("redrive-stream", EVIL),
        ("redrive-group", EVIL),
        ("redrive-error", EVIL),
        ("redrive-error-kind", EVIL),
        ("redrive-fingerprint", EVIL),
        ("redrive-consumer", EVIL),
        ("redrive-campaign", EVIL),
    ];
    let own = [evil, evil, b"\xff\x1b[2J", b"\xfe\x1b[2J"];
    rig.dies("orders:dlq", "1-0", &own, &said).await;
    let json = serde_json::to_string(&serde_json::json!({ EVIL: EVIL })).unwrap();
    // JSON may hold some of it raw.
    let json = json.replace("\\u007f", "\u{7f}");
    rig.dies("orders:dlq", "2-0", &[b"data", json.as_bytes()], &said)
        .await;
    let foreign: [&[u8]; 7] = [
        b"XADD",
        b"orders:dlq",
        b"3-0",
        evil,
        evil,
        b"\xff\x1b",
        b"\x1b\xff",
    ];
    let _: String = rig.ask(&foreign).await;
    let envelope: [&[u8]; 17] = [
        b"XADD",
        b"orders:dlq",
        b"4-0",
        b"original_stream",
        evil,
        b"original_msg_id",
        evil,
        b"error",
        evil,
        b"attempt",
        evil,
        b"data",
        b"\xd9\x05\x1b[2Ja",
        b"ts",
        evil,
        b"trace_id",
        evil,
    ];
    let _: String = rig.ask(&envelope).await;
    let flat: [&[u8]; 15] = [
        b"XADD",
        b"orders:dlq",
        b"5-0",
        evil,
        evil,
        b"original_stream",
        evil,
        b"original_id",
        evil,
        b"failure_reason",
        evil,
        b"attempts",
        evil,
        b"dlq_timestamp",
        evil,
    ];
    let _: String = rig.ask(&flat).await;
    // Put back by somebody hostile, and kept.
    let again = [
        &said[..],
        &[("redrive-replayed-from", "2-0"), ("redrive-replays", "7")],
    ]
    .concat();
    rig.dies("orders:dlq", "6-0", &[b"data", evil], &again)
        .await;
    for stream in [EVIL, "orders"] {
        let _: String = rig.ask(&["XADD", stream, "*", EVIL, EVIL]).await;
        let _: String = rig.ask(&["XGROUP", "CREATE", stream, EVIL, "0"]).await;
        let read = ["XREADGROUP", "GROUP", EVIL, EVIL, "STREAMS", stream, ">"];
        let _: redis::Value = rig.ask(&read).await;
    }
    let _: redis::Value = rig
        .ask(&[
            "XREADGROUP".as_bytes(),
            b"GROUP",
            evil,
            b"\xff\x1b[2J",
            b"STREAMS",
            b"orders",
            b">",
        ])
        .await;
    rig
}

#[tokio::test]
async fn nothing_of_an_entry_or_a_name_reaches_the_terminal_raw() {
    let rig = infested().await;
    let mut lines: Vec<Vec<&str>> = vec![
        vec!["dlq", "list", "orders"],
        vec!["dlq", "list", "orders", "--stream", EVIL],
        vec!["dlq", "list", EVIL],
        vec!["dlq", "list", "orders", "--group", EVIL, "--limit", "1"],
        vec!["dlq", "groups", "orders"],
        vec!["dlq", "groups", "orders", "--group-by", "stream"],
        vec!["dlq", "groups", "orders", "--group-by", "error-kind"],
        vec!["dlq", "groups", "orders", "--group-by", "consumer"],
        vec!["dlq", "groups", EVIL],
        vec!["dlq", "replay", "orders", "--all", "--dry-run"],
        vec!["dlq", "replay", "orders", "--all", "--target", EVIL],
        vec![
            "dlq",
            "replay",
            "orders",
            "--all",
            "--dry-run",
            "--migrate",
            "printf '\\033[31mno\\a\\n' >&2; printf '\\033[2J'; exit 1",
        ],
        vec![
            "dlq",
            "replay",
            "orders",
            "--all",
            "--dry-run",
            "--migrate",
            "printf '\"\\302\\233\"\\n'",
        ],
        vec!["dlq", "purge", "orders", "--stream", EVIL],
        vec!["dlq", "purge", "orders", "--id", "9-9"],
        vec!["stats"],
        vec!["stats", EVIL],
        vec!["stats", EVIL, "-g", EVIL],
        vec!["stats", "orders", "-g", EVIL],
        vec!["stats", "orders", "--dlq", EVIL],
        vec!["pending", "list", "orders", "-g", EVIL],
        vec!["pending", "list", "orders", "-g", "none\x1b[2J"],
        vec!["pending", "list", EVIL, "-g", EVIL],
    ];
    for id in ["1-0", "2-0", "3-0", "4-0", "5-0", "6-0"] {
        lines.push(vec!["dlq", "show", id, "orders"]);
        lines.push(vec!["dlq", "pull", id, "orders", "--to", "-"]);
        lines.push(vec![
            "dlq",
            "pull",
            id,
            "orders",
            "--to",
            "/nonexistent/\x1b[2J",
        ]);
        lines.push(vec![
            "dlq",
            "show",
            id,
            "orders",
            "--raw",
            "--field",
            "\x1b[2Jno\u{202e}",
        ]);
        lines.push(vec![
            "dlq",
            "pull",
            id,
            "orders",
            "--payload",
            "--field",
            "\u{202e}no",
        ]);
    }
    for line in lines {
        for form in ["table", "json", "jsonl"] {
            // `\0` cannot stand in an argument.
            let line: Vec<String> = line.iter().map(|word| word.replace('\0', "")).collect();
            let mut line: Vec<&str> = line.iter().map(String::as_str).collect();
            line.extend(["-o", form]);
            let told = rig.redrive(&line).await;
            assert_tame(&told, &line);
            assert!(
                !(told.stdout.is_empty() && told.stderr.is_empty()),
                "{line:?}"
            );
        }
    }
    // What it tells as JSON is what there is.
    let shown = rig.json(&["dlq", "show", "1-0", "orders"]).await;
    assert_eq!(
        (&shown["error"], &shown["stream"]),
        (&EVIL.into(), &EVIL.into())
    );
    assert_eq!(shown["fields"][0], serde_json::json!([EVIL, EVIL]));
}

#[tokio::test]
async fn nothing_of_an_argument_comes_back_raw() {
    let evil = &EVIL.replace('\0', "");
    for line in [
        &["dlq", "list", "orders", "--reason", evil][..],
        &["dlq", "list", "orders", "--id", evil],
        &["dlq", "list", "orders", "--limit", evil],
        &["dlq", "show", evil, "orders"],
        &["dlq", "pull", evil, "orders"],
        &["dlq", evil],
        &["dlq", "list", evil, evil],
        &[evil],
        &["stats", "--every", evil],
        &["stats", "--url", evil],
        &["stats", "--config", evil],
        &["stats", "-o", evil],
        &["stats", "--tls-ca", evil],
    ] {
        let told = ended(&mut bare(line)).await;
        assert_eq!(told.code, Some(2), "{line:?}: {}", told.stderr);
        assert_tame(&told, line);
    }
}

/// An export of it all, and files with names and contents of strangers.
#[tokio::test]
async fn exports_and_imports_steer_no_terminal() {
    let rig = infested().await;
    let folder = tempfile::tempdir().unwrap();
    let name = EVIL.replace(['\0', '/'], "");
    let file = folder.path().join(name);
    let file = file.to_str().unwrap();
    for line in [
        &["dlq", "export", "orders"][..],
        &["dlq", "export", "orders", "--to", file],
        &["dlq", "export", "orders", "--to", file],
        &[
            "dlq", "export", "orders", "--to", file, "--force", "-o", "json",
        ],
        &["dlq", "import", file, "--dry-run"],
        &["dlq", "import", file, "--dry-run", "-o", "json"],
        &["dlq", "import", file],
        &["dlq", "import", file, "--yes", "--dlq", "a\u{1b}[2J"],
        &["dlq", "import", file, "--yes", "-o", "jsonl"],
    ] {
        assert_tame(&rig.redrive(line).await, line);
    }
    std::fs::write(file, EVIL).unwrap();
    for line in [
        &["dlq", "import", file, "--yes"][..],
        &["dlq", "import", file, "--yes", "--salvage"],
    ] {
        assert_tame(&rig.redrive(line).await, line);
    }
}
