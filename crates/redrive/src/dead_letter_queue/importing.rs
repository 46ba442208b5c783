//! An import step by step.

use std::collections::VecDeque;

use serde::Serialize;

use super::patience::Patience;
use super::report::Progress;
use crate::archive::{Archive, ArchiveReader, ArchivedDeadLetter};
use crate::backend::{Import, Imported};
use crate::broker::Broker;
use crate::error::Error;
use crate::names::{EntryId, StreamKey};

/// How many dead letters a step takes, and about how many bytes.
const STEP: (usize, usize) = (100, 4 << 20);

/// How many dead letters a report lists.
const LISTED: usize = 1_000;

/// How dead letters are imported. Default: each into the queue that it came from, and not again where
/// it was imported before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until an import is given them"]
pub struct ImportOptions {
    into: Option<StreamKey>,
    again: Option<String>,
}

impl ImportOptions {
    /// All of them into this queue.
    pub fn into_queue(mut self, queue: StreamKey) -> Self {
        self.into = Some(queue);
        self
    }

    /// Once more, although they were imported in the last days: they have been purged since, or are
    /// wanted twice. The word tells this import from others: asked again with the same one it goes
    /// on where it ended, and doubles nothing.
    pub fn again(mut self, word: impl Into<String>) -> Self {
        self.again = Some(word.into());
        self
    }
}

/// What became of one dead letter in an import. Serialises to an object of these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportResult {
    /// The queue that it is in now.
    pub dlq: StreamKey,
    /// The id that it had where it was exported.
    pub id: EntryId,
    /// Its new id: of one imported now or before.
    pub new_id: EntryId,
    /// What became of it.
    pub outcome: ImportOutcome,
}

/// What became of one dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImportOutcome {
    /// Imported now.
    Imported,
    /// Imported before, by this or another call. It may have left the queue since.
    Already,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// How many the export holds.
    pub dead_letters: u64,
    /// Imported now.
    pub imported: u64,
    /// Imported before, by this or another call, and not again.
    pub already: u64,
    /// The first 1,000 of both, old ids and new ones, in the order of the export.
    pub new_ids: Vec<ImportResult>,
    /// Whether there are more than listed.
    pub new_ids_truncated: bool,
}

/// An import, step by step: for who reads a file that does not fit into memory, shows how far it is,
/// or sets its pace. It holds what was added and not carried out yet.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{ArchiveReader, Broker, ImportOptions, Selection};
/// let broker = Broker::connect("memory:").await?;
/// # let queue = broker.dead_letters("orders:dlq".parse()?);
/// # let text = queue.export(&Selection::all()).await?;
/// let mut reader = ArchiveReader::new();
/// for line in text.lines() {
///     reader.line(line.as_bytes())?;
/// }
/// // Only now it is known that nothing is missing.
/// let archive = reader.finish()?;
/// let mut importing = broker.importing(&archive, &ImportOptions::default());
/// let mut reader = ArchiveReader::new();
/// for line in text.lines() {
///     if let Some(one) = reader.line(line.as_bytes())? {
///         importing.add(one);
///     }
///     if importing.is_full() {
///         importing.step().await?;
///     }
/// }
/// while let Some(progress) = importing.step().await? {
///     println!("{} of {}", progress.examined, progress.total);
/// }
/// assert_eq!(importing.report().imported, archive.dead_letters);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for a step"]
pub struct Importing {
    broker: Broker,
    options: ImportOptions,
    waiting: VecDeque<ArchivedDeadLetter>,
    /// The bytes of all that waits.
    size: usize,
    /// How many of those that wait, the first ones, the broker may have been asked for.
    asked: usize,
    report: ImportReport,
    last: Vec<ImportResult>,
}

impl Importing {
    pub(crate) fn new(broker: Broker, archive: &Archive, options: &ImportOptions) -> Self {
        Self {
            broker,
            options: options.clone(),
            waiting: VecDeque::new(),
            size: 0,
            asked: 0,
            report: ImportReport {
                dead_letters: archive.dead_letters,
                ..ImportReport::default()
            },
            last: Vec::new(),
        }
    }

    /// Takes one in, to be imported by one of the next steps.
    pub fn add(&mut self, one: ArchivedDeadLetter) {
        self.size += one.dead_letter.size();
        self.waiting.push_back(one);
    }

