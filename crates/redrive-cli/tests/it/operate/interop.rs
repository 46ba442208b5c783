//! What the two Python systems left in Redis: listed, shown, worked on and replayed by the binary, byte for byte.

use std::collections::BTreeSet;

use redis::aio::MultiplexedConnection;
use redrive_testkit::eventually;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{ENVELOPE, Entries, FLAT, Rig, SOON, ask, bytes};

/// The value of a field in an entry as `XRANGE` answers it.
fn value<'a>(entry: &'a [Vec<u8>], name: &str) -> &'a [u8] {
    let pair = entry.chunks(2).find(|pair| pair[0] == name.as_bytes());
    pair.map_or(&[][..], |pair| &pair[1])
}

fn ids(listed: &Value) -> Vec<String> {
    let id = |one: &Value| one["id"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn every_stream_of_both_is_told() {
    let rig = Rig::loaded(FLAT).await;
    let all = rig.json(&["stats"]).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let events = &all[0];
    assert_eq!(
        (&events["stream"], &events["group"]),
        (&"agent_events".into(), &"workers".into())
    );
    assert_eq!(
        (&events["stream_length"], &events["pending_messages"]),
        (&10.into(), &2.into())
    );
    assert_eq!(
        (&events["dlq"], &events["dlq_length"]),
        (&"agent_events:dlq".into(), &2.into())
    );
    let pending = rig
        .json(&["pending", "list", "agent_events", "-g", "workers"])
        .await;
    assert_eq!(ids(&pending), ["1795324222405-0", "1795324222405-1"]);
    for row in pending.as_array().unwrap() {
        assert_eq!(
            (&row["consumer"], &row["own"]),
            (&"crashed_worker".into(), &false.into())
        );
    }

    let rig = Rig::loaded(ENVELOPE).await;
    let told = rig.json(&["stats"]).await;
    let streams: BTreeSet<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["stream"].as_str().unwrap())
        .collect();
    // This queue is shared, and no stream's own: it stands for itself.
    assert_eq!(
        streams.into_iter().collect::<Vec<_>>(),
        ["sg:stream:dlq", "sg:stream:inbound", "sg:stream:outbound"]
    );
    let line = ["stats", "sg:stream:inbound", "--dlq", "sg:stream:dlq"];
    assert_eq!(rig.json(&line).await[0]["dlq_length"], 5);
}

#[tokio::test]
async fn flat_dead_letters_are_listed_shown_and_replayed_with_exactly_their_fields_and_the_mark() {
    let rig = Rig::loaded(FLAT).await;
    let listed = rig.json(&["dlq", "list", "agent_events", "--oldest"]).await;
    assert_eq!(ids(&listed), ["1795324222404-0", "1795324222404-2"]);
    let before: Entries = rig.entries("agent_events").await;
    for (letter, original) in listed
        .as_array()
        .unwrap()
        .iter()
        .zip(["1795324222250-1", "1795324222250-4"])
    {
        assert_eq!(
            (&letter["layout"], &letter["reason"]),
            (&"flat".into(), &"attempts_exhausted".into())
        );
        assert_eq!(
            (&letter["original_id"], &letter["stream"]),
            (&original.into(), &"agent_events".into())
        );
        assert_eq!(
            (&letter["attempts"], &letter["error"]),
            (&3.into(), &Value::Null)
        );
        let id = letter["id"].as_str().unwrap();
        let shown = rig.json(&["dlq", "show", id, "agent_events"]).await;
        assert_eq!(shown["fields"], letter["fields"]);

        let report = rig
            .json(&["dlq", "replay", "agent_events", "--id", id])
            .await;
        let (_, mut expected) = before
            .iter()
            .find(|(id, _)| id == original)
            .unwrap()
            .clone();
        expected.extend(bytes(&["replayed_from_dlq", id]));
        let (new, fields) = rig.last("agent_events").await;
        assert_eq!((&report["new_ids"], fields), (&json!([new]), expected));
    }
    assert_eq!(rig.entries("agent_events").await[..10], before);
    assert_eq!(rig.length("agent_events:dlq").await, 0);
}

#[tokio::test]
async fn envelopes_are_listed_shown_and_replayed_byte_for_byte() {
    let rig = Rig::loaded(ENVELOPE).await;
    let stored: Entries = rig.entries("sg:stream:dlq").await;
    let line = ["dlq", "list", "--dlq", "sg:stream:dlq"];
    assert_eq!(ids(&rig.json(&line).await).len(), 5);
    let inbound = rig
        .json(&["dlq", "list", "sg:stream:inbound", "--dlq", "sg:stream:dlq"])
        .await;
    assert_eq!(inbound.as_array().unwrap().len(), 3);
    for (id, entry) in &stored {
        let shown = rig
            .json(&["dlq", "show", id, "--dlq", "sg:stream:dlq"])
            .await;
        assert_eq!(
            (&shown["layout"], &shown["dlq_msg_id"]),
            (&"envelope".into(), &json!(id))
        );
        let text = |name| String::from_utf8(value(entry, name).to_vec()).unwrap();
        assert_eq!(shown["original_msg_id"], text("original_msg_id"));
        assert_eq!(
            (&shown["stream"], &shown["error"]),
            (&json!(text("original_stream")), &json!(text("error")))
        );
        assert_eq!(shown["attempt"].to_string(), text("attempt"));
    }
    let ended = rig
        .redrive(&[
            "dlq",
            "replay",
            "--dlq",
            "sg:stream:dlq",
            "--all",
            "--yes",
            "-o",
            "json",
        ])
        .await;
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["replayed"], &report["failed"]),
        (&4.into(), &1.into())
    );
    let mut new = report["new_ids"].as_array().unwrap().iter();
    for (id, entry) in &stored {
        if value(entry, "data").is_empty() {
            assert_eq!(report["failures"][0]["id"], json!(id));
            assert!(
                report["failures"][0]["error"]
                    .as_str()
                    .unwrap()
                    .contains("payload is empty")
            );
            continue;
        }
        let source = String::from_utf8(value(entry, "original_stream").to_vec()).unwrap();
        let new = new.next().unwrap().as_str().unwrap();
        let (_, fields) = rig
            .entries(&source)
            .await
            .into_iter()
            .find(|(id, _)| id == new)
            .unwrap();
        let names = ["data", "ts", "trace_id"];
        let three = names
            .map(|name| [name.as_bytes(), value(entry, name)])
            .concat();
        assert_eq!(fields, three);
    }
    assert_eq!(rig.entries("sg:stream:dlq").await, stored[4..]);
}

