//! The dead letters of a stream: looking at them, putting them back, removing them.

mod audits;
mod books;
mod campaigns;
mod course;
mod dry_run;
mod exporting;
mod found;
mod grouping;
mod import;
mod importing;
mod imports;
mod inspection;
mod lineage;
mod options;
mod order;
mod patience;
mod prepared;
mod purging;
mod recording;
mod replaying;
mod report;
mod shadowing;
mod single;
mod staging;
#[cfg(test)]
mod tests;
mod undoing;
mod walk;

pub use self::course::{CampaignStep, CampaignWatch};
pub use self::dry_run::DryRun;
pub use self::exporting::Exporting;
pub use self::found::Found;
pub use self::grouping::Grouping;
pub use self::importing::Importing;
pub use self::imports::{ImportOptions, ImportOutcome, ImportReport, ImportResult};
pub use self::inspection::Inspection;
pub use self::lineage::{Trail, TrailBegin, TrailEnd, TrailEvent};
pub use self::options::ReplayOptions;
pub use self::purging::Purging;
pub use self::replaying::Replaying;
pub use self::report::{
    Progress, PurgeReport, ReplayFailure, ReplayOutcome, ReplayReport, ReplayResult, ReplaySample,
    ShadowReport,
};
pub use self::shadowing::{ShadowOptions, Shadowing};
pub use self::staging::StagedDeadLetter;
pub use self::undoing::{UndoReport, Undoing};
use crate::audit::{Audit, AuditOutcome};
use crate::backend::IdRange;
use crate::broker::Broker;
use crate::dead_letter::{self, DeadLetter};
use crate::error::{Error, ErrorKind};
use crate::groups::{DeadLetterGroups, GroupBy};
use crate::names::{EntryId, StreamKey};
use crate::selection::Order;
use crate::selection::{Page, Selection};

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
    audit: Audit,
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
        Self {
            broker,
            stream,
            audit: Audit::default(),
        }
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
        let total = self.length().await?;
        let (low, high) = match (page.order, page.from) {
            (Order::Oldest, from) => (from.unwrap_or(EntryId::MIN), EntryId::MAX),
            (Order::Newest, from) => (EntryId::MIN, from.unwrap_or(EntryId::MAX)),
        };
        let mut range = IdRange {
            low,
            high,
            order: page.order,
            limit: page.limit,
        };
        let mut dead_letters: Vec<DeadLetter> = Vec::new();
        // In pieces: no server is kept from its other work by a long page, or by heavy entries.
        while dead_letters.len() < page.limit && range.low <= range.high {
            range.limit = (page.limit - dead_letters.len()).min(walk::LOOK);
            let found = self.read_page(range).await?;
            let Some(last) = found.last().map(|last| last.id) else {
                break;
            };
            match page.order {
                Order::Oldest => range.low = last.successor(),
                Order::Newest => range.high = last.predecessor(),
            }
            dead_letters.extend(found);
            // The lowest and the highest id of all have nothing beyond them.
            if last == EntryId::MIN || last == EntryId::MAX {
                break;
            }
        }
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

    /// Looks for those that are selected, in the selection's order, page by page: a queue of a
    /// million takes no more memory than one of a hundred. What dies meanwhile is not among them.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, Order, Reason, Selection};
    /// let broker = Broker::connect("memory:").await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let rejected = Selection::all().reason(Reason::Rejected);
    /// let mut found = queue.find(&rejected.order(Order::Newest).limit(50)).await?;
    /// while let Some(letter) = found.next().await? {
    ///     println!("{}", letter.id);
    /// }
    /// println!("{} match", found.total().await?);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or the stream's key holds something else.
    pub async fn find(&self, selection: &Selection) -> Result<Found, Error> {
        Found::start(self.clone(), selection).await
    }

    /// How many match, whatever the selection's limit. Holds none of them.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub async fn count(&self, selection: &Selection) -> Result<u64, Error> {
        self.find(selection).await?.total().await
    }

    /// Counts those that are selected, in groups of what they share, the busiest group first: what
    /// happened, in a queue that is too long to read. Holds no more than a page of the queue and
    /// 20,000 groups; where there are more, the smallest are counted together.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, GroupBy, Message, Outcome, Processor, Selection, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send_all(&[1, 2, 3]).await?;
    /// Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .build(|order: Message<u32>| async move {
    ///         Outcome::dead_letter(format!("order {} has no currency", *order))
    ///     })?
    ///     .run_until_idle()
    ///     .await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let groups = queue.groups(&Selection::all(), GroupBy::Fingerprint).await?;
    /// assert_eq!((groups.groups.len(), groups.groups[0].count), (1, 3));
    /// let fingerprint = groups.groups[0].fingerprint.as_deref().unwrap().parse()?;
    /// let same = Selection::all().fingerprint(fingerprint);
    /// assert_eq!(queue.count(&same).await?, 3);
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or the stream's key holds something else.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only looks.
    pub async fn groups(
        &self,
        selection: &Selection,
        by: GroupBy,
    ) -> Result<DeadLetterGroups, Error> {
        let mut grouping = self.grouping(selection, by).await?;
        while grouping.step().await?.is_some() {}
        Ok(grouping.groups())
    }

    /// As [`groups`](Self::groups), step by step.
    ///
    /// # Errors
    ///
    /// As [`groups`](Self::groups).
    pub async fn grouping(&self, selection: &Selection, by: GroupBy) -> Result<Grouping, Error> {
        Grouping::start(self.clone(), selection, by).await
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

    /// Puts back all that are selected, in the selection's order. Works on what is there when it starts.
    /// One that cannot be put back stays, and stops nobody.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries. Ask again: what was put back is not
    /// put back twice. [`ErrorKind::Invalid`] when the options name this queue as the target:
    /// nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, also while a migration runs, and to ask again: nothing is doubled, nothing is
    /// skipped.
    pub async fn replay_many(
        &self,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<ReplayReport, Error> {
        let mut replaying = self.replaying(selection, options).await?;
        let ended = loop {
            match replaying.step().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        replaying.end(outcome_of(&ended)).await;
        ended.map(|()| replaying.into_report())
    }

    /// As [`replay_many`](Self::replay_many), step by step.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. [`ErrorKind::Invalid`] when the options name this queue as
    /// the target.
    pub async fn replaying(
        &self,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Replaying, Error> {
        options.check(&self.stream)?;
        Replaying::start(self.clone(), selection, options).await
    }

    /// What [`replay_many`](Self::replay_many) would do, step by step. Nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`replaying`](Self::replaying).
    pub async fn dry_run(
        &self,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<DryRun, Error> {
        options.check(&self.stream)?;
        DryRun::start(self.clone(), selection, options).await
    }

    /// Removes all that are selected for good.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. What is removed by then stays removed.
    pub async fn purge(&self, selection: &Selection) -> Result<PurgeReport, Error> {
        let mut purging = self.purging(selection).await?;
        let ended = loop {
            match purging.step().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        purging.end(outcome_of(&ended)).await;
        ended.map(|()| purging.into_report())
    }

    /// As [`purge`](Self::purge), step by step.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn purging(&self, selection: &Selection) -> Result<Purging, Error> {
        Purging::start(self.clone(), selection).await
    }

    /// All that are selected, as the text of an export: JSON, a line for each and a footer. It is
    /// held in memory; for many there is [`exporting`](Self::exporting). Removes nothing.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again.
    pub async fn export(&self, selection: &Selection) -> Result<String, Error> {
        let mut exporting = self.exporting(selection).await?;
        let mut text = String::new();
        while let Some(lines) = exporting.step().await? {
            text.push_str(&lines);
        }
        text.push_str(&exporting.footer()?);
        Ok(text)
    }

    /// As [`export`](Self::export), step by step: a queue of a million takes no more memory than
    /// one of a thousand. What dies meanwhile is not in it.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, or the stream's key holds something else.
    pub async fn exporting(&self, selection: &Selection) -> Result<Exporting, Error> {
        Exporting::start(self.clone(), selection).await
    }

    async fn read_one(&self, id: EntryId) -> Result<Option<DeadLetter>, Error> {
        let range = IdRange {
            low: id,
            high: id,
            order: Order::Oldest,
            limit: 1,
        };
        let found = self.broker.backend().entries(&self.stream, range).await?;
        let found = found.into_iter().next();
        Ok(found.map(|entry| dead_letter::read(entry.id, entry.fields)))
    }

    async fn read_page(&self, range: IdRange) -> Result<Vec<DeadLetter>, Error> {
        let entries = self.broker.backend().page(&self.stream, range).await?;
        Ok(entries
            .into_iter()
            .map(|entry| dead_letter::read(entry.id, entry.fields))
            .collect())
    }

    async fn length(&self) -> Result<u64, Error> {
        self.broker.backend().length(&self.stream).await
    }
}

/// How what ended like this is recorded.
fn outcome_of<T>(ended: &Result<T, Error>) -> AuditOutcome {
    match ended {
        Ok(_) => AuditOutcome::Done,
        Err(_) => AuditOutcome::Failed,
    }
}

fn not_found(id: EntryId) -> Error {
    Error::new(ErrorKind::NotFound, format!("dead letter not found: {id}"))
        .hint("it was replayed or purged, or its id is of another queue")
}
