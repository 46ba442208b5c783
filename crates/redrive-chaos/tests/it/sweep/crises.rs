//! What a worker goes through besides its work: order, crashes, outages, a name that is taken, sentinels.

use super::check::{Fate, Left};
use super::scenarios::{IDLE, Scenario, scenario, work};
use super::step::During;
use super::world::World;

pub(super) const CRISES: [Scenario; 6] = [
    scenario!(ordered),
    scenario!(quarantine),
    scenario!(breaker),
    scenario!(namesakes),
    scenario!(no_memory),
    scenario!(by_a_sentinel),
];

async fn ordered(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add_of("a", "fail-once", Fate::Done(2)).await;
    world.add_of("a", "ok", Fate::Done(1)).await;
    let exhausted = Fate::Dead("attempts_exhausted", 3);
    world.add_of("b", "fail", exhausted).await;
    world.add_of("b", "ok", Fate::Done(1)).await;
    world.add("fail-once", Fate::Done(2)).await;
    let options = ["--until-idle", "--ordered-by", "key", "--backoff", "300ms"];
    work(world, &options, During::Nothing).await;
    // What leaves the process leaves the order: a crash, and a lost lease.
    if world.case.runs_explained() == 0 {
        let ids: Vec<String> = world.fates.keys().cloned().collect();
        for of_a_key in [&ids[0..2], &ids[2..4]] {
            let runs = world.starts().into_iter();
            let runs: Vec<String> = runs.filter(|id| of_a_key.contains(id)).collect();
            world.insist("they run in their order", runs.is_sorted(), &runs);
        }
    }
}

async fn quarantine(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..2 {
        world.add(r#"{"do":"slow"}"#, Fate::DoneWithin(3)).await;
    }
    let fate = Fate::Dead("crash_loop", 3);
    world.add(r#"{"do":"abort"}"#, fate).await;
    world.add(r#"{"do":"slow"}"#, Fate::DoneWithin(3)).await;
    let worker = world.library_worker("one").after_crashes();
    world.step(worker).await;
    let finish = world.library_worker("one");
    world.settle(Some(finish), Left::Drained).await;
}

async fn breaker(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..60 {
        world.add(r#"{"do":"needs-go"}"#, Fate::DoneAtLast).await;
    }
    let worker = world.library_worker("patient").during(During::Outage);
    world.step(worker).await;
    let finish = world.library_worker("one");
    world.settle(Some(finish), Left::Drained).await;
    // Without a breaker they would be as many as come due meanwhile: sixty every 20 ms.
    let (runs, workers) = (world.starts().len(), 1 + world.case.strikes.len());
    world.insist("it slows down", runs < 60 + 200 * workers, runs);
}

async fn namesakes(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::Done(1)).await;
    world.add("ok", Fate::Done(1)).await;
    let options = ["--until-idle", "--consumer", "the-one"];
    let first = world.worker(&options).under_a_name();
    let second = world.worker(&options).under_a_name();
    let (first, second) = world.namesakes(first, second).await;
    if world.case.strikes.is_empty() {
        let refused = (first.was_refused(), second.was_refused());
        world.same(
            "refused, the first and the second",
            &(false, true),
            &refused,
        );
    }
    // It was silent for a lease, and the other one has its name: both have run what it had in hand.
    if first.was_refused() {
        for fate in world.fates.values_mut() {
            *fate = Fate::DoneAtLast;
        }
    }
    let finish = world.worker(IDLE);
    world.settle(Some(finish), Left::Drained).await;
}

async fn no_memory(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::Done(1)).await;
    world.add("fail-once", Fate::Done(2)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    world.add("ok", Fate::Done(1)).await;
    let options = ["--until-idle", "--batch", "1", "--concurrency", "1"];
    work(world, &options, During::NoMemory).await;
}

async fn by_a_sentinel(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("ok", Fate::Done(1)).await;
    world.add("fail-once", Fate::Done(2)).await;
    let worker = world.worker(IDLE).by_a_sentinel();
    world.step(worker).await;
    let finish = world.worker(IDLE);
    world.settle(Some(finish), Left::Drained).await;
}
