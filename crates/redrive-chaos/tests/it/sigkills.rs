//! kill -9 at random, under load: nothing lost, nothing stuck, nobody blamed, no more extra runs than what was held.

use std::time::Duration;

use redrive_chaos::account::{Number, Verdict};
use redrive_chaos::deed::Deed;

use crate::SOON;
use crate::arena::{Arena, GROUP, STREAM, judge};
use crate::crew::{Crew, redrive, redrive_run};
use crate::program;
use crate::size::size;
use crate::target::Target;

/// Waits until the next kill: between nothing and six leases, so three in the mean and never a rhythm.
fn until_the_next(lease: Duration) -> Duration {
    lease.mul_f64(6.2 * fastrand::f64())
}

/// Kills a worker at random, again and again, while `each` messages are added between two kills. Every other kill waits
/// until its worker has something in hand: on some machines what is added is done long before the time has come.
async fn killed(arena: &mut Arena, crew: &mut Crew, kills: u64, each: u64, lease: Duration) {
    crew.joined(arena).await;
    let mut redis = arena.redis.clone();
    for kill in 0..kills {
        let next = tokio::time::Instant::now() + until_the_next(lease);
        let at = fastrand::usize(..crew.workers.len());
        let meets = kill % 2 == 0;
        if meets {
            tokio::time::sleep_until(next).await;
        }
        arena
            .load
            .add(&mut redis, kill * each..(kill + 1) * each, |_| {
                Deed::Succeed
            })
            .await;
        if meets {
            let consumer = crew.workers[at].consumer.clone();
            let deadline = tokio::time::Instant::now() + lease;
            // A worker that was quicker than the look at it is killed all the same.
            while arena.held_by(&consumer).await.is_empty()
                && tokio::time::Instant::now() < deadline
            {}
        } else {
            tokio::time::sleep_until(next).await;
        }
        crew.kill(at, arena).await;
    }
}

async fn finished(arena: &Arena, crew: &mut Crew, what: &str, sent: Number) -> Verdict {
    arena.settled(4 * SOON).await;
    crew.stop(arena).await;
    let verdict = judge(what, &arena.account(std::mem::take(&mut crew.wounds)).await);
    // Nobody but who was there at three kills is dead: the verdict says so.
    assert_eq!(verdict.handled + verdict.dead, sent);
    assert!(
        verdict.recovered > 0,
        "no kill met a message: this shows nothing"
    );
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn sigkills_of_the_real_binary_under_load() {
    let (kills, each) = (size(100, 1_000), 1_000);
    let lease = Duration::from_millis(500);
    let mut arena = Arena::start().await;
    let target = Target::start(&arena.effects, Duration::from_millis(2)).await;
    let url = arena.server.url();
    let options = "--lease 500ms --concurrency 8 --batch 32 --block 200ms --backoff none";
    let mut crew = Crew::start(3, move |consumer| {
        redrive_run(&url, &target, consumer, options)
    });
    killed(&mut arena, &mut crew, kills, each, lease).await;
    finished(&arena, &mut crew, "sigkills, HTTP", kills * each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn sigkills_of_the_real_binary_under_load_with_command_handlers() {
    let (kills, each) = (size(10, 100), 100);
    let lease = Duration::from_millis(500);
    let mut arena = Arena::start().await;
    let (url, effects) = (arena.server.url(), arena.effects_address());
    let mut crew = Crew::start(3, move |consumer| {
        let mut command = redrive(&url, &["run", STREAM, "-g", GROUP, "--consumer", consumer]);
        command
            .args("--field n --lease 500ms --concurrency 4 --batch 16 --block 200ms".split(' '))
            .args(["--backoff", "none", "--"])
            .arg(program::worker())
            .args(["effect", &effects, consumer]);
        command
    });
    killed(&mut arena, &mut crew, kills, each, lease).await;
    finished(&arena, &mut crew, "sigkills, commands", kills * each).await;
}
