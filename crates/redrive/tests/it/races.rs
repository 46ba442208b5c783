//! Many at once: one death is one dead letter, one replay is one message.

use std::collections::BTreeSet;

use redrive::{Message, ReplayOptions, Selection};
use tokio::task::JoinSet;

use crate::rig::{Rig, bytes, quick, stream};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_on_100_messages_that_always_fail_leave_100_dead_letters() {
    let rig = Rig::start().await;
    let ids = rig.add(100).await;
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let broker = rig.another_broker().await;
        let mut processor = quick(&broker, rig.source())
            .batch(10)
            .build(async |_: Message<u32>| false)
            .unwrap();
        workers.spawn(async move { processor.run_until_idle().await.unwrap() });
    }
    let totals = workers.join_all().await;
    let dead: u64 = totals.iter().map(|totals| totals.dead_lettered).sum();
    let failed: u64 = totals.iter().map(|totals| totals.failed).sum();
    assert_eq!((dead, failed), (100, 300));
    let letters = rig.entries("orders:dlq").await;
    assert_eq!(letters.len(), 100);
    let originals: BTreeSet<String> = letters
        .iter()
        .map(|(_, fields)| {
            let at = fields
                .iter()
                .position(|name| name == b"redrive-id")
                .unwrap();
            String::from_utf8(fields[at + 1].clone()).unwrap()
        })
        .collect();
    assert_eq!(originals, ids.iter().map(ToString::to_string).collect());
    let ledger = "HGET {orders:dlq}:redrive:ledger dead_lettered";
    assert_eq!(rig.ask::<u64>(ledger).await, 100);
    assert!(rig.pending().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replays_of_the_same_300_dead_letters_at_once_put_300_messages_back() {
    let rig = Rig::start().await;
    let mut dead = BTreeSet::new();
    for n in 0..300 {
        let mut letter = bytes(&["n", &n.to_string(), "original_stream", "orders"]);
        letter.extend(bytes(&["original_id", "17-1", "failure_reason"]));
        letter.extend(bytes(&["max_retries_exceeded", "attempts", "3"]));
        letter.extend(bytes(&["dlq_timestamp", "1732250000.1"]));
        dead.insert(rig.xadd("orders:dlq", &letter).await.into_bytes());
    }
    let operator = || async {
        let broker = rig.another_broker().await;
        let queue = broker.dead_letters(stream("orders:dlq"));
        let all = (Selection::all(), ReplayOptions::default());
        queue.replay_many(&all.0, &all.1).await.unwrap()
    };
    let (one, other) = tokio::join!(operator(), operator());
    assert_eq!(one.replayed + other.replayed, 300, "{one:?} {other:?}");
    assert_eq!((one.failed, other.failed), (0, 0), "{one:?} {other:?}");
    for report in [&one, &other] {
        assert_eq!(report.selected, report.replayed + report.already);
    }
    let back = rig.entries("orders").await;
    assert_eq!(back.len(), 300);
    let from: BTreeSet<Vec<u8>> = back
        .iter()
        .map(|(_, fields)| fields.last().unwrap().clone())
        .collect();
    assert_eq!(from, dead);
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 0);
}
