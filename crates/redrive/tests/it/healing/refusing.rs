//! A server that refuses writes, for want of memory, disk or replicas: nothing new is read, what is held
//! goes on, and it resumes by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redrive::Message;
use redrive_testkit::{Log, Server, eventually};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::noting_worker;
use crate::SOON;
use crate::rig::{Rig, Runs, Worker};

const REFUSES: &str = "broker refuses writes";
const TAKES: &str = "broker takes writes again";

/// Whether acks pass meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Acks {
    Pass,
    Wait,
}

async fn refused_for_a_while(
    rig: &Rig,
    acks: Acks,
    ill: impl AsyncFnOnce(),
    well: impl AsyncFnOnce(),
) {
    let ids = rig.add(100).await;
    let (log, _listening) = Log::listen();
    let (runs, gate) = (Runs::default(), Arc::new(Semaphore::new(0)));
    let (noting, gated) = (runs.clone(), Arc::clone(&gate));
    let worker = rig
        .builder()
        .lease(Duration::from_secs(1))
        .concurrency(4)
        .batch(4)
        .prefetch(0)
        .build(move |message: Message<u32>| {
            noting.note(message.id());
            let gated = Arc::clone(&gated);
            async move { gated.acquire().await.unwrap().forget() }
        });
    let worker = Worker::start(worker.unwrap());
    eventually(SOON, "four run", async || runs.len() == 4).await;
    ill().await;
    // With nothing to settle and nothing to read: by a look of its own.
    eventually(SOON, "it is noticed", async || {
        !log.with(&[REFUSES]).is_empty()
    })
    .await;
    gate.add_permits(1_000);
    if acks == Acks::Pass {
        eventually(SOON, "acks", async || match rig.unsettled().await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(runs.len(), 4, "something was read");
    well().await;
    let start = Instant::now();
    eventually(SOON, "it reads again", async || runs.len() > 4).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    super::all_done(rig, &runs, &ids).await;
    let totals = worker.stop().await;
    assert_eq!((totals.succeeded, totals.leases_lost), (100, 0));
    assert_eq!(runs.len(), 100);
    let lines = log.lines();
    let said = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((said(REFUSES), said(TAKES)), (1, 1), "{lines:#?}");
    assert_eq!((said("ERROR"), said("WARN")), (1, 0), "{lines:#?}");
    let told = log.with(&[REFUSES, "hint="]);
    assert_eq!(told.len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn without_memory_nothing_new_is_read_and_acks_pass() {
    let rig = Rig::start().await;
    let set = async |to: &str| {
        let _: String = rig.ask(&format!("CONFIG SET maxmemory {to}")).await;
    };
    refused_for_a_while(
        &rig,
        Acks::Pass,
        async || set("1").await,
        async || {
            set("0").await;
        },
    )
    .await;
}

#[tokio::test]
async fn without_enough_replicas_nothing_is_read_and_nothing_is_lost() {
    let rig = Rig::start().await;
    let set = async |to: &str| {
        let _: String = rig
            .ask(&format!("CONFIG SET min-replicas-to-write {to}"))
            .await;
    };
    refused_for_a_while(
        &rig,
        Acks::Wait,
        async || set("1").await,
        async || {
            set("0").await;
        },
    )
    .await;
}

#[tokio::test]
async fn on_a_server_that_cannot_save_nothing_is_read_and_nothing_is_lost() {
    let rig = Rig::on(Server::builder().arg("--save", "3600 1").start().await).await;
    let file: Vec<String> = rig.ask("CONFIG GET dbfilename").await;
    // A directory stands where the file should.
    let in_the_way = rig.server.directory().join(&file[1]);
    let saved = async |well: bool| {
        let _: String = rig.ask("BGSAVE").await;
        let wanted = if well { "ok" } else { "err" };
        let wanted = format!("rdb_last_bgsave_status:{wanted}");
        eventually(SOON, "a save", async || {
            let info: String = rig.ask("INFO persistence").await;
            let done = info.contains("rdb_bgsave_in_progress:0") && info.contains(&wanted);
            if done { Ok(()) } else { Err(info) }
        })
        .await;
    };
    refused_for_a_while(
        &rig,
        Acks::Wait,
        async || {
            std::fs::create_dir_all(in_the_way.join("full")).unwrap();
            saved(false).await;
        },
        async || {
            std::fs::remove_dir_all(&in_the_way).unwrap();
            saved(true).await;
        },
    )
    .await;
}

#[tokio::test]
async fn who_joins_a_server_without_memory_joins_in_the_end() {
    let rig = Rig::start().await;
    let ids = rig.add(50).await;
    let (log, _listening) = Log::listen();
    let _: String = rig.ask("CONFIG SET maxmemory 1").await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(&rig, &runs));
    eventually(SOON, "it is noticed", async || {
        !log.with(&[REFUSES]).is_empty()
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(runs.len(), 0);
    let _: String = rig.ask("CONFIG SET maxmemory 0").await;
    super::all_done(&rig, &runs, &ids).await;
    worker.stop().await;
    let lines = log.lines();
    assert_eq!(log.with(&[REFUSES]).len(), 1, "{lines:#?}");
    assert_eq!(log.with(&[TAKES]).len(), 1, "{lines:#?}");
}
