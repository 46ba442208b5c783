//! A handler that cannot run now: nothing is charged, intake pauses, one message probes.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::doubles::{Faults, Verb};
use super::faults::labs;
use super::{Lab, Log, SECOND};
use crate::handler::Handler;
use crate::message::Message;
use crate::outcome::Outcome;
use crate::retry::RetryPolicy;

/// What the handler of a test needs: there or not.
#[derive(Clone, Default)]
struct Need(Arc<AtomicBool>);

impl Need {
    fn is_there(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    async fn comes_after(&self, time: Duration) {
        sleep(time).await;
        self.0.store(true, Ordering::SeqCst);
    }

    /// A handler that notes each run and needs this one.
    fn needed(&self, log: &Log) -> impl Handler<u32> {
        let (need, log) = (self.clone(), log.clone());
        move |message: Message<u32>| {
            log.note(&message);
            ready(if need.is_there() {
                Outcome::Ack
            } else {
                Outcome::unavailable("no such program")
            })
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_run_charges_nothing_and_is_tried_with_growing_pauses() {
    let (_, _, lab, faults) = labs();
    lab.send(40).await;
    let (need, log) = (Need::default(), Log::new());
    let mut worker = lab
        .worker()
        .concurrency(4)
        .retry(RetryPolicy::immediate().max_attempts(1))
        .build(need.needed(&log))
        .unwrap();
    let (totals, ()) = tokio::join!(worker.run_until_idle(), need.comes_after(300 * SECOND));
    let totals = totals.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (40, 0));
    assert_eq!((totals.dead_lettered, totals.released), (0, 36));

    let tries = log
        .all()
        .iter()
        .filter(|seen| seen.at < 300 * SECOND)
        .count();
    assert_eq!(totals.deferred as usize, tries);
    // 15 s on average once the pauses are long; 30 s are the longest.
    assert!((10..80).contains(&tries), "{tries}");
    let late = log.all().into_iter().filter(|seen| seen.at > 300 * SECOND);
    let late: Vec<_> = late.collect();
    assert_eq!(late.len(), 40);
    assert!(late[0].at < 331 * SECOND, "{:?}", late[0]);
    assert!(late[39].at < late[0].at + SECOND, "full speed again");
    assert!(log.attempts().iter().all(|attempt| *attempt == 1));
    let asked: u64 = Verb::ALL.iter().map(|verb| faults.calls(*verb)).sum();
    assert!(asked < 400, "{asked} calls");
    let stats = lab.broker.stats(&lab.source).await.unwrap();
    assert_eq!(stats.pending_messages, Some(0));
}

#[tokio::test(start_paused = true)]
async fn other_workers_take_the_messages_meanwhile() {
    let lab = Lab::with(50).await;
    let mut without = lab
        .worker()
        .build(Need::default().needed(&Log::new()))
        .unwrap();
    let log = Log::new();
    let mut with = lab.worker().build(log.noting()).unwrap();
    let second = async {
        sleep(SECOND / 20).await;
        with.run_until_idle().await
    };
    let (without, with) = tokio::join!(without.run_until(sleep(20 * SECOND)), second);
    assert_eq!(without.unwrap().succeeded, 0);
    // Also the ones that were tried: it is not they that wait.
    assert_eq!(with.unwrap().succeeded, 50);
    assert!(log.all().iter().all(|seen| seen.at < SECOND / 10));
    assert_eq!(log.attempts(), [1; 50]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_in_a_pause_and_one_message_at_a_time_after_it() {
    let (_, _, lab, faults) = labs();
    lab.send(200).await;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let peak = Arc::clone(&most);
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .build(move |message: Message<u32>| {
            let (running, peak, seen) = (Arc::clone(&running), Arc::clone(&peak), seen.clone());
            async move {
                let first = seen.all().len() < 16;
                seen.note(&message);
                if !first {
                    peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // A probe that takes longer than any pause is still the only one.
                    sleep(40 * SECOND).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
                Outcome::unavailable("no such program")
            }
        })
        .unwrap();
    let watching = async {
        sleep(50 * SECOND).await;
        let calls = |faults: &Faults| faults.calls(Verb::Receive) + faults.calls(Verb::Tend);
        let before = calls(&faults);
        let held = lab.pending().await;
        sleep(25 * SECOND).await;
        (held, calls(&faults) - before)
    };
    let (totals, (pending, asked)) = tokio::join!(worker.run_until(sleep(120 * SECOND)), watching);
    assert_eq!(totals.unwrap().failed, 0);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // All of the first batch, and no more.
    assert_eq!(pending, 100);
    assert!(asked < 5, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn running_handlers_go_on_through_a_pause_and_do_not_end_it() {
    let lab = Lab::with(8).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .lease(SECOND)
        .build(move |message: Message<u32>| {
            let seen = seen.clone();
            async move {
                seen.note(&message);
                if *message == 7 {
                    return match seen.start.elapsed() < 20 * SECOND {
                        true => Outcome::unavailable("no such program"),
                        false => Outcome::Ack,
                    };
                }
                // They end one after the other, each in the middle of a pause or a probe.
                sleep(Duration::from_millis(1_700) * (1 + *message)).await;
                Outcome::Ack
            }
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (8, 0));
    let runs = |number| {
        log.all()
            .iter()
            .filter(|seen| seen.number == number)
            .count()
    };
    assert!((0..7).all(|number| runs(number) == 1));
    assert!((3..15).contains(&runs(7)), "{}", runs(7));
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_time_out_of_the_probe_ends_the_pause_and_undecodable_bytes_do_not() {
    let lab = Lab::new().await;
    lab.producer.send(&"not a number").await.unwrap();
    lab.send(20).await;
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .batch(1)
        .prefetch(0)
        .concurrency(1)
        .retry(RetryPolicy::fixed(100 * SECOND))
        .build(move |message: Message<u32>| {
            seen.note(&message);
            ready(match seen.all().len() {
                1 | 2 => Outcome::unavailable("no such program"),
                3 => Outcome::retry("no"),
                _ => Outcome::Ack,
            })
        })
        .unwrap();
    let totals = worker.run_until(sleep(50 * SECOND)).await.unwrap();
    assert_eq!((totals.dead_lettered, totals.failed), (1, 1));
    assert_eq!((totals.deferred, totals.succeeded), (2, 19));
}

#[tokio::test(start_paused = true)]
async fn the_signal_ends_a_pause_at_once() {
    for signal in [10, 5_000, 100_333].map(Duration::from_millis) {
        let lab = Lab::with(30).await;
        let mut worker = lab
            .worker()
            .build(Need::default().needed(&Log::new()))
            .unwrap();
        let start = Instant::now();
        let totals = worker.run_until(sleep(signal)).await.unwrap();
        assert_eq!(start.elapsed(), signal);
        assert_eq!((totals.failed, totals.succeeded), (0, 0));
        let stats = lab.broker.stats(&lab.source).await.unwrap();
        assert_eq!(stats.pending_messages, Some(30));
        let again = Log::new();
        let mut next = lab.worker().build(again.noting()).unwrap();
        assert_eq!(next.run_until_idle().await.unwrap().succeeded, 30);
        assert_eq!(again.attempts(), [1; 30]);
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_and_a_sweep_end_with_what_they_could_do() {
    let lab = Lab::with(10).await;
    let (need, log) = (Need::default(), Log::new());
    let mut worker = lab
        .worker()
        .concurrency(2)
        .build(need.needed(&log))
        .unwrap();
    let start = Instant::now();
    assert_eq!(worker.run_batches(1).await.unwrap(), 0);
    let totals = worker.totals();
    assert_eq!((totals.deferred, totals.released), (2, 8));
    assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());

    // Each round after the first waits for its pause, and tries one message.
    assert_eq!(worker.run_batches(4).await.unwrap(), 0);
    let totals = worker.totals();
    assert_eq!(totals.deferred, 2 + 3);
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());

    sleep(60 * SECOND).await;
    let start = Instant::now();
    let recovered = worker.recover().await.unwrap();
    assert_eq!((recovered.taken, recovered.succeeded), (10, 0));
    assert!(start.elapsed() < SECOND / 10, "{:?}", start.elapsed());
    assert_eq!(lab.pending().await, 10);

    need.comes_after(60 * SECOND).await;
    let recovered = worker.recover().await.unwrap();
    assert_eq!((recovered.taken, recovered.succeeded), (10, 10));
    assert!(log.attempts().iter().all(|attempt| *attempt == 1));
}
