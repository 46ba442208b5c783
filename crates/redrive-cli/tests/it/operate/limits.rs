//! Twice what a queue may hold, with the worker killed again and again: nothing vanishes, and the books add up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use redrive_testkit::{Fault, Moment, Proxy, Target, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{Rig, SOON};

const QUEUE: &str = "orders:dlq";
const LIMIT: u64 = 20;
const ALL: u64 = 2 * LIMIT;

async fn add(rig: &Rig, from: u64, many: u64) {
    for n in from..from + many {
        // Bytes that JSON cannot hold, too.
        let number = n.to_string();
        let parts: [&[u8]; 7] = [
            b"XADD",
            b"orders",
            b"*",
            b"n",
            number.as_bytes(),
            b"\xff\x00",
            b"\xfe",
        ];
        let _: String = rig.ask(&parts).await;
    }
}

/// The arguments of a worker that gives every message up.
fn worker<'a>(limit: &'a str, overflow: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "run",
        "orders",
        "-g",
        "billing",
        "--max-attempts",
        "1",
        "--lease",
        "1s",
    ];
    args.extend([
        "--breaker",
        "off",
        "--batch",
        "5",
        "--concurrency",
        "4",
        "--block",
        "100ms",
    ]);
    args.extend(["--dlq-limit", limit, "--dlq-overflow", overflow]);
    args.extend(more);
    // As long as it takes to see how far it is, and to kill it before it is through.
    args.extend(["--", "sh", "-c", "sleep 0.05; exit 1"]);
    args
}

async fn counted(rig: &Rig, what: &str) -> u64 {
    let counted: Option<u64> = rig
        .ask(&["HGET", "{orders:dlq}:redrive:ledger", what])
        .await;
    counted.unwrap_or_default()
}

/// Runs workers, and kills each with no warning when it has given up some more, until that many are dead.
async fn kill_until(rig: &Rig, args: &[&str], dead: u64) {
    let mut kills = 0;
    loop {
        let before = counted(rig, "dead_lettered").await;
        let worker = rig.start_redrive(args);
        let next = (before + 7).min(dead);
        eventually(SOON, "some more die", async || {
            let now = counted(rig, "dead_lettered").await;
            if now >= next { Ok(()) } else { Err(now) }
        })
        .await;
        worker.signal(Signal::KILL);
        worker.ended().await;
        kills += 1;
        if counted(rig, "dead_lettered").await >= dead {
            break;
        }
    }
    assert!(kills >= 2, "{kills}");
}

/// The books: they add up, and nobody else did anything.
async fn books(rig: &Rig) -> Value {
    let books = rig.json(&["dlq", "stats", "orders"]).await;
    let own = ["balanced", "foreign_in", "foreign_out"].map(|key| books[key].clone());
    assert_eq!(own, [json!(true), json!(0), json!(0)], "{books}");
    books
}

/// What dead letters hold of their messages.
fn numbers(entries: &[(String, Vec<Vec<u8>>)]) -> BTreeSet<Vec<u8>> {
    let number = |fields: &Vec<Vec<u8>>| {
        assert_eq!(
            (&*fields[0], &*fields[2], &*fields[3]),
            (&b"n"[..], &b"\xff\x00"[..], &b"\xfe"[..])
        );
        fields[1].clone()
    };
    entries.iter().map(|(_, fields)| number(fields)).collect()
}

async fn pending(rig: &Rig) -> u64 {
    let summary: Vec<redis::Value> = rig.ask(&["XPENDING", "orders", "billing"]).await;
    redis::from_redis_value(summary[0].clone()).unwrap()
}

#[tokio::test]
async fn under_drop_oldest_what_was_dropped_and_what_is_kept_is_all_that_died() {
    let rig = Rig::start().await;
    add(&rig, 0, ALL).await;
    let args = worker("20", "drop-oldest", &[]);
    kill_until(&rig, &args, LIMIT).await;
    let last = rig
        .redrive(&worker("20", "drop-oldest", &["--until-idle"]))
        .await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let books = books(&rig).await;
    assert_eq!(books["dead_lettered"], ALL);
    assert_eq!(
        (&books["kept"], &books["dropped"]),
        (&json!(LIMIT), &json!(LIMIT))
    );
    assert_eq!(numbers(&rig.entries(QUEUE).await).len() as u64, LIMIT);
}

