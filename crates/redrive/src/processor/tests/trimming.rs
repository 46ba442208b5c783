//! Entries that are trimmed while they are held: the process alone still has the bytes.

use std::future::ready;

use tokio::time::sleep;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Lab, Log, SECOND};
use crate::broker::Broker;
use crate::conformance::{Bench, Lab as Access};
use crate::dead_letter::Reason;
use crate::memory::lab::MemoryLab;
use crate::message::Message;
use crate::names::EntryId;
use crate::outcome::Outcome;

async fn open() -> (MemoryLab, Lab) {
    let access = MemoryLab::open().await;
    let lab = Lab::over(Broker::over(access.backend()));
    (access, lab)
}

/// What is left beside the stream when all is done: nothing but what the ledger says.
async fn leaves_nothing(access: &MemoryLab, lab: &Lab, dead_letters: u64) {
    assert!(access.pel(&lab.source).await.is_empty());
    assert!(access.is_clean(&lab.source).await);
    let ledger = access
        .ledger(&lab.source.stream.default_dead_letters())
        .await;
    let counted = ledger.get("dead_lettered").copied().unwrap_or_default();
    assert_eq!(counted, dead_letters);
}

#[tokio::test(start_paused = true)]
async fn a_held_message_that_was_trimmed_still_runs_and_its_tombstone_goes_or_gets_its_bytes() {
    let (access, lab) = open().await;
    let sent = lab.producer.send_all(&[0, 1, 2, 3]).await.unwrap();
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(2)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            async move {
                sleep(25 * SECOND).await;
                match *message {
                    1 => Outcome::retry("not yet"),
                    3 => Outcome::dead_letter("never"),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap();
    // Two run by then, two wait for a handler.
    let trimming = async {
        sleep(SECOND).await;
        for id in &sent {
            access.trim(&lab.source.stream, *id).await;
        }
    };
    let (totals, ()) = tokio::join!(worker.run_until_idle(), trimming);
    let totals = totals.unwrap();
    assert_eq!(log.numbers(), [0, 1, 2, 3]);
    assert_eq!((totals.succeeded, totals.dead_lettered), (2, 2));
    assert_eq!((totals.failed, totals.retried), (2, 0));
    let dead = lab.dead_letters().await;
    let ids: Vec<Option<EntryId>> = dead.iter().map(|dead| dead.original_id).collect();
    assert_eq!(ids, [Some(sent[1]), Some(sent[3])]);
    for dead in &dead {
        assert_eq!(dead.reason, Some(Reason::Trimmed));
        assert_eq!(dead.fields.len(), 1);
    }
    leaves_nothing(&access, &lab, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_and_trimmed_while_it_waited_runs_without_being_charged() {
    let (access, lab) = open().await;
    let sent = lab.producer.send_all(&[0, 1]).await.unwrap();
    let mut failing = lab
        .worker()
        .retry(crate::RetryPolicy::fixed(SECOND))
        .build(|_: Message<u32>| ready(false))
        .unwrap();
    assert_eq!(failing.run_batches(1).await.unwrap(), 0);
    let log = Log::new();
    let seen = log.clone();
    let mut worker = lab
        .worker()
        .concurrency(1)
        .build(move |message: Message<u32>| {
            seen.note(&message);
            sleep(20 * SECOND)
        })
        .unwrap();
    let trimming = async {
        sleep(3 * SECOND).await;
        access.trim(&lab.source.stream, sent[1]).await;
    };
    let (totals, ()) = tokio::join!(worker.run_until_idle(), trimming);
    assert_eq!(totals.unwrap().succeeded, 2);
    assert_eq!(log.attempts(), [2, 2]);
    assert!(lab.dead_letters().await.is_empty());
    leaves_nothing(&access, &lab, 0).await;
}

/// The tombstone is written, and the reply that names it is lost: the next one names it again.
#[tokio::test(start_paused = true)]
async fn a_tombstone_whose_reply_is_lost_is_resolved_all_the_same() {
    for handled_at in [15, 25] {
        let (memory, healthy, lab, faults) = labs();
        let sent = healthy.producer.send_all(&[0, 1]).await.unwrap();
        let mut worker = lab
            .worker()
            .build(move |message: Message<u32>| async move {
                sleep(handled_at * SECOND).await;
                match *message {
                    0 => Outcome::Ack,
                    _ => Outcome::dead_letter("never"),
                }
            })
            .unwrap();
        let trimming = async {
            sleep(SECOND).await;
            for id in &sent {
                assert!(memory.delete_entry(&lab.source.stream, *id));
            }
            // The renewal at 10 s; the handlers end before, or after, the next one.
            faults.next(Verb::Renew, [Wrong::ReplyLost]);
        };
        let (totals, ()) = tokio::join!(worker.run_until_idle(), trimming);
        let totals = totals.unwrap();
        assert_eq!((totals.succeeded, totals.dead_lettered), (1, 1));
        let dead = lab.dead_letters().await;
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert_eq!(dead[0].original_id, Some(sent[1]));
        assert_eq!(dead[0].fields.len(), 1);
    }
}
