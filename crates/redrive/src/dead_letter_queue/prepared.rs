//! Orders that are made and not yet carried out, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use super::options::ReplayOptions;
use super::order::{as_is, order};
use super::patience::Patience;
use super::report::{Books, Progress};
use super::single::Asked;
use super::walk::{STEP, Step, Walk};
use super::{DeadLetterQueue, not_found};
use crate::backend::{Keep, Replay, Replayed};
use crate::dead_letter::DeadLetter;
use crate::error::Error;
use crate::names::EntryId;
use crate::selection::Selection;

/// How many orders are carried out together.
const TOGETHER: usize = 500;
/// More are read while so many, or about so many bytes of them, are ready and others are carried out: the
/// broker does not wait for us.
const AHEAD: usize = TOGETHER - STEP;
const AHEAD_BYTES: usize = 1024 * 1024;
/// How many are read at once where that costs the broker little.
const PAGE: usize = 400;
/// How many dead letters a migration gets together, and about how many bytes of them.
const MIGRATED: usize = 1_000;
const MIGRATED_BYTES: usize = 1024 * 1024;
/// How many pages are gone through for them, where few match.
const PAGES: usize = 10;

/// What is selected, made into orders as far as it is looked at.
pub(super) struct Prepared {
    pub(super) queue: DeadLetterQueue,
    /// `None` while it reads.
    reader: Option<Box<Reader>>,
    reading: Option<BoxFuture<'static, (Box<Reader>, Page)>>,
    arrived: Option<Page>,
    made: VecDeque<Made>,
    /// About how many bytes these are.
    made_bytes: usize,
    /// What is to be carried out now. May have reached the broker.
    pub(super) chunk: Option<Chunk>,
    progress: Progress,
    /// How many of those that were read are not in the queue any more.
    gone: Arc<AtomicU64>,
    pub(super) books: Books,
}

/// What was made of a page; `None` at the end.
type Page = Result<Option<VecDeque<Made>>, Error>;

#[derive(Debug)]
struct Made {
    slot: Slot,
    order: Option<Replay>,
    /// About how many bytes that is.
    bytes: usize,
}

/// What comes of a dead letter, in the order of the selection.
#[derive(Debug)]
pub(super) enum Slot {
    /// Left out.
    Skipped(EntryId),
    Failed(EntryId, Error),
    /// There is an order for it. As it is now; `None` where it is not there.
    Ordered(Option<Box<DeadLetter>>),
}

/// Some of them, and the orders that there are for them.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) slots: Vec<Slot>,
    pub(super) orders: Arc<Vec<Replay>>,
}

