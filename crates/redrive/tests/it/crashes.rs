//! Dead workers and slow ones: what was in a killed worker's hands is run by another, what is slow is left alone.

use std::future::pending;
use std::process::Stdio;
use std::time::{Duration, Instant};

use redrive::{Broker, Message};
use redrive_testkit::eventually;
use tokio::process::Command;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker, quick};

/// Set in the process that is going to be killed: where its server is.
const DOOMED: &str = "REDRIVE_TEST_DOOMED_WORKER";
const LEASE: Duration = Duration::from_secs(2);

/// Not a test of its own: the worker that `a_killed_workers_messages_…` starts and kills, which
/// needs a process. Otherwise it returns at once.
#[tokio::test]
async fn doomed_worker() {
    let Ok(url) = std::env::var(DOOMED) else {
        return;
    };
    let broker = Broker::connect(&url).await.unwrap();
    let source = redrive::Source::new("orders", "billing").unwrap();
    let mut processor = quick(&broker, source)
        .lease(LEASE)
        .concurrency(60)
        .prefetch(40)
        .build(async |_: Message<u32>| pending::<()>().await)
        .unwrap();
    // Ends with the process that started it, should that forget to kill it.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    processor.run_until_idle().await.unwrap();
}

#[tokio::test]
async fn a_killed_workers_100_messages_are_run_by_another_within_its_lease_and_5_seconds() {
    let rig = Rig::start().await;
    let ids = rig.add(100).await;
    let mut doomed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crashes::doomed_worker", "--nocapture"])
        .env(DOOMED, rig.server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(SOON, "100 messages in hand", async || {
        match rig.unsettled().await {
            Ok(100) => Ok(()),
            other => Err(other),
        }
    })
    .await;

    let runs = Runs::default();
    let noting = runs.clone();
    let worker = Worker::start(
        rig.builder()
            .lease(LEASE)
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                async {}
            })
            .unwrap(),
    );
    eventually(SOON, "the other worker waits", async || {
        rig.consumers().await.len() == 2
    })
    .await;
    assert_eq!(runs.len(), 0);
    doomed.kill().await.unwrap();
    let killed = Instant::now();
    eventually(LEASE + Duration::from_secs(5), "all run", async || {
        runs.cover(&ids)
    })
    .await;
    println!("100 messages run {:?} after the kill", killed.elapsed());
    let totals = worker.stop().await;
    assert_eq!((totals.succeeded, totals.dead_lettered), (100, 0));
    assert_eq!(runs.len(), 100);
    assert!(rig.pending().await.is_empty());
    // Nor is anything left of the dead: the worker that took over its messages cleared it away.
    assert_eq!(rig.consumers().await, Vec::<String>::new());
    assert_eq!(
        rig.keys().await,
        ["orders", "{orders}:redrive:billing:meta"]
    );
}

#[tokio::test]
async fn a_handler_that_takes_four_leases_runs_once_with_a_second_worker_waiting() {
    let rig = Rig::start().await;
    let ids = rig.add(3).await;
    let lease = Duration::from_secs(1);
    let runs = Runs::default();
    let worker = || {
        let noting = runs.clone();
        let processor = rig
            .builder()
            .lease(lease)
            .build(move |message: Message<u32>| {
                noting.note(message.id());
                async move {
                    // The work takes its time; nobody takes the message away meanwhile.
                    let lost = tokio::time::timeout(4 * lease, message.cancelled()).await;
                    assert!(lost.is_err(), "lease lost");
                }
            })
            .unwrap();
        Worker::start(processor)
    };
    let slow = worker();
    eventually(SOON, "all three run", async || runs.cover(&ids)).await;
    let waiting = worker();
    eventually(SOON, "all done", async || rig.pending().await.is_empty()).await;
    assert_eq!(slow.stop().await.succeeded, 3);
    assert_eq!(waiting.stop().await, redrive::Totals::default());
    assert_eq!(runs.len(), 3);
}
