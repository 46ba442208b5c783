//! The way through what is selected: page by page, in its order, never more than a page in memory.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::DeadLetterQueue;
use super::report::Progress;
use crate::backend::IdRange;
use crate::dead_letter::DeadLetter;
use crate::error::Error;
use crate::names::EntryId;
use crate::selection::{Order, Selection};

/// How many dead letters one step of a bulk operation takes.
const STEP: usize = 100;

/// About how many bytes, where they are large: what a step holds in memory.
const STEP_BYTES: usize = 16 << 20;

/// How far an operation has come through what is selected.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    selection: Selection,
    rest: Rest,
    progress: Progress,
    /// How many of the next page.
    step: usize,
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
            let newest = queue.read_range(newest).await?;
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
            progress: Progress { examined: 0, total },
            step: STEP,
        })
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether it passes everything that the queue holds.
    pub(super) fn is_of_all(&self) -> bool {
        self.selection.ids.is_none() && self.selection.takes_all()
    }

    /// What matches of the next page, which may be nothing; `None` at the end. A page is no longer
    /// than it has to be for this many.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has not moved.
    pub(super) async fn page(
        &mut self,
        queue: &DeadLetterQueue,
        wanted: usize,
    ) -> Result<Option<Vec<Step>>, Error> {
        let limit = if self.selection.takes_all() {
            wanted.min(self.step)
        } else {
            self.step
        };
        let page: Vec<Step> = match &mut self.rest {
            Rest::Ids(ids) if !ids.is_empty() => {
                let some: Vec<EntryId> = ids.iter().copied().take(limit).collect();
                let found = try_join_all(some.iter().map(|id| queue.read_one(*id))).await?;
                ids.drain(..some.len());
                let found = found.into_iter().zip(some);
                found.map(|(found, id)| found.ok_or(id)).collect()
            }
            Rest::Range(low, high) if *low <= *high => {
                let order = self.selection.order;
                let range = IdRange {
                    low: *low,
                    high: *high,
                    order,
                    limit,
                };
                let found = queue.read_range(range).await?;
                match found.last() {
                    None => self.rest = Rest::Nothing,
                    Some(last) => match order {
                        Order::Oldest => *low = last.id.successor(),
                        Order::Newest => *high = last.id.predecessor(),
                    },
                }
                found.into_iter().map(Ok).collect()
            }
            Rest::Ids(_) | Rest::Range(..) | Rest::Nothing => return Ok(None),
        };
        if page.is_empty() {
            return Ok(None);
        }
        // More than there were at the start can be met: what others add below the newest.
        self.progress.examined += page.len() as u64;
        self.progress.total = self.progress.total.max(self.progress.examined);
        self.step = fitting(&page);
        let matching = |step: &Step| {
            step.as_ref()
                .map_or(true, |letter| self.selection.matches(letter))
        };
        Ok(Some(page.into_iter().filter(matching).collect()))
    }
}

/// How many dead letters of the size of these a step takes: large ones come in small pages.
fn fitting(page: &[Step]) -> usize {
    let sizes = page.iter().flatten().map(DeadLetter::size);
    let mean = sizes.sum::<usize>() / page.len().max(1);
    (STEP_BYTES / mean.max(1)).clamp(1, STEP)
}