impl Prepared {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        let mut patience = Patience::default();
        let mut walk = loop {
            match Walk::start(&queue, selection).await {
                Ok(walk) => break walk,
                Err(error) => patience.with(error).await?,
            }
        };
        let gone = Arc::new(AtomicU64::new(0));
        if options.keep == Keep::Remove {
            walk.takes_out(Arc::clone(&gone));
        }
        Ok(Self {
            gone,
            queue: queue.clone(),
            progress: walk.progress(),
            reader: Some(Box::new(Reader {
                queue,
                options: options.clone(),
                walk,
                left: selection.limit.unwrap_or(usize::MAX),
                page: Vec::new(),
                pages: 0,
            })),
            reading: None,
            arrived: None,
            made: VecDeque::new(),
            made_bytes: 0,
            chunk: None,
            books: Books::default(),
        })
    }

    /// Goes on with what was begun before: no further than this dead letter, and with so many of the
    /// limit used up. Before anything is read.
    pub(super) fn go_on(&mut self, newest: EntryId, counted: usize) {
        if let Some(reader) = &mut self.reader {
            reader.walk.up_to(newest);
            if reader.left != usize::MAX {
                reader.left = reader.left.saturating_sub(counted);
            }
        }
    }

    /// Waits until there is something to carry out, or one more page is looked at, or that failed.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way it goes on where it was.
    pub(super) async fn ready(&mut self) {
        if self.chunk.is_some() || !self.made.is_empty() {
            return;
        }
        self.begin();
        self.arrive().await;
        self.take_over();
    }

    /// Takes over what has arrived. What there is nothing to carry out of stays: `next` tells of it.
    fn take_over(&mut self) {
        if let Some(Ok(Some(made))) = &mut self.arrived
            && !made.is_empty()
        {
            self.made_bytes += made.iter().map(|made| made.bytes).sum::<usize>();
            self.made.append(made);
            self.arrived = None;
            self.looked();
        }
    }

    /// Carries out the orders of the chunk, and gets ready meanwhile what comes next. The broker is asked
    /// for that first: it is looked at here while the orders are carried out there.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on where it was; the orders may have been carried out.
    pub(super) async fn carry_out(&mut self) -> Asked {
        let orders = self.chunk.as_ref().map(|chunk| Arc::clone(&chunk.orders));
        let (queue, orders) = (self.queue.clone(), orders.unwrap_or_default());
        let mut asking = std::pin::pin!(queue.ask(&orders));
        loop {
            if !self.is_far_ahead() {
                self.begin();
            }
            tokio::select! {
                biased;
                () = self.arrive(), if self.reading.is_some() => self.take_over(),
                asked = &mut asking => {
                    let is_gone = |answer: &&Replayed| !matches!(answer, Replayed::Refused(_));
                    let gone = asked.answers.iter().filter(is_gone).count();
                    self.gone.fetch_add(gone as u64, Ordering::Relaxed);
                    return asked;
                }
            }
        }
    }

    fn is_far_ahead(&self) -> bool {
        self.made.len() > AHEAD || self.made_bytes > AHEAD_BYTES
    }

    /// Sees to it that there is something to carry out, or that one more page is looked at; `false`
    /// at the end.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way it goes on where it was.
    pub(super) async fn next(&mut self) -> Result<bool, Error> {
        self.ready().await;
        if self.chunk.is_some() || !self.made.is_empty() {
            return Ok(true);
        }
        let looked_at = self.arrived.take().transpose()?.flatten().is_some();
        self.looked();
        Ok(looked_at)
    }

    /// Takes over how far it is.
    fn looked(&mut self) {
        let reader = self.reader.as_ref();
        self.progress = reader.map_or(self.progress, |reader| reader.walk.progress());
    }

    /// Waits, and gets ready meanwhile what comes next.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on getting ready where it was.
    pub(super) async fn meanwhile(&mut self, wait: Duration) {
        self.begin();
        let mut waiting = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                biased;
                () = &mut waiting => return,
                () = self.arrive(), if self.reading.is_some() => {}
            }
        }
    }

    /// Begins to get the next page ready, unless that is under way or done.
    fn begin(&mut self) {
        if self.arrived.is_none()
            && let Some(mut reader) = self.reader.take()
        {
            self.reading = Some(Box::pin(async move {
                let page = reader.next().await;
                (reader, page)
            }));
        }
    }

    async fn arrive(&mut self) {
        if let Some(reading) = &mut self.reading {
            let (reader, page) = reading.await;
            self.reading = None;
            self.reader = Some(reader);
            self.arrived = Some(page);
        }
    }

    /// How many orders would be carried out next.
    pub(super) fn waiting(&self) -> usize {
        let orders = self.made.iter().filter(|made| made.order.is_some());
        orders.take(TOGETHER).count()
    }

    /// Whether anything would be put back next: of ids that the queue does not have only the receipts
    /// are looked for, and what is left out or cannot be put back stays as it is.
    pub(super) fn is_of_something(&self) -> bool {
        let mut slots = self.made.iter().map(|made| &made.slot);
        slots.any(|slot| matches!(slot, Slot::Ordered(Some(_))))
    }

    /// Takes so many orders to carry them out, and what needs none up to the next.
    pub(super) fn take(&mut self, orders: usize) {
        let (mut slots, mut taken) = (Vec::new(), Vec::new());
        let mut left = orders;
        let fits = |made: &Made, left: &mut usize| match (&made.order, *left) {
            (None, _) => true,
            (Some(_), 0) => false,
            (Some(_), _) => {
                *left -= 1;
                true
            }
        };
        let many = self.made.iter().take_while(|made| fits(made, &mut left));
        let many = many.count();
        for made in self.made.drain(..many) {
            self.made_bytes = self.made_bytes.saturating_sub(made.bytes);
            slots.push(made.slot);
            taken.extend(made.order);
        }
        self.books.last.clear();
        self.chunk = Some(Chunk {
            slots,
            orders: Arc::new(taken),
        });
    }

    /// How far it is: what is not carried out is not looked at yet.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = self.progress;
        let chunk = self.chunk.as_ref().map_or(0, |chunk| chunk.slots.len());
        let waiting = self.made.len() + chunk;
        progress.examined = progress.examined.saturating_sub(waiting as u64);
        progress
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("queue", &self.queue)
            .field("made", &self.made.len())
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

