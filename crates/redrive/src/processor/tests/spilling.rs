//! A queue that spills: the oldest are written before they are removed, and what cannot be written stays.

use std::collections::BTreeSet;
use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::timeout;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::logs::logged;
use super::{Lab, SECOND};
use crate::archive::{ArchiveReader, ArchivedDeadLetter};
use crate::dead_letter::{DeadLetterLimit, Overflow, Reason};
use crate::dead_letter_queue::ImportOptions;
use crate::message::Message;
use crate::names::EntryId;
use crate::outcome::Outcome;
use crate::processor::Processor;
use crate::retry::RetryPolicy;
use crate::selection::{Order, Page};
use crate::spill::{Appending, Spill};

/// What was spilled, an export each; and whether the disk is full.
#[derive(Clone, Default)]
struct Shelf {
    exports: Arc<Mutex<Vec<Bytes>>>,
    full: Arc<AtomicBool>,
}

impl Spill for Shelf {
    fn append(&self, export: Bytes) -> Appending<'_> {
        Box::pin(async move {
            if self.full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.exports.lock().unwrap().push(export);
            Ok(())
        })
    }
}

impl Shelf {
    fn worker(&self, lab: &Lab, most: u64) -> Processor {
        let policy = RetryPolicy::immediate().max_attempts(1);
        let limit = DeadLetterLimit::new(most, Overflow::spill(self.clone()));
        let worker = lab.worker().retry(policy).dead_letter_limit(limit);
        worker.build(|_: Message<u32>| ready(false)).unwrap()
    }

    /// All that was spilled; each export whole.
    fn spilled(&self) -> Vec<ArchivedDeadLetter> {
        let mut all = Vec::new();
        for export in self.exports.lock().unwrap().iter() {
            let mut reader = ArchiveReader::new();
            for line in std::str::from_utf8(export).unwrap().lines() {
                all.extend(reader.line(line.as_bytes()).unwrap());
            }
            assert_eq!(reader.finish().unwrap().exports, 1);
        }
        all
    }
}

async fn queue(lab: &Lab) -> Vec<EntryId> {
    let queue = lab
        .broker
        .dead_letters(lab.source.stream.default_dead_letters());
    let listed = queue.list(Page::new(Order::Oldest, 1_000)).await.unwrap();
    listed.dead_letters.iter().map(|letter| letter.id).collect()
}

