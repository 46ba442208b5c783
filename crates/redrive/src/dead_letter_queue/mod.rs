//! The dead letters of a stream: looking at them, putting them back, removing them.

mod inspection;
mod options;
mod report;

use std::sync::Arc;
use std::time::Duration;

pub use self::inspection::Inspection;
pub use self::options::ReplayOptions;
use self::options::order;
pub use self::report::{PurgeReport, ReplayFailure, ReplayReport};
use crate::backend::{Backend, IdRange, Replay, Replayed};
use crate::broker::Broker;
use crate::dead_letter::{self, DeadLetter};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};
use crate::selection::Order;
use crate::selection::{Page, Selection, Which};

/// How many dead letters one step of a bulk operation takes.
const STEP: usize = 100;
/// How often a step that the server did not answer is asked again before the operation ends with
/// the error. Each is safe to ask again.
const TRIES: u32 = 6;

/// A dead-letter stream: every layout is read, whoever wrote it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, Page, Selection, ReplayOptions, StreamKey};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters(StreamKey::new("orders:dlq")?);
/// let listing = queue.list(Page::default()).await?;
/// assert_eq!(listing.total, 0);
/// let report = queue.replay_many(&Selection::all(), &ReplayOptions::default()).await?;
/// assert_eq!(report.replayed, 0);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    broker: Broker,
    stream: StreamKey,
}

/// A part of a dead-letter queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing {
    /// The dead letters of this page, in its order.
    pub dead_letters: Vec<DeadLetter>,
    /// How many the queue holds altogether.
    pub total: u64,
    /// The page after this one, if there may be more.
    pub next: Option<Page>,
}

impl DeadLetterQueue {
    pub(crate) fn new(broker: Broker, stream: StreamKey) -> Self {
        Self { broker, stream }
    }

    /// The stream that holds the dead letters.
    #[must_use]
    pub fn stream(&self) -> &StreamKey {
        &self.stream
    }

    /// One page of the queue, and how many there are altogether. An empty or missing stream is an
    /// empty listing.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or the stream's key holds something else.
    pub async fn list(&self, page: Page) -> Result<Listing, Error> {
        let backend = self.broker.backend();
        let total = backend.length(&self.stream).await?;
        let (low, high) = match (page.order, page.from) {
            (Order::Oldest, from) => (from.unwrap_or(EntryId::MIN), EntryId::MAX),
            (Order::Newest, from) => (EntryId::MIN, from.unwrap_or(EntryId::MAX)),
        };
        let range = IdRange {
            low,
            high,
            order: page.order,
            limit: page.limit,
        };
        let dead_letters = read_range(backend, &self.stream, range).await?;
        let next = dead_letters
            .last()
            .filter(|_| dead_letters.len() == page.limit)
            .map(|last| match page.order {
                Order::Oldest => page.from(last.id.successor()),
                Order::Newest => page.from(last.id.predecessor()),
            });
        Ok(Listing {
            dead_letters,
            total,
            next,
        })
    }