/// Reads pages and makes them into orders.
struct Reader {
    queue: DeadLetterQueue,
    options: ReplayOptions,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    /// What is read and not made into orders.
    page: Vec<Step>,
    /// How many pages that was.
    pages: usize,
}

impl Reader {
    /// The orders of what is read next: a page, or as much as a migration takes together. Where it
    /// failed it goes on where it was.
    async fn next(&mut self) -> Page {
        let options = &self.options;
        // What is read long before it is put back may have changed, or gone.
        let is_slow = options.rate.is_some() || options.canary.is_some();
        let most = match is_slow || options.migrates_payloads() {
            true => STEP,
            false => PAGE,
        };
        while !self.is_enough() {
            let mut patience = Patience::default();
            // Nothing is counted twice: until it answers, it has not moved.
            let page = loop {
                match self.walk.page(&self.queue, self.left, most).await {
                    Ok(page) => break page,
                    Err(error) => patience.with(error).await?,
                }
            };
            let Some(mut page) = page else { break };
            page.truncate(self.left);
            self.left -= page.len();
            self.page.append(&mut page);
            self.pages += 1;
        }
        if self.pages == 0 {
            return Ok(None);
        }
        let orders = if self.options.leaves_as_is() {
            self.page
                .iter()
                .map(|found| self.made_as_is(found))
                .collect()
        } else {
            // All at once: a migration may take them together.
            join_all(self.page.iter().map(|found| self.made(found))).await
        };
        self.pages = 0;
        let page = std::mem::take(&mut self.page);
        let made = page.into_iter().zip(orders).map(|(found, order)| {
            let id = found.as_ref().map_or_else(|id| *id, |letter| letter.id);
            let bytes = found.as_ref().map_or(0, DeadLetter::size);
            let (slot, order) = match order {
                None => (Slot::Skipped(id), None),
                Some(Err(error)) => (Slot::Failed(id, error), None),
                Some(Ok(order)) => (Slot::Ordered(found.ok().map(Box::new)), Some(order)),
            };
            Made { slot, order, bytes }
        });
        Ok(Some(made.collect()))
    }

    fn is_enough(&self) -> bool {
        if self.left == 0 || self.pages == 0 {
            return self.left == 0;
        }
        let size = |found: &Step| found.as_ref().map_or(0, |letter| letter.fields.size());
        !self.options.migrates_payloads()
            || self.pages >= PAGES
            || self.page.len() >= MIGRATED
            || self.page.iter().map(size).sum::<usize>() >= MIGRATED_BYTES
    }

    /// The order of one of the page; `None` where it is left out.
    async fn made(&self, found: &Step) -> Option<Result<Replay, Error>> {
        match found {
            Ok(letter) if !self.options.leaves_out(letter) => {
                Some(order(letter, &self.queue.stream, &self.options).await)
            }
            _ => self.made_as_is(found),
        }
    }

    /// As [`made`](Self::made), where nothing is repaired.
    fn made_as_is(&self, found: &Step) -> Option<Result<Replay, Error>> {
        match found {
            Ok(letter) if self.options.leaves_out(letter) => None,
            Ok(letter) => Some(as_is(letter, &self.queue.stream, &self.options)),
            Err(missing) => Some(
                self.queue
                    .again(*missing, &self.options)
                    .ok_or_else(|| not_found(*missing)),
            ),
        }
    }
}
