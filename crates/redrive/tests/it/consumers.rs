//! Consumers that are no more: who is left in the group.

use std::future::pending;
use std::time::Duration;

use redrive::Message;
use redrive_testkit::eventually;
use tokio::task::JoinSet;

use crate::SOON;
use crate::rig::{Rig, Worker, quick};

const LEASE: Duration = Duration::from_millis(300);

/// Each restart is a crash under another random name: nobody leaves politely, and half of them have
/// a message in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_hundred_restarts_leave_no_more_than_the_living() {
    let rig = Rig::start().await;
    let living = quick(&rig.broker, rig.source())
        .lease(LEASE)
        .build(async |_: Message<u32>| {})
        .unwrap();
    let living = Worker::start(living);
    let mut crashing = JoinSet::new();
    for _ in 0..10 {
        let broker = rig.another_broker().await;
        let source = rig.source();
        crashing.spawn(async move {
            for _ in 0..30 {
                let mut processor = quick(&broker, source.clone())
                    .lease(LEASE)
                    .build(async |_: Message<u32>| pending::<()>().await)
                    .unwrap();
                let run = processor.run_batches(1_000);
                // Dropped: a crash.
                let _ = tokio::time::timeout(Duration::from_millis(20), run).await;
            }
        });
    }
    let mut sent = 0;
    while !crashing.is_empty() {
        sent += rig.add(5).await.len();
        let _ = tokio::time::timeout(Duration::from_millis(50), crashing.join_next()).await;
    }
    eventually(SOON, "nobody but the living in the group", async || match (
        rig.unsettled().await,
        rig.consumers().await,
    ) {
        (Ok(0), left) if left == [living.consumer.to_string()] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let totals = living.stop().await;
    assert!(totals.succeeded <= sent as u64 && totals.dead_lettered == 0);
    assert!(rig.consumers().await.is_empty());
    let registered: u64 = rig.ask("EXISTS {orders}:redrive:billing:consumers").await;
    assert_eq!(registered, 0);
}
