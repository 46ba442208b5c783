//! A bulk replay keeps to its rate, by a clock that the test has in its hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, advance, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

async fn paced(many: usize, rate: &str) -> (DeadLetterQueue, ReplayOptions) {
    let letters = vec![letter("orders", "rejected", 0); many];
    let options = ReplayOptions::default().rate(rate.parse().unwrap());
    (queue_of(&letters).await.0, options)
}

/// When how many had been put back, step by step, until all are or the time is over.
async fn put_back(replaying: &mut Replaying, time: Duration) -> Vec<(Duration, u64)> {
    let (start, mut known) = (Instant::now(), replaying.report().replayed);
    let mut told = Vec::new();
    while start.elapsed() < time && replaying.step().await.unwrap().is_some() {
        let all = replaying.report().replayed;
        if all > known {
            told.push((start.elapsed(), all - known));
        }
        known = all;
    }
    told
}

fn within(told: &[(Duration, u64)], from: Duration, to: Duration) -> u64 {
    let meant = told.iter().filter(|(at, _)| (from..to).contains(at));
    meant.map(|(_, count)| count).sum()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_a_second_are_two_hundred_in_each_second() {
    for (rate, each, seconds) in [
        ("200/s", 200, 20),
        ("37/s", 37, 20),
        ("4/s", 4, 20),
        ("900/s", 900, 3),
    ] {
        let (queue, options) = paced(each * (seconds as usize + 1), rate).await;
        let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
        let told = put_back(&mut replaying, seconds * SECOND).await;
        let each = each as u64;
        // A tenth of a second's worth.
        let burst = (each / 10).max(1);
        let most = told.iter().map(|(_, count)| *count).max();
        assert!(most <= Some(burst), "{rate}: {most:?} at once");
        for second in 0..seconds {
            let went = within(&told, second * SECOND, (second + 1) * SECOND);
            assert!(
                (each - burst..=each + burst).contains(&went),
                "{rate}: {went}"
            );
        }
        let all = within(&told, Duration::ZERO, seconds * SECOND);
        let wanted = each * u64::from(seconds);
        let kept = wanted - burst..=wanted + burst;
        assert!(kept.contains(&all), "{rate}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_stall_it_goes_on_at_its_rate_and_makes_good_nothing() {
    let (queue, options) = paced(2_000, "200/s").await;
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    put_back(&mut replaying, SECOND).await;
    advance(60 * SECOND).await;
    let told = put_back(&mut replaying, 2 * SECOND).await;
    let first = within(&told, Duration::ZERO, SECOND / 10);
    assert!(first <= 40, "a flood of {first}");
    let all = within(&told, Duration::ZERO, 2 * SECOND);
    assert!((380..=420).contains(&all), "{all}");
}

/// A page of which few match, or none can be put back, costs no time of the rate.
#[tokio::test(start_paused = true)]
async fn what_is_not_put_back_is_not_waited_for() {
    let tombstone = Fields::from_iter([
        ("redrive-v", "1"),
        ("redrive-fields", "0"),
        ("redrive-stream", "orders"),
        ("redrive-reason", "trimmed"),
    ]);
    let mut letters = vec![tombstone; 950];
    letters.extend(vec![letter("orders", "rejected", 0); 4]);
    let (queue, _) = queue_of(&letters).await;
    let options = ReplayOptions::default().rate("1/s".parse().unwrap());
    let start = Instant::now();
    let report = queue
        .replay_many(&Selection::all(), &options)
        .await
        .unwrap();
    assert_eq!((report.replayed, report.failed), (4, 950));
    assert!(
        (2_900..=4_000).contains(&start.elapsed().as_millis()),
        "{:?}",
        start.elapsed()
    );
}

/// Dropped while it waits, or anywhere else, it goes on where it was.
#[tokio::test(start_paused = true)]
async fn steps_that_are_dropped_while_they_wait_lose_and_double_nothing() {
    let (queue, options) = paced(30, "100/s").await;
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    let start = Instant::now();
    loop {
        tokio::select! {
            biased;
            stepped = replaying.step() => match stepped.unwrap() {
                None => break,
                Some(progress) => assert_eq!(progress.examined, replaying.report().selected.min(replaying.report().replayed)),
            },
            () = tokio::time::sleep(Duration::from_millis(7)) => {}
        }
    }
    assert_eq!(
        (replaying.report().replayed, replaying.report().already),
        (30, 0)
    );
    assert_eq!(queue.length().await.unwrap(), 0);
    let backend = queue.broker.backend();
    assert_eq!(backend.length(&stream("orders")).await.unwrap(), 30);
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
}

/// Its turn comes when something may go: a step does not wait then.
#[tokio::test(start_paused = true)]
async fn a_turn_is_all_the_waiting_there_is() {
    let (queue, options) = paced(10, "2/s").await;
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    let (mut waited, mut replayed) = (Duration::ZERO, 0);
    loop {
        let start = Instant::now();
        replaying.turn().await;
        waited += start.elapsed();
        let start = Instant::now();
        if replaying.step().await.unwrap().is_none() {
            break;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(replaying.report().replayed <= replayed + 1);
        replayed = replaying.report().replayed;
    }
    assert_eq!(replayed, 10);
    assert!((4_500..=4_520).contains(&waited.as_millis()), "{waited:?}");
}

/// What is migrated is got ready while what is ready waits for its turn: a migration of a third of a
/// second for each thousand took its time from the rate.
#[tokio::test(start_paused = true)]
async fn a_migration_that_takes_its_time_does_not_slow_the_rate_down() {
    let own = [
        ("data", "1"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-stream", "orders"),
        ("redrive-reason", "rejected"),
    ];
    let (queue, _) = queue_of(&vec![Fields::from_iter(own); 2_500]).await;
    let options = ReplayOptions::default()
        .rate("400/s".parse().unwrap())
        .migrate_payload(async |_, payload| {
            tokio::time::sleep(Duration::from_millis(330)).await;
            Ok::<_, BoxError>(payload)
        });
    let mut replaying = queue.replaying(&Selection::all(), &options).await.unwrap();
    let start = Instant::now();
    assert_eq!(
        put_back(&mut replaying, 60 * SECOND)
            .await
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>(),
        2_500
    );
    // The first page has to be waited for.
    let took = (start.elapsed() - Duration::from_millis(330)).as_millis();
    assert!((6_100..6_400).contains(&took), "{took} ms");
}

/// Its turn is over when what comes next is migrated: whoever drops the replay before that has changed
/// nothing, and whoever drops the turn goes on with the same migration.
#[tokio::test(start_paused = true)]
async fn a_turn_that_is_dropped_while_it_migrates_loses_nothing_and_migrates_nothing_twice() {
    let own = [
        ("data", "1"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-stream", "orders"),
        ("redrive-reason", "rejected"),
    ];
    let (queue, _) = queue_of(&vec![Fields::from_iter(own); 1_200]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let options = ReplayOptions::default().migrate_payload(move |_, payload| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            tokio::time::sleep(60 * SECOND).await;
            Ok::<_, BoxError>(payload)
        }
    });
    let begin = async || queue.replaying(&Selection::all(), &options).await.unwrap();
    let mut replaying = begin().await;
    assert!(timeout(SECOND, replaying.turn()).await.is_err());
    drop(replaying);
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1_000);
    assert_eq!(queue.length().await.unwrap(), 1_200);

    let mut replaying = begin().await;
    let start = Instant::now();
    loop {
        // In the middle of a migration, always.
        while timeout(7 * SECOND, replaying.turn()).await.is_err() {}
        let turned = Instant::now();
        if replaying.step().await.unwrap().is_none() {
            break;
        }
        assert_eq!(turned.elapsed(), Duration::ZERO);
    }
    assert_eq!(start.elapsed(), 120 * SECOND);
    assert_eq!(asked.load(Ordering::Relaxed), 1_200);
    let report = replaying.report();
    assert_eq!(
        (report.replayed, report.already, report.failed),
        (1_200, 0, 0)
    );
    assert_eq!(queue.length().await.unwrap(), 0);
}
