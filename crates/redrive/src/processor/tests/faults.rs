//! What the engine does when the broker does not: calls that never arrive, answers that are lost,
//! leases that are lost, a group that vanishes.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::doubles::{Faults, Faulty, Verb, Wrong};
use super::{Lab, Log, SECOND};
use crate::backend::{Backend, RenewedOn};
use crate::broker::Broker;
use crate::dead_letter::Reason;
use crate::error::{BoxError, ErrorKind};
use crate::memory::Memory;
use crate::message::Message;
use crate::retry::RetryPolicy;

/// A healthy lab, and one on the same broker whose calls go wrong.
pub(super) fn labs() -> (Memory, Lab, Lab, Faults) {
    let memory = Memory::new();
    let inner: Arc<dyn Backend> = Arc::new(memory.clone());
    let faults = Faults::default();
    let faulty: Faulty<dyn Backend> = Faulty::new(Arc::clone(&inner), faults.clone());
    let healthy = Lab::over(Broker::over(inner));
    let lab = Lab::over(Broker::over(Arc::new(faulty)));
    (memory, healthy, lab, faults)
}

#[tokio::test(start_paused = true)]
async fn calls_that_never_arrive_or_whose_answers_are_lost_change_nothing() {
    for wrong in [Wrong::NeverArrives, Wrong::ReplyLost] {
        let (_, _, lab, faults) = labs();
        lab.send(30).await;
        for verb in Verb::ALL {
            // A lost answer to a read is a delivery nobody knows of: it costs a lease, and a
            // charged run that was none.
            let times = if verb == Verb::Receive { 1 } else { 4 };
            faults.next(verb, vec![wrong; times]);
        }
        let log = Log::new();
        let seen = log.clone();
        let mut worker = lab
            .worker()
            .retry(RetryPolicy::fixed(SECOND))
            .build(move |message: Message<u32>| {
                seen.note(&message);
                ready(match (*message % 3, message.attempt()) {
                    (0, _) | (1, 2) => Ok(()),
                    _ => Err(BoxError::from("no")),
                })
            })
            .unwrap();
        let totals = worker.run_until_idle().await.unwrap();
        assert_eq!((totals.succeeded, totals.dead_lettered), (20, 10));
        assert_eq!((totals.failed, totals.retried), (40, 30));
        assert_eq!(log.all().len(), 10 + 20 + 30);
        assert_eq!(lab.pending().await, 0);
        assert_eq!(lab.dead_letters().await.len(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_for_a_while_is_waited_for_without_a_hot_loop() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(50).await;
    let down = Faults::clone(&faults);
    let outage = async {
        for verb in Verb::ALL {
            down.always(verb, Wrong::NeverArrives);
        }
        sleep(60 * SECOND).await;
        down.heal();
    };
    let mut worker = lab.worker().build(Log::new().noting()).unwrap();
    let (ended, ()) = tokio::join!(worker.run_until_idle(), outage);
    assert_eq!(ended.unwrap().succeeded, 50);
    // Three that ask, each after half of 50 ms, 100 ms … 3 s on average, and what 50 messages cost.
    let tries: u64 = Verb::ALL.iter().map(|verb| faults.calls(*verb)).sum();
    assert!(tries < 250, "{tries}");
}

#[tokio::test(start_paused = true)]
async fn what_retrying_cannot_cure_ends_the_run_after_settling_what_is_held() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(5).await;
    let mut worker = lab
        .worker()
        .concurrency(2)
        .build(|_: Message<u32>| sleep(3 * SECOND))
        .unwrap();
    let revoked = async {
        sleep(SECOND / 2).await;
        faults.always(Verb::Receive, Wrong::Fatal(ErrorKind::Denied));
    };
    let (ended, ()) = tokio::join!(worker.run_until_idle(), revoked);
    let ended = ended.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Denied);
    // Which of several processors it was.
    assert!(
        ended.to_string().contains(&lab.source.to_string()),
        "{ended}"
    );
    let totals = worker.totals();
    assert_eq!((totals.succeeded, totals.released), (2, 3));

    faults.heal();
    faults.always(Verb::Join, Wrong::Fatal(ErrorKind::WrongType));
    let ended = worker.run_batches(1).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::WrongType);
    assert!(
        ended.to_string().contains(&lab.source.to_string()),
        "{ended}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_cancels_the_handler_whose_failure_then_records_nothing() {
    for succeeds in [false, true] {
        let (_, healthy, lab, faults) = labs();
        healthy.send(1).await;
        let cancelled = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&cancelled);
        let mut frozen = lab
            .worker()
            .timeout(None)
            .build(move |message: Message<u32>| {
                let told = Arc::clone(&told);
                async move {
                    message.cancelled().await;
                    // Nobody aborts it: it may need time to stop what it has started.
                    sleep(10 * SECOND).await;
                    told.store(true, Ordering::SeqCst);
                    if succeeds {
                        return Ok(());
                    }
                    Err(BoxError::from("interrupted"))
                }
            })
            .unwrap();
        let log = Log::new();
        let seen = log.clone();
        let mut other = healthy
            .worker()
            .build(move |message: Message<u32>| {
                seen.note(&message);
                sleep(20 * SECOND)
            })
            .unwrap();
        let faults_of_frozen = async {
            sleep(SECOND).await;
            faults.always(Verb::Renew, Wrong::NeverArrives);
            faults.always(Verb::Tend, Wrong::NeverArrives);
            sleep(45 * SECOND).await;
            faults.heal();
        };
        let second = async {
            sleep(2 * SECOND).await;
            other.run_until_idle().await.unwrap()
        };
        let (one, two, ()) = tokio::join!(frozen.run_until_idle(), second, faults_of_frozen);
        let one = one.unwrap();
        assert!(cancelled.load(Ordering::SeqCst));
        assert_eq!((one.failed, one.retried, one.dead_lettered), (0, 0, 0));
        assert_eq!(one.succeeded, u64::from(succeeds));
        assert_eq!(two.succeeded, 1);
        assert_eq!(log.attempts(), [1]);
        assert!(healthy.dead_letters().await.is_empty());
        assert_eq!(healthy.pending().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_vanishes_is_created_again_and_no_message_runs_twice_at_once() {
    let (memory, _, lab, _) = labs();
    lab.send(40).await;
    let running: Arc<[AtomicBool; 40]> = Arc::new(std::array::from_fn(|_| AtomicBool::new(false)));
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(8)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            let running = Arc::clone(&running);
            async move {
                let here = &running[*message as usize];
                assert!(!here.swap(true, Ordering::SeqCst), "twice at once");
                sleep(4 * SECOND).await;
                here.store(false, Ordering::SeqCst);
            }
        })
        .unwrap();
    let vanishing = async {
        sleep(6 * SECOND).await;
        memory.forget_group(&lab.source);
    };
    let (totals, ()) = tokio::join!(worker.run_until_idle(), vanishing);
    let totals = totals.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (0, 0));
    let mut numbers = log.numbers();
    numbers.dedup();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_a_broker_gives_up_soon_after_the_drain_time() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(3).await;
    let mut worker = lab
        .worker()
        .drain(10 * SECOND)
        .build(|_: Message<u32>| sleep(4 * SECOND))
        .unwrap();
    let down = async {
        sleep(SECOND).await;
        for verb in Verb::ALL {
            faults.always(verb, Wrong::NeverArrives);
        }
    };
    let start = Instant::now();
    let (ended, ()) = tokio::join!(worker.run_until(sleep(2 * SECOND)), down);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unreachable);
    let took = start.elapsed();
    assert!((12 * SECOND..=18 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_whose_answer_is_lost_is_one_dead_letter_and_is_counted() {
    let (_, _, lab, faults) = labs();
    lab.send(1).await;
    faults.next(Verb::Settle, [Wrong::ReplyLost; 3]);
    let mut worker = lab
        .worker()
        .build(|_: Message<u32>| ready(crate::Outcome::dead_letter("negative")))
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.dead_lettered, totals.failed), (1, 1));
    let dead = lab.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, Some(Reason::Rejected));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_successes_cost_at_most_three_commands_a_batch() {
    for takes in [Duration::ZERO, SECOND / 1_000] {
        let (_, _, lab, faults) = labs();
        lab.send(10_000).await;
        let mut worker = lab
            .worker()
            .build(move |_: Message<u32>| sleep(takes))
            .unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 10_000);
        let (reads, acks) = (faults.calls(Verb::Receive), faults.calls(Verb::Settle));
        assert!(reads + acks <= 300, "{reads} reads, {acks} acks");
        assert_eq!(faults.calls(Verb::Begin), 0);
    }
}

