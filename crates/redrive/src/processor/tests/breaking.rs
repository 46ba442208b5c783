//! Nearly everything fails: intake slows down instead of pouring the stream into the dead-letter queue.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::doubles::Verb;
use super::faults::labs;
use super::logs::logged;
use super::{Lab, Log, SECOND};
use crate::handler::Handler;
use crate::message::Message;
use crate::outcome::Outcome;
use crate::processor::{Breaker, Totals};
use crate::retry::RetryPolicy;

/// What all messages need, and the database that they need it from.
#[derive(Clone)]
struct Database(Arc<AtomicBool>);

impl Database {
    fn down() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    async fn back_after(&self, time: Duration) {
        sleep(time).await;
        self.0.store(true, Ordering::SeqCst);
    }

    /// A handler that notes each run, and fails while this is down.
    fn used(&self, log: &Log) -> impl Handler<u32> {
        let (database, log) = (self.clone(), log.clone());
        move |message: Message<u32>| {
            log.note(&message);
            ready(if database.0.load(Ordering::SeqCst) {
                Outcome::Ack
            } else {
                Outcome::retry("no database")
            })
        }
    }
}

/// How often a handler ran before this time.
fn runs_before(log: &Log, time: Duration) -> usize {
    log.all().iter().filter(|seen| seen.at < time).count()
}

async fn through_an_outage(breaker: Breaker, outage: Duration) -> (Totals, Log, Lab) {
    let lab = Lab::with(5_000).await;
    let (database, log) = (Database::down(), Log::new());
    let mut worker = lab
        .worker()
        .breaker(breaker)
        .retry(RetryPolicy::fixed(SECOND))
        .build(database.used(&log))
        .unwrap();
    let (totals, ()) = tokio::join!(worker.run_until_idle(), database.back_after(outage));
    (totals.unwrap(), log, lab)
}

#[tokio::test(start_paused = true)]
async fn while_a_dependency_is_down_the_breaker_keeps_the_stream_out_of_the_dead_letter_queue() {
    let outage = 6_000 * SECOND;
    let (on, log, lab) = through_an_outage(Breaker::On, outage).await;
    // The window, what ran beside its last one, and a probe for each pause: 1, 2, 4, 8, 16 s, then
    // 30 s, at least half of each.
    let tried = runs_before(&log, outage);
    assert!((65..=50 + 15 + 5 + 400).contains(&tried), "{tried}");
    assert_eq!(on.failed as usize, tried);
    // Each probe was another message: none has used its attempts.
    assert_eq!((on.dead_lettered, on.succeeded), (0, 5_000));
    let all = log.all();
    let again = all[..tried].iter().filter(|seen| seen.attempt > 1);
    assert_eq!(again.count(), 0, "tried what had failed before");
    let first_good = all[tried].at;
    assert!(first_good <= outage + 31 * SECOND, "{first_good:?}");
    let last = all.last().unwrap().at;
    assert!(last < first_good + 5 * SECOND, "full speed again: {last:?}");
    assert_eq!(lab.pending().await, 0);

    let (off, ..) = through_an_outage(Breaker::Off, outage).await;
    assert_eq!((off.dead_lettered, off.succeeded), (5_000, 0));
}

