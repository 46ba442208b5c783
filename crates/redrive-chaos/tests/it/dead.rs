//! Dead letters by the thousand, for tests that put them back.

use std::collections::BTreeMap;

use redrive::{Broker, Fields, Message, Outcome, Processor, Raw, Source};
use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;

use crate::arena::{Arena, DLQ, GROUP, STREAM};

/// Sends so many messages, each of which is refused.
pub(crate) async fn letters(arena: &mut Arena, many: Number) {
    let mut redis = arena.redis.clone();
    arena.load.add(&mut redis, 0..many, |_| Deed::Reject).await;
    let broker = Broker::connect(&arena.server.url()).await.unwrap();
    let mut processor = Processor::builder(&broker, Source::new(STREAM, GROUP).unwrap())
        .codec(Raw)
        .concurrency(500)
        .batch(500)
        .build(async |_: Message<Fields>| Outcome::dead_letter("told to refuse"))
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!(totals.dead_lettered, many);
    assert_eq!(left(arena).await, many);
}

/// How many are left in the queue.
pub(crate) async fn left(arena: &Arena) -> u64 {
    arena.ask(&format!("XLEN {DLQ}")).await
}

/// Every message is on its stream as it was first sent, and once more: no more, no less. And the books say so.
pub(crate) async fn each_is_back_once(what: &str, arena: &Arena, many: Number) {
    assert_eq!(left(arena).await, 0, "left in the queue");
    let mut back: BTreeMap<Number, u64> = BTreeMap::new();
    for (id, pairs) in arena.entries(STREAM).await {
        if arena.load.acknowledged.contains_key(&id) {
            continue;
        }
        let number = std::str::from_utf8(&pairs[0].1).unwrap().parse().unwrap();
        *back.entry(number).or_default() += 1;
    }
    let doubled = back.values().filter(|times| **times > 1).count();
    let lost = (0..many)
        .filter(|number| !back.contains_key(number))
        .count();
    println!(
        "{what}: attempted={many} back={} lost={lost} doubled={doubled}",
        back.len()
    );
    assert_eq!((lost, doubled), (0, 0));
    assert_eq!(back.len() as u64, many);
    let ledger: BTreeMap<String, u64> = arena
        .ask(&format!("HGETALL {{{DLQ}}}:redrive:ledger"))
        .await;
    assert_eq!(ledger["dead_lettered"], many);
    assert_eq!(ledger["replayed"], many);
}
