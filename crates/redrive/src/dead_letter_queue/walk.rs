//! The way through what is selected: page by page, in its order, never more than a page in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DeadLetterQueue;
use super::report::Progress;
use crate::backend::{Entry, IdRange};
use crate::dead_letter::{DeadLetter, read};
use crate::error::Error;
use crate::names::EntryId;
use crate::selection::{Order, Selection};

/// How many dead letters one step of a bulk operation takes at most: as many as one call puts back.
pub(super) const STEP: usize = 100;

/// How many are looked at in one step of a search at most. Of usual ones that keeps a server for a
/// few milliseconds; a page of large ones is shorter.
pub(super) const LOOK: usize = 100;

/// What is larger is looked at by itself.
const HEAVY: usize = 16 << 10;

/// How far an operation has come through what is selected.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    selection: Selection,
    rest: Rest,
    /// How many of those that were looked at are not there any more, where whoever walks takes them out.
    gone: Option<Arc<AtomicU64>>,
    progress: Progress,
}

/// What is not looked at yet.
#[derive(Clone, Debug)]
enum Rest {
    /// In this order.
    Ids(VecDeque<EntryId>),
    /// Between these, both included.
    Range(EntryId, EntryId),
    Nothing,
}

/// What is there, or an id that was named and is not.
type Looked = Result<Entry, EntryId>;

/// What matches, or an id that was named and is not there.
pub(super) type Step = Result<DeadLetter, EntryId>;

impl Walk {
    /// Goes up to the newest dead letter there is now: what dies later is not picked up.
    pub(super) async fn start(
        queue: &DeadLetterQueue,
        selection: &Selection,
    ) -> Result<Self, Error> {
        let (rest, total) = if let Some(ids) = &selection.ids {
            let mut ids: VecDeque<EntryId> = ids.iter().copied().collect();
            if selection.order == Order::Newest {
                ids.make_contiguous().reverse();
            }
            let total = ids.len() as u64;
            (Rest::Ids(ids), total)
        } else {
            let newest = IdRange {
                low: EntryId::MIN,
                high: EntryId::MAX,
                order: Order::Newest,
                limit: 1,
            };
            let backend = queue.broker.backend();
            let newest = backend.entries(&queue.stream, newest).await?;
            let rest = newest
                .first()
                .map_or(Rest::Nothing, |newest| Rest::Range(EntryId::MIN, newest.id));
            (rest, queue.length().await?)
        };
        let most = selection.limit.filter(|_| selection.takes_all());
        let total = most.map_or(total, |most| total.min(most as u64));
        Ok(Self {
            selection: selection.clone(),
            rest,
            gone: None,
            progress: Progress { examined: 0, total },
        })
    }

    /// What it looks at is taken out of the queue, and counted here then.
    pub(super) fn takes_out(&mut self, gone: Arc<AtomicU64>) {
        self.gone = Some(gone);
    }

    /// Goes no further than this one: what died later is not its own.
    pub(super) fn up_to(&mut self, newest: EntryId) {
        if let Rest::Range(_, high) = &mut self.rest {
            *high = newest.min(*high);
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether it passes everything that the queue holds.
    pub(super) fn is_of_all(&self) -> bool {
        self.selection.ids.is_none() && self.selection.takes_all()
    }

    /// What matches of the next page of so many at most, which may be nothing; `None` at the end. A
    /// page is no longer than it has to be for as many as are wanted, and no heavier than the broker
    /// lets it be.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not moved.
    pub(super) async fn page(
        &mut self,
        queue: &DeadLetterQueue,
        wanted: usize,
        most: usize,
    ) -> Result<Option<Vec<Step>>, Error> {
        let limit = if self.selection.takes_all() {
            wanted.min(most)
        } else {
            most
        };
        let backend = queue.broker.backend();
        // And what is left of a range when this page is done with: until then nothing has moved.
        let (page, rest): (Vec<Looked>, Option<Rest>) = match &self.rest {
            Rest::Ids(ids) if !ids.is_empty() => {
                let some: Vec<EntryId> = ids.iter().copied().take(limit).collect();
                let found = backend.named(&queue.stream, &some).await?;
                let found = found.into_iter().zip(some);
                let page = found.map(|(found, id)| found.ok_or(id));
                (page.collect(), None)
            }
            Rest::Range(low, high) if *low <= *high => {
                let order = self.selection.order;
                let range = IdRange {
                    low: *low,
                    high: *high,
                    order,
                    limit,
                };
                let found = match (&self.gone, order) {
                    (Some(gone), Order::Oldest) => {
                        let gone = gone.load(Ordering::Relaxed);
                        let left = self.progress.examined.saturating_sub(gone);
                        backend.page_behind(&queue.stream, range, left).await?
                    }
                    _ => backend.page(&queue.stream, range).await?,
                };
                let rest = match found.last().map(|last| last.id) {
                    // The lowest and the highest id of all have nothing beyond them.
                    None | Some(EntryId::MAX | EntryId::MIN) => Rest::Nothing,
                    Some(last) => match order {
                        Order::Oldest => Rest::Range(last.successor(), *high),
                        Order::Newest => Rest::Range(*low, last.predecessor()),
                    },
                };
                (found.into_iter().map(Ok).collect(), Some(rest))
            }
            Rest::Ids(_) | Rest::Range(..) | Rest::Nothing => return Ok(None),
        };
        if page.is_empty() {
            self.rest = Rest::Nothing;
            return Ok(None);
        }
        let looked_at = page.len();
        let mut matching = Vec::with_capacity(page.len());
        for looked in page {
            let size = looked.as_ref().map_or(0, |one| one.fields.size());
            match looked.map(|one| read(one.id, one.fields)) {
                Ok(letter) if !self.selection.matches(&letter) => {}
                step => matching.push(step),
            }
            // Decoding may take long, and whoever asks for an end meanwhile is to be heard.
            if size > HEAVY {
                tokio::task::yield_now().await;
            }
        }
        match (&mut self.rest, rest) {
            (Rest::Ids(ids), None) => drop(ids.drain(..looked_at.min(ids.len()))),
            (whole, rest) => *whole = rest.unwrap_or(Rest::Nothing),
        }
        // More than there were at the start can be met: what others add below the newest.
        self.progress.examined += looked_at as u64;
        self.progress.total = self.progress.total.max(self.progress.examined);
        Ok(Some(matching))
    }
}
