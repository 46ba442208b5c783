//! `dlq show` in full: what the payload is, where the message has been, its bytes, several at once.

use serde_json::{Value, json};

use super::rig::{Rig, assert_fails, ended};

const QUEUE: &str = "orders:dlq";

async fn shown(rig: &Rig, id: &str) -> String {
    let ended = rig.redrive(&["dlq", "show", id, "orders"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

/// A worker that gives up whatever there is.
async fn rejects(rig: &Rig) {
    let worker = "run orders -g billing --until-idle -- sh -c";
    let mut worker: Vec<&str> = worker.split(' ').collect();
    worker.push("exit 65");
    let ended = rig.redrive(&worker).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What stands under a heading.
fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, behind) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading} in {text}"));
    behind.split("\n\n").next().unwrap()
}

#[tokio::test]
async fn a_payload_is_shown_as_what_it_is_and_as_a_hexdump_where_it_is_nothing_else() {
    let rig = Rig::start().await;
    let gzipped = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xabV*I-.Q\xb2\xd2QJN,N\x05\x00\xb5s\x9c3\x0f\x00\x00\x00";
    let mut long = vec![0xc1];
    long.resize(3_000, 0xfe);
    let cases: [(&[u8], &str, &str); 7] = [
        (b"{\"n\":1}", "payload (json)", "  {\n    \"n\": 1\n  }"),
        (
            b"\x81\xa1n\x01",
            "payload (msgpack)",
            "  {\n    \"n\": 1\n  }",
        ),
        (b"\xa1an\x01", "payload (cbor)", "  {\n    \"n\": 1\n  }"),
        (
            b"first\nsecond\r\n",
            "payload (text)",
            "  first\n  second\\r",
        ),
        (
            b"\x7fELF\xff\x00plain\x1b[2J and more",
            "payload (raw)",
            "  00000000  7f 45 4c 46 ff 00 70 6c  61 69 6e 1b 5b 32 4a 20  |.ELF..plain.[2J |\n  \
             00000010  61 6e 64 20 6d 6f 72 65                           |and more|",
        ),
        (b"", "fields", "  data  \"\""),
        (&long, "payload (raw)", "  00000000  c1 fe fe"),
    ];
    for (n, (payload, heading, expected)) in cases.into_iter().enumerate() {
        let id = format!("{}-0", n + 1);
        rig.dies(QUEUE, &id, &[b"data", payload], &[]).await;
        let told = shown(&rig, &id).await;
        let told = part(&told, heading);
        if payload.len() < 100 {
            assert_eq!(told.trim_end(), expected);
        } else {
            assert!(told.starts_with(expected), "{told}");
            assert_eq!(told.lines().count(), 65);
            assert!(
                told.ends_with("  … and more: --raw has all 3000 bytes"),
                "{told}"
            );
        }
    }
    rig.dies(QUEUE, "50-0", &[b"data", gzipped], &[]).await;
    let told = shown(&rig, "50-0").await;
    // Damaged or not, it is told apart from what it is not.
    assert!(
        told.contains("payload (raw)") || told.contains("payload (gzip+json)"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_long_is_cut_wherever_it_stands() {
    let rig = Rig::start().await;
    let (name, error) = ("n".repeat(10_000), "line\n".repeat(300));
    let mut own: Vec<&[u8]> = vec![name.as_bytes(), b"1"];
    for _ in 0..600 {
        own.extend([&b"a"[..], b"2"]);
    }
    let said = [("redrive-error", error.as_str())];
    rig.dies(QUEUE, "1-0", &own, &said).await;
    let told = shown(&rig, "1-0").await;
    assert!(told.contains("… and 9800 bytes more"), "{told}");
    assert!(
        told.contains("… and 101 fields more; -o json has all of them"),
        "{told}"
    );
    assert!(
        told.contains("               … and more: -o json has all of it\n"),
        "{told}"
    );
    assert!(told.lines().count() < 100 + 500 + 30, "{told}");
    // A layout of others holds an error of any length.
    let long = "e".repeat(20_000);
    let envelope = [
        "XADD",
        QUEUE,
        "2-0",
        "original_stream",
        "orders",
        "original_msg_id",
        "1-0",
        "error",
        &long,
        "attempt",
        "3",
        "data",
        "x",
        "ts",
        "",
        "trace_id",
        "",
    ];
    let _: String = rig.ask(&envelope).await;
    let list = rig
        .redrive(&["dlq", "list", "orders", "--limit", "1"])
        .await;
    assert!(
        list.stdout.contains(&format!("{}…", "e".repeat(1_000))),
        "{}",
        list.stdout
    );
    assert!(list.stdout.len() < 2_000);
    assert!(shown(&rig, "2-0").await.len() < 10_000);
}

/// The whole way by the binary's own replays: kept copies are followed, and what is gone is said.
#[tokio::test]
async fn the_lineage_goes_as_far_back_as_the_queue_does_and_says_where_it_ends() {
    let rig = Rig::start().await;
    rig.reject(1).await;
    let (first, _) = rig.last(QUEUE).await;
    let plain = shown(&rig, &first).await;
    assert!(!plain.contains("lineage"), "{plain}");

    // The first death is kept, and says that it was put back.
    let report = rig
        .json(&["dlq", "replay", "orders", "--id", &first, "--keep"])
        .await;
    let second_entry = report["new_ids"][0].as_str().unwrap().to_owned();
    let told = shown(&rig, &first).await;
    let lines: Vec<&str> = part(&told, "lineage").lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(lines[0].contains("  added to orders as "), "{told}");
    assert!(
        lines[1].ends_with(&format!("died as {first}, this one")),
        "{told}"
    );
    assert!(
        lines[2].ends_with(&format!("replayed to orders as {second_entry}")),
        "{told}"
    );

    rejects(&rig).await;
    let (second, _) = rig.last(QUEUE).await;
    assert_ne!(second, first);
    let lineage = rig.json(&["dlq", "show", &second, "orders"]).await["lineage"].clone();
    let events: Vec<&str> = lineage["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["added", "died", "replayed", "died"]);
    assert_eq!(
        (
            &lineage["begin"],
            &lineage["end"],
            &lineage["earlier_replays"]
        ),
        (&"original".into(), &"dead".into(), &0.into())
    );
    assert_eq!(lineage["events"][1]["in_queue"], true);
    assert_eq!(lineage["events"][2]["from"], first.as_str());
    assert!(lineage["events"][3]["at"].as_str().unwrap().ends_with('Z'));

    // Replayed for good: the trail of the third ends there, and the second says where it went.
    let report = rig
        .json(&["dlq", "replay", "orders", "--id", &second])
        .await;
    let third_entry = report["new_ids"][0].as_str().unwrap().to_owned();
    rejects(&rig).await;
    let (third, _) = rig.last(QUEUE).await;
    let told = shown(&rig, &third).await;
    let expected = [
        "  1 earlier replay is not known: it went with the next dead letter".to_owned(),
        format!("died as {second}, which is no longer in the queue"),
        format!("replayed to orders as {third_entry}"),
        format!("died as {third}, this one"),
    ];
    let lineage = part(&told, "lineage");
    assert_eq!(lineage.lines().count(), 4, "{told}");
    for (line, expected) in lineage.lines().zip(&expected) {
        assert!(line.ends_with(expected), "{line}");
    }
    let gone = rig.redrive(&["dlq", "show", &second, "orders"]).await;
    assert_fails(
        &gone,
        3,
        &format!("dead letter not found: {second} in orders:dlq"),
        &format!("it was replayed: it is {third_entry} in orders"),
    );
}

#[tokio::test]
async fn who_may_not_read_receipts_sees_the_dead_letter_all_the_same() {
    let rig = Rig::start().await;
    rig.dies(
        QUEUE,
        "1-0",
        &[b"data", b"1"],
        &[("redrive-replayed-from", "0-5")],
    )
    .await;
    let viewer = [
        "ACL",
        "SETUSER",
        "viewer",
        "on",
        ">x",
        "~orders:dlq",
        "-@all",
        "+xrange",
        "+xlen",
        "+command|info",
    ];
    let _: String = rig.ask(&viewer).await;
    let url = format!("redis://viewer:x@127.0.0.1:{}", rig.server.port());
    let show = |id| ["dlq", "show", id, "orders", "--url", &url];
    let ended = rig.redrive(&show("1-0")).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let unknown = "  whether it was put back is not known: this user may not read receipts";
    assert!(ended.stdout.contains(unknown), "{}", ended.stdout);
    let hint = "it was replayed or purged, or its id is of another queue";
    let ended = rig.redrive(&show("2-0")).await;
    assert_fails(&ended, 3, "dead letter not found: 2-0 in orders:dlq", hint);
}

#[tokio::test]
async fn ages_are_told() {
    let rig = Rig::start().await;
    let said = [
        ("redrive-first-at", "999999999000"),
        ("redrive-dead-at", "1000000090000"),
    ];
    rig.dies(QUEUE, "1-0", &[b"data", b"1"], &said).await;
    let told = shown(&rig, "1-0").await;
    assert!(
        told.contains("d ago), 1m after it first failed\n"),
        "{told}"
    );
    let foreign = ["XADD", QUEUE, "1000000000000-0", "a", "1"];
    let _: String = rig.ask(&foreign).await;
    let show = rig
        .json(&["dlq", "show", "1-0,1000000000000-0", "orders"])
        .await;
    assert_eq!(show[0]["failing_ms"], 91_000);
    assert_eq!(show[1]["failing_ms"], Value::Null);
    let year = 365 * 86_400_000_u64;
    for n in 0..2 {
        assert!(
            show[n]["age_ms"].as_u64().unwrap() > 20 * year,
            "{}",
            show[n]
        );
    }
}

#[tokio::test]
async fn several_are_shown_one_after_the_other_and_one_that_is_missing_is_partly() {
    let rig = Rig::start().await;
    for n in 1..=3 {
        rig.dies(QUEUE, &format!("{n}-0"), &[b"n", b"1"], &[]).await;
    }
    let all = rig.json(&["dlq", "show", "1-0,3-0", "orders"]).await;
    let ids: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["1-0", "3-0"]);
    let ended = rig.redrive(&["dlq", "show", "1-0,9-0,3-0", "orders"]).await;
    assert_eq!(ended.code, Some(4));
    assert!(
        ended
            .stderr
            .starts_with("error: dead letter not found: 9-0 in orders:dlq; 2 of 3 shown\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout.matches("dead letter    ").count(), 2);
    let ended = rig
        .redrive(&["dlq", "show", "8-0,9-0", "orders", "-o", "jsonl"])
        .await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""));
    let ended = rig
        .redrive(&["dlq", "show", "1-0,2-0", "orders", "--raw"])
        .await;
    assert_fails(
        &ended,
        2,
        "--raw writes the bytes of one dead letter",
        "give it one id",
    );
}

#[tokio::test]
async fn raw_is_the_bytes_of_the_field_and_nothing_else() {
    let rig = Rig::start().await;
    let payload = b"\xff\x00\x1b[2J\r\nend";
    rig.dies(QUEUE, "1-0", &[b"kind", b"order", b"body", payload], &[])
        .await;
    rig.dies(QUEUE, "2-0", &[b"only", payload], &[]).await;
    rig.dies(
        QUEUE,
        "3-0",
        &[b"a", b"1", b"\xfe\x1b", b"", b"", payload],
        &[],
    )
    .await;
    rig.dies(QUEUE, "4-0", &[], &[("redrive-reason", "trimmed")])
        .await;
    let raw = async |words: &[&str]| {
        let line = [&["dlq", "show"], words, &["orders", "--raw", "-o", "json"]].concat();
        let output = rig.command(&line).output().await.unwrap();
        assert_eq!(
            (output.status.code(), &output.stderr[..]),
            (Some(0), &b""[..])
        );
        output.stdout
    };
    assert_eq!(raw(&["1-0"]).await, payload);
    assert_eq!(raw(&["1-0", "--field", "kind"]).await, b"order");
    assert_eq!(raw(&["2-0"]).await, payload);
    assert_eq!(raw(&["3-0", "--field", ""]).await, payload);
    let ended = rig
        .redrive(&["dlq", "show", "3-0", "orders", "--raw"])
        .await;
    assert_fails(
        &ended,
        2,
        "which field of 3-0? it has several fields, and none of them is the payload",
        "name one with --field: a, \\xfe\\u{1b}, \"\"",
    );
    let ended = rig
        .redrive(&["dlq", "show", "1-0", "orders", "--raw", "--field", "no"])
        .await;
    assert_fails(
        &ended,
        3,
        "dead letter 1-0 has no field no",
        "its fields are kind, body",
    );
    let ended = rig
        .redrive(&["dlq", "show", "4-0", "orders", "--raw"])
        .await;
    let hint = "the entry was trimmed before they could be stored: nothing of it is left";
    assert_fails(&ended, 3, "dead letter 4-0 has no fields", hint);
    let mut command = rig.command(&["dlq", "show", "1-0", "orders", "--field", "kind"]);
    assert_eq!(ended_code(&mut command).await, Some(2));
}

async fn ended_code(command: &mut tokio::process::Command) -> Option<i32> {
    ended(command).await.code
}

#[tokio::test]
async fn a_list_and_what_is_shown_parse_in_every_form() {
    let rig = Rig::start().await;
    rig.dies(QUEUE, "1-0", &[b"data", b"{\"n\":1}"], &[]).await;
    let line = rig
        .redrive(&["dlq", "show", "1-0", "orders", "-o", "jsonl"])
        .await;
    assert_eq!(line.stdout.lines().count(), 1);
    let shown: Value = serde_json::from_str(&line.stdout).unwrap();
    assert_eq!(
        (&shown["payload"], &shown["codec"]),
        (&json!({"n": 1}), &"json".into())
    );
    let listed = rig.redrive(&["dlq", "list", "orders", "-o", "jsonl"]).await;
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["fields"], shown["fields"]);
}
