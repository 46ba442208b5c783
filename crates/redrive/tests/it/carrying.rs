//! Dead letters carried from one place to another: every byte, each once, whatever happens on the way.

use std::time::Duration;

use redrive::{
    ArchiveReader, Broker, ErrorKind, ImportOptions, ImportOutcome, ImportReport, Importing,
    Selection,
};
use redrive_testkit::{Proxy, Server};

use crate::rig::{Rig, bytes, stream};

const LEDGER: &str = "HGET {orders:dlq}:redrive:ledger imported";

/// Dead letters of all layouts, and of none: so many of each, one of them with more fields than a
/// script can add.
async fn bury(rig: &Rig, many: u32) {
    for n in 0..many {
        let n = n.to_string();
        let mut flat = bytes(&["n", &n, "n", "", "original_stream", "orders", "original_id"]);
        flat.extend(bytes(&["17-1", "failure_reason", "max_retries_exceeded"]));
        flat.extend(bytes(&["attempts", "3", "dlq_timestamp", "1732250000.1"]));
        rig.xadd("orders:dlq", &flat).await;
        let mut envelope = bytes(&["original_stream", "orders", "original_msg_id", "17-1"]);
        envelope.extend(bytes(&[
            "error", "no", "attempt", "3", "data", "", "ts", "1",
        ]));
        envelope.extend([b"trace_id".to_vec(), vec![0xff, 0, 0x1b]]);
        rig.xadd("orders:dlq", &envelope).await;
        let mut native = vec![vec![0xfe], n.into_bytes()];
        native.extend(bytes(&["redrive-v", "1", "redrive-fields", "1"]));
        native.extend(bytes(&[
            "redrive-stream",
            "orders",
            "redrive-reason",
            "rejected",
        ]));
        rig.xadd("orders:dlq", &native).await;
        let tombstone = bytes(&[
            "redrive-v",
            "1",
            "redrive-fields",
            "0",
            "redrive-reason",
            "trimmed",
        ]);
        rig.xadd("orders:dlq", &tombstone).await;
        rig.xadd("orders:dlq", &[&b""[..], &b""[..]]).await;
    }
    let large: Vec<String> = (0..10_000).map(|n| (n % 7_000).to_string()).collect();
    rig.xadd("orders:dlq", &large).await;
}

/// What a queue holds, without the ids.
async fn stored(rig: &Rig, key: &str) -> Vec<Vec<Vec<u8>>> {
    let entries = rig.entries(key).await;
    entries.into_iter().map(|(_, fields)| fields).collect()
}

async fn export(broker: &Broker) -> String {
    let queue = broker.dead_letters(stream("orders:dlq"));
    queue.export(&Selection::all()).await.unwrap()
}

#[tokio::test]
async fn every_layout_arrives_on_another_server_byte_for_byte() {
    let (here, there) = (Rig::start().await, Rig::start().await);
    bury(&here, 3).await;
    let before = here.keys().await;
    let text = export(&here.broker).await;
    assert_eq!(here.keys().await, before);
    let options = ImportOptions::default();
    let report = there
        .broker
        .import(text.as_bytes(), &options)
        .await
        .unwrap();
    assert_eq!(
        (report.dead_letters, report.imported, report.already),
        (16, 16, 0)
    );
    assert_eq!(
        stored(&there, "orders:dlq").await,
        stored(&here, "orders:dlq").await
    );
    let ids = |entries: Vec<(String, Vec<Vec<u8>>)>| -> Vec<String> {
        entries.into_iter().map(|(id, _)| id).collect()
    };
    let told = |part: fn(&redrive::ImportResult) -> redrive::EntryId| -> Vec<String> {
        let all = report.new_ids.iter();
        all.map(|one| part(one).to_string()).collect()
    };
    assert_eq!(told(|one| one.id), ids(here.entries("orders:dlq").await));
    assert_eq!(
        told(|one| one.new_id),
        ids(there.entries("orders:dlq").await)
    );
    assert_eq!(there.ask::<u64>(LEDGER).await, 16);

    let again = there
        .broker
        .import(text.as_bytes(), &options)
        .await
        .unwrap();
    assert_eq!((again.imported, again.already), (0, 16));
    assert!(
        again
            .new_ids
            .iter()
            .all(|one| one.outcome == ImportOutcome::Already)
    );
    let elsewhere = options.into_queue(stream("kept")).again("for good");
    let moved = there
        .broker
        .import(text.as_bytes(), &elsewhere)
        .await
        .unwrap();
    assert_eq!((moved.imported, moved.already), (16, 0));
    assert_eq!(
        stored(&there, "kept").await,
        stored(&here, "orders:dlq").await
    );
    assert_eq!(there.ask::<u64>(LEDGER).await, 16);
    for key in there.keys().await {
        let left: i64 = there.ask(&format!("PTTL {key}")).await;
        assert_eq!(key.contains(":imported:"), left > 0, "{key}: {left}");
    }
}

/// The import of a text, to be driven step by step.
fn importing(broker: &Broker, text: &str) -> Importing {
    let mut reader = ArchiveReader::new();
    let mut all = Vec::new();
    for line in text.lines() {
        all.extend(reader.line(line.as_bytes()).unwrap());
    }
    let archive = reader.finish().unwrap();
    let mut importing = broker.importing(&archive, &ImportOptions::default());
    all.into_iter().for_each(|one| importing.add(one));
    importing
}

