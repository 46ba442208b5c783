//! The gate that suspects close: across processors, at a stop, and until all is confirmed or ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::quarantine::{Crowd, LEASE, crash_twice, gate_of, slow};
use super::{Lab, Log, SECOND};
use crate::broker::Broker;
use crate::memory::Memory;
use crate::message::Message;
use crate::names::{EntryId, Source};
use crate::processor::{Processor, Totals};

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
