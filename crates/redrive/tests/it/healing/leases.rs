//! Leases on a real server: renewed beside everything else, and counted when they are lost.

use std::sync::mpsc;
use std::time::Duration;

use redrive::{Message, Outcome, Totals};
use redrive_testkit::{Log, eventually};

use super::noting_worker;
use crate::SOON;
use crate::rig::{Rig, Runs, Worker};

const LEASE: Duration = Duration::from_secs(1);

/// Nothing else of the worker's runtime runs while one of its handlers blocks the only thread.
#[tokio::test]
async fn a_handler_that_blocks_its_thread_takes_no_lease_from_those_beside_it() {
    let rig = Rig::start().await;
    let broker = rig.another_broker().await;
    let source = rig.source();
    let runs = Runs::default();
    let noting = runs.clone();
    let (told, totals) = mpsc::channel::<Totals>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    // One that never sends: waiting for it is what blocks.
    let (silent, never) = mpsc::channel::<()>();
    let never = std::sync::Arc::new(std::sync::Mutex::new(never));
    let blocked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            // Its connections live on its own runtime.
            let broker = broker;
            let mut processor = crate::rig::quick(&broker, source)
                .lease(LEASE)
                .build(move |message: Message<u32>| {
                    noting.note(message.id());
                    let never = std::sync::Arc::clone(&never);
                    async move {
                        if *message == 0 {
                            let _ = never.lock().unwrap().recv_timeout(4 * LEASE);
                        } else {
                            tokio::time::sleep(4 * LEASE).await;
                        }
                    }
                })
                .unwrap();
            let signal = async {
                let _ = stopped.await;
            };
            told.send(processor.run_until(signal).await.unwrap())
                .unwrap();
        });
    });
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    let ids = rig.add(20).await;
    // Of what it reads together it holds all when the first one runs; a slow machine may see that late.
    eventually(SOON, "it holds them", async || {
        rig.unsettled().await == Ok(20) || runs.len() > 0
    })
    .await;
    let thief = Runs::default();
    let other = Worker::start(noting_worker(&rig, &thief));
    super::all_done(&rig, &runs, &ids).await;
    let _ = stop.send(());
    let totals = tokio::task::spawn_blocking(move || {
        blocked.join().unwrap();
        totals.recv().unwrap()
    });
    let totals = totals.await.unwrap();
    drop(silent);
    assert_eq!((totals.succeeded, totals.leases_lost), (20, 0));
    assert_eq!((runs.len(), thief.len()), (20, 0));
    assert_eq!(other.stop().await, Totals::default());
}

/// Each of them was a line of its own once.
#[tokio::test]
async fn what_flushall_takes_away_is_one_line_with_the_number() {
    let rig = Rig::start().await;
    let (log, _listening) = Log::listen();
    let worker = rig
        .builder()
        .lease(LEASE)
        .concurrency(50)
        .build(|message: Message<u32>| async move {
            message.cancelled().await;
            Outcome::retry("interrupted")
        })
        .unwrap();
    let worker = Worker::start(worker);
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    rig.add(150).await;
    eventually(SOON, "it holds them", async || {
        rig.unsettled().await == Ok(150)
    })
    .await;
    let _: String = rig.ask("FLUSHALL").await;
    eventually(SOON, "it says so", async || {
        !log.with(&["leases lost"]).is_empty()
    })
    .await;
    eventually(SOON, "the group", async || rig.unsettled().await).await;
    let totals = worker.stop().await;
    assert_eq!((totals.leases_lost, totals.failed), (150, 0));
    let lost = log.with(&["leases lost", "leases=150"]);
    assert_eq!(lost.len(), 1, "{:#?}", log.lines());
    // Start and stop, the read that was ended, the group, and this.
    let lines: Vec<String> = log.lines();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| !line.starts_with("DEBUG"))
        .collect();
    assert!(lines.len() <= 8, "{lines:#?}");
}