#[tokio::test]
async fn under_stop_the_rest_is_pending_and_dies_when_there_is_room() {
    let rig = Rig::start().await;
    add(&rig, 0, ALL).await;
    kill_until(&rig, &worker("20", "stop", &[]), LIMIT).await;
    let full = rig.start_redrive(&worker("20", "stop", &[]));
    full.says("is full, at its limit of 20 dead letters").await;
    eventually(SOON, "all have been given to it", async || {
        let pending = pending(&rig).await;
        if pending == ALL - LIMIT {
            Ok(())
        } else {
            Err(pending)
        }
    })
    .await;
    full.signal(Signal::KILL);
    full.ended().await;
    let told = books(&rig).await;
    assert_eq!(
        (&told["dead_lettered"], &told["kept"]),
        (&json!(LIMIT), &json!(LIMIT))
    );
    let first = numbers(&rig.entries(QUEUE).await);
    rig.json(&["dlq", "purge", "orders", "--all", "--yes"])
        .await;
    // What waits for a minute is due at once for this test.
    let due: Vec<String> = rig
        .ask(&["ZRANGE", "{orders}:redrive:billing:due", "0", "-1"])
        .await;
    for id in due {
        let _: u64 = rig
            .ask(&["ZADD", "{orders}:redrive:billing:due", "1", &id])
            .await;
    }
    let last = rig.redrive(&worker("20", "stop", &["--until-idle"])).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let told = books(&rig).await;
    let counts = ["dead_lettered", "purged", "kept"].map(|key| told[key].clone());
    assert_eq!(counts, [json!(ALL), json!(LIMIT), json!(LIMIT)]);
    let mut all = numbers(&rig.entries(QUEUE).await);
    all.extend(first);
    assert_eq!((all.len() as u64, pending(&rig).await), (ALL, 0));
}

/// What is in the queue, and what an import of the file brings into an empty one: byte for byte, each once.
async fn assert_all_there(rig: &Rig, file: &Path) {
    let told = books(rig).await;
    assert_eq!(told["dead_lettered"], ALL);
    let (spilled, kept) = (
        told["spilled"].as_u64().unwrap(),
        told["kept"].as_u64().unwrap(),
    );
    assert_eq!(spilled + kept, ALL);
    assert!(kept <= LIMIT && spilled > 0, "{told}");
    let noted: Vec<(String, Vec<String>)> = rig
        .ask(&["XRANGE", "{orders:dlq}:redrive:audit", "-", "+"])
        .await;
    let mut sum = 0;
    for (_, fields) in noted {
        let field = |name: &str| {
            fields
                .iter()
                .skip_while(|field| *field != name)
                .nth(1)
                .cloned()
                .unwrap()
        };
        assert_eq!(
            (&*field("what"), &*field("state"), &*field("outcome")),
            ("spill", "ended", "done")
        );
        assert!(field("selection").starts_with("the oldest ") && field("op").len() == 16);
        assert!(!field("who").is_empty());
        sum += field("spilled").parse::<u64>().unwrap();
    }
    assert_eq!(sum, spilled);

    let left = rig.entries(QUEUE).await;
    let path = file.to_str().unwrap();
    let import = ["dlq", "import", path, "--yes"];
    let report = rig.json(&import).await;
    assert_eq!(report["imported"], spilled, "{report}");
    let again = rig.json(&import).await;
    assert_eq!(again["imported"], 0, "{again}");
    let after = rig.entries(QUEUE).await;
    assert_eq!(after[..left.len()], left[..]);
    assert_eq!(numbers(&after).len() as u64, ALL);
    assert_eq!(after.len() as u64, ALL);
    books(rig).await;
}

#[tokio::test]
async fn under_spill_the_queue_and_the_file_hold_all_that_died() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spilled.jsonl.gz");
    let overflow = format!("spill={}", file.display());
    let rig = Rig::start().await;
    add(&rig, 0, ALL).await;
    kill_until(&rig, &worker("20", &overflow, &[]), ALL - 5).await;
    let last = rig
        .redrive(&worker("20", &overflow, &["--until-idle"]))
        .await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    assert_eq!(pending(&rig).await, 0);
    assert_all_there(&rig, &file).await;
}

