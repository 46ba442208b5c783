//! Slow is not dead: handlers of many leases run once, and workers that were frozen do no harm when they wake.

use std::time::Duration;

use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;
use redrive_testkit::eventually;

use crate::SOON;
use crate::arena::{Arena, judge};
use crate::crew::{Crew, library};
use crate::size::size;

/// Sends these deeds to one worker, and when it runs all of them lets two others wait for what it might lose.
async fn watched(what: &str, options: &str, deeds: &[Deed], begun: u64) {
    let mut arena = Arena::start().await;
    let mut crew = Crew::start(1, library(&arena, options));
    crew.joined(&arena).await;
    let mut redis = arena.redis.clone();
    let many = deeds.len() as Number;
    let deed = |number: Number| deeds[usize::try_from(number).unwrap()];
    arena.load.add(&mut redis, 0..many, deed).await;
    eventually(SOON, "all of them run", async || {
        let runs = arena.effects.runs().await.unwrap();
        if runs.len() as u64 >= begun {
            Ok(())
        } else {
            Err(runs)
        }
    })
    .await;
    for _ in 0..2 {
        let waiting = crew.another();
        crew.workers.push(waiting);
    }
    arena.settled(SOON).await;
    crew.stop(&arena).await;
    assert_eq!(crew.wounds, [], "leases were lost");
    let account = arena.account(Vec::new()).await;
    let verdict = judge(what, &account);
    let started: u64 = account.runs.values().map(|runs| runs.started).sum();
    assert_eq!((started, verdict.handled), (many, many));
    println!("{what}: {started} runs of {many} messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_slow_handler_of_ten_leases_runs_once() {
    let deeds = vec![Deed::Sleep(Duration::from_secs(10)); size(50, 1_000)];
    let many = deeds.len();
    let options = format!("--lease 1000 --concurrency {many}");
    watched("ten leases", &options, &deeds, many as u64).await;
}

/// All of the worker is on one thread, which the second message does not let go for four leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn a_handler_that_sleeps_four_leases_while_another_blocks_its_runtime_thread_runs_once() {
    let time = Duration::from_secs(4);
    let mut deeds = vec![Deed::Sleep(time), Deed::Block(time)];
    // What waits in the queue of a blocked worker is renewed as well.
    deeds.extend([Deed::Succeed; 20]);
    let options = "--lease 1000 --concurrency 2 --threads 1";
    watched("blocked runtime", options, &deeds, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn sigstops_of_two_leases_dead_letter_nothing_wrongly() {
    let (stops, each) = (size(20, 200), 100);
    let lease = Duration::from_millis(300);
    let deed = |number: Number| match number % 10 {
        0 => Deed::Fail(1),
        1..5 => Deed::Sleep(Duration::from_millis(40)),
        _ => Deed::Succeed,
    };
    let mut arena = Arena::start().await;
    let options = "--lease 300 --concurrency 8 --batch 32 --backoff 20";
    let mut crew = Crew::start(3, library(&arena, options));
    crew.joined(&arena).await;
    let mut redis = arena.redis.clone();
    for stop in 0..stops {
        let numbers = stop * each..(stop + 1) * each;
        arena.load.add(&mut redis, numbers, deed).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..60))).await;
        crew.stall(fastrand::usize(..3), 2 * lease, &arena).await;
    }
    arena.settled(SOON).await;
    crew.stop(&arena).await;
    let mut account = arena.account(std::mem::take(&mut crew.wounds)).await;
    account.planned = (0..stops * each).step_by(10).map(|n| (n, 2)).collect();
    let verdict = judge("sigstops", &account);
    assert_eq!((verdict.handled, verdict.dead), (stops * each, 0));
    assert!(verdict.recovered > 0, "no stop met a message");
}
