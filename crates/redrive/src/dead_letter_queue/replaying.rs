//! A bulk replay step by step, and the same without touching anything.

use futures_util::future::join_all;

use super::options::{ReplayOptions, order};
use super::report::{Books, Progress, ReplayReport, ReplayResult, ReplaySample};
use super::walk::{STEP, Step, Walk};
use super::{DeadLetterQueue, not_found};
use crate::backend::{Replay, Replayed};
use crate::dead_letter::{self, DeadLetter};
use crate::error::Error;
use crate::payload::{self, Found};
use crate::selection::{Order, Selection};

/// How many samples a dry run keeps.
const SAMPLES: usize = 5;

/// A bulk replay, step by step: for who shows how far it is, or sets its pace.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, ReplayOptions, Selection};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let options = ReplayOptions::default();
/// let mut replaying = queue.replaying(&Selection::all(), &options).await?;
/// while let Some(progress) = replaying.step().await? {
///     println!("{} of {}", progress.examined, progress.total);
/// }
/// assert_eq!(replaying.report().replayed, 0);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for a step"]
pub struct Replaying {
    prepared: Prepared,
    /// Whether the orders that are prepared may have reached the broker.
    asked: bool,
}

impl Replaying {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            prepared: Prepared::start(queue, selection, options).await?,
            asked: false,
        })
    }

    /// Looks at the next 100 at most and puts back those that match; `None` when there is nothing
    /// left to do. A step in which nothing matches is one too.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step or to begin anew: nothing is doubled,
    /// nothing is skipped.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        let this = &mut self.prepared;
        if !this.next().await? {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.asked, true);
        let (answers, again) = this.queue.ask(&this.orders).await?;
        self.asked = false;
        let asked_again = before || again;
        for (order, answer) in this.orders.iter().zip(answers) {
            let id = order.dead_letter;
            match answer {
                Replayed::Added(new) => this.books.added(id, new),
                // Its first answer was lost on the way: it was this call that put it back.
                Replayed::Already(new) if asked_again => this.books.added(id, new),
                Replayed::Already(new) => this.books.already(id, new),
                Replayed::NotFound => this.books.fail(id, &not_found(id)),
                Replayed::Refused(error) => this.books.fail(id, &error),
            }
        }
        Ok(Some(this.done()))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.prepared.walk.progress()
    }

    /// What became of each dead letter of the last step, in the order of the selection.
    #[must_use]
    pub fn last(&self) -> &[ReplayResult] {
        &self.prepared.books.last
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.prepared.books.report
    }

    /// What it has done.
    #[must_use]
    pub fn into_report(self) -> ReplayReport {
        self.prepared.books.report
    }
}

/// What a bulk replay would do, step by step. Changes nothing.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, ReplayOptions, Selection};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let options = ReplayOptions::default();
/// let mut dry = queue.dry_run(&Selection::all(), &options).await?;
/// while dry.step().await?.is_some() {}
/// println!("{} would be put back", dry.report().replayed);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it says nothing until it is asked for a step"]
pub struct DryRun {
    prepared: Prepared,
    samples: Vec<ReplaySample>,
}

impl DryRun {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            prepared: Prepared::start(queue, selection, options).await?,
            samples: Vec::new(),
        })
    }

    /// Looks at the next 100 at most; `None` when all are looked at.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: none is left out.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        let this = &mut self.prepared;
        if !this.next().await? {
            return Ok(None);
        }
        let backend = this.queue.broker.backend();
        let receipts = backend.receipts(&this.queue.stream, &this.orders).await?;
        let orders = this.orders.drain(..).zip(this.before.drain(..));
        for ((order, before), receipt) in orders.zip(receipts) {
            let id = order.dead_letter;
            match (receipt, before) {
                (Some(new), _) => this.books.already(id, new),
                (None, None) => this.books.fail(id, &not_found(id)),
                (None, Some(before)) => {
                    this.books.would_be_added(id);
                    if self.samples.len() < SAMPLES {
                        self.samples.push(sample(before, order));
                    }
                }
            }
        }
        Ok(Some(this.done()))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.prepared.walk.progress()
    }

    /// What a replay would report of what was looked at so far, without the new ids, which nobody
    /// knows: `replayed` would be put back, `failed` could not.
    #[must_use]
    pub fn report(&self) -> &ReplayReport {
        &self.prepared.books.report
    }

    /// The first five that would be put back.
    #[must_use]
    pub fn samples(&self) -> &[ReplaySample] {
        &self.samples
    }
}

