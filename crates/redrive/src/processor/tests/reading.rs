//! How many reads are under way at once.

use std::future::ready;
use std::time::Duration;

use tokio::time::Instant;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Lab, SECOND};
use crate::message::Message;
use crate::processor::ProcessorBuilder;

/// How long one read takes.
const READ: Duration = Duration::from_millis(10);

/// How long it takes until all are done, and how many reads that were.
async fn drained(
    messages: u32,
    built: impl FnOnce(&Lab) -> ProcessorBuilder,
) -> (Duration, Vec<u32>, u64) {
    let (_, _, lab, faults) = labs();
    lab.send(messages).await;
    faults.always(Verb::Receive, Wrong::Slow(READ));
    let log = super::Log::new();
    let seen = log.clone();
    let mut worker = built(&lab)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(())
        })
        .unwrap();
    let start = Instant::now();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(totals.succeeded, u64::from(messages));
    let order = log.all().iter().map(|seen| seen.number).collect();
    (start.elapsed(), order, faults.calls(Verb::Receive))
}

#[tokio::test(start_paused = true)]
async fn under_load_a_second_read_is_under_way_beside_the_first() {
    let (took, _, reads) = drained(10_000, |lab| lab.worker().concurrency(256)).await;
    assert!(took <= 65 * READ, "{took:?}");
    assert!(reads <= 130, "{reads}");
}

#[tokio::test(start_paused = true)]
async fn with_an_order_by_key_one_read_follows_the_other() {
    let (took, order, reads) = drained(2_000, |lab| {
        lab.worker().concurrency(256).ordered_by("payload")
    })
    .await;
    assert!(took >= 20 * READ, "{took:?}");
    assert!((20..=24).contains(&reads), "{reads}");
    assert!(order.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn where_there_is_little_to_read_one_read_is_under_way() {
    let (took, _, reads) = drained(50, |lab| lab.worker().concurrency(256)).await;
    // The one that brings all, and the one that finds nothing more.
    assert_eq!(reads, 2);
    assert!(took < SECOND);
}

#[tokio::test(start_paused = true)]
async fn two_reads_together_never_hold_more_than_there_are_slots() {
    let (_, _, lab, faults) = labs();
    lab.send(1_000).await;
    faults.always(Verb::Receive, Wrong::Slow(READ));
    let mut worker = lab
        .worker()
        .concurrency(150)
        .prefetch(100)
        .build(async |_: Message<u32>| std::future::pending::<()>().await)
        .unwrap();
    let looking = async {
        tokio::time::sleep(SECOND).await;
        lab.pending().await
    };
    let held = tokio::select! {
        held = looking => held,
        ended = worker.run_until(std::future::pending::<()>()) => panic!("{ended:?}"),
    };
    assert_eq!(held, 250);
}
