//! Healing: what happens to the server under a running processor, and that it goes on by itself with nothing lost.

mod classes;
mod leases;
mod refusing;
mod renewals;

use std::sync::Arc;
use std::time::Duration;

use redrive::{Broker, EntryId, Message, Processor};
use redrive_testkit::{Server, eventually};
use tokio::sync::Semaphore;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker, stream};
use redrive_testkit::Log;

/// A worker that notes what it is run on; every tenth message fails once.
fn noting_worker(rig: &Rig, runs: &Runs) -> Processor {
    let noting = runs.clone();
    rig.builder()
        .lease(Duration::from_secs(1))
        .build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            async move { !message.is_multiple_of(10) || run > 1 }
        })
        .unwrap()
}

async fn all_done(rig: &Rig, runs: &Runs, ids: &[EntryId]) {
    eventually(SOON, "all run and none pending", async || {
        runs.cover(ids)?;
        match rig.unsettled().await {
            Ok(0) => Ok(()),
            other => Err(format!("pending: {other:?}")),
        }
    })
    .await;
}

async fn add_to(broker: &Broker, many: u32) -> Vec<EntryId> {
    let numbers: Vec<u32> = (0..many).collect();
    let producer = broker.producer(stream("orders"));
    producer.send_all(&numbers).await.unwrap()
}

#[tokio::test]
async fn a_restarted_server_is_found_again_and_nothing_is_lost() {
    let mut rig = Rig::on(Server::builder().appendonly().start().await).await;
    let mut ids = rig.add(300).await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&rig, &runs));
    eventually(SOON, "it runs", async || runs.len() > 20).await;
    rig.server.restart().await;
    rig.reconnect().await;
    let fresh = rig.another_broker().await;
    ids.extend(add_to(&fresh, 100).await);
    all_done(&rig, &runs, &ids).await;
    rig.server.kill9().await;
    rig.server.restart().await;
    rig.reconnect().await;
    let fresh = rig.another_broker().await;
    ids.extend(add_to(&fresh, 100).await);
    all_done(&rig, &runs, &ids).await;
    worker.stop().await;
    assert_eq!(runs.distinct(), ids);
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
}

/// Each outage is said once by each worker, however many of its connections broke and however often it
/// tried.
#[tokio::test]
async fn three_workers_through_five_kills_of_the_server_lose_nothing_and_say_little() {
    let mut rig = Rig::on(Server::builder().appendonly().start().await).await;
    let (log, _listening) = Log::listen();
    let runs = Runs::default();
    let workers = [(); 3].map(|()| Worker::start(noting_worker(&rig, &runs)));
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(add_to(&rig.another_broker().await, 200).await);
        let enough = runs.len() + 50;
        eventually(SOON, "some runs", async || runs.len() >= enough).await;
        rig.server.kill9().await;
        eventually(SOON, "it is noticed", async || {
            !log.with(&["broker fails"]).is_empty()
        })
        .await;
        rig.server.restart().await;
        rig.reconnect().await;
    }
    all_done(&rig, &runs, &ids).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(runs.distinct(), ids);
    println!("{} runs of {} messages", runs.len(), ids.len());
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
    assert_eq!(rig.consumers().await, Vec::<String>::new());
    let said = log.with(&["broker fails"]);
    assert!(said.len() <= 3 * 5, "{}: {said:#?}", said.len());
    let over = log.with(&["broker answers again"]);
    assert_eq!(over.len(), said.len(), "{over:#?}");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let rig = Rig::start().await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&rig, &runs));
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.extend(rig.add(50).await);
        rig.ask::<String>("SCRIPT FLUSH").await;
    }
    all_done(&rig, &runs, &ids).await;
    assert_eq!(worker.stop().await.succeeded, 500);
    assert_eq!(runs.len(), 550);
}

#[tokio::test]
async fn a_group_that_was_destroyed_is_created_again_and_nothing_is_lost() {
    let rig = Rig::start().await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&rig, &runs));
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(rig.add(100).await);
        assert_eq!(rig.ask::<u64>("XGROUP DESTROY orders billing").await, 1);
        ids.extend(rig.add(100).await);
        eventually(SOON, "all run", async || runs.cover(&ids)).await;
        eventually(SOON, "the group", async || rig.unsettled().await).await;
    }
    all_done(&rig, &runs, &ids).await;
    worker.stop().await;
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
}

#[tokio::test]
async fn a_group_destroyed_under_running_handlers_loses_nothing() {
    let rig = Rig::start().await;
    let ids = rig.add(150).await;
    let gate = Arc::new(Semaphore::new(0));
    let (runs, gated) = (Runs::default(), Arc::clone(&gate));
    let noting = runs.clone();
    let worker = Worker::start(
        rig.builder()
            .lease(Duration::from_secs(1))
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                let gated = Arc::clone(&gated);
                async move {
                    gated.acquire().await.unwrap().forget();
                    // Some fail on a group that knows nothing of them any more.
                    !message.is_multiple_of(10) || message.is_cancelled()
                }
            })
            .unwrap(),
    );
    eventually(SOON, "handlers run", async || runs.len() == 16).await;
    assert_eq!(rig.ask::<u64>("XGROUP DESTROY orders billing").await, 1);
    gate.add_permits(8);
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    gate.add_permits(100_000);
    eventually(SOON, "all run", async || runs.cover(&ids)).await;
    // What fails goes on failing: until its attempts are used up, and it is a dead letter.
    all_done(&rig, &runs, &ids).await;
    worker.stop().await;
    let dead: std::collections::BTreeSet<_> = rig
        .dlq()
        .list(redrive::Page::new(redrive::Order::Oldest, 1_000))
        .await
        .unwrap()
        .dead_letters
        .iter()
        .map(|letter| letter.original_id.unwrap())
        .collect();
    let failing: Vec<EntryId> = ids.iter().copied().step_by(10).collect();
    assert!(dead.iter().all(|id| failing.contains(id)), "{dead:?}");
}