#[tokio::test]
async fn a_handler_that_blocks_the_runtime_keeps_its_lease_where_renewal_has_a_thread() {
    let (_, _, lab, faults) = labs();
    faults.renew_on(RenewedOn::OwnThread);
    lab.send(1).await;
    let renewals = faults.clone();
    let mut worker = lab
        .worker()
        .lease(Duration::from_millis(100))
        .build(move |_: Message<u32>| {
            // Nothing else of this runtime runs until then: the worst a handler can do.
            let patience = std::time::Instant::now() + 10 * SECOND;
            while renewals.calls(Verb::Renew) < 4 && std::time::Instant::now() < patience {
                std::thread::yield_now();
            }
            ready(())
        })
        .unwrap();
    assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 1);
    assert!(faults.calls(Verb::Renew) >= 4);
    assert_eq!(faults.calls(Verb::Begin), 0);
}

/// The bug: a signal that came while a worker was joining dropped that half done, and a consumer
/// that nobody was stayed in the group.
#[tokio::test(start_paused = true)]
async fn a_signal_while_joining_leaves_no_consumer_behind() {
    let (_, healthy, lab, faults) = labs();
    faults.next(Verb::Join, [Wrong::ReplyLost]);
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let totals = worker.run_until(sleep(Duration::from_millis(1))).await;
    assert_eq!(totals.unwrap().succeeded, 0);
    assert_eq!(faults.calls(Verb::Join), 2);
    let stats = healthy.broker.stats(&healthy.source).await.unwrap();
    assert_eq!(stats.consumers, Some(0));
}

/// The bug: a worker that could not join, a server without memory before it, was stopped and took five seconds to end.
#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_join_ends_at_once_when_it_is_asked_to() {
    let (_, _, lab, faults) = labs();
    faults.always(Verb::Join, Wrong::Fatal(ErrorKind::WritesRefused));
    let mut worker = lab.worker().build(async |_: Message<u32>| {}).unwrap();
    let start = Instant::now();
    let signal = 20 * SECOND;
    let totals = worker.run_until(sleep(signal)).await;
    assert_eq!(totals.unwrap().succeeded, 0);
    // As many tries as there were pauses, and one more.
    assert!((7..1_000).contains(&faults.calls(Verb::Join)));
    assert_eq!(start.elapsed(), signal);
}
