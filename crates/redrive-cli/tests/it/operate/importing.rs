//! Dead letters out of files: all of them or, where the file is not whole, none; each once.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use flate2::write::GzEncoder;
use redrive_testkit::eventually;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::exporting::stored;
use super::rig::{Rig, SOON, assert_fails, ended, keys, sorted};

const LEDGER: [&str; 3] = ["HGET", "{orders:dlq}:redrive:ledger", "imported"];

/// A server with so many dead letters, and an export of them.
pub(super) async fn exported(many: u32, folder: &Path) -> (Rig, PathBuf) {
    let rig = Rig::start().await;
    let add = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', n, 'redrive-v', '1', \
               'redrive-fields', '1', 'redrive-stream', 'orders', 'redrive-reason', 'rejected') end";
    let line = ["EVAL", add, "1", "orders:dlq", &many.to_string()];
    let _: Option<u64> = rig.ask(&line).await;
    let file = folder.join("orders.jsonl");
    let line = ["dlq", "export", "orders", "--to", file.to_str().unwrap()];
    rig.json(&line).await;
    (rig, file)
}

#[tokio::test]
async fn the_report_maps_old_ids_to_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (here, file) = exported(12, folder.path()).await;
    let file = file.to_str().unwrap();
    let there = Rig::start().await;
    let line = ["dlq", "import", file, "--yes"];
    let report = there.json(&line).await;
    let ids = |entries: super::rig::Entries| -> Vec<Value> {
        entries.into_iter().map(|(id, _)| id.into()).collect()
    };
    let told = |name: &str| -> Vec<Value> {
        let all = report["new_ids"].as_array().unwrap().iter();
        all.map(|one| one[name].clone()).collect()
    };
    assert_eq!(
        keys(&report),
        sorted("dead_letters imported already gone new_ids new_ids_truncated")
    );
    assert_eq!(told("id"), ids(here.entries("orders:dlq").await));
    assert_eq!(told("new_id"), ids(there.entries("orders:dlq").await));
    assert_eq!(keys(&report["new_ids"][0]), sorted("dlq id new_id outcome"));
    let again = there
        .redrive(&["dlq", "import", file, "--yes", "-o", "jsonl"])
        .await;
    let lines: Vec<Value> = again
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 13);
    assert!(lines[..12].iter().all(|line| line["outcome"] == "already"));
    assert_eq!(
        lines[12],
        serde_json::json!({"dead_letters": 12, "imported": 0, "already": 12, "gone": 0})
    );
    let table = there
        .redrive(&["dlq", "import", file, "--yes", "--again", "twice"])
        .await;
    assert!(
        table
            .stdout
            .starts_with("dead letters  12\nimported      0\nalready       12\n  "),
        "{}",
        table.stdout
    );
    assert!(
        table
            .stdout
            .ends_with("  and 2 more; -o jsonl tells all new ids\n"),
        "{}",
        table.stdout
    );
    assert_eq!(there.length("orders:dlq").await, 12);
}

/// What never left the queue is not doubled, and what has left it is not told to be there.
#[tokio::test]
async fn what_still_lies_in_its_queue_is_left_alone_and_what_has_gone_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, file) = exported(5, folder.path()).await;
    let file = file.to_str().unwrap();
    let import = async |more: &[&str]| {
        let line = [&["dlq", "import", file, "--yes", "-o", "json"], more].concat();
        let ended = rig.redrive(&line).await;
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let counts = ["imported", "already", "gone"].map(|name| report[name].as_u64().unwrap());
        (ended.code, counts, ended.stderr)
    };
    let length = async || rig.ask::<u64>(&["XLEN", "orders:dlq"]).await;
    for more in [&[][..], &["--again", "word"]] {
        let (code, counts, said) = import(more).await;
        assert_eq!((code, counts), (Some(0), [0, 5, 0]), "{said}");
        assert_eq!(length().await, 5);
    }

    let purge = ["dlq", "purge", "orders", "--limit", "2", "--all", "--yes"];
    rig.json(&purge).await;
    let (code, counts, _) = import(&[]).await;
    assert_eq!((code, counts), (Some(0), [2, 3, 0]));
    assert_eq!(length().await, 5);

    let purge = ["dlq", "purge", "orders", "--all", "--yes"];
    rig.json(&purge).await;
    let (code, counts, said) = import(&[]).await;
    assert_eq!((code, counts), (Some(4), [3, 2, 2]));
    assert!(
        said.contains("error: 2 were imported before and are in no queue any more")
            && said.contains("hint: --again WORD"),
        "{said}"
    );
    // Only what is gone.
    for counted in [[2, 3, 0], [0, 5, 0]] {
        let (code, counts, _) = import(&["--again", "monday"]).await;
        assert_eq!((code, counts), (Some(0), counted));
        assert_eq!(length().await, 5);
    }
}