fn sample(before: DeadLetter, order: Replay) -> ReplaySample {
    let form = |found| match found {
        Found::Decoded(payload) => Some(payload.form),
        Found::Empty | Found::Undecodable => None,
    };
    ReplaySample {
        id: before.id,
        target: order.target,
        payload_before: form(payload::find(&before)),
        // Without what a replay adds: no handler sees it.
        payload_after: form(payload::find_in(
            &dead_letter::split_lineage(&order.fields).0,
            before.layout,
        )),
        before: before.fields,
        after: order.fields,
    }
}

/// A page of orders, made and not yet carried out.
#[derive(Debug)]
struct Prepared {
    queue: DeadLetterQueue,
    options: ReplayOptions,
    order: Order,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    /// What of the page is not looked at yet.
    page: Vec<Step>,
    orders: Vec<Replay>,
    /// Each as it is now; `None` where it is not there.
    before: Vec<Option<DeadLetter>>,
    /// Whether the orders are those of a whole page.
    complete: bool,
    books: Books,
}

impl Prepared {
    async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            queue,
            options: options.clone(),
            order: selection.order,
            left: selection.limit.unwrap_or(usize::MAX),
            page: Vec::new(),
            orders: Vec::new(),
            before: Vec::new(),
            complete: false,
            books: Books::default(),
        })
    }

    /// Makes the orders of the next page, unless those of the last are not [`done`](Self::done);
    /// `false` at the end. Dropped half-way it goes on where it was.
    async fn next(&mut self) -> Result<bool, Error> {
        if self.complete {
            return Ok(true);
        }
        if self.page.is_empty() {
            self.books.last.clear();
            if self.left == 0 {
                return Ok(false);
            }
            let Some(mut page) = self.walk.page(&self.queue, self.left, STEP).await? else {
                return Ok(false);
            };
            page.truncate(self.left);
            self.left -= page.len();
            self.page = page;
        }
        // All at once: a migration may take them together. Dropped here, they are made anew.
        let made = join_all(self.page.iter().map(|found| self.made(found))).await;
        for (found, order) in std::mem::take(&mut self.page).into_iter().zip(made) {
            self.books.report.selected += 1;
            let id = found.as_ref().map_or_else(|id| *id, |letter| letter.id);
            match order {
                None => self.books.skipped(id),
                Some(Err(error)) => self.books.fail(id, &error),
                Some(Ok(order)) => {
                    self.orders.push(order);
                    self.before.push(found.ok());
                }
            }
        }
        self.complete = true;
        Ok(true)
    }

    /// The order of one of the page; `None` where it is left out.
    async fn made(&self, found: &Step) -> Option<Result<Replay, Error>> {
        match found {
            Ok(letter) if self.options.leaves_out(letter) => None,
            Ok(letter) => Some(order(letter, &self.queue.stream, &self.options).await),
            Err(missing) => Some(
                self.queue
                    .again(*missing, &self.options)
                    .ok_or_else(|| not_found(*missing)),
            ),
        }
    }

    /// The orders are carried out.
    fn done(&mut self) -> Progress {
        // What could not be tried was known before what was: told in the order of the selection.
        self.books.last.sort_by_key(|one| one.id);
        if self.order == Order::Newest {
            self.books.last.reverse();
        }
        self.orders.clear();
        self.before.clear();
        self.complete = false;
        self.walk.progress()
    }
}