#[tokio::test]
async fn after_flushall_new_messages_are_handled() {
    let rig = Rig::start().await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&rig, &runs));
    for _ in 0..3 {
        let ids = rig.add(100).await;
        eventually(SOON, "all run", async || runs.cover(&ids)).await;
        rig.ask::<String>("FLUSHALL").await;
    }
    let ids = rig.add(100).await;
    eventually(SOON, "all run", async || runs.cover(&ids)).await;
    eventually(SOON, "none pending", async || {
        rig.pending().await.is_empty()
    })
    .await;
    worker.stop().await;
    assert_eq!(rig.consumers().await, Vec::<String>::new());
}

#[tokio::test]
async fn out_of_memory_lets_acks_through_loses_nothing_and_resumes() {
    let rig = Rig::start().await;
    let ids = rig.add(200).await;
    let gate = Arc::new(Semaphore::new(0));
    let (runs, gated) = (Runs::default(), Arc::clone(&gate));
    let noting = runs.clone();
    let worker = Worker::start(
        rig.builder()
            .lease(Duration::from_secs(1))
            .concurrency(50)
            .prefetch(0)
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                let gated = Arc::clone(&gated);
                async move {
                    gated.acquire().await.unwrap().forget();
                    if message.is_multiple_of(10) {
                        redrive::Outcome::dead_letter("never")
                    } else {
                        redrive::Outcome::Ack
                    }
                }
            })
            .unwrap(),
    );
    eventually(SOON, "50 run", async || runs.len() == 50).await;
    rig.ask::<String>("CONFIG SET maxmemory 1").await;
    gate.add_permits(50);
    eventually(SOON, "45 acks, 5 dead letters refused", async || {
        let pending = rig.pending().await;
        let first = ids[49].to_string();
        let left = pending.iter().filter(|row| {
            let id: EntryId = row.0.parse().unwrap();
            id <= first.parse().unwrap()
        });
        match left.count() {
            5 => Ok(()),
            left => Err(format!("{left} of the first 50 pending")),
        }
    })
    .await;
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
    rig.ask::<String>("CONFIG SET maxmemory 0").await;
    gate.add_permits(1_000);
    all_done(&rig, &runs, &ids).await;
    let totals = worker.stop().await;
    assert_eq!((totals.succeeded, totals.dead_lettered), (180, 20));
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 20);
    assert_eq!(runs.len(), 200);
}

/// Once the key that says that a consumer lives was renewed with a SET after each hundred leases:
/// refused out of memory, so that the second hundred was never renewed.
#[tokio::test]
async fn out_of_memory_takes_no_lease_away_and_lets_second_runs_through() {
    let rig = Rig::start().await;
    let lease = Duration::from_secs(1);
    let gate = Arc::new(Semaphore::new(0));
    let runs = Runs::default();
    let worker = || {
        let (noting, gated) = (runs.clone(), Arc::clone(&gate));
        let processor = rig.builder().lease(lease).concurrency(300).batch(300);
        let processor = processor.build(move |message: Message<u32>| {
            let run = noting.note(message.id());
            let gated = Arc::clone(&gated);
            async move {
                if run == 1 {
                    return redrive::Outcome::retry_after("once", Duration::from_secs(1));
                }
                gated.acquire().await.unwrap().forget();
                redrive::Outcome::Ack
            }
        });
        Worker::start(processor.unwrap())
    };
    let workers = [worker(), worker()];
    eventually(SOON, "both there", async || {
        let consumers = rig.try_ask::<Vec<redis::Value>>("XINFO CONSUMERS orders billing");
        consumers.await.is_ok_and(|consumers| consumers.len() == 2)
    })
    .await;
    let ids = rig.add(300).await;
    eventually(SOON, "all failed once", async || runs.len() >= 300).await;
    rig.ask::<String>("CONFIG SET maxmemory 1").await;
    eventually(SOON, "all run again", async || runs.len() == 600).await;
    // Four leases long only renewals keep what each holds from the other.
    let stolen = tokio::time::timeout(4 * lease, async {
        eventually(2 * SOON, "a third run", async || runs.len() > 600).await;
    });
    assert!(stolen.await.is_err(), "{} runs", runs.len());
    gate.add_permits(1_000);
    all_done(&rig, &runs, &ids).await;
    rig.ask::<String>("CONFIG SET maxmemory 0").await;
    let mut succeeded = 0;
    for worker in workers {
        succeeded += worker.stop().await.succeeded;
    }
    assert_eq!((succeeded, runs.len()), (300, 600));
}