/// Adds up what a worker of the binary was given, a line a message.
fn noting(folder: &tempfile::TempDir) -> String {
    // A short line is appended in one piece, whoever else appends.
    format!("echo \"$REDRIVE_ID\" >>{}/seen", folder.path().display())
}

fn seen(folder: &tempfile::TempDir) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("seen")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_worker_goes_on_in_the_groups_of_both_and_what_dies_here_is_theirs_too() {
    let rig = Rig::loaded(FLAT).await;
    let folder = tempfile::tempdir().unwrap();
    let note = noting(&folder);
    let worker = [
        "run",
        "agent_events",
        "-g",
        "workers",
        "--until-idle",
        "--lease",
        "1s",
        "--foreign-lease",
        "2s",
        "--block",
        "100ms",
        "--layout",
        "flat",
        "--max-attempts",
        "1",
        "--",
        "sh",
        "-c",
    ];
    // What is left: one that its worker may still have, one long idle, two that nobody read.
    let failing = format!("{note}; [ \"$REDRIVE_ID\" != 1795324222405-3 ]");
    let totals = rig.json(&[&worker[..], &[&failing]].concat()).await;
    assert_eq!(
        (&totals["succeeded"], &totals["dead_lettered"]),
        (&3.into(), &1.into())
    );
    let mut all = seen(&folder);
    all.sort();
    assert_eq!(all, [0, 1, 2, 3].map(|n| format!("1795324222405-{n}")));
    let (id, dead) = rig.last("agent_events:dlq").await;
    let (_, source) = rig.last("agent_events").await;
    assert_eq!(dead[..source.len()], source);
    assert_eq!(value(&dead, "failure_reason"), b"max_retries_exceeded");
    let back = rig
        .json(&["dlq", "replay", "agent_events", "--id", &id])
        .await;
    assert_eq!(back["replayed"], 1);

    let rig = Rig::loaded(ENVELOPE).await;
    let worker = [
        "run",
        "sg:stream:inbound",
        "-g",
        "inference",
        "--until-idle",
        "--lease",
        "500ms",
        "--foreign-lease",
        "1s",
        "--block",
        "100ms",
        "--layout",
        "envelope",
        "--max-attempts",
        "1",
        "--",
        "sh",
        "-c",
    ];
    let totals = rig
        .json(&[&worker[..], &["echo no such model >&2; false"]].concat())
        .await;
    assert_eq!(totals["dead_lettered"], 2);
    let queue = rig.entries("sg:stream:dlq").await;
    assert_eq!(queue.len(), 7);
    for (_, ours) in &queue[5..] {
        let names: Vec<&[u8]> = ours.chunks(2).map(|pair| &pair[0][..]).collect();
        let theirs: Vec<&[u8]> = queue[0].1.chunks(2).map(|pair| &pair[0][..]).collect();
        assert_eq!(names, theirs);
        assert_eq!(value(ours, "error"), b"no such model");
        let original = String::from_utf8(value(ours, "original_msg_id").to_vec()).unwrap();
        let source = rig.entries("sg:stream:inbound").await;
        let (_, source) = source.into_iter().find(|(id, _)| *id == original).unwrap();
        assert_eq!(value(ours, "data"), value(&source, "data"));
    }
}

