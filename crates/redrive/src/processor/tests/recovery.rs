//! What a worker that died left behind, and a worker that is slow but not dead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::{Lab, Log, SECOND};
use crate::message::Message;
use crate::processor::Processor;
use crate::processor::Recovered;

const LEASE: Duration = Duration::from_secs(30);

/// Runs until it is dropped in the middle of everything: a killed process.
async fn killed_after(worker: &mut Processor, time: Duration) {
    assert!(timeout(time, worker.run_until_idle()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_worker_held_is_all_running_within_its_lease_and_five_seconds() {
    let lab = Lab::with(100).await;
    let mut victim = lab
        .worker()
        .build(async |_: Message<u32>| std::future::pending::<()>().await)
        .unwrap();
    killed_after(&mut victim, SECOND).await;
    assert_eq!(lab.pending().await, 100);

    let killed = Instant::now();
    let log = Log::new();
    let mut rescuer = lab.worker().build(log.noting()).unwrap();
    let totals = rescuer.run_until_idle().await.unwrap();
    assert_eq!(totals.succeeded, 100);
    assert!(killed.elapsed() <= LEASE + 5 * SECOND);
    assert_eq!(log.numbers(), (0..100).collect::<Vec<_>>());
    assert_eq!(log.attempts(), [1; 100]);
    assert!(lab.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_takes_its_handlers_with_it() {
    let lab = Lab::with(1).await;
    let ended = Arc::new(Notify::new());
    struct Falls(Arc<Notify>);
    impl Drop for Falls {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let falls = Arc::clone(&ended);
    let mut victim = lab
        .worker()
        .build(move |_: Message<u32>| {
            let falls = Falls(Arc::clone(&falls));
            async move {
                let _falls = falls;
                std::future::pending::<()>().await;
            }
        })
        .unwrap();
    killed_after(&mut victim, SECOND).await;
    timeout(SECOND, ended.notified()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_four_leases_runs_once_with_a_second_worker_waiting() {
    let lab = Lab::with(120).await;
    let log = Log::new();
    let worker = || {
        let seen = log.clone();
        lab.worker()
            .timeout(None)
            .build(move |message: Message<u32>| {
                seen.note(&message);
                sleep(4 * LEASE)
            })
            .unwrap()
    };
    let (mut one, mut other) = (worker(), worker());
    let (one, other) = tokio::join!(one.run_until_idle(), other.run_until_idle());
    assert_eq!(one.unwrap().succeeded + other.unwrap().succeeded, 120);
    assert_eq!(log.numbers(), (0..120).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_queue_is_renewed_as_well() {
    let lab = Lab::with(4).await;
    let log = Log::new();
    let worker = || {
        let seen = log.clone();
        lab.worker()
            .concurrency(1)
            .timeout(None)
            .build(move |message: Message<u32>| {
                seen.note(&message);
                sleep(2 * LEASE)
            })
            .unwrap()
    };
    let (mut one, mut other) = (worker(), worker());
    let (one, other) = tokio::join!(one.run_until_idle(), other.run_until_idle());
    assert_eq!(one.unwrap().succeeded + other.unwrap().succeeded, 4);
    assert_eq!(log.numbers(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn recover_runs_what_was_left_behind_and_reads_nothing_new() {
    let lab = Lab::with(150).await;
    let mut victim = lab
        .worker()
        .prefetch(200)
        .batch(150)
        .build(async |_: Message<u32>| std::future::pending::<()>().await)
        .unwrap();
    killed_after(&mut victim, SECOND).await;
    lab.send(7).await;
    sleep(LEASE).await;

    let mut rescuer = lab
        .worker()
        .concurrency(4)
        .prefetch(10)
        .build(async |message: Message<u32>| *message != 3)
        .unwrap();
    let recovered = rescuer.recover().await.unwrap();
    assert_eq!(
        recovered,
        Recovered {
            taken: 150,
            succeeded: 149,
            dead_lettered: 0
        }
    );
    let stats = lab.broker.stats(&lab.source).await.unwrap();
    assert_eq!((stats.lag, stats.waiting), (Some(7), Some(1)));
    assert_eq!(rescuer.recover().await.unwrap().taken, 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_no_failed_attempt_of_what_it_held() {
    let lab = Lab::with(5).await;
    for _ in 0..2 {
        let mut victim = lab
            .worker()
            .build(async |_: Message<u32>| std::future::pending::<()>().await)
            .unwrap();
        killed_after(&mut victim, LEASE + SECOND).await;
    }
    let log = Log::new();
    let mut rescuer = lab.worker().build(log.noting()).unwrap();
    assert_eq!(rescuer.run_until_idle().await.unwrap().succeeded, 5);
    assert_eq!(log.attempts(), [1; 5]);
}