    /// One dead letter; `None` when there is none of this id.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn get(&self, id: EntryId) -> Result<Option<DeadLetter>, Error> {
        self.read_one(id).await
    }

    /// One dead letter with its payload decoded; `None` when there is none of this id. A payload
    /// that does not decode is no error.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn inspect(&self, id: EntryId) -> Result<Option<Inspection>, Error> {
        let dead_letter = self.read_one(id).await?;
        Ok(dead_letter.map(Inspection::of))
    }

    /// Puts one dead letter back and answers the id of the new entry. Asked again it answers the
    /// same id and adds nothing, as long as the receipt is kept (two days and more). Receipts are
    /// kept at the target: where the queue is not called `STREAM:dlq`, name it in the options when
    /// asking again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], "dead letter not found: ID". [`ErrorKind::Refused`] when there is
    /// nothing to put back (a tombstone), no target is known, or the migration fails; nothing has
    /// changed then.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled.
    pub async fn replay(&self, id: EntryId, options: &ReplayOptions) -> Result<EntryId, Error> {
        let order = match self.read_one(id).await? {
            Some(letter) => order(&letter, options).await?,
            None => self.again(id, options).ok_or_else(|| not_found(id))?,
        };
        let answer = self.ask(std::slice::from_ref(&order)).await?.0.pop();
        match answer {
            Some(Replayed::Added(new) | Replayed::Already(new)) => Ok(new),
            Some(Replayed::Refused(error)) => Err(error),
            Some(Replayed::NotFound) | None => Err(not_found(id)),
        }
    }

    /// Puts back all that are selected, the oldest first. Works on what is there when it starts.
    /// One that cannot be put back stays, and stops nobody.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries. Ask again: what was put back is not
    /// put back twice.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled, nothing is skipped.
    pub async fn replay_many(
        &self,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<ReplayReport, Error> {
        let mut report = ReplayReport::default();
        let mut selected = self.select(selection).await?;
        while let Some(step) = self.next_step(&mut selected).await? {
            let mut orders = Vec::with_capacity(step.len());
            for found in step {
                report.selected += 1;
                let letter = match found {
                    Ok(letter) => letter,
                    Err(missing) => {
                        match self.again(missing, options) {
                            Some(order) => orders.push(order),
                            None => report.fail(missing, &not_found(missing)),
                        }
                        continue;
                    }
                };
                if options
                    .max_replays
                    .is_some_and(|most| letter.replays >= most)
                {
                    report.skipped += 1;
                    continue;
                }
                match order(&letter, options).await {
                    Ok(order) => orders.push(order),
                    Err(error) => report.fail(letter.id, &error),
                }
            }
            let (answers, asked_again) = self.ask(&orders).await?;
            for (order, answer) in orders.iter().zip(answers) {
                match answer {
                    Replayed::Added(new) => report.added(new),
                    // Its first answer was lost on the way: it was this call that put it back.
                    Replayed::Already(new) if asked_again => report.added(new),
                    Replayed::Already(_) => report.already += 1,
                    Replayed::NotFound => {
                        report.fail(order.dead_letter, &not_found(order.dead_letter));
                    }
                    Replayed::Refused(error) => report.fail(order.dead_letter, &error),
                }
            }
        }
        Ok(report)
    }

    /// Removes all that are selected for good.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. What is removed by then stays removed.
    pub async fn purge(&self, selection: &Selection) -> Result<PurgeReport, Error> {
        let mut report = PurgeReport::default();
        let mut selected = self.select(selection).await?;
        while let Some(step) = self.next_step(&mut selected).await? {
            report.selected += step.len() as u64;
            let ids: Vec<EntryId> = step.iter().flatten().map(|letter| letter.id).collect();
            let removed = self.broker.backend().purge(&self.stream, &ids).await?;
            report.purged += removed.iter().filter(|&&removed| removed).count() as u64;
        }
        Ok(report)
    }

    async fn read_one(&self, id: EntryId) -> Result<Option<DeadLetter>, Error> {
        let range = IdRange {
            low: id,
            high: id,
            order: Order::Oldest,
            limit: 1,
        };
        Ok(read_range(self.broker.backend(), &self.stream, range)
            .await?
            .pop())
    }

    /// Asks after a dead letter that is not there: it may have been put back a moment ago, and its
    /// receipt, at the target, still knows. `None` where the target is not known.
    fn again(&self, id: EntryId, options: &ReplayOptions) -> Option<Replay> {
        let target = options.target.clone().or_else(|| self.source_by_name())?;
        Some(Replay {
            dead_letter: id,
            target,
            fields: Fields::default(),
            keep: options.keep,
        })
    }

    /// The stream whose default dead-letter stream this is, by its name.
    fn source_by_name(&self) -> Option<StreamKey> {
        let name = self.stream.as_str().strip_suffix(":dlq")?;
        StreamKey::new(name).ok()
    }

    /// Asks for replays until there is an answer; says whether it had to ask again.
    async fn ask(&self, orders: &[Replay]) -> Result<(Vec<Replayed>, bool), Error> {
        let mut tries = 1;
        loop {
            match self.broker.backend().replay(&self.stream, orders).await {
                Err(error) if error.kind().is_transient() && tries < TRIES => {
                    let most = Duration::from_millis(50 << tries);
                    tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
                    tries += 1;
                }
                answer => return Ok((answer?, tries > 1)),
            }
        }
    }

    async fn select(&self, selection: &Selection) -> Result<Selected, Error> {
        let left = selection.limit.unwrap_or(usize::MAX);
        let rest = match &selection.which {
            Which::Ids(ids) => Rest::Ids(ids.clone().into_iter()),
            Which::All => {
                let newest = IdRange {
                    low: EntryId::MIN,
                    high: EntryId::MAX,
                    order: Order::Newest,
                    limit: 1,
                };
                let newest = self.broker.backend().entries(&self.stream, newest).await?;
                Rest::Range {
                    next: EntryId::MIN,
                    // What dies from now on is not picked up again.
                    newest: newest.first().map(|entry| entry.id),
                }
            }
        };
        Ok(Selected { left, rest })
    }

    /// The next of what is selected, each found or missing; `None` at the end.
    async fn next_step(
        &self,
        selected: &mut Selected,
    ) -> Result<Option<Vec<Result<DeadLetter, EntryId>>>, Error> {
        let most = selected.left.min(STEP);
        if most == 0 {
            return Ok(None);
        }
        let step = match &mut selected.rest {
            Rest::Ids(ids) => {
                let mut step = Vec::new();
                for id in ids.by_ref().take(most) {
                    step.push(self.read_one(id).await?.ok_or(id));
                }
                step
            }
            Rest::Range { newest: None, .. } => return Ok(None),
            Rest::Range {
                next,
                newest: Some(newest),
            } => {
                let range = IdRange {
                    low: *next,
                    high: *newest,
                    order: Order::Oldest,
                    limit: most,
                };
                let step = read_range(self.broker.backend(), &self.stream, range).await?;
                if let Some(last) = step.last() {
                    *next = last.id.successor();
                }
                step.into_iter().map(Ok).collect()
            }
        };
        selected.left -= step.len();
        Ok((!step.is_empty()).then_some(step))
    }
}