#[tokio::test(start_paused = true)]
async fn with_one_bad_message_in_two_it_stays_closed() {
    for (retry, batch) in [
        (RetryPolicy::immediate(), 100),
        (RetryPolicy::fixed(SECOND), 1_000),
        (RetryPolicy::default(), 10),
    ] {
        let (_, _, lab, faults) = labs();
        lab.send(2_000).await;
        let log = Log::new();
        let seen = log.clone();
        let mut worker = lab
            .worker()
            .retry(retry)
            .batch(batch)
            .build(move |message: Message<u32>| {
                seen.note(&message);
                ready(match message.is_multiple_of(2) {
                    true => Outcome::Ack,
                    false => Outcome::retry("bad"),
                })
            })
            .unwrap();
        let start = Instant::now();
        let totals = worker.run_until_idle().await.unwrap();
        assert_eq!((totals.succeeded, totals.dead_lettered), (1_000, 1_000));
        // Nothing was handed back, and nothing waited but for its retries.
        assert_eq!((totals.released, totals.failed), (0, 3_000));
        let took = start.elapsed();
        assert!(took < 10 * SECOND, "{took:?}");
        assert!(faults.calls(Verb::Receive) > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rejections_and_what_does_not_decode_open_nothing() {
    let lab = Lab::with(300).await;
    let words: Vec<&str> = ["not a number"; 300].to_vec();
    lab.producer.send_all(&words).await.unwrap();
    let mut worker = lab
        .worker()
        .build(|message: Message<u32>| {
            ready(match *message % 3 {
                0 => Outcome::dead_letter("never"),
                1 => Outcome::discard("done before"),
                _ if message.age() > 10 * SECOND => Outcome::Ack,
                _ => Outcome::defer(20 * SECOND),
            })
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.dead_lettered, totals.discarded), (400, 100));
    assert_eq!((totals.deferred, totals.succeeded), (100, 100));
    assert_eq!(totals.released, 0);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_others_may_take_what_waits_and_nothing_is_asked_for() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(400).await;
    let mut broken = lab
        .worker()
        .build(Database::down().used(&Log::new()))
        .unwrap();
    let log = Log::new();
    let mut well = healthy.worker().build(log.noting()).unwrap();
    let second = async {
        sleep(100 * SECOND).await;
        let asked = || faults.calls(Verb::Receive) + faults.calls(Verb::Tend);
        let before = asked();
        sleep(100 * SECOND).await;
        let asked = asked() - before;
        (well.run_until_idle().await.unwrap(), asked)
    };
    let (broken, (well, asked)) = tokio::join!(broken.run_until(sleep(300 * SECOND)), second);
    let broken = broken.unwrap();
    assert_eq!(broken.succeeded, 0);
    assert_eq!(well.succeeded + broken.dead_lettered, 400);
    assert!(broken.dead_lettered < 5, "{broken:?}");
    // Two for each probe; a probe each 22 s.
    assert!(asked < 20, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn rounds_and_a_sweep_end_with_what_they_could_do() {
    let lab = Lab::with(200).await;
    let (database, log) = (Database::down(), Log::new());
    let mut worker = lab
        .worker()
        .retry(RetryPolicy::fixed(100 * SECOND))
        .build(database.used(&log))
        .unwrap();
    let start = Instant::now();
    assert_eq!(worker.run_batches(1).await.unwrap(), 0);
    let tried = worker.totals();
    assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());
    assert!((50..=65).contains(&tried.failed), "{tried:?}");
    assert_eq!(tried.failed + tried.released, 100);
    database.back_after(200 * SECOND).await;
    // Another run knows nothing of the pauses of the last one.
    let recovered = worker.recover().await.unwrap();
    assert_eq!((recovered.taken, recovered.succeeded), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn the_signal_ends_a_pause_of_the_breaker_at_once() {
    let lab = Lab::with(500).await;
    let mut worker = lab
        .worker()
        .build(Database::down().used(&Log::new()))
        .unwrap();
    let start = Instant::now();
    let signal = Duration::from_millis(40_333);
    worker.run_until(sleep(signal)).await.unwrap();
    assert_eq!(start.elapsed(), signal);
}

#[tokio::test(start_paused = true)]
async fn opening_and_closing_are_one_line_each() {
    let lines = logged(async || {
        let lab = Lab::with(300).await;
        let database = Database::down();
        let mut worker = lab
            .worker()
            .retry(RetryPolicy::fixed(SECOND))
            .build(database.used(&Log::new()))
            .unwrap();
        let back = database.back_after(300 * SECOND);
        let (totals, ()) = tokio::join!(worker.run_until_idle(), back);
        assert_eq!(totals.unwrap().succeeded, 300);
    })
    .await;
    let changes: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("failed, will be run again"))
        .collect();
    // With the start and the end of the run.
    assert_eq!(changes.len(), 4, "{changes:#?}");
    let opened = changes[1];
    assert!(opened.starts_with("WARN"), "{opened}");
    for part in ["nearly every run fails", "failed=50", "of=50", "pause="] {
        assert!(opened.contains(part), "{opened}");
    }
    let closed = changes[2];
    assert!(closed.starts_with("INFO"), "{closed}");
    for part in ["a run has worked", "after=3"] {
        assert!(closed.contains(part), "{closed}");
    }
}