async fn whatever_happens(broker: &Broker, text: &str) -> ImportReport {
    let mut importing = importing(broker, text);
    loop {
        match importing.step().await {
            Ok(Some(_)) => {}
            Ok(None) => return importing.into_report(),
            Err(error) => assert!(error.kind().is_transient(), "{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_imports_at_once_with_replies_lost_at_random_add_each_once() {
    let here = Rig::start().await;
    bury(&here, 60).await;
    let text = export(&here.broker).await;
    let there = Rig::start().await;
    let proxy = Proxy::in_front_of(&there.server);
    let brokers = (
        Broker::connect(proxy.url()).await.unwrap(),
        Broker::connect(proxy.url()).await.unwrap(),
    );
    let seed = fastrand_seed();
    // One in three of a handful of calls: each import is cut off in the middle.
    proxy.reset_at_random(3, seed);
    let (one, other) = tokio::join!(
        whatever_happens(&brokers.0, &text),
        whatever_happens(&brokers.1, &text)
    );
    proxy.reset_at_random(0, seed);
    println!("seed {seed}, {} resets", proxy.random_resets());
    assert!(proxy.random_resets() > 0, "nothing was lost: seed {seed}");
    for report in [&one, &other] {
        assert_eq!(report.imported + report.already, 301, "{seed}");
    }
    assert_eq!(one.new_ids.len(), 301);
    let mut told = (one.new_ids, other.new_ids);
    told.0.iter_mut().chain(&mut told.1).for_each(|one| {
        one.outcome = ImportOutcome::Already;
    });
    assert_eq!(told.0, told.1, "{seed}");
    let mut expected = stored(&here, "orders:dlq").await;
    let mut found = stored(&there, "orders:dlq").await;
    expected.sort();
    found.sort();
    assert!(found == expected, "{} of 301: seed {seed}", found.len());
    assert_eq!(there.ask::<u64>(LEDGER).await, 301);
}

/// Of this run: printed with what fails.
fn fastrand_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(now.unwrap().subsec_nanos())
}

#[tokio::test]
async fn steps_that_are_dropped_in_the_middle_double_and_skip_nothing() {
    let here = Rig::start().await;
    bury(&here, 60).await;
    let text = export(&here.broker).await;
    let there = Rig::start().await;
    let mut importing = importing(&there.broker, &text);
    let mut dropped = 0;
    for patience in (0..).map(|n| Duration::from_micros(n * 150)) {
        match tokio::time::timeout(patience, importing.step()).await {
            Err(_) => dropped += 1,
            Ok(stepped) => {
                if stepped.unwrap().is_none() {
                    break;
                }
            }
        }
    }
    assert!(dropped > 0);
    assert_eq!(importing.report().imported, 301);
    assert_eq!(
        stored(&there, "orders:dlq").await,
        stored(&here, "orders:dlq").await
    );
    assert_eq!(there.ask::<u64>(LEDGER).await, 301);
}

#[tokio::test]
async fn a_server_without_memory_refuses_an_import_and_takes_it_later() {
    let here = Rig::start().await;
    bury(&here, 1).await;
    let text = export(&here.broker).await;
    let there = Rig::on(Server::builder().start().await).await;
    for config in ["maxmemory 1", "maxmemory 0"] {
        there.ask::<()>(&format!("CONFIG SET {config}")).await;
        let mut importing = importing(&there.broker, &text);
        if config == "maxmemory 0" {
            while importing.step().await.unwrap().is_some() {}
            assert_eq!(importing.report().imported, 6);
            continue;
        }
        let refused = importing.step().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WritesRefused, "{refused:?}");
        assert!(refused.cure().is_some(), "{refused:?}");
        assert_eq!(there.keys().await, Vec::<String>::new());
    }
    assert_eq!(there.ask::<u64>(LEDGER).await, 6);
}

#[tokio::test]
async fn a_queue_that_is_no_stream_is_named_and_the_import_goes_on_when_it_is() {
    let here = Rig::start().await;
    bury(&here, 1).await;
    let text = export(&here.broker).await;
    let there = Rig::start().await;
    there.ask::<()>("SET orders:dlq x").await;
    let mut importing = importing(&there.broker, &text);
    let refused = importing.step().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongType);
    assert!(refused.to_string().contains("orders:dlq"), "{refused}");
    there.ask::<()>("DEL orders:dlq").await;
    while importing.step().await.unwrap().is_some() {}
    assert_eq!(
        (importing.report().imported, importing.report().already),
        (6, 0)
    );
    assert_eq!(
        stored(&there, "orders:dlq").await,
        stored(&here, "orders:dlq").await
    );
}

#[tokio::test]
async fn a_damaged_text_imports_nothing() {
    let here = Rig::start().await;
    bury(&here, 1).await;
    let text = export(&here.broker)
        .await
        .replace("\"orders\"", "\"order\"");
    let there = Rig::start().await;
    let options = ImportOptions::default();
    let refused = there.broker.import(text.as_bytes(), &options).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(there.keys().await, Vec::<String>::new());
}