/// How far a bulk operation has come.
struct Selected {
    left: usize,
    rest: Rest,
}

enum Rest {
    Ids(std::vec::IntoIter<EntryId>),
    Range {
        next: EntryId,
        newest: Option<EntryId>,
    },
}

async fn read_range(
    backend: &Arc<dyn Backend>,
    stream: &StreamKey,
    range: IdRange,
) -> Result<Vec<DeadLetter>, Error> {
    let entries = backend.entries(stream, range).await?;
    Ok(entries
        .into_iter()
        .map(|entry| dead_letter::read(entry.id, entry.fields))
        .collect())
}

fn not_found(id: EntryId) -> Error {
    Error::new(ErrorKind::NotFound, format!("dead letter not found: {id}"))
        .hint("it was replayed or purged, or its id is of another queue")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;

    async fn queue_of_three() -> (DeadLetterQueue, Vec<EntryId>) {
        let broker = Broker::connect("memory:").await.unwrap();
        let stream = StreamKey::new("orders:dlq").unwrap();
        let letter = Fields::from_iter([
            ("n", "1"),
            ("original_stream", "orders"),
            ("original_id", "17-1"),
            ("failure_reason", "max_retries_exceeded"),
            ("attempts", "3"),
            ("dlq_timestamp", "1732250000.1"),
        ]);
        let letters = [letter.clone(), letter.clone(), letter];
        let ids = broker.backend().append(&stream, &letters).await.unwrap();
        (broker.dead_letters(stream), ids)
    }

    /// The bug: by its ids a bulk replay that was asked again, after a lost answer say, named as
    /// failures what it had put back itself.
    #[tokio::test(start_paused = true)]
    async fn a_bulk_replay_asked_again_says_already() {
        let (queue, ids) = queue_of_three().await;
        let (these, options) = (Selection::ids(ids.clone()), ReplayOptions::default());
        let first = queue.replay_many(&these, &options).await.unwrap();
        assert_eq!((first.selected, first.replayed, first.already), (3, 3, 0));
        let again = queue.replay_many(&these, &options).await.unwrap();
        assert_eq!((again.selected, again.replayed, again.already), (3, 0, 3));
        assert_eq!(again.failed, 0);
        assert_eq!(
            queue.replay(ids[1], &options).await.unwrap(),
            first.new_ids[1]
        );
        let unknown = Selection::ids([EntryId::new(1, 1)]);
        let report = queue.replay_many(&unknown, &options).await.unwrap();
        assert_eq!((report.selected, report.failed), (1, 1));
        assert_eq!(report.failures[0].error, "dead letter not found: 1-1");
    }

    #[tokio::test(start_paused = true)]
    async fn pages_go_on_where_the_last_one_ended_in_both_orders() {
        let (queue, ids) = queue_of_three().await;
        for order in [Order::Oldest, Order::Newest] {
            let first = queue.list(Page::new(order, 2)).await.unwrap();
            let second = queue.list(first.next.unwrap()).await.unwrap();
            assert_eq!((first.total, second.total), (3, 3));
            assert!(second.next.is_none());
            let letters = first.dead_letters.iter().chain(&second.dead_letters);
            let mut seen: Vec<EntryId> = letters.map(|letter| letter.id).collect();
            if order == Order::Newest {
                seen.reverse();
            }
            assert_eq!(seen, ids);
        }
    }
}
