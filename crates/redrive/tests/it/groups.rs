//! What a group leaves alone, and what it leaves behind.

use redrive::{Message, Outcome, ReplayOptions, Selection, Source};

use crate::rig::{Rig, Runs, quick};

#[tokio::test]
async fn another_group_on_the_stream_sees_every_entry_once_and_never_a_retry() {
    let rig = Rig::start().await;
    let ids = rig.add(100).await;
    let failing = Runs::default();
    let noting = failing.clone();
    let mut retries = rig
        .builder()
        .build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            async move { message.is_multiple_of(2) && run == 2 }
        })
        .unwrap();
    let seen = Runs::default();
    let noting = seen.clone();
    let mut audit = quick(&rig.broker, Source::new("orders", "audit").unwrap())
        .build(move |message: Message<u32>| {
            assert_eq!(message.attempt(), 1);
            noting.note(message.id());
            async {}
        })
        .unwrap();
    let (retries, first) = tokio::join!(retries.run_until_idle(), audit.run_until_idle());
    let retries = retries.unwrap();
    assert_eq!((retries.succeeded, retries.dead_lettered), (50, 50));
    assert_eq!(failing.len(), 50 * 2 + 50 * 3);
    let second = audit.run_until_idle().await.unwrap();
    assert_eq!(first.unwrap().succeeded + second.succeeded, 100);
    assert_eq!((seen.len(), seen.distinct()), (100, ids));
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 100);
}

#[tokio::test]
async fn a_drained_group_leaves_no_key_but_its_mark_the_books_and_what_expires() {
    let rig = Rig::start().await;
    rig.add(50).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let mut processor = rig
        .builder()
        .build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            async move {
                match (*message % 5, run) {
                    (0, _) => Outcome::dead_letter("never"),
                    (1, 1) => Outcome::defer(std::time::Duration::from_millis(20)),
                    (2, 1) => Outcome::retry("once"),
                    (3, _) => Outcome::discard("old"),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!((totals.dead_lettered, totals.discarded), (10, 10));
    let some = Selection::all().limit(4);
    let replay = ReplayOptions::default();
    rig.dlq().replay_many(&some, &replay).await.unwrap();
    rig.dlq().purge(&some).await.unwrap();
    processor.run_until_idle().await.unwrap();

    assert_eq!(rig.consumers().await, Vec::<String>::new());
    let mut lasting = Vec::new();
    for key in rig.keys().await {
        if rig.ask::<i64>(&format!("PTTL {key}")).await < 0 {
            lasting.push(key);
        }
    }
    let ledger = "{orders:dlq}:redrive:ledger";
    let mark = "{orders}:redrive:billing:meta";
    let record = "{orders:dlq}:redrive:audit";
    assert_eq!(lasting, ["orders", "orders:dlq", record, ledger, mark]);
    let counts: std::collections::BTreeMap<String, u64> =
        rig.ask(&format!("HGETALL {ledger}")).await;
    let counted = |name: &str| counts.get(name).copied().unwrap_or(0);
    let kept = rig.ask::<u64>("XLEN orders:dlq").await;
    assert_eq!(
        counted("dead_lettered"),
        kept + counted("replayed") + counted("purged")
    );
}
