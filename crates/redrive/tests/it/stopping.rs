//! Stopping politely: what was not started goes to others at once, what runs finishes, nothing runs twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redrive::Message;
use redrive_testkit::eventually;
use tokio::sync::Semaphore;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker};

#[tokio::test]
async fn stopped_under_load_hands_over_at_once_finishes_what_runs_and_leaves() {
    let rig = Rig::start().await;
    let ids = rig.add(100).await;
    let gate = Arc::new(Semaphore::new(0));
    let runs = Runs::default();
    let (noting, gated) = (runs.clone(), Arc::clone(&gate));
    let leaving = Worker::start(
        rig.builder()
            .concurrency(4)
            .prefetch(100)
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                let gated = Arc::clone(&gated);
                async move { gated.acquire().await.unwrap().forget() }
            })
            .unwrap(),
    );
    eventually(SOON, "all in its hands", async || {
        match (runs.len(), rig.unsettled().await) {
            (4, Ok(100)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let noting = runs.clone();
    let staying = Worker::start(
        rig.builder()
            .build(move |message: Message<u32>| {
                assert_eq!(message.attempt(), 1);
                noting.note(message.id());
                async {}
            })
            .unwrap(),
    );
    eventually(SOON, "both there", async || {
        rig.consumers().await.len() == 2
    })
    .await;

    let (leaver, stayer) = (leaving.consumer.to_string(), staying.consumer.to_string());
    let signalled = Instant::now();
    let left = leaving.signal();
    // Far below the lease of 30 s: nobody waits for it.
    eventually(Duration::from_secs(15), "96 run elsewhere", async || {
        runs.cover(&ids)
    })
    .await;
    println!("handed over in {:?}", signalled.elapsed());
    assert!(!left.is_finished(), "it waits for what still runs");
    gate.add_permits(4);
    let left = left.await.unwrap().unwrap();
    assert_eq!((left.succeeded, left.released, left.cut_off), (4, 96, 0));
    assert_eq!(rig.consumers().await, [stayer]);
    let registered: Vec<String> = rig.ask("HKEYS {orders}:redrive:billing:consumers").await;
    assert!(!registered.contains(&leaver));
    assert_eq!(staying.stop().await.succeeded, 96);
    assert_eq!(runs.len(), 100);
    assert!(rig.pending().await.is_empty());
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
}

#[tokio::test]
async fn what_outlives_the_drain_time_is_cut_off_and_handed_back_uncharged() {
    let rig = Rig::start().await;
    let ids = rig.add(8).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let leaving = Worker::start(
        rig.builder()
            .drain(Duration::from_millis(100))
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                std::future::pending::<()>()
            })
            .unwrap(),
    );
    eventually(SOON, "all run", async || runs.cover(&ids)).await;
    let left = leaving.stop().await;
    assert_eq!((left.released, left.cut_off, left.failed), (8, 8, 0));

    let mut staying = rig
        .builder()
        .build(async |message: Message<u32>| assert_eq!(message.attempt(), 1))
        .unwrap();
    let recovered = staying.recover().await.unwrap();
    assert_eq!((recovered.taken, recovered.succeeded), (8, 8));
    assert_eq!(rig.consumers().await, Vec::<String>::new());
}

#[tokio::test]
async fn workers_that_come_and_go_under_load_run_nothing_twice() {
    let rig = Rig::start().await;
    let ids = rig.add(1_500).await;
    let runs = Runs::default();
    let worker = || {
        let noting = runs.clone();
        let processor = rig
            .builder()
            .concurrency(8)
            .build(move |message: Message<u32>| {
                assert_eq!(message.attempt(), 1);
                noting.note(message.id());
                async {
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                }
            })
            .unwrap();
        Worker::start(processor)
    };
    let (mut totals, mut staying) = (Vec::new(), worker());
    for _ in 0..15 {
        let next = worker();
        let enough = (runs.len() + 40).min(ids.len());
        eventually(SOON, "some runs", async || runs.len() >= enough).await;
        totals.push(staying.stop().await);
        staying = next;
    }
    eventually(SOON, "all run", async || runs.cover(&ids)).await;
    totals.push(staying.stop().await);
    assert_eq!(runs.len(), ids.len());
    let succeeded: u64 = totals.iter().map(|totals| totals.succeeded).sum();
    assert_eq!(succeeded, 1_500);
    assert!(rig.pending().await.is_empty());
    assert_eq!(rig.consumers().await, Vec::<String>::new());
    let mark = "{orders}:redrive:billing:meta";
    assert_eq!(rig.keys().await, ["orders", mark]);
}
