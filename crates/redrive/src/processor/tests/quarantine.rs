//! Messages that end their process: each runs alone before it is given up, and no other pays for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Lab, Log, SECOND};
use crate::backend::Gate;
use crate::conformance::seated;
use crate::dead_letter::Reason;
use crate::error::BoxError;
use crate::message::Message;
use crate::names::ProcessToken;
use crate::processor::{Processor, Totals};
use crate::retry::RetryPolicy;

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// Whose handlers run at the moment.
#[derive(Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<Vec<u32>>>);

pub(super) struct Inside(Crowd, u32);

impl Crowd {
    pub(super) fn enter(&self, number: u32) -> Inside {
        self.0.lock().unwrap().push(number);
        Inside(self.clone(), number)
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().retain(|number| *number != self.1);
    }
}

/// Leaves all messages as two crashes leave them: one more would be too many.
pub(super) async fn crash_twice(lab: &Lab) {
    for _ in 0..2 {
        let mut victim = lab
            .worker()
            .concurrency(100)
            .build(async |_: Message<u32>| std::future::pending::<()>().await)
            .unwrap();
        assert!(
            timeout(LEASE + 2 * SECOND, victim.run_until_idle())
                .await
                .is_err()
        );
    }
}

/// A worker whose handlers take so long, each noted as it starts and while it runs.
pub(super) fn slow(lab: &Lab, log: &Log, crowd: &Crowd, takes: Duration) -> Processor {
    let (log, crowd) = (log.clone(), crowd.clone());
    lab.worker()
        .timeout(None)
        .build(move |message: Message<u32>| {
            log.note(&message);
            let inside = crowd.enter(*message);
            async move {
                sleep(takes).await;
                drop(inside);
            }
        })
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_message_that_ends_its_process_dies_after_three_starts_and_no_other_message_does() {
    const POISON: [u32; 3] = [7, 8, 30];
    let lab = Lab::with(60).await;
    let crowd = Crowd::default();
    let starts: Arc<Mutex<BTreeMap<u32, u32>>> = Arc::default();
    let beside: Arc<Mutex<Vec<u32>>> = Arc::default();
    let done = Log::new();
    let died = Arc::new(Notify::new());
    let mut lives = 0;
    loop {
        let (crowd, starts, beside) = (crowd.clone(), Arc::clone(&starts), Arc::clone(&beside));
        let (done, dies) = (done.clone(), Arc::clone(&died));
        let mut worker = lab
            .worker()
            .build(move |message: Message<u32>| {
                let inside = crowd.enter(*message);
                let start = {
                    let mut starts = starts.lock().unwrap();
                    let start = starts.entry(*message).or_default();
                    *start += 1;
                    *start
                };
                let (crowd, beside) = (crowd.clone(), Arc::clone(&beside));
                let (done, dies) = (done.clone(), Arc::clone(&dies));
                async move {
                    let _inside = inside;
                    if !POISON.contains(&message) {
                        sleep(SECOND / 10).await;
                        return done.note(&message);
                    }
                    for _ in 0..5 {
                        if start == 3 {
                            beside.lock().unwrap().extend(crowd.numbers());
                        }
                        sleep(SECOND / 100).await;
                    }
                    dies.notify_one();
                    std::future::pending::<()>().await;
                }
            })
            .unwrap();
        lives += 1;
        tokio::select! {
            biased;
            () = died.notified() => assert!(lives < 20, "it goes on and on"),
            totals = worker.run_until_idle() => {
                totals.unwrap();
                break;
            }
        }
    }
    let mut numbers = done.numbers();
    numbers.dedup();
    let innocent: Vec<u32> = (0..60).filter(|n| !POISON.contains(n)).collect();
    assert_eq!(numbers, innocent);
    let dead = lab.dead_letters().await;
    assert_eq!(dead.len(), POISON.len());
    for letter in &dead {
        assert_eq!(letter.reason, Some(Reason::CrashLoop));
        assert_eq!(letter.crashes, Some(3));
    }
    let starts = starts.lock().unwrap().clone();
    for poison in POISON {
        assert!(
            starts[&poison] <= 3,
            "{poison} started {} times",
            starts[&poison]
        );
    }
    // In their last runs none of them saw anybody but itself.
    let beside = beside.lock().unwrap().clone();
    assert!(!beside.is_empty());
    assert!(beside.iter().all(|one| POISON.contains(one)), "{beside:?}");
    let alone = beside.windows(5).step_by(5);
    assert!(
        alone
            .clone()
            .all(|run| run.iter().all(|one| *one == run[0])),
        "{beside:?}"
    );
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_running_handlers_and_nothing_starts_beside_it() {
    let lab = Lab::with(1).await;
    crash_twice(&lab).await;
    sleep(LEASE).await;
    // Numbers from 100 on are read while the suspect waits for number 100 to end.
    let fresh: Vec<u32> = (100..103).collect();
    lab.producer.send_all(&fresh[..1]).await.unwrap();
    let (log, crowd) = (Log::new(), Crowd::default());
    let mut worker = slow(&lab, &log, &crowd, 10 * SECOND);
    let run = worker.run_until_idle();
    let look = async {
        // The claim comes before the first read: the suspect goes first.
        sleep(SECOND).await;
        assert_eq!(crowd.numbers(), [0]);
        sleep(9 * SECOND + SECOND / 2).await;
        assert_eq!(crowd.numbers(), [100]);
        lab.producer.send_all(&fresh[1..]).await.unwrap();
    };
    let (totals, ()) = tokio::join!(run, look);
    assert_eq!((totals.unwrap().succeeded, lab.pending().await), (4, 0));
    assert!(lab.dead_letters().await.is_empty());
    let started: Vec<_> = log
        .all()
        .iter()
        .map(|seen| (seen.number, seen.at.as_secs()))
        .collect();
    assert_eq!(started, [(0, 0), (100, 10), (101, 10), (102, 10)]);
}

#[tokio::test(start_paused = true)]
async fn suspects_run_one_after_another_and_those_that_succeed_are_successes() {
    let lab = Lab::with(5).await;
    crash_twice(&lab).await;
    sleep(LEASE).await;
    let (log, crowd) = (Log::new(), Crowd::default());
    let mut worker = slow(&lab, &log, &crowd, SECOND);
    let started = Instant::now();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.dead_lettered), (5, 0));
    // Their acks do not wait for company: everybody waits for them.
    assert!(
        started.elapsed() < 5 * SECOND + SECOND / 100,
        "{:?}",
        started.elapsed()
    );
    let at: Vec<_> = log.all().iter().map(|seen| seen.at.as_secs()).collect();
    assert_eq!(at, [0, 1, 2, 3, 4]);
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_fails_is_retried_alone_and_its_crashes_stay_as_they_are() {
    let lab = Lab::with(3).await;
    crash_twice(&lab).await;
    sleep(LEASE).await;
    let crowd = Crowd::default();
    let inside = crowd.clone();
    let mut worker = lab
        .worker()
        .retry(RetryPolicy::fixed(SECOND).max_attempts(3))
        .build(move |message: Message<u32>| {
            let inside = inside.enter(*message);
            async move {
                assert_eq!(inside.0.numbers(), [*message]);
                sleep(SECOND).await;
                drop(inside);
                Err::<(), _>(BoxError::from("no"))
            }
        })
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (9, 3));
    for letter in lab.dead_letters().await {
        assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
        assert_eq!(letter.error.as_deref(), Some("no"));
        assert_eq!(letter.crashes, Some(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_whose_worker_is_silent_for_a_while_is_not_given_up() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(1).await;
    crash_twice(&healthy).await;
    sleep(LEASE).await;
    let (log, crowd) = (Log::new(), Crowd::default());
    let mut silent = slow(&lab, &log, &crowd, 4 * LEASE);
    let mut other = slow(&healthy, &log, &crowd, SECOND);
    let stalls = async {
        sleep(SECOND).await;
        faults.always(Verb::Renew, Wrong::NeverArrives);
        sleep(2 * LEASE).await;
        let waiting = healthy.broker.stats(&healthy.source).await.unwrap().waiting;
        assert_eq!(waiting, Some(1), "nobody doubts it");
        faults.heal();
    };
    let (one, other, ()) = tokio::join!(silent.run_until_idle(), other.run_until_idle(), stalls);
    assert_eq!(
        (one.unwrap().succeeded, other.unwrap()),
        (1, Totals::default())
    );
    assert_eq!(log.all().len(), 1);
    assert!(healthy.dead_letters().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_begin_or_ack_of_a_suspect_changes_nothing() {
    for (verb, wrong) in [
        (Verb::Begin, Wrong::NeverArrives),
        (Verb::Begin, Wrong::ReplyLost),
        (Verb::Settle, Wrong::NeverArrives),
        (Verb::Settle, Wrong::ReplyLost),
    ] {
        let (_, healthy, lab, faults) = labs();
        healthy.send(3).await;
        crash_twice(&healthy).await;
        sleep(LEASE).await;
        faults.next(verb, vec![wrong; 3]);
        let (log, crowd) = (Log::new(), Crowd::default());
        let mut worker = slow(&lab, &log, &crowd, SECOND);
        let totals = worker.run_until_idle().await.unwrap();
        assert_eq!((totals.succeeded, totals.dead_lettered), (3, 0));
        assert_eq!(log.all().len(), 3);
        assert!(gate_of(&lab).await.try_enter().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_alone_and_its_verdict_are_told() {
    let lines = logged(async || {
        let lab = Lab::with(1).await;
        crash_twice(&lab).await;
        let mut victim = lab
            .worker()
            .build(async |_: Message<u32>| std::future::pending::<()>().await)
            .unwrap();
        assert!(
            timeout(LEASE + 2 * SECOND, victim.run_until_idle())
                .await
                .is_err()
        );
        let mut worker = lab.worker().build(Log::new().noting()).unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().dead_lettered, 1);
    })
    .await;
    let one = |what: &str| lines.iter().filter(|line| line.contains(what)).count() == 1;
    assert!(one("starts alone"), "{lines:#?}");
    assert!(one("silent while it ran alone"), "{lines:#?}");
    let told = lines.iter().filter(|line| line.contains("dead letter"));
    let told: Vec<_> = told.collect();
    assert!(
        matches!(told[..], [line] if line.starts_with("WARN") && line.contains("crash_loop")),
        "{told:?}"
    );
}

/// The gate of a lab's world.
pub(super) async fn gate_of(lab: &Lab) -> Gate {
    let membership = lab.worker().build(Log::new().noting()).unwrap();
    let token = ProcessToken::random();
    let membership = membership.options().membership(&lab.source, &token);
    seated(lab.broker.backend().join(membership).await).gate()
}