/// A plain worker of the usual kind beside ours: it reads, handles, acknowledges, and dies with its
/// last batch in hand.
async fn plain_worker(mut plain: MultiplexedConnection, batches: u32) -> Vec<String> {
    let mut done = Vec::new();
    for batch in 0..batches {
        let read = "XREADGROUP GROUP billing plain COUNT 7 BLOCK 20000 STREAMS orders >";
        let read: Vec<&str> = read.split(' ').collect();
        let read: Vec<(String, Entries)> = ask(&mut plain, &read).await;
        for (id, _) in &read[0].1 {
            if batch + 1 < batches {
                let _: u64 = ask(&mut plain, &["XACK", "orders", "billing", id]).await;
                done.push(id.clone());
            }
        }
    }
    done
}

#[tokio::test]
async fn a_plain_worker_and_the_binary_in_one_group_lose_nothing() {
    let rig = Rig::start().await;
    let _: String = rig
        .ask(&["XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM"])
        .await;
    let folder = tempfile::tempdir().unwrap();
    let note = noting(&folder);
    let worker = rig.start_redrive(&[
        "run",
        "orders",
        "-g",
        "billing",
        "--lease",
        "500ms",
        "--foreign-lease",
        "2s",
        "--batch",
        "5",
        "--backoff",
        "none",
        "--",
        "sh",
        "-c",
        &note,
    ]);
    worker.says("processor started").await;
    let adding = async {
        let mut ids = BTreeSet::new();
        for n in 0..200 {
            ids.insert(
                rig.ask::<String>(&["XADD", "orders", "*", "n", &n.to_string()])
                    .await,
            );
        }
        ids
    };
    // A connection of its own: nothing gets past a read that waits.
    let plain = plain_worker(rig.server.connect().await, 4);
    let (ids, theirs) = tokio::join!(adding, plain);
    eventually(SOON, "nothing pending, all handled", async || {
        let (pending, _, _, _): (u64, redis::Value, redis::Value, redis::Value) =
            rig.ask(&["XPENDING", "orders", "billing"]).await;
        let handled: BTreeSet<String> = seen(&folder)
            .into_iter()
            .chain(theirs.iter().cloned())
            .collect();
        let missing = ids.difference(&handled).count();
        match (pending, missing) {
            (0, 0) => Ok(()),
            left => Err(format!("{left:?} pending and missing")),
        }
    })
    .await;
    worker.signal(Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let dlq: u64 = rig.ask(&["EXISTS", "orders:dlq"]).await;
    assert_eq!(dlq, 0);
}
