//! What a dead worker held, behind a long row of messages that are held under live leases.

use std::time::{Duration, Instant};

use redrive::{Broker, Fields, Message, Processor, Raw, RetryPolicy, Source};
use redrive_chaos::account::Number;
use redrive_chaos::deed::Deed;
use redrive_testkit::eventually;

use crate::SOON;
use crate::arena::{Arena, GROUP, STREAM, judge};
use crate::crew::{Crew, library};
use crate::size::size;

const LEASE: Duration = Duration::from_secs(10);

/// One sweep of one consumer, over whatever is pending: how many messages it took over and ran.
async fn sweep(arena: &Arena, consumer: &str) -> u64 {
    let broker = Broker::connect(&arena.server.url()).await.unwrap();
    let (effects, name) = (arena.effects.clone(), consumer.to_owned());
    let mut processor = Processor::builder(&broker, Source::new(STREAM, GROUP).unwrap())
        .codec(Raw)
        .lease(LEASE)
        .concurrency(200)
        .retry(RetryPolicy::immediate())
        .build(move |message: Message<Fields>| {
            let (effects, name) = (effects.clone(), name.clone());
            async move {
                let number = message.get("n").unwrap();
                let number = std::str::from_utf8(number).unwrap().parse().unwrap();
                effects.started(number, &name).await.unwrap();
                effects.succeeded(number).await.unwrap();
            }
        })
        .unwrap();
    let began = Instant::now();
    let recovered = processor.recover().await.unwrap();
    if recovered.taken > 0 {
        println!("orphans: {recovered:?} in {:?}", began.elapsed());
    }
    assert_eq!(recovered.taken, recovered.succeeded);
    recovered.succeeded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "hurts: run by make chaos"]
async fn orphans_behind_live_leases_are_all_reached_in_one_sweep() {
    let (living, orphans): (Number, Number) = size((2_000, 8_000), (10_000, 90_000));
    let soon = size(1, 10) * SOON;
    let mut arena = Arena::start().await;
    let mut redis = arena.redis.clone();
    let hangs = |_| Deed::Sleep(Duration::from_secs(86_400));
    let started = async |arena: &Arena, many: u64| {
        eventually(soon, "all of them held", async || {
            match arena.effects.runs().await.unwrap().len() as u64 {
                begun if begun == many => Ok(()),
                begun => Err(begun),
            }
        })
        .await;
    };
    // First in the stream, and held by a worker that lives.
    arena.load.add(&mut redis, 0..living, hangs).await;
    let holding = |many| format!("--lease 10000 --batch 1000 --prefetch 0 --concurrency {many}");
    let mut lives = Crew::start(1, library(&arena, &holding(living)));
    started(&arena, living).await;
    // Behind them, what another one leaves.
    arena
        .load
        .add(&mut redis, living..living + orphans, hangs)
        .await;
    let doomed = library(&arena, &holding(orphans))("doomed");
    let doomed = crate::crew::Worker::start(doomed, "doomed".to_owned());
    started(&arena, living + orphans).await;
    let mut wounds = doomed.kill(&arena).await;
    let silent = format!(
        "XPENDING {STREAM} {GROUP} IDLE {} - + 1 doomed",
        LEASE.as_millis()
    );
    eventually(soon, "the lease of the dead is over", async || {
        let idle: Vec<redis::Value> = arena.ask(&silent).await;
        !idle.is_empty()
    })
    .await;
    // All were read at once by the last batch, give or take.
    eventually(soon, "all leases of the dead are over", async || {
        let idle = silent.replace("+ 1 ", "+ 1000000 ");
        let idle: Vec<redis::Value> = arena.ask(&idle).await;
        idle.len() as u64 == orphans
    })
    .await;
    let taken = sweep(&arena, "taker").await;
    let lost = lives.workers[0].said();
    assert!(
        lost.iter().all(|line| !line.contains("leases lost")),
        "the living one lost leases"
    );
    assert_eq!(taken, orphans);

    // And what the living one held was its own all the while.
    let lives = lives.workers.pop().unwrap();
    let consumer = lives.consumer.clone();
    assert_eq!(arena.held_by(&consumer).await.len() as u64, living);
    wounds.extend(lives.kill(&arena).await);
    let mut taken = 0;
    eventually(soon, "the rest is taken over", async || {
        taken += sweep(&arena, "taker").await;
        if taken == living { Ok(()) } else { Err(taken) }
    })
    .await;
    let verdict = judge("orphans", &arena.account(wounds).await);
    assert_eq!((verdict.handled, verdict.dead), (living + orphans, 0));
    assert_eq!(verdict.duplicated, living + orphans);
}
