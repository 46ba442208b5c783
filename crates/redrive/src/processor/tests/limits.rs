//! A dead-letter queue with a limit: what a full one does to a run, and what is said of it.

use std::future::ready;

use tokio::time::{sleep, timeout};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Lab, Log, SECOND};
use crate::dead_letter::{DeadLetterLimit, Layout, Overflow};
use crate::error::ErrorKind;
use crate::message::Message;
use crate::names::StreamKey;
use crate::outcome::Outcome;
use crate::processor::ProcessorBuilder;
use crate::retry::RetryPolicy;
use crate::selection::Selection;

fn once(lab: &Lab, limit: DeadLetterLimit) -> ProcessorBuilder {
    let policy = RetryPolicy::immediate().max_attempts(1);
    lab.worker().retry(policy).dead_letter_limit(limit)
}

fn stop_at(most: u64) -> DeadLetterLimit {
    DeadLetterLimit::new(most, Overflow::Stop)
}

async fn purge(lab: &Lab, many: usize) {
    let queue = lab
        .broker
        .dead_letters(lab.source.stream.default_dead_letters());
    let some = Selection::all().limit(many);
    assert_eq!(queue.purge(&some).await.unwrap().purged, many as u64);
}

#[tokio::test(start_paused = true)]
async fn a_run_until_idle_does_not_wait_for_what_a_full_queue_keeps() {
    let lab = Lab::with(10).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = once(&lab, stop_at(4))
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(false)
        })
        .unwrap();
    let totals = timeout(10 * SECOND, worker.run_until_idle())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (10, 4));
    assert_eq!(totals.retried, 0);
    assert_eq!(lab.pending().await, 6);
    // Another run looks at them again, runs none of them, and does not wait longer.
    let totals = timeout(70 * SECOND, worker.run_until_idle())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (0, 0));
    // These do not wait at all.
    for _ in 0..2 {
        let totals = timeout(SECOND, worker.recover()).await.unwrap().unwrap();
        assert_eq!((totals.taken, totals.dead_lettered), (0, 0));
    }
    assert_eq!(worker.run_batches(1).await.unwrap(), 0);
    assert_eq!(log.all().len(), 10);
    // With room they go by themselves.
    purge(&lab, 4).await;
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (0, 4));
    assert_eq!(lab.pending().await, 2);
    let mut generous = once(&lab, stop_at(100))
        .build(|_: Message<u32>| ready(false))
        .unwrap();
    assert_eq!(generous.run_until_idle().await.unwrap().dead_lettered, 2);
    assert_eq!(lab.pending().await, 0);
    assert_eq!(log.all().len(), 10);
}

/// It does wait for what somebody else runs.
#[tokio::test(start_paused = true)]
async fn a_run_until_idle_still_waits_for_others() {
    let lab = Lab::with(3).await;
    let mut slow = lab
        .worker()
        .batch(1)
        .concurrency(1)
        .prefetch(0)
        .build(|_: Message<u32>| sleep(40 * SECOND))
        .unwrap();
    let mut failing = once(&lab, stop_at(1))
        .build(|_: Message<u32>| ready(false))
        .unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let holding = async {
        sleep(SECOND / 10).await;
        let before = tokio::time::Instant::now();
        let totals = failing.run_until_idle().await.unwrap();
        assert_eq!((totals.failed, totals.dead_lettered), (2, 1));
        assert!(before.elapsed() > 30 * SECOND);
        stop.send(()).unwrap();
    };
    let (totals, ()) = tokio::join!(slow.run_until(stopped), holding);
    assert_eq!(totals.unwrap().succeeded, 1);
    assert_eq!(lab.pending().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_no_hot_loop_and_holds_no_slot() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(50).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = once(&lab, stop_at(1))
        .batch(1)
        .concurrency(1)
        .prefetch(0)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(*message >= 50)
        })
        .unwrap();
    let signal = async {
        sleep(3600 * SECOND).await;
        for number in 50..60_u32 {
            lab.producer.send(&number).await.unwrap();
        }
        sleep(5 * SECOND).await;
    };
    let totals = worker.run_until(signal).await.unwrap();
    assert_eq!((totals.failed, totals.succeeded), (50, 10));
    assert_eq!(log.all().len(), 60);
    // One a second, and one for each that is looked at again each minute.
    let tends = faults.calls(Verb::Tend);
    assert!(tends < 3_700 + 60 * 60, "{tends}");
}

