//! `dlq list` and `dlq show`: what they tell, in each form, and which ones.

use serde_json::{Value, json};

use super::rig::{FLAT, Rig, assert_fails, keys, sorted};

const LISTED: &str = "id dlq layout stream group original_id reason error error_kind fingerprint \
    attempts crashes replays consumer first_at dead_at size fields";

const SHOWN: &str = "payload codec replayed_from campaign age_ms failing_ms lineage";

/// A queue of four, all different.
async fn four() -> Rig {
    let rig = Rig::start().await;
    let queue = "orders:dlq";
    rig.dies(queue, "1000000000001-0", &[b"data", b"{\"n\":1}"], &[])
        .await;
    let said = [
        ("redrive-reason", "rejected"),
        ("redrive-group", "mailing"),
        ("redrive-error", "no such\ncustomer"),
        ("redrive-replays", "2"),
        ("redrive-replayed-from", "999999999999-7"),
        ("redrive-campaign", "june"),
    ];
    rig.dies(queue, "1000000000002-0", &[b"data", b"{\"n\":2}"], &said)
        .await;
    let said = [
        ("redrive-reason", "undecodable"),
        ("redrive-stream", "refunds"),
        ("redrive-error", "expected value"),
    ];
    rig.dies(queue, "1000000000003-0", &[b"data", b"\xff\x00"], &said)
        .await;
    let foreign = ["XADD", queue, "1000000000004-0", "what", "ever"];
    let _: String = rig.ask(&foreign).await;
    rig
}

/// The ages of what died in 2001, which grow by the day.
fn ageless(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        match line.split_once("d ago") {
            Some((before, after)) => {
                let kept = before.trim_end_matches(|c: char| c.is_ascii_digit());
                out.push_str(&format!(
                    "{kept}{}d ago{after}",
                    "0".repeat(before.len() - kept.len())
                ));
            }
            None => out.push_str(line),
        }
    }
    out
}

#[tokio::test]
async fn a_list_is_a_table_with_the_newest_first_and_how_many_match() {
    let rig = four().await;
    let ended = rig.redrive(&["dlq", "list", "orders"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), "4 match\n"));
    insta::assert_snapshot!("list", ageless(&ended.stdout));
    let ended = rig
        .redrive(&["dlq", "list", "orders", "--limit", "1", "--oldest"])
        .await;
    assert_eq!(
        ended.stderr,
        "1 of 4 that match; --limit N or --all shows more\n"
    );
    assert_eq!(ended.stdout.lines().count(), 2);
    assert!(ended.stdout.contains("1000000000001-0"));
    let quiet = rig.redrive(&["dlq", "list", "orders", "-q"]).await;
    assert_eq!(quiet.stderr, "");
}

#[tokio::test]
async fn a_list_as_json_has_every_key_and_null_for_what_is_unknown() {
    let rig = four().await;
    let listed = rig.json(&["dlq", "list", "orders", "--oldest"]).await;
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 4);
    for letter in listed {
        assert_eq!(keys(letter), sorted(LISTED));
    }
    let expected = json!({
        "id": "1000000000001-0", "dlq": "orders:dlq", "layout": "native", "stream": "orders",
        "group": "billing", "original_id": "999999999000-0", "reason": "attempts_exhausted",
        "error": "card declined", "error_kind": "timeout", "fingerprint": "0123456789abcdef",
        "attempts": 3, "crashes": 0, "replays": 0, "consumer": "consumer_0a1b2c3d",
        "first_at": "2001-09-09T01:46:39.000Z", "dead_at": "2001-09-09T01:46:40.000Z",
        "size": listed[0]["size"], "fields": [["data", "{\"n\":1}"]],
    });
    assert_eq!(listed[0], expected);
    assert!(listed[0]["size"].as_u64().unwrap() > 300);
    assert_eq!(listed[2]["fields"], json!([["data", { "base64": "/wA=" }]]));
    let foreign = json!({
        "id": "1000000000004-0", "dlq": "orders:dlq", "layout": "foreign", "stream": null,
        "group": null, "original_id": null, "reason": null, "error": null, "error_kind": null,
        "fingerprint": listed[3]["fingerprint"], "attempts": null, "crashes": null, "replays": null,
        "consumer": null, "first_at": null, "dead_at": null, "size": 8,
        "fields": [["what", "ever"]],
    });
    assert_eq!(listed[3], foreign);
}

