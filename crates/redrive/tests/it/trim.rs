//! Trimming a stream that is in use: what is done goes, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redrive::{ErrorKind, Message, Outcome};
use redrive_testkit::eventually;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker, quick, stream};

/// Some fail once, so that they are pending while the stream goes on; others are taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_is_trimmed_without_pause_loses_nothing_and_leaves_no_tombstone() {
    let rig = Rig::start().await;
    let runs = Runs::default();
    let mut workers = Vec::new();
    for _ in 0..2 {
        let runs = runs.clone();
        let broker = rig.another_broker().await;
        let processor = quick(&broker, rig.source())
            .batch(20)
            .build(move |message: Message<u32>| {
                let first = runs.note(message.id()) == 1;
                std::future::ready(match (*message % 7, first) {
                    (0, true) => Outcome::retry("not yet"),
                    _ => Outcome::Ack,
                })
            })
            .unwrap();
        workers.push(Worker::start(processor));
    }
    let producing = Arc::new(AtomicBool::new(true));
    let trimmer = {
        let (broker, producing) = (rig.another_broker().await, Arc::clone(&producing));
        tokio::spawn(async move {
            let (mut removed, mut trims) = (0, 0);
            while producing.load(Ordering::Acquire) {
                match broker.trim(&stream("orders")).await {
                    Ok(report) => removed += report.removed,
                    // Not there yet.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
                }
                trims += 1;
            }
            (removed, trims)
        })
    };
    let mut added = Vec::new();
    for _ in 0..100 {
        added.extend(rig.add(50).await);
    }
    eventually(SOON, "every message run and settled", async || {
        runs.cover(&added)?;
        match rig.unsettled().await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    producing.store(false, Ordering::Release);
    let (removed, trims) = trimmer.await.unwrap();
    let mut succeeded = 0;
    for worker in workers {
        let totals = worker.stop().await;
        assert_eq!(totals.dead_lettered, 0);
        succeeded += totals.succeeded;
    }
    assert_eq!(succeeded, added.len() as u64);
    assert!(
        removed > 0 && trims > 1,
        "{removed} removed in {trims} trims"
    );
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
    let left = rig.broker.trim(&stream("orders")).await.unwrap();
    assert_eq!((removed + left.removed, left.left), (succeeded, 0));
}

#[tokio::test]
async fn a_group_of_anybodys_holds_back_what_it_has_not_acknowledged() {
    let rig = Rig::start().await;
    let ids = rig.add(3).await;
    rig.builder()
        .build(async |_: Message<u32>| {})
        .unwrap()
        .run_until_idle()
        .await
        .unwrap();
    rig.ask::<String>("XGROUP CREATE orders python 0").await;
    rig.ask::<redis::Value>("XREADGROUP GROUP python p COUNT 2 STREAMS orders >")
        .await;
    rig.ask::<u64>(&format!("XACK orders python {}", ids[0]))
        .await;
    let report = rig.broker.trim(&stream("orders")).await.unwrap();
    assert_eq!((report.removed, report.left), (1, 2));
    assert_eq!(report.held_by_group.unwrap().as_str(), "python");
    assert_eq!(report.held_by_id, Some(ids[1]));
    let missing = rig.broker.trim(&stream("nothing")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}