async fn books(lab: &Lab) -> crate::ledger::Ledger {
    let queue = lab
        .broker
        .dead_letters(lab.source.stream.default_dead_letters());
    queue.ledger().await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn twice_what_a_queue_may_hold_is_in_it_or_spilled() {
    let lab = Lab::with(40).await;
    let shelf = Shelf::default();
    let totals = timeout(120 * SECOND, shelf.worker(&lab, 10).run_until_idle())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (40, 40));
    assert_eq!(lab.pending().await, 0);
    let (kept, spilled) = (queue(&lab).await, shelf.spilled());
    assert!(kept.len() <= 10, "{}", kept.len());
    let mut all: BTreeSet<EntryId> = kept.iter().copied().collect();
    all.extend(spilled.iter().map(|one| one.dead_letter.id));
    assert_eq!((all.len(), kept.len() + spilled.len()), (40, 40));
    // The oldest went.
    assert!(
        spilled
            .iter()
            .all(|one| one.dead_letter.id < kept[kept.len() - 1])
    );
    let books = books(&lab).await;
    assert_eq!(
        (books.dead_lettered, books.spilled),
        (40, spilled.len() as u64)
    );
    assert_eq!(
        (books.balanced, books.foreign_in, books.foreign_out),
        (true, Some(0), Some(0))
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_not_removed_and_messages_stay_pending() {
    let lines = logged(async || {
        let lab = Lab::with(30).await;
        let shelf = Shelf::default();
        shelf.full.store(true, Ordering::SeqCst);
        let mut worker = shelf.worker(&lab, 10);
        let totals = timeout(60 * SECOND, worker.run_until_idle())
            .await
            .unwrap()
            .unwrap();
        // At twice the limit.
        assert_eq!(totals.dead_lettered, 20);
        assert_eq!((queue(&lab).await.len(), lab.pending().await), (20, 10));
        assert_eq!(books(&lab).await.spilled, 0);
        shelf.full.store(false, Ordering::SeqCst);
        let totals = timeout(120 * SECOND, worker.run_until_idle())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(totals.dead_lettered, 10);
        assert_eq!(lab.pending().await, 0);
        let books = books(&lab).await;
        assert_eq!((books.dead_lettered, books.spilled + books.kept), (30, 30));
    })
    .await;
    let how_many = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(how_many("cannot be spilled"), 1, "{lines:?}");
    assert_eq!(how_many("is full, at its limit"), 0, "{lines:?}");
}

/// They ran two or three times, and died of attempts used up: the queue was full for moments.
#[tokio::test(start_paused = true)]
async fn what_is_rejected_runs_once_and_dies_of_that_however_fast() {
    let lab = Lab::with(500).await;
    let shelf = Shelf::default();
    let limit = DeadLetterLimit::new(100, Overflow::spill(shelf.clone()));
    let worker = lab.worker().dead_letter_limit(limit).concurrency(32);
    let mut worker = worker
        .build(|_: Message<u32>| ready(Outcome::dead_letter("no")))
        .unwrap();
    let totals = timeout(120 * SECOND, worker.run_until_idle())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (500, 500));
    let spilled = shelf.spilled();
    let rejected = |one: &ArchivedDeadLetter| one.dead_letter.reason == Some(Reason::Rejected);
    assert!(spilled.iter().all(rejected));
    let kept = queue(&lab).await.len();
    assert_eq!(kept + spilled.len(), 500);
    assert!(kept < 90, "{kept}");
}

/// A worker that begins finds a queue that others have filled.
#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_at_the_start_is_spilled_though_nothing_dies() {
    let lab = Lab::with(30).await;
    let policy = RetryPolicy::immediate().max_attempts(1);
    let unlimited = lab.worker().retry(policy);
    let mut unlimited = unlimited.build(|_: Message<u32>| ready(false)).unwrap();
    unlimited.run_until_idle().await.unwrap();
    assert_eq!(queue(&lab).await.len(), 30);
    let shelf = Shelf::default();
    let mut worker = shelf.worker(&lab, 10);
    let run = timeout(120 * SECOND, worker.run_until_idle());
    run.await.unwrap().unwrap();
    assert_eq!((queue(&lab).await.len(), shelf.spilled().len()), (8, 22));
}

/// A batch that was written and not removed is written again; an import takes each once.
#[tokio::test(start_paused = true)]
async fn what_is_written_twice_is_imported_once() {
    let (_, _, lab, faults) = labs();
    lab.send(30).await;
    faults.next(Verb::TakeOut, [Wrong::NeverArrives, Wrong::ReplyLost]);
    let shelf = Shelf::default();
    timeout(120 * SECOND, shelf.worker(&lab, 10).run_until_idle())
        .await
        .unwrap()
        .unwrap();
    let (kept, spilled) = (queue(&lab).await, shelf.spilled());
    assert!(kept.len() + spilled.len() > 30, "nothing was written twice");
    let books = books(&lab).await;
    assert_eq!((books.dead_lettered, books.spilled + books.kept), (30, 30));
    assert!(books.balanced);

    let mut reader = ArchiveReader::new();
    let text: Vec<u8> = shelf.exports.lock().unwrap().concat();
    for line in std::str::from_utf8(&text).unwrap().lines() {
        reader.line(line.as_bytes()).unwrap();
    }
    let archive = reader.finish().unwrap();
    let options = ImportOptions::default();
    let mut importing = lab.broker.importing(&archive, &options);
    for one in spilled {
        importing.add(one);
        if importing.is_full() {
            importing.step().await.unwrap();
        }
    }
    while importing.step().await.unwrap().is_some() {}
    let report = importing.into_report();
    assert_eq!(report.imported, 30 - kept.len() as u64);
    assert_eq!(queue(&lab).await.len(), 30);
}
