//! Everything a worker does, each with what has to come of it.

use std::future::Future;
use std::pin::Pin;

use super::check::{Fate, Left};
use super::step::During;
use super::world::{DLQ, GROUP, STREAM, World};

pub(super) type Running<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

/// A path through the program: what is there before, which processes run, what must come of it.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) run: for<'w, 'a> fn(&'w mut World<'a>) -> Running<'w>,
}

macro_rules! scenario {
    ($run:ident) => {
        $crate::sweep::scenarios::Scenario {
            name: stringify!($run),
            run: |world| Box::pin($run(world)),
        }
    };
}
pub(super) use scenario;

pub(super) const WORKERS: [Scenario; 23] = [
    scenario!(success),
    scenario!(retries),
    scenario!(rejected),
    scenario!(typed),
    scenario!(two_processors),
    scenario!(stopped),
    scenario!(takeover),
    scenario!(foreign),
    scenario!(acked_by_another),
    scenario!(trimmed_then_done),
    scenario!(trimmed_then_failed),
    scenario!(trimmed_while_waiting),
    scenario!(group_destroyed),
    scenario!(scripts_flushed),
    scenario!(scripts_unknown),
    scenario!(delete_on_ack),
    scenario!(limit_stop),
    scenario!(limit_drop),
    scenario!(limit_spill),
    scenario!(flat),
    scenario!(envelope),
    scenario!(two_workers),
    scenario!(batches),
];

pub(super) const IDLE: &[&str] = &["--until-idle"];

/// A worker to the end, another that finishes what it left, and the check.
pub(super) async fn work(world: &mut World<'_>, options: &[&str], during: During) {
    let worker = world.worker(options).during(during);
    world.step(worker).await;
    let finish = world.worker(options);
    world.settle(Some(finish), Left::Drained).await;
}

async fn success(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..3 {
        world.add("ok", Fate::Done(1)).await;
    }
    work(world, IDLE, During::Nothing).await;
}

async fn retries(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("fail-once", Fate::Done(2)).await;
    world.add("fail", Fate::Dead("attempts_exhausted", 3)).await;
    world.add("ok", Fate::Done(1)).await;
    work(world, IDLE, During::Nothing).await;
}

async fn rejected(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    world.add("ok", Fate::Done(1)).await;
    work(world, IDLE, During::Nothing).await;
}

