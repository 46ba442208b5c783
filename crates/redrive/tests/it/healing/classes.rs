//! Each way in which a server does not answer as it should, on a real one: waited for, said once, found
//! again soon.

use std::time::{Duration, Instant};

use redrive::{ErrorKind, Message};
use redrive_testkit::{Log, Server, eventually};
use tokio::time::sleep;

use super::noting_worker;
use crate::SOON;
use crate::rig::{Rig, Runs, Worker};

/// How long a server stays as it is: long enough for a loop without pauses to show.
const OUTAGE: Duration = Duration::from_secs(2);
/// Far more than a worker may ask in that time: three connections, each after growing pauses.
const MOST_ASKED: u64 = 250;
/// How soon it runs what is new when the server is well.
const HEALED: Duration = Duration::from_secs(5);

const FAILS: &str = "broker fails";
const AGAIN: &str = "broker answers again";

/// All that the server was asked, refusals and connections included.
async fn asked(rig: &Rig) -> u64 {
    let stats: String = rig.ask("INFO stats").await;
    let number = |name: &str| -> u64 {
        let line = stats.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    number("total_connections_received:")
        + number("total_commands_processed:")
        + number("total_error_replies:")
}

/// A worker that has something behind it, and what it logs.
async fn at_work(rig: &Rig) -> (Worker, Runs) {
    let ids = rig.add(20).await;
    let runs = Runs::default();
    let worker = Worker::start(noting_worker(rig, &runs));
    super::all_done(rig, &runs, &ids).await;
    (worker, runs)
}

/// What is added now is run soon, and its outage was one line at its beginning and one at its end.
async fn healed(rig: &Rig, runs: &Runs, log: &Log) {
    let before = runs.len();
    let start = Instant::now();
    let _: String = rig.ask("XADD orders * data 5").await;
    eventually(SOON, "it runs", async || runs.len() > before).await;
    assert!(start.elapsed() < HEALED, "{:?}", start.elapsed());
    eventually(SOON, "it says so", async || !log.with(&[AGAIN]).is_empty()).await;
    let lines = log.lines();
    let said = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((said(FAILS), said(AGAIN)), (1, 1), "{lines:#?}");
    assert_eq!(said("ERROR"), 0, "{lines:#?}");
}

/// The server has said so to somebody, or refused connections: else the test would be about something else.
async fn assert_said(rig: &Rig, code: &str) {
    let stats: String = rig.ask("INFO errorstats").await;
    if code.is_empty() {
        let stats: String = rig.ask("INFO stats").await;
        let refused = stats
            .lines()
            .find(|line| line.starts_with("rejected_connections:"));
        return assert_ne!(refused, Some("rejected_connections:0"));
    }
    assert!(stats.contains(&format!("errorstat_{code}:")), "{stats}");
}

/// A server that is made ill and well again by commands, and says this meanwhile.
async fn ill_for_a_while(says: &str, ill: &[&str], well: &[&str]) {
    let rig = Rig::start().await;
    let (log, _listening) = Log::listen();
    let (worker, runs) = at_work(&rig).await;
    let before = asked(&rig).await;
    for command in ill {
        let _: redis::Value = rig.ask(command).await;
    }
    eventually(SOON, "it is noticed", async || {
        !log.with(&[FAILS]).is_empty()
    })
    .await;
    sleep(OUTAGE).await;
    let asked = asked(&rig).await - before;
    assert!(asked < MOST_ASKED, "{asked}");
    for command in well {
        let _: redis::Value = rig.ask(command).await;
    }
    assert_said(&rig, says).await;
    healed(&rig, &runs, &log).await;
    worker.stop().await;
    assert_eq!(rig.unsettled().await.unwrap(), 0);
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_waited_for() {
    let (ill, well) = (["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]);
    ill_for_a_while("READONLY", &ill, &well).await;
}

#[tokio::test]
async fn a_replica_without_its_primary_is_waited_for() {
    ill_for_a_while(
        "MASTERDOWN",
        &[
            "CONFIG SET replica-serve-stale-data no",
            "REPLICAOF 127.0.0.1 1",
        ],
        &["REPLICAOF NO ONE"],
    )
    .await;
}

#[tokio::test]
async fn a_server_with_too_many_clients_is_waited_for() {
    ill_for_a_while(
        // Said before there is a client that it could be counted for: known by its reconnecting.
        "",
        &[
            "CONFIG SET maxclients 1",
            "CLIENT KILL TYPE normal SKIPME yes",
        ],
        &["CONFIG SET maxclients 100"],
    )
    .await;
}

#[tokio::test]
async fn connections_that_are_killed_are_made_anew() {
    let rig = Rig::start().await;
    let (log, _listening) = Log::listen();
    let (worker, runs) = at_work(&rig).await;
    let _: u64 = rig.ask("CLIENT KILL TYPE normal SKIPME yes").await;
    eventually(SOON, "it is noticed", async || {
        !log.with(&[FAILS]).is_empty()
    })
    .await;
    healed(&rig, &runs, &log).await;
    // Also those that nobody had used meanwhile: a renewal finds its own one gone, and says nothing.
    sleep(OUTAGE).await;
    assert_eq!(log.with(&[FAILS]).len(), 1, "{:#?}", log.lines());
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_is_waited_for() {
    let server = Server::builder().arg("--lua-time-limit", "50");
    let rig = Rig::on(server.start().await).await;
    let (log, _listening) = Log::listen();
    let (worker, runs) = at_work(&rig).await;
    let before = asked(&rig).await;
    let mut busy = rig.server.connect().await;
    let mut forever = redis::cmd("EVAL");
    forever.arg("while true do end").arg(0);
    let script = tokio::spawn(async move {
        let ended: redis::RedisResult<redis::Value> = forever.query_async(&mut busy).await;
        ended
    });
    eventually(SOON, "it is noticed", async || {
        !log.with(&[FAILS]).is_empty()
    })
    .await;
    sleep(OUTAGE).await;
    let _: String = rig.ask("SCRIPT KILL").await;
    assert!(script.await.unwrap().is_err());
    let asked = asked(&rig).await - before;
    assert!(asked < MOST_ASKED, "{asked}");
    assert_said(&rig, "BUSY").await;
    healed(&rig, &runs, &log).await;
    worker.stop().await;
}

/// It takes its time for each command in its file, and says LOADING meanwhile.
#[tokio::test]
async fn a_server_that_is_loading_its_data_is_waited_for() {
    let slowly = Server::builder()
        .appendonly()
        .arg("--key-load-delay", "400");
    let mut rig = Rig::on(slowly.start().await).await;
    let (log, _listening) = Log::listen();
    let (worker, runs) = at_work(&rig).await;
    let mut fill = redis::pipe();
    for _ in 0..5_000 {
        fill.cmd("APPEND").arg("other").arg("x").ignore();
    }
    let mut plain = rig.server.connect().await;
    let () = fill.query_async(&mut plain).await.unwrap();
    rig.server.kill9().await;
    eventually(SOON, "it is noticed", async || {
        !log.with(&[FAILS]).is_empty()
    })
    .await;
    rig.server.restart().await;
    rig.reconnect().await;
    assert_said(&rig, "LOADING").await;
    healed(&rig, &runs, &log).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_stands_still_for_a_moment_is_not_a_broken_one() {
    let rig = Rig::start().await;
    let (log, _listening) = Log::listen();
    let (worker, runs) = at_work(&rig).await;
    let _: String = rig.ask("CLIENT PAUSE 2500 ALL").await;
    let before = runs.len();
    let _: String = rig.ask("XADD orders * data 5").await;
    eventually(SOON, "it runs", async || runs.len() > before).await;
    assert_eq!(log.with(&["WARN"]), Vec::<String>::new());
    assert_eq!(worker.stop().await.leases_lost, 0);
}

/// What retrying cannot cure ends a run, with an error that names the cure.
#[tokio::test]
async fn what_retrying_cannot_cure_ends_a_run_with_its_cure() {
    for (commands, kind, cure) in [
        (
            &["DEL orders", "SET orders text"][..],
            ErrorKind::WrongType,
            "TYPE",
        ),
        (
            &["ACL SETUSER default -xreadgroup"],
            ErrorKind::Denied,
            "ACL",
        ),
        (
            &[
                "CONFIG SET requirepass secret",
                "CLIENT KILL TYPE normal SKIPME yes",
            ],
            ErrorKind::Denied,
            "password",
        ),
    ] {
        let rig = Rig::start().await;
        let mut processor = rig.builder().build(|_: Message<u32>| async {}).unwrap();
        let (run, ()) = tokio::join!(processor.run_until(std::future::pending::<()>()), async {
            eventually(SOON, "a group", async || rig.unsettled().await).await;
            for command in commands {
                let _: redis::Value = rig.ask(command).await;
            }
        });
        let error = run.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let told = error.cure().unwrap_or_default();
        assert!(told.contains(cure), "{error:?}");
    }
}
