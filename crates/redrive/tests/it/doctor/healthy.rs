//! Nothing is found where nothing is wrong, whoever works there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redrive::{Checkup, Message, Outcome, Severity};
use redrive_testkit::eventually;

use super::{orders, sound};
use crate::SOON;
use crate::rig::{Worker, quick};

/// Some fail and wait, one dies, some are taken over; the doctor looks all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_of_redrive_that_work_are_in_good_health() {
    let rig = sound().await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        let broker = rig.another_broker().await;
        let processor = quick(&broker, rig.source())
            .batch(20)
            .build(async |message: Message<u32>| match *message % 50 {
                7 if message.attempt() == 1 => Outcome::retry("not yet"),
                9 => Outcome::dead_letter("never"),
                _ => Outcome::Ack,
            })
            .unwrap();
        workers.push(Worker::start(processor));
    }
    let many = Arc::new(AtomicU64::new(0));
    for _ in 0..20 {
        rig.add(50).await;
        for checkup in [orders(), Checkup::of_everything()] {
            let found = rig.finds(&checkup).await;
            assert!(
                found.iter().all(|one| one.severity == Severity::Note),
                "{found:#?}"
            );
            many.fetch_add(1, Ordering::Relaxed);
        }
    }
    eventually(SOON, "all done", async || match rig.unsettled().await {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let all = rig.finds(&Checkup::of_everything()).await;
    assert_eq!(all, [], "while the workers wait");
    rig.broker.trim(&"orders".parse().unwrap()).await.unwrap();
    for worker in workers {
        worker.stop().await;
    }
    let all = rig.finds(&Checkup::of_everything()).await;
    let worse = all.iter().filter(|one| one.severity > Severity::Note);
    assert_eq!(worse.count(), 0, "after them: {all:#?}");
}

#[tokio::test]
async fn plain_workers_that_work_are_in_good_health() {
    let rig = sound().await;
    rig.holds(1..=40).await;
    for consumer in ["python-1", "python-2"] {
        let create = format!("XGROUP CREATECONSUMER orders billing {consumer}");
        let _: u64 = rig.ask(&create).await;
    }
    let mut ended = 0;
    for round in 0..10 {
        let consumer = format!("python-{}", 1 + round % 2);
        rig.reads(&consumer, 4).await;
        assert_eq!(rig.finds(&orders()).await, [], "{round}");
        for id in ended + 1..=ended + 4 {
            let _: u64 = rig.ask(&format!("XACK orders billing {id}-0")).await;
        }
        ended += 4;
        let _: u64 = rig.ask(&format!("XTRIM orders MINID {ended}-0")).await;
    }
    let found = rig.finds(&orders()).await;
    let worse = found.iter().any(|one| one.severity > Severity::Note);
    assert!(!worse, "{found:#?}");
}

/// The doctor changes nothing, not even how long ago somebody was seen.
#[tokio::test]
async fn looking_changes_nothing() {
    let rig = sound().await;
    rig.holds(1..=9).await;
    rig.reads("python", 5).await;
    let dump = async || {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        for key in rig.keys().await {
            let dump = rig.ask(&format!("DUMP {key}")).await;
            all.push((key, dump));
        }
        all
    };
    let before = dump().await;
    let checkup = orders()
        .silent(Duration::ZERO)
        .foreign_lease(Duration::ZERO);
    assert!(!rig.finds(&checkup).await.is_empty());
    assert_eq!(dump().await, before);
}