#[tokio::test]
async fn json_lines_are_the_same_documents_a_line_each() {
    let rig = four().await;
    let whole = rig.json(&["dlq", "list", "orders"]).await;
    let ended = rig.redrive(&["dlq", "list", "orders", "-o", "jsonl"]).await;
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((ended.code, Value::from(lines)), (Some(0), whole));
    let mut one = rig
        .json(&["dlq", "show", "1000000000002-0", "orders"])
        .await;
    let ended = rig
        .redrive(&["dlq", "show", "1000000000002-0", "orders", "-o", "jsonl"])
        .await;
    assert_eq!(ended.stdout.lines().count(), 1);
    let mut line: Value = serde_json::from_str(&ended.stdout).unwrap();
    // It is older by now.
    for shown in [&mut one, &mut line] {
        shown["age_ms"] = Value::Null;
    }
    assert_eq!(line, one);
}

#[tokio::test]
async fn one_is_shown_with_its_payload_decoded() {
    let rig = four().await;
    let ended = rig
        .redrive(&["dlq", "show", "1000000000002-0", "orders"])
        .await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!("show", ageless(&ended.stdout));
    let shown = rig
        .json(&["dlq", "show", "1000000000002-0", "orders"])
        .await;
    assert_eq!(keys(&shown), sorted(&format!("{LISTED} {SHOWN}")));
    assert_eq!(shown["payload"], json!({ "n": 2 }));
    assert_eq!(shown["codec"], "json");
    assert_eq!(shown["replayed_from"], "999999999999-7");
    assert_eq!(shown["campaign"], "june");
    assert_eq!(
        (&shown["replays"], &shown["error"]),
        (&json!(2), &json!("no such\ncustomer"))
    );

    // A tombstone: nothing of it is left but the news.
    let said = [("redrive-reason", "trimmed")];
    rig.dies("orders:dlq", "1000000000005-0", &[], &said).await;
    let shown = rig
        .json(&["dlq", "show", "1000000000005-0", "orders"])
        .await;
    assert_eq!(
        (&shown["payload"], &shown["codec"]),
        (&Value::Null, &Value::Null)
    );
    let ended = rig
        .redrive(&["dlq", "show", "1000000000005-0", "orders"])
        .await;
    assert!(
        ended.stdout.contains("nothing of it is left"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn of_a_large_payload_the_beginning_is_shown() {
    let rig = Rig::start().await;
    let numbers = serde_json::to_string(&vec![0; 300_000]).unwrap();
    rig.dies("orders:dlq", "1-0", &[b"data", numbers.as_bytes()], &[])
        .await;
    let ended = rig.redrive(&["dlq", "show", "1-0", "orders"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let payload = lines.iter().position(|line| *line == "payload (json)");
    // An opening bracket and 199 numbers.
    assert_eq!(
        lines[payload.unwrap() + 201],
        "  … and more: --raw has all 600001 bytes"
    );
    let shown = rig.json(&["dlq", "show", "1-0", "orders"]).await;
    assert_eq!(shown["payload"].as_array().unwrap().len(), 300_000);
}

#[tokio::test]
async fn an_unknown_id_is_nothing() {
    let rig = four().await;
    let before = rig.everything().await;
    let hint = "it was replayed or purged, or its id is of another queue";
    let ended = rig.redrive(&["dlq", "show", "5-7", "orders"]).await;
    assert_fails(&ended, 3, "dead letter not found: 5-7 in orders:dlq", hint);
    assert_eq!(ended.stdout, "");
    // It is there, but not from that stream.
    let ended = rig
        .redrive(&[
            "dlq",
            "show",
            "1000000000003-0",
            "orders",
            "--dlq",
            "orders:dlq",
        ])
        .await;
    assert_eq!(ended.code, Some(3));
    let ended = rig
        .redrive(&[
            "dlq",
            "show",
            "1000000000003-0",
            "refunds",
            "--dlq",
            "orders:dlq",
        ])
        .await;
    assert_eq!(ended.code, Some(0));
    let ended = rig
        .redrive(&["dlq", "list", "orders", "--id", "5-7", "-o", "json"])
        .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "[]\n"));
    for verb in ["replay", "purge"] {
        let ended = rig.redrive(&["dlq", verb, "orders", "--id", "5-7"]).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(
            ended
                .stderr
                .starts_with("error: dead letter not found: 5-7")
        );
        let ended = rig
            .redrive(&["dlq", verb, "orders", "--id", "5-7", "--id", "6", "--yes"])
            .await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(
            ended
                .stderr
                .starts_with("error: none of 2 dead letters found"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(rig.everything().await, before);
}

#[tokio::test]
async fn a_queue_without_dead_letters_and_a_filter_that_nothing_passes_are_nothing() {
    let rig = four().await;
    let ended = rig.redrive(&["dlq", "list", "nowhere"]).await;
    let hint = "if that is not the queue that you mean, name it with --dlq; on another server or database, with --url";
    assert_fails(&ended, 3, "no dead letters in nowhere:dlq", hint);
    let ended = rig
        .redrive(&["dlq", "list", "orders", "--reason", "crash_loop"])
        .await;
    let hint = "`redrive dlq list` without filters shows what is there";
    assert_fails(&ended, 3, "no dead letter in orders:dlq matches", hint);
    for verb in ["replay", "purge"] {
        let ended = rig
            .redrive(&["dlq", verb, "nowhere", "--all", "--yes", "-o", "json"])
            .await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["selected"], 0);
    }
}

#[tokio::test]
async fn kinds_of_filter_are_anded_and_a_repeated_one_is_ored() {
    let rig = four().await;
    let selected = async |filters: &str| -> String {
        let mut args = vec!["dlq", "list", "--dlq", "orders:dlq", "-o", "json"];
        args.extend(filters.split_whitespace());
        let ended = rig.redrive(&args).await;
        assert!(
            matches!(ended.code, Some(0 | 3)),
            "{filters}: {}",
            ended.stderr
        );
        let listed: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
        let last_digit = |letter: &Value| letter["id"].as_str().unwrap()[12..13].to_owned();
        listed.iter().map(last_digit).collect()
    };
    for (filters, expected) in [
        ("", "4321"),
        ("--oldest", "1234"),
        ("--newest", "4321"),
        ("--all", "4321"),
        ("--limit 2", "43"),
        ("--limit 2 --oldest", "12"),
        ("--limit 1 --all", "4"),
        ("--id 1000000000003 --id 1000000000001-0", "31"),
        ("--id 1000000000003-0 --oldest --id 1000000000001-0", "13"),
        ("--id 1000000000003-0 --reason rejected", ""),
        ("--reason rejected", "2"),
        ("--reason rejected --reason undecodable", "32"),
        (
            "--reason rejected --reason undecodable --stream refunds",
            "3",
        ),
        ("--reason rejected --group mailing", "2"),
        ("--group billing", "31"),
        ("--group billing --group mailing --limit 2", "32"),
        ("--stream orders", "21"),
        ("--stream orders --stream refunds", "321"),
        (
            "--stream orders --stream refunds --group billing --limit 1 --oldest",
            "1",
        ),
        ("orders", "21"),
        ("orders --stream orders --stream refunds", "21"),
        ("refunds --reason rejected", ""),
    ] {
        assert_eq!(selected(filters).await, expected, "{filters}");
    }
    let same = rig.json(&["dlq", "list", "orders"]).await;
    assert_eq!(
        same,
        rig.json(&["dlq", "list", "--dlq", "orders:dlq"]).await
    );
}

#[tokio::test]
async fn the_newest_fifty_are_listed_unless_said_otherwise() {
    let rig = Rig::start().await;
    for n in 1..=60 {
        let id = format!("{n}-0");
        let _: String = rig.ask(&["XADD", "orders:dlq", &id, "n", "1"]).await;
    }
    let listed = async |more: &[&str]| {
        let listed = rig.json(&[&["dlq", "list", "orders"], more].concat()).await;
        let ids: Vec<String> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect();
        (ids.len(), ids[0].clone())
    };
    assert_eq!(listed(&[]).await, (50, "60-0".to_owned()));
    assert_eq!(listed(&["--oldest"]).await, (50, "1-0".to_owned()));
    assert_eq!(listed(&["--all"]).await, (60, "60-0".to_owned()));
    assert_eq!(listed(&["--limit", "55"]).await, (55, "60-0".to_owned()));
}

#[tokio::test]
async fn a_flat_dead_letter_is_shown_with_the_keys_of_all() {
    let rig = Rig::loaded(FLAT).await;
    let shown = rig
        .json(&["dlq", "show", "1795324222404-0", "agent_events"])
        .await;
    assert_eq!(keys(&shown), sorted(&format!("{LISTED} {SHOWN}")));
    assert_eq!(shown["payload"], json!({ "n": 4, "why": "downstream 503" }));
    assert_eq!(
        (&shown["group"], &shown["crashes"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(shown["dead_at"], "2026-11-22T05:10:22.404Z");
}
