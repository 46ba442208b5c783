//! What becomes of a message by what its handler says.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Lab, Log, SECOND};
use crate::backend::OnAck;
use crate::codec::Raw;
use crate::dead_letter::{Layout, Reason};
use crate::error::{BoxError, ErrorKind};
use crate::message::{Fields, Message};
use crate::names::GroupStart;
use crate::outcome::Outcome;
use crate::processor::Breaker;
use crate::retry::{Jitter, RetryPolicy};

fn fixed(attempts: u32) -> RetryPolicy {
    RetryPolicy::fixed(10 * SECOND).max_attempts(attempts)
}

#[tokio::test(start_paused = true)]
async fn success_acks() {
    let lab = Lab::with(250).await;
    let log = Log::new();
    let mut worker = lab.worker().build(log.noting()).unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(totals.succeeded, 250);
    assert_eq!(totals, worker.totals());
    assert_eq!(log.numbers(), (0..250).collect::<Vec<_>>());
    assert_eq!(lab.pending().await, 0);
    assert!(lab.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_is_run_again_after_its_backoff_and_not_before() {
    let lab = Lab::with(1).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .retry(fixed(3))
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(match message.attempt() {
                3 => Ok(()),
                _ => Err(BoxError::from("not yet")),
            })
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(log.attempts(), [1, 2, 3]);
    assert_eq!((totals.succeeded, totals.failed, totals.retried), (1, 2, 2));
    for runs in log.all().windows(2) {
        let waited = runs[1].at - runs[0].at;
        assert!((10 * SECOND..11 * SECOND).contains(&waited), "{waited:?}");
    }
    assert!(lab.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_third_failure_dead_letters_with_the_last_error() {
    let lab = Lab::with(1).await;
    let mut worker = lab
        .worker()
        .build(async |message: Message<u32>| {
            Err::<(), _>(BoxError::from(format!("failure {}", message.attempt())))
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(
        (totals.failed, totals.retried, totals.dead_lettered),
        (3, 2, 1)
    );
    let dead = lab.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, Some(Reason::AttemptsExhausted));
    assert_eq!(dead[0].error.as_deref(), Some("failure 3"));
    assert_eq!(dead[0].attempts, Some(3));
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_time_out_are_failures_with_their_kind() {
    let lab = Lab::with(2).await;
    let mut worker = lab
        .worker()
        .retry(fixed(1))
        .build(async |message: Message<u32>| {
            assert_ne!(*message, 0, "zero is not a number");
            std::future::pending::<()>().await;
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (2, 2));
    let dead = lab.dead_letters().await;
    let kinds: Vec<_> = dead.iter().map(|dead| dead.error_kind.as_deref()).collect();
    assert_eq!(kinds, [Some("panic"), Some("timeout")]);
    assert!(dead[0].error.as_ref().unwrap().contains("zero is not"));
    assert_eq!(dead[1].error.as_deref(), Some("timed out after 5m"));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_decode_is_dead_at_once_with_its_bytes_and_stops_nobody() {
    let lab = Lab::with(3).await;
    let bad = Fields::from_iter([("data", &b"\xff\x00"[..]), ("data", b""), ("id", b"7")]);
    lab.producer.send_fields(bad.clone()).await.unwrap();
    lab.send(3).await;
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(
        (totals.succeeded, totals.failed, totals.dead_lettered),
        (6, 0, 1)
    );
    let dead = lab.dead_letters().await;
    assert_eq!(dead[0].reason, Some(Reason::Undecodable));
    assert_eq!(dead[0].attempts, Some(0));
    assert_eq!(dead[0].fields, bad);
}

#[tokio::test(start_paused = true)]
async fn a_raw_handler_gets_any_bytes() {
    let lab = Lab::new().await;
    let bad = Fields::from_iter([("data", &b"\xff\x00"[..])]);
    lab.producer.send_fields(bad.clone()).await.unwrap();
    let mut worker = lab
        .worker()
        .codec(Raw)
        .build(move |message: Message<Fields>| ready(*message == bad))
        .unwrap();
    assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_message_comes_again_later_and_is_charged_nothing() {
    let lab = Lab::with(1).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(match seen.all().len() {
                6 => Outcome::Ack,
                _ => Outcome::defer(7 * SECOND),
            })
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(
        (totals.succeeded, totals.deferred, totals.failed),
        (1, 5, 0)
    );
    assert_eq!(log.attempts(), [1; 6]);
    assert!(log.all()[5].at >= 35 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn discarded_is_done_and_rejected_is_dead_at_once() {
    let lab = Lab::with(2).await;
    let mut worker = lab
        .worker()
        .build(async |message: Message<u32>| match *message {
            0 => Outcome::discard("too old"),
            _ => Outcome::dead_letter("negative total"),
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(
        (totals.discarded, totals.dead_lettered, totals.succeeded),
        (1, 1, 0)
    );
    let dead = lab.dead_letters().await;
    assert_eq!(dead[0].reason, Some(Reason::Rejected));
    assert_eq!(dead[0].error.as_deref(), Some("negative total"));
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_due_at_once_is_run_again_at_once() {
    let lab = Lab::with(100).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .retry(RetryPolicy::immediate())
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(message.attempt() == 2)
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.retried), (100, 100));
    let last = log.all().last().unwrap().at;
    assert!(last < 2 * SECOND, "{last:?}");
}

/// Messages that fail at once, without end, leave room for others, whatever there is of them.
#[tokio::test(start_paused = true)]
async fn those_that_always_fail_at_once_keep_no_others_from_being_read_or_claimed() {
    for poison in [8, 60, 91, 116, 300] {
        let lab = Lab::with(poison).await;
        let log = Log::new();
        let seen = log.clone();
        let mut worker = lab
            .worker()
            .concurrency(16)
            .retry(RetryPolicy::immediate().max_attempts(u32::MAX))
            .breaker(Breaker::Off)
            .build(move |message: Message<u32>| {
                let number = *message;
                if number > poison {
                    seen.note(&message);
                }
                async move {
                    // Else no time goes by.
                    tokio::time::sleep(SECOND / 100).await;
                    match (number > poison, message.attempt()) {
                        (true, 1) => Outcome::retry_after("not yet", SECOND),
                        (true, _) => Outcome::Ack,
                        (false, _) => Outcome::retry("the bank did not answer"),
                    }
                }
            })
            .unwrap();
        let ended = async {
            tokio::time::sleep(2 * SECOND).await;
            lab.producer.send(&1_000).await.unwrap();
            tokio::time::sleep(8 * SECOND).await;
        };
        worker.run_until(ended).await.unwrap();
        assert_eq!(log.attempts(), [1, 2], "beside {poison}");
    }
}

/// What is about to end is waited for before the next are charged; what waits for something itself is not.
#[tokio::test(start_paused = true)]
async fn one_that_takes_long_keeps_no_retry_waiting() {
    const SLOW: u32 = 50;
    let lab = Lab::with(100).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(2)
        .retry(RetryPolicy::immediate())
        .breaker(Breaker::Off)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            let (number, attempt) = (*message, message.attempt());
            async move {
                if number == SLOW {
                    tokio::time::sleep(60 * SECOND).await;
                }
                attempt == 2
            }
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.retried), (100, 100));
    let others = log.all().into_iter().filter(|run| run.number != SLOW);
    let last = others.map(|run| run.at).max().unwrap();
    assert!(last < SECOND, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_held_than_there_are_slots_and_no_more_runs_than_may() {
    let lab = Lab::with(60).await;
    let (running, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let peak = Arc::clone(&most);
    let mut worker = lab
        .worker()
        .concurrency(3)
        .prefetch(5)
        .batch(50)
        .build({
            let running = Arc::new(running);
            move |_: Message<u32>| {
                let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
                async move {
                    peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(SECOND).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })
        .unwrap();
    let watching = async {
        let mut most_held = 0;
        loop {
            most_held = most_held.max(lab.pending().await);
            if lab.broker.stats(&lab.source).await.unwrap().lag == Some(0) {
                return most_held;
            }
            tokio::time::sleep(SECOND / 10).await;
        }
    };
    let (totals, most_held) = tokio::join!(worker.run_until_idle(), watching);
    assert_eq!(totals.unwrap().succeeded, 60);
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(most_held, 8);
}

#[tokio::test]
async fn the_defaults_are_those_of_the_contract() {
    let lab = Lab::new().await;
    let worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let options = worker.options();
    assert_eq!(options.concurrency, 16);
    assert_eq!(options.batch, 100);
    assert_eq!(options.prefetch, 100);
    assert_eq!(options.block, 5 * SECOND);
    assert_eq!(options.lease, 30 * SECOND);
    assert_eq!(options.foreign_lease, 300 * SECOND);
    assert_eq!(options.timeout, Some(300 * SECOND));
    assert_eq!(options.drain, 30 * SECOND);
    assert_eq!(options.grace, SECOND);
    assert_eq!(options.retry.max_attempts, 3);
    assert_eq!(options.retry.max_crashes, 3);
    assert_eq!(
        options.retry,
        RetryPolicy::exponential(SECOND, 300 * SECOND)
    );
    assert_eq!(options.retry.jitter, Jitter::Full);
    assert_eq!(options.group_start, GroupStart::First);
    assert_eq!(options.dead_letters.as_str(), "orders:dlq");
    assert_eq!(options.layout, Layout::Native);
    assert_eq!(options.on_ack, OnAck::Keep);
    assert_eq!(options.breaker, Breaker::On);
    let consumer = options.consumer.as_str();
    let digits = consumer.strip_prefix("consumer_").unwrap();
    assert_eq!(digits.len(), 8);
    assert!(u32::from_str_radix(digits, 16).is_ok());
}

#[tokio::test]
async fn building_reports_all_problems_at_once() {
    let lab = Lab::new().await;
    let error = lab
        .worker()
        .concurrency(0)
        .batch(0)
        .prefetch(usize::MAX)
        .lease(Duration::ZERO)
        .block(Duration::ZERO)
        .timeout(Duration::ZERO)
        .grace(Duration::MAX)
        .retry(RetryPolicy::default().max_attempts(0).max_crashes(1))
        .dead_letters(lab.source.stream.clone())
        .build(async |_: Message<u32>| {})
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.cure().is_some());
    let text = error.to_string();
    for option in [
        "concurrency",
        "batch",
        "prefetch",
        "lease",
        "block",
        "timeout",
        "grace",
        "max_attempts",
        "max_crashes",
        "dead_letters",
    ] {
        assert!(text.contains(option), "{option} is not in: {text}");
    }
}