async fn typed(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("{no json", Fate::Dead("undecodable", 0)).await;
    world.add(r#"{"do":"defer"}"#, Fate::Done(2)).await;
    world.add(r#"{"do":"discard"}"#, Fate::Done(1)).await;
    world
        .add(r#"{"do":"reject"}"#, Fate::Dead("rejected", 1))
        .await;
    let worker = world.library_worker("one");
    world.step(worker).await;
    let finish = world.library_worker("one");
    world.settle(Some(finish), Left::Drained).await;
}

async fn two_processors(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..4 {
        world.add(r#"{"do":"ok"}"#, Fate::Done(1)).await;
    }
    world.add(r#"{"do":"fail-once"}"#, Fate::Done(2)).await;
    let workers = world.library_worker("two");
    world.step(workers).await;
    let finish = world.library_worker("one");
    world.settle(Some(finish), Left::Drained).await;
}

async fn stopped(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..4 {
        world.add("slow", Fate::Done(1)).await;
    }
    let options = ["--concurrency", "1", "--max-time", "3s"];
    let worker = world.worker(&options).during(During::Term);
    world.step(worker).await;
    let finish = world.worker(IDLE);
    world.settle(Some(finish), Left::Drained).await;
}

/// Lets a consumer have everything that is there, and die.
async fn leave_behind(world: &mut World<'_>, consumer: &str) {
    let _: String = (world.ask(&["XGROUP", "CREATE", STREAM, GROUP, "0"])).await;
    let read = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        consumer,
        "STREAMS",
        STREAM,
        ">",
    ];
    let _: redis::Value = world.ask(&read).await;
}

async fn takeover(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("ok", Fate::Done(1)).await;
    world.add("fail", Fate::Dead("attempts_exhausted", 3)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    leave_behind(world, "consumer_dead").await;
    let consumers = format!("{{{STREAM}}}:redrive:{GROUP}:consumers");
    let _: u64 = world
        .ask(&["HSET", &consumers, "consumer_dead", "100"])
        .await;
    work(world, IDLE, During::Nothing).await;
}

async fn foreign(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("ok", Fate::Done(1)).await;
    world.add("ok", Fate::Done(1)).await;
    leave_behind(world, "plain").await;
    world.add("ok", Fate::Done(1)).await;
    work(world, IDLE, During::Nothing).await;
}

async fn acked_by_another(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::Acked).await;
    world.add("ok", Fate::Done(1)).await;
    work(world, IDLE, During::Ack).await;
}

async fn trimmed_then_done(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::TrimmedAndDone).await;
    work(world, IDLE, During::Trim).await;
}

async fn trimmed_then_failed(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold-and-fail", Fate::Trimmed(1)).await;
    work(world, IDLE, During::Trim).await;
}

async fn trimmed_while_waiting(world: &mut World<'_>) {
    world.load_scripts().await;
    let id = world.add("fail", Fate::Trimmed(1)).await;
    let worker = world.worker(&["--max-batches", "1", "--backoff", "400ms"]);
    world.step(worker).await;
    let _: u64 = world.ask(&["XDEL", STREAM, &id]).await;
    work(world, IDLE, During::Nothing).await;
}

async fn group_destroyed(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::DoneAtLast).await;
    world.add("ok", Fate::DoneAtLast).await;
    let options = ["--until-idle", "--concurrency", "1"];
    work(world, &options, During::DestroyGroup).await;
}

async fn scripts_flushed(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("hold", Fate::Done(1)).await;
    world.add("fail-once", Fate::Done(2)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    let options = ["--until-idle", "--concurrency", "1"];
    work(world, &options, During::FlushScripts).await;
}

async fn scripts_unknown(world: &mut World<'_>) {
    world.add("fail-once", Fate::Done(2)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    work(world, IDLE, During::Nothing).await;
}

async fn delete_on_ack(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("ok", Fate::Done(1)).await;
    world.add("fail-once", Fate::Done(2)).await;
    let options = ["--until-idle", "--on-ack", "delete"];
    work(world, &options, During::Nothing).await;
    // A worker that dies between the two leaves an acknowledged entry behind.
    if !world.was_killed() {
        let length = world.length(STREAM).await;
        world.same("entries left", &0, &length);
    }
}

/// A dead letter as redrive writes it, counted as it counts it.
pub(super) async fn bury(world: &mut World<'_>, payload: &str, of: &str) -> String {
    let id = world
        .ask(&[
            "XADD",
            DLQ,
            "*",
            "data",
            payload,
            "redrive-v",
            "1",
            "redrive-fields",
            "1",
            "redrive-stream",
            STREAM,
            "redrive-group",
            GROUP,
            "redrive-id",
            of,
            "redrive-reason",
            "rejected",
            "redrive-error",
            "it was no good",
            "redrive-attempts",
            "1",
            "redrive-crashes",
            "0",
        ])
        .await;
    let ledger = format!("{{{DLQ}}}:redrive:ledger");
    let _: i64 = world.ask(&["HINCRBY", &ledger, "dead_lettered", "1"]).await;
    id
}

async fn limit_stop(world: &mut World<'_>) {
    world.load_scripts().await;
    bury(world, "ok", "1-1").await;
    world.add("reject", Fate::Kept).await;
    world.add("ok", Fate::Done(1)).await;
    // Another worker than the one that kept it does not know so, and would wait for it, a minute.
    let options = ["--until-idle", "--max-time", "2s", "--dlq-limit", "1"];
    let worker = world.worker(&options);
    world.step(worker).await;
    let finish = world.worker(&options);
    world.settle(Some(finish), Left::InUse).await;
}

async fn limit_drop(world: &mut World<'_>) {
    world.load_scripts().await;
    bury(world, "ok", "1-1").await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    world.add("ok", Fate::Done(1)).await;
    let options = [
        "--until-idle",
        "--dlq-limit",
        "1,age=1d",
        "--dlq-overflow",
        "drop-oldest",
    ];
    work(world, &options, During::Nothing).await;
    let length = world.length(DLQ).await;
    world.same("dead letters", &1, &length);
}

/// What is spilled has left the queue, and the books know of it.
async fn limit_spill(world: &mut World<'_>) {
    world.load_scripts().await;
    bury(world, "ok", "1-1").await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    world.add("ok", Fate::Done(1)).await;
    let file = world.file("spilled.jsonl.gz", "");
    let overflow = format!("spill={}", file.display());
    let options = [
        "--until-idle",
        "--dlq-limit",
        "2,bytes=64MiB",
        "--dlq-overflow",
        &overflow,
    ];
    work(world, &options, During::Nothing).await;
    let length = world.length(DLQ).await;
    world.insist("dead letters", length <= 2, length);
}

async fn flat(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("fail", Fate::Dead("attempts_exhausted", 3)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    work(
        world,
        &["--until-idle", "--layout", "flat"],
        During::Nothing,
    )
    .await;
}

async fn envelope(world: &mut World<'_>) {
    world.load_scripts().await;
    world.add("fail", Fate::Dead("attempts_exhausted", 3)).await;
    world.add("reject", Fate::Dead("rejected", 1)).await;
    let options = ["--until-idle", "--layout", "envelope", "--dlq", DLQ];
    work(world, &options, During::Nothing).await;
}

async fn two_workers(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..4 {
        world.add("slow", Fate::Done(1)).await;
    }
    world.add("fail-once", Fate::Done(2)).await;
    world.add("fail", Fate::Dead("attempts_exhausted", 3)).await;
    let options = ["--until-idle", "--batch", "2", "--concurrency", "2"];
    let (one, other) = (world.worker(&options), world.worker(&options));
    world.both(one, other).await;
    let finish = world.worker(IDLE);
    world.settle(Some(finish), Left::Drained).await;
}

async fn batches(world: &mut World<'_>) {
    world.load_scripts().await;
    for _ in 0..3 {
        world.add("ok", Fate::Done(1)).await;
    }
    let worker = world.worker(&["--max-batches", "2", "--batch", "2"]);
    world.step(worker).await;
    let finish = world.worker(IDLE);
    world.settle(Some(finish), Left::Drained).await;
}