/// Killed where it hurts most: the file is written and nothing is removed yet. And once in the middle of an append.
#[tokio::test]
async fn killed_between_the_file_and_the_removal_each_is_imported_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spilled.jsonl.gz");
    let overflow = format!("spill={}", file.display());
    let rig = Rig::start().await;
    add(&rig, 0, ALL).await;
    let proxy = Proxy::in_front_of(&rig.server);
    let args = [&["--url", proxy.url()], &worker("20", &overflow, &[])[..]].concat();
    let held = proxy.arm(
        Target::nth("EVALSHA spill", 1),
        Moment::Arrived,
        Fault::Hold,
    );
    let killed = rig.start_redrive(&args);
    held.struck().await;
    killed.signal(Signal::KILL);
    killed.ended().await;
    let written = fs::metadata(&file).unwrap().len();
    assert!(written > 0);
    assert_eq!(counted(&rig, "spilled").await, 0);
    // And half of another one behind it.
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
    let last = rig
        .redrive(&worker("20", &overflow, &["--until-idle"]))
        .await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    assert!(last.stderr.contains("half an export"), "{}", last.stderr);
    assert_all_there(&rig, &file).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_said_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start().await;
    add(&rig, 0, 1).await;
    let diary = folder.path().join("diary");
    fs::write(&diary, "dear diary").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("planted"), &link).unwrap();
    for (path, said) in [
        (
            folder.path().join("no/such/folder"),
            "No such file or directory",
        ),
        (folder.path().to_path_buf(), ""),
        (diary.clone(), "no gzip member begins"),
        (link, "it is a link"),
    ] {
        let overflow = format!("spill={}", path.display());
        let refused = rig.redrive(&worker("20", &overflow, &[])).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("--dlq-overflow cannot spill to"),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert_eq!(fs::read(&diary).unwrap(), b"dear diary");
    assert!(!folder.path().join("planted").exists());
    let groups: Vec<redis::Value> = rig.ask(&["XINFO", "GROUPS", "orders"]).await;
    assert!(groups.is_empty());
}

#[tokio::test]
async fn a_file_that_goes_bad_stops_and_goes_on_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spilled.jsonl.gz");
    let overflow = format!("spill={}", file.display());
    let rig = Rig::start().await;
    // It holds twice its limit before messages stay pending.
    let worker = rig.start_redrive(&worker("10", &overflow, &[]));
    // The file is made before, and looked at once more: one that has gone by then is an error of its own.
    worker.says("processor started").await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    add(&rig, 0, ALL).await;
    worker.says("cannot be spilled").await;
    eventually(SOON, "the queue is full", async || {
        rig.length(QUEUE).await == LIMIT
    })
    .await;
    assert_eq!(counted(&rig, "spilled").await, 0);
    fs::remove_dir(&file).unwrap();
    worker.says("are spilled again").await;
    eventually(SOON, "all have died", async || pending(&rig).await == 0).await;
    worker.signal(Signal::TERM);
    let ended = worker.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("cannot be spilled").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_all_there(&rig, &file).await;
}

/// Bytes are asked of the server: who may not be told says so, before anything is read.
#[tokio::test]
async fn a_limit_by_bytes_is_kept_and_without_the_right_to_measure_refused() {
    let rig = Rig::start().await;
    add(&rig, 0, 100).await;
    let run = worker("bytes=16KiB", "drop-oldest", &["--until-idle"]);
    let done = rig.redrive(&run).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let told = books(&rig).await;
    assert!(told["dropped"].as_u64().unwrap() > 0, "{told}");
    let bytes: u64 = rig.ask(&["MEMORY", "USAGE", QUEUE]).await;
    assert!(bytes <= 16 * 1024, "{bytes}");

    let user = [
        "ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-memory",
    ];
    let _: String = rig.ask(&user).await;
    let url = format!("redis://worker:secret@127.0.0.1:{}", rig.server.port());
    let refused = rig.redrive(&[&["--url", &url], &run[..]].concat()).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("+memory|usage"),
        "{}",
        refused.stderr
    );
}

/// The limit was not kept, and nobody knew but the server's log.
#[tokio::test]
async fn a_limit_that_drops_and_may_not_is_refused_before_anything_is_read() {
    let rig = Rig::start().await;
    add(&rig, 0, 1).await;
    let user = [
        "ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-xtrim",
    ];
    let _: String = rig.ask(&user).await;
    let url = format!("redis://worker:secret@127.0.0.1:{}", rig.server.port());
    let run = worker("4", "drop-oldest", &["--until-idle"]);
    let refused = rig.redrive(&[&["--url", &url], &run[..]].concat()).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("+xtrim"), "{}", refused.stderr);
    assert_eq!(rig.length(QUEUE).await, 0);
    let stops = worker("4", "stop", &["--until-idle"]);
    let done = rig.redrive(&[&["--url", &url], &stops[..]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}
