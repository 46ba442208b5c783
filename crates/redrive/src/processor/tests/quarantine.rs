//! Messages that end their process: each runs alone before it is given up, and no other pays for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Lab, Log, SECOND};
use crate::backend::Gate;
use crate::broker::Broker;
use crate::dead_letter::Reason;
use crate::error::BoxError;
use crate::memory::Memory;
use crate::message::Message;
use crate::names::{EntryId, Source};
use crate::processor::{Processor, Totals};
use crate::retry::RetryPolicy;

const LEASE: Duration = Duration::from_secs(30);

/// Whose handlers run at the moment.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<Vec<u32>>>);

struct Inside(Crowd, u32);

impl Crowd {
    fn enter(&self, number: u32) -> Inside {
        self.0.lock().unwrap().push(number);
        Inside(self.clone(), number)
    }

    fn numbers(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().retain(|number| *number != self.1);
    }
}

/// Leaves all messages as two crashes leave them: one more would be too many.
async fn crash_twice(lab: &Lab) {
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
fn slow(lab: &Lab, log: &Log, crowd: &Crowd, takes: Duration) -> Processor {
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

/// Another stream on the same broker, with messages of numbers that the first does not have.
async fn neighbour(lab: &Lab, numbers: std::ops::Range<u32>) -> Lab {
    let source = Source::new("parcels", "sending").unwrap();
    let producer = lab.broker.producer(source.stream.clone());
    let numbers: Vec<u32> = numbers.collect();
    producer.send_all(&numbers).await.unwrap();
    Lab {
        broker: lab.broker.clone(),
        source,
        producer,
    }
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
async fn processors_of_one_broker_share_the_gate() {
    let lab = Lab::with(2).await;
    crash_twice(&lab).await;
    sleep(LEASE).await;
    let other = neighbour(&lab, 100..104).await;
    let crowd = Crowd::default();
    let (suspects, others) = (Log::new(), Log::new());
    let mut one = slow(&lab, &suspects, &crowd, 3 * SECOND);
    let mut two = slow(&other, &others, &crowd, 4 * SECOND);
    let later = async {
        sleep(SECOND).await;
        assert_eq!(crowd.numbers().len(), 4);
        // This one would start at once, but for the suspect that waits.
        other.producer.send(&104).await.unwrap();
        sleep(4 * SECOND).await;
        assert!(
            matches!(crowd.numbers()[..], [0 | 1]),
            "{:?}",
            crowd.numbers()
        );
    };
    let running = async {
        let until = async |worker: &mut Processor| worker.run_until(sleep(60 * SECOND)).await;
        // The others are running when the suspects come.
        let first = async {
            sleep(SECOND / 2).await;
            until(&mut one).await
        };
        tokio::join!(first, until(&mut two))
    };
    let ((one, two), ()) = tokio::join!(running, later);
    assert_eq!((one.unwrap().succeeded, two.unwrap().succeeded), (2, 5));
    // Between two suspects the others have their turn.
    let at = |log: &Log| {
        log.all()
            .iter()
            .map(|seen| seen.at.as_secs())
            .collect::<Vec<_>>()
    };
    assert_eq!(at(&suspects), [4, 11]);
    assert_eq!(at(&others), [0, 0, 0, 0, 7]);
}

#[tokio::test(start_paused = true)]
async fn worlds_in_memory_do_not_wait_for_each_other() {
    let (lab, elsewhere) = (Lab::with(1).await, Lab::with(1).await);
    crash_twice(&lab).await;
    sleep(LEASE).await;
    let (log, crowd) = (Log::new(), Crowd::default());
    let mut endless = slow(&elsewhere, &Log::new(), &Crowd::default(), 3_600 * SECOND);
    let mut suspect = slow(&lab, &log, &crowd, SECOND);
    tokio::select! {
        totals = suspect.run_until_idle() => assert_eq!(totals.unwrap().succeeded, 1),
        _ = endless.run_until_idle() => panic!("it takes an hour"),
    }
    assert!(log.all()[0].at < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_waits_is_handed_back_at_a_stop_and_keeps_nobody_outside() {
    let lab = Lab::with(1).await;
    crash_twice(&lab).await;
    sleep(LEASE).await;
    let other = neighbour(&lab, 100..101).await;
    let (log, others, crowd) = (Log::new(), Log::new(), Crowd::default());
    let mut long = slow(&other, &others, &crowd, 3_600 * SECOND);
    let mut stopped = slow(&lab, &log, &crowd, SECOND);
    let scene = async {
        sleep(SECOND).await;
        let stopping = Instant::now();
        let totals = stopped.run_until(sleep(5 * SECOND)).await.unwrap();
        let released = Totals {
            released: 1,
            ..Totals::default()
        };
        assert_eq!(totals, released);
        assert!(stopping.elapsed() < 6 * SECOND);
        // Nothing is charged: another worker may still run it, alone.
        let pending = lab
            .broker
            .pending(&lab.source, EntryId::MIN, 10)
            .await
            .unwrap();
        // One is booked, and the other still open.
        assert_eq!((pending[0].crashes, pending[0].deliveries), (Some(1), 2));
        other.producer.send(&101).await.unwrap();
        sleep(SECOND).await;
        assert_eq!(crowd.numbers(), [100, 101]);
    };
    tokio::select! {
        () = scene => {}
        _ = long.run_until_idle() => panic!("it takes an hour"),
    }
    assert_eq!(log.all(), []);
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
async fn nothing_starts_until_the_end_of_a_suspect_is_confirmed() {
    let (_, healthy, lab, faults) = labs();
    healthy.send(1).await;
    crash_twice(&healthy).await;
    sleep(LEASE).await;
    let other = neighbour(&healthy, 100..100).await;
    let crowd = Crowd::default();
    let (suspect, later) = (Log::new(), Log::new());
    let mut one = slow(&lab, &suspect, &crowd, SECOND);
    let mut two = slow(&other, &later, &crowd, SECOND);
    faults.always(Verb::Settle, Wrong::NeverArrives);
    let scene = async {
        sleep(SECOND / 2).await;
        other.producer.send(&100).await.unwrap();
        sleep(10 * SECOND).await;
        // Its handler has ended long ago. A crash of another one would be blamed on it.
        assert!(crowd.numbers().is_empty() && later.all().is_empty());
        faults.heal();
    };
    let running = async { tokio::join!(one.run_until_idle(), two.run_until(sleep(30 * SECOND))) };
    let ((one, two), ()) = tokio::join!(running, scene);
    assert_eq!((one.unwrap().succeeded, two.unwrap().succeeded), (1, 1));
    assert!(later.all()[0].at > 10 * SECOND);
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
async fn gate_of(lab: &Lab) -> Gate {
    let membership = lab.worker().build(Log::new().noting()).unwrap();
    let membership = membership.options().membership(&lab.source);
    lab.broker.backend().join(membership).await.unwrap().gate()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_handler_that_blocks_its_thread_keeps_suspects_outside_until_it_ends() {
    let lab = Lab::over(Broker::over(Arc::new(Memory::new())));
    lab.send(1).await;
    let gate = gate_of(&lab).await;
    let (blocks, goes_on) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (blocked, until) = (Arc::clone(&blocks), Arc::clone(&goes_on));
    let mut worker = lab
        .worker()
        .drain(Duration::ZERO)
        .grace(Duration::ZERO)
        .build(move |_: Message<u32>| {
            let (blocked, until) = (Arc::clone(&blocked), Arc::clone(&until));
            async move {
                blocked.notify_one();
                while !until.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
        })
        .unwrap();
    let totals = worker.run_until(blocks.notified()).await.unwrap();
    assert_eq!(totals.cut_off, 1);
    drop(worker);
    assert!(gate.clone().enter_alone().now_or_never().is_none());
    goes_on.store(true, Ordering::SeqCst);
    let alone = timeout(60 * SECOND, gate.enter_alone()).await;
    assert!(alone.is_ok());
}