#[tokio::test]
async fn a_dry_run_and_a_file_that_nobody_was_asked_about_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = exported(7, folder.path()).await;
    let file = file.to_str().unwrap();
    let there = Rig::start().await;
    let would = there
        .json(&["dlq", "import", file, "--dry-run", "--dlq", "kept"])
        .await;
    assert_eq!(
        keys(&would),
        sorted("file dead_letters size oldest newest queues damaged_lines")
    );
    assert_eq!(
        would["queues"],
        serde_json::json!([{"dlq": "kept", "dead_letters": 7}])
    );
    let told = there.redrive(&["dlq", "import", file, "--dry-run"]).await;
    assert_eq!(told.code, Some(0));
    assert!(
        told.stdout
            .contains("this would import 7 dead letters into orders:dlq: "),
        "{}",
        told.stdout
    );
    assert!(told.stdout.ends_with("  and 2 more\n"), "{}", told.stdout);
    let told = there.redrive(&["dlq", "import", file]).await;
    assert_eq!(told.code, Some(2));
    assert!(
        told.stderr
            .starts_with("error: this would import 7 dead letters into orders:dlq: "),
        "{}",
        told.stderr
    );
    let told = there.redrive(&["dlq", "import", "-"]).await;
    assert_fails(
        &told,
        2,
        "the file comes on stdin, so nobody can be asked whether to import it",
        "look first, with --dry-run, then say --yes; or import from a file",
    );
    assert!(there.everything().await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_cut_or_damaged_is_refused_whole_and_can_be_salvaged() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = exported(5, folder.path()).await;
    let text = fs::read(&file).unwrap();
    let there = Rig::start().await;
    let import = async |bytes: &[u8], flags: &[&str]| {
        fs::write(&file, bytes).unwrap();
        let line = ["dlq", "import", file.to_str().unwrap(), "--yes"];
        there.redrive(&[&line, flags].concat()).await
    };
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).unwrap();
    let packed = gzip.finish().unwrap();
    let line_3 = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(1)
        .unwrap()
        .0
        + 20;
    let mut damaged = text.clone();
    damaged[line_3] ^= 1;
    for (bytes, said) in [
        (&text[..text.len() / 2], "it ends in the middle"),
        (&text[..text.len() - 20], "the footer is damaged"),
        (&damaged[..], "reading line 3 of an export: "),
        (
            &packed[..packed.len() / 2],
            "is cut or damaged: it does not unpack beyond line ",
        ),
        (
            &packed[..packed.len() - 1],
            "is cut or damaged: it does not unpack beyond line ",
        ),
        (b"", "it is empty"),
        (b"\n", "line 1 of an export: it is empty"),
        (b"\x1f\x8b", "is cut or damaged"),
        (b"\x28\xb5\x2f\xfd", "is cut or damaged"),
    ] {
        let told = import(bytes, &[]).await;
        assert_eq!(told.code, Some(1), "{}", told.stderr);
        assert!(told.stderr.contains(said), "{said}: {}", told.stderr);
        assert!(told.stderr.contains("\nhint: "), "{}", told.stderr);
        assert_eq!(there.everything().await.len(), 0, "{said}");
    }
    let told = import(&damaged, &["--salvage"]).await;
    assert_eq!(told.code, Some(4), "{}", told.stderr);
    assert!(
        told.stderr
            .contains("left out: invalid value while reading line 3"),
        "{}",
        told.stderr
    );
    assert_eq!(there.length("orders:dlq").await, 4);
    // What is brought later is what was missing.
    let told = import(&text, &["-o", "json"]).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&report["imported"], &report["already"]),
        (&1.into(), &4.into())
    );
    assert_eq!(there.ask::<u64>(&LEDGER).await, 5);
    let half = import(&text[..text.len() / 2], &["--salvage", "--again", "half"]).await;
    assert_eq!(half.code, Some(4), "{}", half.stderr);
    assert_eq!(there.length("orders:dlq").await, 5);
}

