//! A handler that cannot run now: its messages go to workers that can, charged with nothing.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redrive::{EntryId, Message, Outcome};
use redrive_testkit::eventually;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker};

#[tokio::test]
async fn what_a_handler_cannot_run_goes_to_another_worker_uncharged() {
    let rig = Rig::start().await;
    let ids = rig.add(200).await;
    let tried = Runs::default();
    let (noting, is_there) = (tried.clone(), Arc::new(AtomicBool::new(false)));
    let there = Arc::clone(&is_there);
    let without = Worker::start(
        rig.builder()
            .build(move |message: Message<u32>| {
                assert_eq!(message.attempt(), 1);
                noting.note(message.id());
                ready(if there.load(Ordering::SeqCst) {
                    Outcome::Ack
                } else {
                    Outcome::unavailable("no such program")
                })
            })
            .unwrap(),
    );
    // Put off, taken over, begun and put off again: more than the first ones, and than one each.
    eventually(SOON, "some probes", async || tried.len() >= 18).await;

    let runs = Runs::default();
    let noting = runs.clone();
    let with = Worker::start(
        rig.builder()
            .build(move |message: Message<u32>| {
                assert_eq!(message.attempt(), 1);
                noting.note(message.id());
                ready(())
            })
            .unwrap(),
    );
    // Far below the lease of 30 s: nothing is kept by the one that pauses.
    eventually(Duration::from_secs(20), "all run", async || {
        runs.cover(&ids)
    })
    .await;
    let with = with.stop().await;
    assert_eq!((with.succeeded, with.failed), (200, 0));

    is_there.store(true, Ordering::SeqCst);
    let producer = rig.broker.producer(crate::rig::stream("orders"));
    let late: EntryId = producer.send(&7).await.unwrap();
    eventually(Duration::from_secs(40), "it runs again", async || {
        match (tried.cover(&[late]), rig.unsettled().await) {
            (Ok(()), Ok(0)) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let without = without.stop().await;
    assert_eq!((without.succeeded, without.failed), (1, 0));
    assert!(without.released >= 84, "{without:?}");
    assert!(rig.pending().await.is_empty());
    let mark = "{orders}:redrive:billing:meta";
    assert_eq!(rig.keys().await, ["orders", mark]);
}
