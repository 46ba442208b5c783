//! Two processes under one consumer's name: the second waits, then is refused.

use std::future::pending;

use tokio::time::{Instant, sleep, timeout};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Lab, Log, SECOND};
use crate::error::ErrorKind;
use crate::message::Message;
use crate::names::ConsumerName;
use crate::processor::ProcessorBuilder;

const LEASE: std::time::Duration = SECOND.saturating_mul(30);

fn named(lab: &Lab) -> ProcessorBuilder {
    let name = ConsumerName::new("billing-1").unwrap();
    lab.worker().consumer(name).lease(LEASE)
}

#[tokio::test(start_paused = true)]
async fn a_second_process_under_a_name_waits_one_lease_and_is_refused() {
    let lines = logged(async || {
        let lab = Lab::with(3).await;
        let mut first = named(&lab).build(Log::new().noting()).unwrap();
        let mut second = named(&lab).build(Log::new().noting()).unwrap();
        let both = async {
            sleep(SECOND).await;
            let began = Instant::now();
            let refused = second.run_until_idle().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Refused);
            assert!(refused.to_string().contains("billing-1"), "{refused}");
            assert!(refused.cure().unwrap().contains("stop the other one"));
            let waited = began.elapsed();
            assert!(LEASE / 2 < waited && waited <= LEASE, "{waited:?}");
        };
        let first = async { first.run_until(sleep(3 * LEASE)).await.unwrap() };
        let (totals, ()) = tokio::join!(first, both);
        assert_eq!(totals.succeeded, 3);
    })
    .await;
    let waits = "waiting for it";
    let told = lines.iter().filter(|line| line.contains(waits)).count();
    assert_eq!(told, 1, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_left_behind_by_a_crash_is_taken_when_its_lease_is_over() {
    let lab = Lab::with(3).await;
    let mut first = named(&lab)
        .build(|_: Message<u32>| pending::<()>())
        .unwrap();
    // Dropped: a crash.
    let crash = timeout(SECOND, first.run_until_idle()).await;
    assert!(crash.is_err());
    let log = Log::new();
    let mut second = named(&lab).build(log.noting()).unwrap();
    let began = Instant::now();
    let totals = second.run_until_idle().await.unwrap();
    assert_eq!(totals.succeeded, 3);
    assert!(
        began.elapsed() <= LEASE + 5 * SECOND,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_that_follows_one_of_the_same_processor_waits_for_nobody() {
    let lab = Lab::new().await;
    let mut worker = named(&lab).build(Log::new().noting()).unwrap();
    let crash = timeout(SECOND, worker.run_until(pending::<()>())).await;
    assert!(crash.is_err());
    let began = Instant::now();
    worker.run_until_idle().await.unwrap();
    assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_given_back_is_taken_at_once() {
    let lab = Lab::new().await;
    let mut first = named(&lab).build(Log::new().noting()).unwrap();
    let mut second = named(&lab).build(Log::new().noting()).unwrap();
    let began = Instant::now();
    let both = async {
        sleep(SECOND).await;
        second.run_batches(1).await.unwrap();
        assert!(began.elapsed() < 20 * SECOND, "{:?}", began.elapsed());
    };
    let (ended, ()) = tokio::join!(first.run_until(sleep(5 * SECOND)), both);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_signal_ends_the_wait_for_a_name() {
    let lab = Lab::new().await;
    let mut first = named(&lab).build(Log::new().noting()).unwrap();
    let mut second = named(&lab).build(Log::new().noting()).unwrap();
    let both = async {
        sleep(SECOND).await;
        let began = Instant::now();
        second.run_until(sleep(SECOND)).await.unwrap();
        assert_eq!(began.elapsed(), SECOND);
        let stats = lab.broker.stats(&lab.source).await.unwrap();
        assert_eq!(stats.consumers, Some(1));
    };
    let (ended, ()) = tokio::join!(first.run_until(sleep(5 * SECOND)), both);
    ended.unwrap();
}

/// To the broker what the first one holds is the second's: they have one name.
#[tokio::test(start_paused = true)]
async fn who_has_lost_its_name_settles_nothing_but_successes() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(4).await;
    let mut first = named(&lab)
        .concurrency(2)
        .prefetch(2)
        .build(async |message: Message<u32>| {
            // The silence of its process outlasts the lease.
            message.cancelled().await;
            match *message {
                0 => Ok(()),
                _ => Err("no"),
            }
        })
        .unwrap();
    faults.always(Verb::Renew, Wrong::NeverArrives);
    let log = Log::new();
    let seen = log.clone();
    // It takes all over at once and begins them one by one.
    let mut second = named(&healthy)
        .concurrency(1)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            sleep(10 * SECOND)
        })
        .unwrap();
    let both = async {
        // The first one hears of nothing until the second one has its name.
        sleep(LEASE + SECOND).await;
        let second = second.run_until(sleep(4 * LEASE));
        let healing = async {
            sleep(2 * SECOND).await;
            faults.heal();
        };
        tokio::join!(second, healing).0.unwrap()
    };
    let (ended, totals) = tokio::join!(first.run_until(pending::<()>()), both);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Refused);
    let done = first.totals();
    assert_eq!((done.succeeded, done.failed, done.released), (1, 0, 0));
    assert_eq!(totals.succeeded, 4);
    assert_eq!(log.attempts(), [1; 4]);
    assert_eq!(lab.pending().await, 0);
    assert!(lab.dead_letters().await.is_empty());
}
