//! Retries: a failed message stays pending until it succeeds, and Redis' own books say so.

use std::time::Duration;

use redrive::{Breaker, Message, Outcome};

use crate::rig::{Rig, Runs};

#[tokio::test]
async fn what_fails_once_succeeds_on_its_second_run_and_xpending_tells_the_truth_in_between() {
    let rig = Rig::start().await;
    let ids = rig.add(60).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let mut processor = rig
        .builder()
        // Every one of them fails, which is not what is looked at here.
        .breaker(Breaker::Off)
        .build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            assert_eq!(message.attempt() as usize, run);
            async move {
                match run {
                    1 => Outcome::retry_after("not yet", Duration::from_secs(1)),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap();
    assert_eq!(processor.run_batches(1).await.unwrap(), 0);
    assert_eq!(processor.totals().retried, 60);
    let consumer = processor.options().consumer.to_string();
    let pending: Vec<(String, String, u64)> = rig
        .pending()
        .await
        .into_iter()
        .map(|(id, owner, _, count)| (id, owner, count))
        .collect();
    let waiting: Vec<(String, String, u64)> = ids
        .iter()
        .map(|id| (id.to_string(), consumer.clone(), 1))
        .collect();
    assert_eq!(pending, waiting);
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!(
        (stats.pending_messages, stats.waiting),
        (Some(60), Some(60))
    );

    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (60, 0));
    assert_eq!((runs.len(), runs.distinct()), (120, ids));
    assert!(rig.pending().await.is_empty());
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!((stats.pending_messages, stats.waiting), (Some(0), Some(0)));
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 60);
}
