//! Order by key: one after another within a key, side by side across keys, whatever happens.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::diary::Diary;
use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Lab, SECOND};
use crate::message::{Fields, Message};
use crate::outcome::Outcome;
use crate::processor::{Extent, Processor, ProcessorBuilder};
use crate::retry::RetryPolicy;

const LEASE: Duration = Duration::from_secs(30);

impl Lab {
    fn ordered(&self) -> ProcessorBuilder {
        self.worker()
            .ordered_by("key")
            .retry(RetryPolicy::fixed(10 * SECOND))
    }
}

fn fine(_: &str, _: &Message<u32>) -> Outcome {
    Outcome::Ack
}

/// The first message of key `a` fails so often.
fn a0_fails(times: u32) -> impl Fn(&str, &Message<u32>) -> Outcome + Clone {
    move |key, message| {
        if key == "a" && **message == 0 && message.attempt() <= times {
            Outcome::retry("not yet")
        } else {
            Outcome::Ack
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_of_one_key_run_one_after_another_and_those_of_others_side_by_side() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "b", "a", "c", "b", "a"]).await;
    let diary = Diary::new();
    let mut worker = lab.ordered().build(diary.handler(fine)).unwrap();
    assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 6);
    diary.assert_never_two_of_one_key();
    assert_eq!(diary.of("a"), [(0, 1), (2, 1), (5, 1)]);
    assert_eq!(diary.of("b"), [(1, 1), (4, 1)]);
    // As long as the longest key, not as all together.
    let last = diary.all().into_iter().map(|run| run.ended).max().unwrap();
    assert!(last < 4 * SECOND, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_without_the_field_are_not_ordered() {
    let lab = Lab::with(16).await;
    let diary = Diary::new();
    let mut worker = lab.ordered().build(diary.handler(fine)).unwrap();
    assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 16);
    assert!(diary.all().iter().all(|run| run.ended < 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_is_waited_for_by_the_later_ones_of_its_key_and_by_no_others() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "b", "b"]).await;
    let diary = Diary::new();
    let mut worker = lab.ordered().build(diary.handler(a0_fails(2))).unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.failed, totals.retried), (4, 2, 2));
    diary.assert_never_two_of_one_key();
    assert_eq!(diary.of("a"), [(0, 1), (0, 2), (0, 3), (1, 1)]);
    let runs = diary.all();
    let began: Vec<_> = runs.iter().filter(|run| run.key == "a").collect();
    for pair in began[..3].windows(2) {
        let waited = pair[1].began - pair[0].ended;
        assert!((10 * SECOND..11 * SECOND).contains(&waited), "{waited:?}");
    }
    let b = runs.iter().rfind(|run| run.key == "b").unwrap();
    assert!(b.ended < 3 * SECOND, "{b:?}");
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_message_is_waited_for_likewise_and_charged_nothing() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a"]).await;
    let diary = Diary::new();
    let deferred = Arc::new(Mutex::new(BTreeSet::new()));
    let mut worker = lab
        .ordered()
        .build(diary.handler(move |_, message| {
            match deferred.lock().unwrap().insert(**message) && **message == 0 {
                true => Outcome::defer(100 * SECOND),
                false => Outcome::Ack,
            }
        }))
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.deferred), (2, 1));
    assert_eq!(diary.of("a"), [(0, 1), (0, 1), (1, 1)]);
    assert!(diary.all()[1].began >= 101 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_waits_here_for_many_leases_is_taken_by_nobody() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "a"]).await;
    let (diary, others) = (Diary::new(), Diary::new());
    let retry = RetryPolicy::fixed(8 * LEASE);
    let mut worker = lab
        .ordered()
        .retry(retry)
        .build(diary.handler(a0_fails(1)))
        .unwrap();
    let mut other = lab.ordered().build(others.handler(fine)).unwrap();
    let second = async {
        sleep(SECOND / 2).await;
        other.run_until(sleep(9 * LEASE)).await
    };
    let (totals, other) = tokio::join!(worker.run_until_idle(), second);
    assert_eq!(
        (totals.unwrap().succeeded, other.unwrap().succeeded),
        (3, 0)
    );
    assert_eq!(diary.of("a"), [(0, 1), (0, 2), (1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn when_a_message_dies_the_next_of_its_key_goes_on() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "a", "a", "a"]).await;
    let bad = Fields::from_iter([("data", "no number"), ("key", "a")]);
    lab.producer.send_fields(bad).await.unwrap();
    lab.send_keyed(&["a"]).await;
    let diary = Diary::new();
    let mut worker = lab
        .ordered()
        .build(diary.handler(|_, message| match **message {
            1 => Outcome::retry("never"),
            2 => Outcome::dead_letter("bad"),
            3 => Outcome::discard("old"),
            _ => Outcome::Ack,
        }))
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.dead_lettered), (3, 3));
    assert_eq!((totals.discarded, totals.failed), (1, 4));
    diary.assert_never_two_of_one_key();
    let runs = [
        (0, 1),
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 1),
        (3, 1),
        (4, 1),
        (0, 1),
    ];
    assert_eq!(diary.of("a"), runs);
    assert_eq!(lab.dead_letters().await.len(), 3);
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_prefetch_full_of_one_key_holds_the_others_up_and_does_not_stop() {
    let lab = Lab::new().await;
    let mut keys = vec!["a"; 12];
    keys.extend(["b", "b", "c"]);
    lab.send_keyed(&keys).await;
    let diary = Diary::new();
    let mut worker = lab
        .ordered()
        .concurrency(2)
        .prefetch(3)
        .batch(5)
        .build(diary.handler(a0_fails(2)))
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.retried), (15, 2));
    diary.assert_never_two_of_one_key();
    let numbers: Vec<u32> = diary.of("a").iter().map(|run| run.0).collect();
    let expected: Vec<u32> = [0, 0].into_iter().chain(0..12).collect();
    assert_eq!(numbers, expected);
    assert_eq!(diary.of("b"), [(12, 1), (13, 1)]);
}