    /// Whether a step has enough to do: a hundred, or 4 MiB.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= STEP.0 || self.size >= STEP.1
    }

    /// Imports what was added, the next 100 of one queue at most; `None` when nothing waits. The
    /// limit of a queue does not apply: what is brought back is not dropped, nor left out.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries, or refuses one of them. Ask again: it
    /// goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step or to begin anew: nothing is doubled, nothing
    /// is skipped.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        self.last.clear();
        let Some(first) = self.waiting.front() else {
            return Ok(None);
        };
        let queue = self.queue_of(first).clone();
        let same = |one: &&ArchivedDeadLetter| *self.queue_of(one) == queue;
        let some = self.waiting.iter().take(STEP.0).take_while(same);
        let orders: Vec<Import> = some.map(|one| self.order(one)).collect();
        let before = std::mem::replace(&mut self.asked, orders.len());
        let (answers, again) = self.ask(&queue, &orders).await?;
        self.asked = 0;
        let mut refused = None;
        let mut left = VecDeque::new();
        for (place, answer) in answers.into_iter().enumerate() {
            let Some(one) = self.waiting.pop_front() else {
                break;
            };
            match answer {
                Imported::Added(new) => self.book(&queue, &one, new, ImportOutcome::Imported),
                // Its first answer was lost on the way: it was this call that imported it.
                Imported::Already(new) if again || place < before => {
                    self.book(&queue, &one, new, ImportOutcome::Imported);
                }
                Imported::Already(new) => self.book(&queue, &one, new, ImportOutcome::Already),
                Imported::Refused(error) => {
                    refused.get_or_insert(error);
                    left.push_back(one);
                }
            }
        }
        left.append(&mut self.waiting);
        self.waiting = left;
        match refused {
            None => Ok(Some(self.progress())),
            Some(error) => Err(error),
        }
    }

    fn queue_of<'a>(&'a self, one: &'a ArchivedDeadLetter) -> &'a StreamKey {
        self.options.into.as_ref().unwrap_or(&one.queue)
    }

    fn order(&self, one: &ArchivedDeadLetter) -> Import {
        Import {
            receipt: match &self.options.again {
                None => one.check.clone(),
                Some(word) => format!("{} {word}", one.check),
            },
            stored: one.dead_letter.stored().clone(),
        }
    }

    /// Asks until there is an answer; says whether it had to ask again.
    async fn ask(
        &self,
        queue: &StreamKey,
        orders: &[Import],
    ) -> Result<(Vec<Imported>, bool), Error> {
        let mut patience = Patience::default();
        loop {
            match self.broker.backend().import(queue, orders).await {
                Ok(answers) => return Ok((answers, patience.was_tried())),
                Err(error) => patience.with(error).await?,
            }
        }
    }

    fn book(
        &mut self,
        queue: &StreamKey,
        one: &ArchivedDeadLetter,
        new_id: EntryId,
        outcome: ImportOutcome,
    ) {
        self.size -= one.dead_letter.size();
        let report = &mut self.report;
        match outcome {
            ImportOutcome::Imported => report.imported += 1,
            ImportOutcome::Already => report.already += 1,
        }
        let result = ImportResult {
            dlq: queue.clone(),
            id: one.dead_letter.id,
            new_id,
            outcome,
        };
        if report.new_ids.len() < LISTED {
            report.new_ids.push(result.clone());
        } else {
            report.new_ids_truncated = true;
        }
        self.last.push(result);
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            examined: self.report.imported + self.report.already,
            total: self.report.dead_letters,
        }
    }

    /// What became of each dead letter of the last step.
    #[must_use]
    pub fn last(&self) -> &[ImportResult] {
        &self.last
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> &ImportReport {
        &self.report
    }

    /// What it has done.
    #[must_use]
    pub fn into_report(self) -> ImportReport {
        self.report
    }
}

impl Broker {
    /// Brings the dead letters of an [export](super::DeadLetterQueue::export) back, each with a new id and
    /// otherwise byte for byte, into the queue that it came from unless the options say another.
    /// The whole text is checked before anything is changed. For what does not fit into memory there
    /// is [`importing`](Self::importing).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # use redrive::{Broker, ImportOptions, Message, Outcome, Processor, Selection, Source};
    /// # let broker = Broker::connect("memory:").await?;
    /// # broker.producer("orders".parse()?).send(&"coffee").await?;
    /// # let handler = async |_: Message<String>| Outcome::dead_letter("no");
    /// # Processor::builder(&broker, Source::new("orders", "billing")?).build(handler)?.run_until_idle().await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let text = queue.export(&Selection::all()).await?;
    /// queue.purge(&Selection::all()).await?;
    /// let report = broker.import(text.as_bytes(), &ImportOptions::default()).await?;
    /// assert_eq!(report.imported, 1);
    /// // Asked again it does nothing twice.
    /// let report = broker.import(text.as_bytes(), &ImportOptions::default()).await?;
    /// assert_eq!((report.imported, report.already), (0, 1));
    /// # Ok::<(), redrive::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the text is not a whole export: nothing was changed. When the
    /// broker does not take them all: ask again, what was imported is not imported twice.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled, nothing is skipped.
    pub async fn import(
        &self,
        export: &[u8],
        options: &ImportOptions,
    ) -> Result<ImportReport, Error> {
        // A line feed ends a line: behind the last there is none.
        let lines = || export.split_inclusive(|byte| *byte == b'\n');
        let bare = |line| <[u8]>::strip_suffix(line, b"\n").unwrap_or(line);
        let mut reader = ArchiveReader::new();
        for line in lines() {
            reader.line(bare(line))?;
        }
        let mut importing = self.importing(&reader.finish()?, options);
        let mut reader = ArchiveReader::new();
        for line in lines() {
            if let Some(one) = reader.line(bare(line))? {
                importing.add(one);
            }
            if importing.is_full() {
                importing.step().await?;
            }
        }
        while importing.step().await?.is_some() {}
        Ok(importing.into_report())
    }

    /// As [`import`](Self::import), step by step. The export has been read once and is whole; it is
    /// read again while its dead letters are [added](Importing::add).
    pub fn importing(&self, archive: &Archive, options: &ImportOptions) -> Importing {
        Importing::new(self.clone(), archive, options)
    }
}
