//! A dead-letter queue with a limit, on a real server: the books under a race, and a full one without memory.

use std::time::Duration;

use redrive::{DeadLetterLimit, Message, Overflow, RetryPolicy, Selection};
use redrive_testkit::eventually;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::SOON;
use crate::rig::{Rig, Worker, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_eight_workers_bring_to_a_queue_is_in_it_or_counted_as_dropped() {
    let rig = Rig::start().await;
    rig.add(200).await;
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let broker = rig.another_broker().await;
        let mut processor = quick(&broker, rig.source())
            .batch(10)
            .dead_letter_limit(DeadLetterLimit::new(20, Overflow::DropOldest))
            .build(async |_: Message<u32>| false)
            .unwrap();
        workers.spawn(async move { processor.run_until_idle().await.unwrap() });
    }
    let totals = workers.join_all().await;
    let dead: u64 = totals.iter().map(|totals| totals.dead_lettered).sum();
    assert_eq!(dead, 200);
    let ledger = "HMGET {orders:dlq}:redrive:ledger dead_lettered dropped";
    assert_eq!(rig.ask::<(u64, u64)>(ledger).await, (200, 180));
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!((stats.dlq_length, stats.dlq_dropped), (20, 180));
}

/// What keeps a message pending must go through when the server takes nothing more: its failure would
/// be forgotten, and its slot held.
#[tokio::test]
async fn before_a_full_queue_a_failure_is_recorded_on_a_server_without_memory_too() {
    let rig = Rig::start().await;
    let (go, going) = watch::channel(0);
    let worker = Worker::start(
        rig.builder()
            .retry(RetryPolicy::immediate().max_attempts(1))
            .dead_letter_limit(DeadLetterLimit::new(1, Overflow::Stop))
            .build(move |message: Message<u32>| {
                let mut going = going.clone();
                async move {
                    going.wait_for(|so_far| so_far > &*message).await.unwrap();
                    false
                }
            })
            .unwrap(),
    );
    let ids = rig.add(2).await;
    go.send(1).unwrap();
    eventually(SOON, "the first dead letter", async || {
        match rig.ask::<u64>("XLEN orders:dlq").await {
            1 => Ok(()),
            length => Err(length),
        }
    })
    .await;
    rig.ask::<String>("CONFIG SET maxmemory 1").await;
    go.send(2).unwrap();
    let due = "ZRANGE {orders}:redrive:billing:due 0 -1";
    let kept = vec![ids[1].to_string()];
    eventually(SOON, "that it waits", async || {
        match rig.ask::<Vec<String>>(due).await {
            waiting if waiting == kept => Ok(()),
            waiting => Err(waiting),
        }
    })
    .await;
    rig.ask::<String>("CONFIG SET maxmemory 0").await;
    let state = format!("HGET {{orders}}:redrive:billing:state {}", ids[1]);
    assert!(rig.ask::<String>(&state).await.starts_with("1 0 0 1 "));
    let purged = rig.dlq().purge(&Selection::all()).await.unwrap();
    assert_eq!(purged.purged, 1);
    let now = format!("ZADD {{orders}}:redrive:billing:due XX 1 {}", ids[1]);
    rig.ask::<u64>(&now).await;
    eventually(
        Duration::from_secs(10),
        "nothing pending",
        async || match rig.pending().await.len() {
            0 => Ok(()),
            pending => Err(pending),
        },
    )
    .await;
    let totals = worker.stop().await;
    assert_eq!((totals.failed, totals.dead_lettered), (2, 2));
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 1);
}