/// Runs until it is dropped in the middle of everything: a killed process.
async fn killed_after(worker: &mut Processor, time: Duration) {
    assert!(timeout(time, worker.run_until_idle()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_held_runs_in_order_with_its_failures_and_without_a_crash() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "b", "a", "a"]).await;
    let first = Diary::new();
    let mut victim = lab
        .ordered()
        .retry(RetryPolicy::fixed(1_000 * SECOND))
        .build(first.handler(a0_fails(1)))
        .unwrap();
    killed_after(&mut victim, 20 * SECOND).await;
    assert_eq!(first.of("a"), [(0, 1)]);

    let diary = Diary::new();
    let mut rescuer = lab.ordered().build(diary.handler(fine)).unwrap();
    let recovered = async {
        sleep(LEASE).await;
        rescuer.recover().await.unwrap()
    };
    let recovered = recovered.await;
    assert_eq!((recovered.taken, recovered.succeeded), (4, 4));
    diary.assert_never_two_of_one_key();
    assert_eq!(diary.of("a"), [(0, 2), (1, 1), (3, 1), (4, 1)]);
    assert_eq!(lab.pending().await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_message_that_is_taken_over_goes_before_those_that_wait() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a"]).await;
    let mut victim = lab
        .ordered()
        .batch(1)
        .prefetch(0)
        .concurrency(1)
        .build(async |_: Message<u32>| std::future::pending::<()>().await)
        .unwrap();
    killed_after(&mut victim, 20 * SECOND).await;
    lab.send_keyed(&["x", "a", "a", "a"]).await;
    let diary = Diary::new();
    // The second one fails, and waits when the first one is taken over.
    let retry = RetryPolicy::fixed(60 * SECOND);
    let mut worker = lab
        .ordered()
        .retry(retry)
        .build(
            diary.handler(|_, message| match (**message, message.attempt()) {
                (1, 1) => Outcome::retry("not yet"),
                _ => Outcome::Ack,
            }),
        )
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!(totals.succeeded, 5);
    diary.assert_never_two_of_one_key();
    assert_eq!(diary.of("a"), [(1, 1), (0, 1), (1, 2), (2, 1), (3, 1)]);
    assert!(
        diary
            .all()
            .iter()
            .any(|run| run.number == 0 && run.began < 40 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_hands_back_what_waits_uncharged_and_the_next_worker_goes_on_in_order() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "b", "a"]).await;
    let first = Diary::new();
    let mut leaving = lab
        .ordered()
        .retry(RetryPolicy::fixed(1_000 * SECOND))
        .build(first.handler(a0_fails(1)))
        .unwrap();
    let start = Instant::now();
    let totals = leaving.run_until(sleep(5 * SECOND)).await.unwrap();
    assert!(start.elapsed() < 6 * SECOND);
    assert_eq!((totals.succeeded, totals.retried), (1, 1));
    assert_eq!((totals.released, totals.failed), (3, 1));
    let stats = lab.broker.stats(&lab.source).await.unwrap();
    assert_eq!(stats.waiting, Some(3));

    let diary = Diary::new();
    let mut next = lab.ordered().build(diary.handler(fine)).unwrap();
    assert_eq!(next.run_batches(1).await.unwrap(), 3);
    assert_eq!(diary.of("a"), [(0, 2), (1, 1), (3, 1)]);
    assert!(diary.all()[0].began < SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_the_worker_stops_waits_in_the_group() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a"]).await;
    let diary = Diary::new();
    let mut worker = lab.ordered().build(diary.handler(a0_fails(1))).unwrap();
    let totals = worker.run_until(sleep(SECOND / 2)).await.unwrap();
    assert_eq!((totals.retried, totals.released), (1, 1));
    let stats = lab.broker.stats(&lab.source).await.unwrap();
    assert_eq!((stats.waiting, stats.consumers), (Some(2), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn rounds_and_sweeps_end_with_all_that_they_took() {
    for extent in [Extent::Batches(1), Extent::Sweep, Extent::UntilIdle] {
        let lab = Lab::new().await;
        lab.send_keyed(&["a", "a", "b"]).await;
        if extent == Extent::Sweep {
            let mut victim = lab
                .ordered()
                .build(async |_: Message<u32>| std::future::pending::<()>().await)
                .unwrap();
            killed_after(&mut victim, SECOND).await;
            sleep(LEASE).await;
        }
        let diary = Diary::new();
        let mut worker = lab.ordered().build(diary.handler(a0_fails(2))).unwrap();
        let totals = worker
            .run(extent, std::future::pending::<()>())
            .await
            .unwrap();
        assert_eq!((totals.succeeded, totals.retried), (3, 2), "{extent:?}");
        assert_eq!(diary.of("a"), [(0, 1), (0, 2), (0, 3), (1, 1)]);
        assert_eq!(lab.pending().await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_run_hands_over_all_but_what_waits_here() {
    let lab = Lab::new().await;
    lab.send_keyed(&["a", "a", "b", "b"]).await;
    let diary = Diary::new();
    let down = Instant::now() + 3 * SECOND;
    let mut worker = lab
        .ordered()
        .build(diary.handler(
            move |key, message| match (key, **message, message.attempt()) {
                ("a", 0, 1) => Outcome::retry_after("not yet", 20 * SECOND),
                ("b", ..) if Instant::now() < down => Outcome::unavailable("not there"),
                _ => Outcome::Ack,
            },
        ))
        .unwrap();
    let totals = worker.run_until_idle().await.unwrap();
    assert_eq!((totals.succeeded, totals.failed), (4, 1));
    diary.assert_never_two_of_one_key();
    // The failed one kept its delay through the pause, and its place.
    let runs = diary.all();
    let again = runs.iter().find(|run| run.attempt == 2).unwrap();
    assert!(again.began >= 21 * SECOND, "{again:?}");
    assert_eq!(diary.of("a"), [(0, 1), (0, 2), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn lost_calls_and_lost_answers_change_no_order_and_charge_nothing_twice() {
    for wrong in [Wrong::NeverArrives, Wrong::ReplyLost] {
        let (_, _, lab, faults) = labs();
        lab.send_keyed(&["a", "b", "a", "b", "a"]).await;
        for verb in [Verb::Begin, Verb::Settle, Verb::Renew] {
            faults.next(verb, [wrong; 3]);
        }
        let diary = Diary::new();
        let mut worker = lab.ordered().build(diary.handler(a0_fails(2))).unwrap();
        let totals = worker.run_until_idle().await.unwrap();
        assert_eq!((totals.succeeded, totals.retried), (5, 2), "{wrong:?}");
        diary.assert_never_two_of_one_key();
        assert_eq!(diary.of("a"), [(0, 1), (0, 2), (0, 3), (2, 1), (4, 1)]);
        assert_eq!(diary.of("b"), [(1, 1), (3, 1)]);
        assert_eq!(lab.pending().await, 0);
        assert!(lab.dead_letters().await.is_empty());
    }
}