/// That it was kept is said again when the first answer was lost, and counts once.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_before_a_full_queue_is_one_failure_and_no_dead_letter() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(2).await;
    let mut worker = once(&lab, stop_at(1))
        .build(|_: Message<u32>| ready(false))
        .unwrap();
    let losing = async {
        faults.always(Verb::Settle, Wrong::ReplyLost);
        sleep(20 * SECOND).await;
        faults.heal();
    };
    let (totals, ()) = tokio::join!(worker.run_until_idle(), losing);
    let totals = totals.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (2, 1));
    assert_eq!(
        (healthy.pending().await, healthy.dead_letters().await.len()),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_runs_again_before_a_full_queue_until_it_can_die() {
    let lab = Lab::with(2).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(1)
        .dead_letter_limit(stop_at(1))
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(Outcome::dead_letter("never"))
        })
        .unwrap();
    let signal = sleep(200 * SECOND);
    let totals = worker.run_until(signal).await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (4, 1));
    // Three failures are all it may have: then it only waits.
    assert_eq!(log.attempts(), [1, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_one_line_and_room_is_another() {
    let lines = logged(async || {
        let lab = Lab::with(20).await;
        let mut worker = once(&lab, stop_at(3))
            .build(|_: Message<u32>| ready(false))
            .unwrap();
        let signal = async {
            sleep(600 * SECOND).await;
            purge(&lab, 3).await;
            sleep(600 * SECOND).await;
            let everything = lab.dead_letters().await.len();
            assert_eq!(everything, 3);
        };
        worker.run_until(signal).await.unwrap();
        assert_eq!(lab.pending().await, 14);
    })
    .await;
    let how_many = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(how_many("ERROR"), 1, "{lines:#?}");
    assert_eq!(
        how_many("dead-letter queue orders:dlq is full, at its limit of 3 dead letters"),
        1
    );
    assert_eq!(how_many("has room again"), 0, "{lines:#?}");
    let lines = logged(async || {
        let lab = Lab::with(5).await;
        let mut worker = once(&lab, stop_at(3))
            .build(|_: Message<u32>| ready(false))
            .unwrap();
        let signal = async {
            sleep(600 * SECOND).await;
            purge(&lab, 3).await;
            sleep(600 * SECOND).await;
        };
        worker.run_until(signal).await.unwrap();
        assert_eq!(lab.pending().await, 0);
    })
    .await;
    let how_many = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((how_many("is full"), how_many("has room again")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_is_said_by_the_call_and_not_by_the_message() {
    let lines = logged(async || {
        let lab = Lab::with(100).await;
        let limit = DeadLetterLimit::new(10, Overflow::DropOldest);
        let mut worker = once(&lab, limit)
            .concurrency(100)
            .build(|_: Message<u32>| ready(false))
            .unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().dead_lettered, 100);
        let stats = lab.broker.stats(&lab.source).await.unwrap();
        assert_eq!((stats.dlq_length, stats.dlq_dropped), (10, 90));
    })
    .await;
    let dropped: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("dropped="))
        .collect();
    let told: u64 = dropped
        .iter()
        .map(|line| {
            let number = line.split("dropped=").nth(1).unwrap();
            let number = number.split_whitespace().next().unwrap();
            number.parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(told, 90, "{dropped:#?}");
    assert!((1..=10).contains(&dropped.len()), "{dropped:#?}");
    assert!(dropped.iter().all(|line| line.contains("WARN")));
}

#[tokio::test]
async fn envelopes_have_a_limit_and_a_queue_of_their_own_unless_told_otherwise() {
    let lab = Lab::new().await;
    let built = |builder: ProcessorBuilder| {
        let processor = builder.build(|_: Message<u32>| ready(())).unwrap();
        let options = processor.options();
        (
            options.dead_letters.to_string(),
            options.dead_letter_limit.clone(),
        )
    };
    let envelopes = || lab.worker().layout(Layout::Envelope);
    let shared = "sg:stream:dlq".to_owned();
    let about = Some(DeadLetterLimit::ENVELOPE);
    assert_eq!(built(lab.worker()), ("orders:dlq".to_owned(), None));
    assert_eq!(built(envelopes()), (shared.clone(), about.clone()));
    let none = envelopes().dead_letter_limit(None);
    assert_eq!(built(none), (shared.clone(), None));
    let few = envelopes().dead_letter_limit(stop_at(7));
    assert_eq!(built(few), (shared, Some(stop_at(7))));
    let named = envelopes().dead_letters(StreamKey::new("mine").unwrap());
    assert_eq!(built(named), ("mine".to_owned(), about));
    let never = lab.worker().dead_letter_limit(stop_at(0));
    let refused = never.build(|_: Message<u32>| ready(())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(
        refused
            .to_string()
            .contains("most of dead_letter_limit is 0")
    );
}
