//! SIGTERM under load: no extra run, and what had not begun is with others at once.

use std::time::{Duration, Instant};

use redrive_chaos::deed::Deed;
use redrive_testkit::eventually;
use rustix::process::Signal;

use crate::SOON;
use crate::arena::{Arena, judge};
use crate::crew::{Crew, redrive_run};
use crate::size::size;
use crate::target::Target;

const CONCURRENCY: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn sigterms_under_load_run_nothing_twice_and_hand_on_within_a_second() {
    let (stops, each) = (size(20, 200), 200);
    let mut arena = Arena::start().await;
    let target = Target::start(&arena.effects, Duration::from_millis(20)).await;
    let url = arena.server.url();
    // The lease is long: what is handed back does not wait for it.
    let options = "--lease 30s --concurrency 4 --batch 50 --block 200ms --backoff none";
    let mut crew = Crew::start(3, move |consumer| {
        redrive_run(&url, &target, consumer, options)
    });
    let mut redis = arena.redis.clone();
    let mut slowest = Duration::ZERO;
    for stop in 0..stops {
        crew.joined(&arena).await;
        let numbers = stop * each..(stop + 1) * each;
        arena.load.add(&mut redis, numbers, |_| Deed::Succeed).await;
        let at = eventually(SOON, "a worker with more than it runs", async || {
            for (at, worker) in crew.workers.iter().enumerate() {
                if arena.held_by(&worker.consumer).await.len() > 3 * CONCURRENCY {
                    return Some(at);
                }
            }
            None
        })
        .await;
        let leaving = crew.replace(at);
        leaving.signal(Signal::TERM);
        let told = Instant::now();
        eventually(
            SOON,
            "all that it held is with others",
            async || match arena.held_by(&leaving.consumer).await.len() {
                0 => Ok(()),
                held => Err(held),
            },
        )
        .await;
        slowest = slowest.max(told.elapsed());
        let (status, said) = leaving.ended().await;
        assert!(status.success(), "{status}: {said:#?}");
    }
    // Stops follow each other faster than the work is done: what is left is work for minutes.
    arena.settled(size(1, 10) * SOON).await;
    crew.stop(&arena).await;
    let verdict = judge("sigterms", &arena.account(Vec::new()).await);
    assert_eq!((verdict.handled, verdict.duplicated), (stops * each, 0));
    println!("sigterms: what had not begun was with others within {slowest:?}");
    assert!(slowest <= Duration::from_secs(1), "{slowest:?}");
}
