//! Messages that kill whatever process runs them, among good ones: nobody else pays for it.

use std::time::{Duration, Instant};

use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;

use crate::arena::{Arena, judge};
use crate::crew::{Crew, library};
use crate::size::size;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn poison_20_process_killers_among_5000_take_nobody_with_them() {
    let (killers, good) = size((20, 5_000), (100, 10_000));
    let every = (good + killers) / killers;
    let kills = move |number: &Number| number % every == every / 2;
    let sent = killers * every;
    let mut arena = Arena::start().await;
    let mut redis = arena.redis.clone();
    let deed = |number| match kills(&number) {
        true => Deed::Abort,
        false => Deed::Succeed,
    };
    arena.load.add(&mut redis, 0..sent, deed).await;
    let options = "--batch 100 --concurrency 16 --lease 300 --max-crashes 3";
    let mut crew = Crew::start(1, library(&arena, options));
    // Bounded: a message that is never given up would be run, and kill, for ever.
    let give_up = Instant::now() + size(Duration::from_secs(120), Duration::from_secs(1_200));
    while !arena.is_settled().await && Instant::now() < give_up {
        crew.restart_the_fallen(&arena).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ended = Instant::now() < give_up;
    if ended {
        crew.stop(&arena).await;
    }
    let mut account = arena.account(std::mem::take(&mut crew.wounds)).await;
    account.killers = (0..sent).filter(kills).collect();
    let verdict = judge("poison", &account);
    assert_eq!((verdict.handled, verdict.dead), (sent - killers, killers));
    assert!(account.dead.iter().all(|dead| dead.reason == "crash_loop"));
    assert!(ended);
}
