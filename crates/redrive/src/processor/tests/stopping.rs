//! How runs end: by their signal, when idle, after so many rounds, and with a closed broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Lab, Log, SECOND};
use crate::error::{BoxError, ErrorKind};
use crate::message::Message;
use crate::processor::{Extent, Totals};

#[tokio::test(start_paused = true)]
async fn stopping_hands_queued_work_to_another_worker_at_once_and_uncharged() {
    let lab = Lab::with(20).await;
    let mut leaving = lab
        .worker()
        .concurrency(2)
        .build(|_: Message<u32>| sleep(20 * SECOND))
        .unwrap();
    let log = Log::new();
    let mut staying = lab.worker().build(log.noting()).unwrap();
    let second = async {
        sleep(5 * SECOND).await;
        staying.run_until(sleep(7 * SECOND)).await
    };
    let (left, stayed) = tokio::join!(leaving.run_until(sleep(10 * SECOND)), second);
    let (left, stayed) = (left.unwrap(), stayed.unwrap());
    assert_eq!((left.released, left.succeeded), (18, 2));
    assert_eq!(stayed.succeeded, 18);
    let latest = log.all().iter().map(|seen| seen.at).max().unwrap();
    assert!(latest <= 11 * SECOND, "{latest:?}");
    assert_eq!(log.attempts(), [1; 18]);
    let stats = lab.broker.stats(&lab.source).await.unwrap();
    assert_eq!(
        (stats.pending_messages, stats.consumers),
        (Some(0), Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn when_the_drain_time_is_over_handlers_are_told_then_aborted_and_nothing_is_charged() {
    let lab = Lab::with(3).await;
    let told = Log::new();
    let seen = told.clone();
    let mut worker = lab
        .worker()
        .drain(4 * SECOND)
        .build(move |message: Message<u32>| {
            let seen = seen.clone();
            async move {
                if *message == 0 {
                    message.cancelled().await;
                    seen.note(&message);
                    return Err(BoxError::from("interrupted"));
                }
                if *message == 1 {
                    message.cancelled().await;
                    return Ok(());
                }
                std::future::pending().await
            }
        })
        .unwrap();
    let start = Instant::now();
    let totals = worker.run_until(sleep(SECOND)).await.unwrap();
    assert_eq!(told.all()[0].at, 5 * SECOND);
    assert_eq!(start.elapsed(), 6 * SECOND);
    assert_eq!((totals.succeeded, totals.released), (1, 2));
    assert_eq!((totals.failed, totals.cut_off), (0, 1));

    let again = Log::new();
    let mut next = lab.worker().build(again.noting()).unwrap();
    assert_eq!(next.run_batches(1).await.unwrap(), 2);
    assert_eq!(again.attempts(), [1, 1]);
    assert!(again.all()[0].at < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_handler_has_the_grace_to_stop_before_it_is_aborted() {
    let lab = Lab::with(2).await;
    let stopped = Log::new();
    let seen = stopped.clone();
    let mut worker = lab
        .worker()
        .drain(2 * SECOND)
        .grace(6 * SECOND)
        .lease(SECOND)
        .build(move |message: Message<u32>| {
            let seen = seen.clone();
            async move {
                message.cancelled().await;
                sleep((4 + 4 * *message) * SECOND).await;
                seen.note(&message);
                Err::<(), _>(BoxError::from("interrupted"))
            }
        })
        .unwrap();
    let start = Instant::now();
    let totals = worker.run_until(sleep(SECOND)).await.unwrap();
    assert_eq!(start.elapsed(), 9 * SECOND);
    assert_eq!(stopped.numbers(), [0]);
    assert_eq!((totals.released, totals.cut_off), (2, 1));
    assert_eq!((totals.failed, totals.retried), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_run_of_any_extent_politely() {
    for extent in [
        Extent::UntilStopped,
        Extent::UntilIdle,
        Extent::Batches(9),
        Extent::Sweep,
    ] {
        let lab = Lab::with(20).await;
        if extent == Extent::Sweep {
            // What another one has left behind.
            let mut crashing = lab
                .worker()
                .build(|_: Message<u32>| std::future::pending::<()>())
                .unwrap();
            let crash = tokio::time::timeout(SECOND, crashing.run_until_idle()).await;
            assert!(crash.is_err());
            sleep(40 * SECOND).await;
        }
        let mut worker = lab
            .worker()
            .concurrency(3)
            .build(async |message: Message<u32>| {
                sleep(4 * SECOND).await;
                match *message {
                    2 => Err(BoxError::from("no")),
                    _ => Ok(()),
                }
            })
            .unwrap();
        let start = Instant::now();
        let totals = worker.run(extent, sleep(SECOND)).await.unwrap();
        let took = start.elapsed();
        assert!((4 * SECOND..5 * SECOND).contains(&took), "{took:?}");
        assert_eq!(totals, worker.totals());
        assert_eq!((totals.succeeded, totals.released), (2, 17), "{extent:?}");
        assert_eq!((totals.failed, totals.retried), (1, 1));
        assert_eq!(lab.pending().await, 18);
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_signal_a_run_ends_where_its_extent_does() {
    let lab = Lab::with(25).await;
    let mut worker = lab
        .worker()
        .batch(10)
        .build(async |_: Message<u32>| {})
        .unwrap();
    let minute = || sleep(60 * SECOND);
    let start = Instant::now();
    let totals = worker.run(Extent::Batches(2), minute()).await.unwrap();
    assert_eq!(totals.succeeded, 20);
    let totals = worker.run(Extent::Sweep, minute()).await.unwrap();
    assert_eq!(totals.succeeded, 0);
    let totals = worker.run(Extent::UntilIdle, minute()).await.unwrap();
    assert_eq!(totals.succeeded, 5);
    assert!(start.elapsed() < SECOND);
}

/// What a program that runs a processor reports at the end, under these names.
#[test]
fn totals_are_told_under_their_names() {
    let told = serde_json::to_string(&Totals::default()).unwrap();
    assert_eq!(
        told,
        r#"{"succeeded":0,"failed":0,"retried":0,"deferred":0,"released":0,"dead_lettered":0,"discarded":0,"leases_lost":0}"#
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let start = Instant::now();
    let signal = Duration::from_millis(3_333);
    worker.run_until(sleep(signal)).await.unwrap();
    assert_eq!(start.elapsed(), signal);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_has_come_already_stops_a_run_before_it_begins() {
    let lab = Lab::with(1).await;
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let totals = worker.run_until(std::future::ready(())).await.unwrap();
    assert_eq!(totals.succeeded, 0);
}

#[tokio::test(start_paused = true)]
async fn run_batches_answers_how_many_succeeded() {
    let lab = Lab::with(25).await;
    let mut worker = lab
        .worker()
        .batch(10)
        .build(async |message: Message<u32>| *message != 4)
        .unwrap();
    assert_eq!(worker.run_batches(0).await.unwrap(), 0);
    assert_eq!(worker.run_batches(2).await.unwrap(), 19);
    assert_eq!(lab.pending().await, 1);
    assert_eq!(worker.totals().retried, 1);
}

#[tokio::test(start_paused = true)]
async fn empty_rounds_count_and_wait_as_long_as_a_read_blocks() {
    let lab = Lab::new().await;
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let start = Instant::now();
    assert_eq!(worker.run_batches(3).await.unwrap(), 0);
    assert_eq!(start.elapsed(), 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn run_until_idle_waits_for_what_others_hold() {
    let lab = Lab::with(1).await;
    let mut busy = lab
        .worker()
        .build(|_: Message<u32>| sleep(9 * SECOND))
        .unwrap();
    let mut idle = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let second = async {
        sleep(SECOND).await;
        let start = Instant::now();
        idle.run_until_idle().await.unwrap();
        start.elapsed()
    };
    let (_, waited) = tokio::join!(busy.run_until_idle(), second);
    assert!((8 * SECOND..=10 * SECOND).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn run_until_idle_ends_as_soon_as_it_is_idle() {
    let lab = Lab::with(1).await;
    let mut worker = lab
        .worker()
        .build(|_: Message<u32>| sleep(2 * SECOND + SECOND / 3))
        .unwrap();
    let start = Instant::now();
    worker.run_until_idle().await.unwrap();
    let took = start.elapsed();
    assert!(took < 2 * SECOND + SECOND / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn closing_the_broker_ends_a_run_at_once() {
    let lab = Lab::with(1).await;
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let mut worker = lab
        .worker()
        .build(move |_: Message<u32>| {
            enter.notify_one();
            std::future::pending::<()>()
        })
        .unwrap();
    let closing = async {
        entered.notified().await;
        lab.broker.close();
        Instant::now()
    };
    let (ended, closed) = tokio::join!(worker.run_until_idle(), closing);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(closed.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_spawned() {
    let lab = Lab::with(1).await;
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let run = tokio::spawn(async move { worker.run_until(sleep(SECOND)).await });
    assert_eq!(run.await.unwrap().unwrap().succeeded, 1);
}