#[tokio::test]
async fn what_is_no_export_is_refused_before_it_fills_memory_or_disk() {
    let folder = tempfile::tempdir().unwrap();
    let there = Rig::start().await;
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..80 {
        gzip.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    let bomb = folder.path().join("bomb");
    fs::write(&bomb, gzip.finish().unwrap()).unwrap();
    let bomb = bomb.to_str().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (line, said) in [
        (&[bomb][..], "line 1 of "),
        (
            &[bomb, "--max-line", "1MiB"],
            "is longer than 1048576 bytes",
        ),
        (
            &[bomb, "--salvage", "--max-line", "1MiB"],
            "is longer than 1048576 bytes",
        ),
        (&["/dev/zero"], "line 1 of /dev/zero is longer than"),
        (&[folder], "is a folder"),
        (&["/none"], "no such file: /none"),
        (&["/bin/sh"], "line 1"),
    ] {
        let told = there
            .redrive(&[&["dlq", "import", "--yes"], line].concat())
            .await;
        assert!(
            matches!(told.code, Some(1 | 4)),
            "{line:?}: {}",
            told.stderr
        );
        assert!(told.stderr.contains(said), "{line:?}: {}", told.stderr);
    }
    assert!(there.everything().await.is_empty());
}

#[tokio::test]
async fn a_pipe_carries_a_queue_from_one_server_to_another() {
    let (here, there) = (Rig::start().await, Rig::start().await);
    here.reject(250).await;
    let line = format!(
        "\"$0\" --url {} dlq export orders | gzip | \"$0\" --url {} dlq import - --yes -o json",
        here.url_for(&["dlq", "export"]),
        there.url_for(&["dlq", "import"])
    );
    let mut shell = tokio::process::Command::new("bash");
    let temp = tempfile::tempdir().unwrap();
    shell
        .args(["-c", &line, env!("CARGO_BIN_EXE_redrive")])
        .env("TMPDIR", temp.path());
    let told = ended(&mut shell).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert_eq!(
        stored(there.entries("orders:dlq").await),
        stored(here.entries("orders:dlq").await)
    );
    // Nothing is left of the copy.
    assert_eq!(
        super::exporting::names_in(temp.path()),
        Vec::<String>::new()
    );
    // Cut in the middle, nothing is imported.
    let mut command = there.command(&["dlq", "import", "-", "--yes", "--again", "x"]);
    command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"{\"dlq\":").await.unwrap();
    drop(stdin);
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
    assert_eq!(there.length("orders:dlq").await, 250);
}

/// Killed ten times in the middle and run again: every one of them, once.
#[tokio::test]
async fn an_import_that_is_killed_again_and_again_doubles_and_skips_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (here, file) = exported(6_000, folder.path()).await;
    let there = Rig::start().await;
    let line = [
        "dlq",
        "import",
        file.to_str().unwrap(),
        "--yes",
        "-o",
        "json",
    ];
    let mut cut = 0;
    for kill in 1..=10 {
        let mut running = there.start_redrive(&line);
        let some = kill * 300;
        eventually(SOON, "it has gone on", async || {
            match there.length("orders:dlq").await {
                length if length >= some => Ok(()),
                length => Err(length),
            }
        })
        .await;
        running.signal(Signal::KILL);
        running.insist(Signal::KILL).await;
        running.ended().await;
        let length = there.length("orders:dlq").await;
        cut += u32::from(length < 6_000);
        assert_eq!(
            there.ask::<u64>(&LEDGER).await,
            length,
            "counted otherwise than added"
        );
    }
    assert!(cut > 5, "only {cut} of 10 were in the middle");
    let report = there.json(&line[..4]).await;
    assert_eq!(
        report["imported"].as_u64().unwrap() + report["already"].as_u64().unwrap(),
        6_000
    );
    assert_eq!(report["new_ids"].as_array().unwrap().len(), 1_000);
    assert_eq!(report["new_ids_truncated"], true);
    assert_eq!(
        stored(there.entries("orders:dlq").await),
        stored(here.entries("orders:dlq").await)
    );
    assert_eq!(there.ask::<u64>(&LEDGER).await, 6_000);
}

#[tokio::test]
async fn an_import_that_is_asked_to_end_says_how_far_it_came_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = exported(6_000, folder.path()).await;
    let there = Rig::start().await;
    let line = [
        "dlq",
        "import",
        file.to_str().unwrap(),
        "--yes",
        "-o",
        "json",
    ];
    let running = there.start_redrive(&line);
    eventually(SOON, "it has begun", async || {
        there.length("orders:dlq").await > 0
    })
    .await;
    there.server.freeze();
    running.signal(Signal::TERM);
    running.says("ending after this step").await;
    there.server.thaw();
    let told = running.ended().await;
    assert_eq!(told.code, Some(4), "{}", told.stderr);
    assert!(
        told.stderr
            .contains("hint: the same command goes on where this one ended"),
        "{}",
        told.stderr
    );
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(report["imported"], there.length("orders:dlq").await);
    let rest = there.json(&line[..4]).await;
    assert_eq!(rest["already"], report["imported"]);
    assert_eq!(there.length("orders:dlq").await, 6_000);
}
