//! An import step by step.

use std::collections::{BTreeMap, VecDeque};

use super::imports::{ImportOptions, ImportOutcome, ImportReport, ImportResult};
use super::patience::Patience;
use super::recording::{Recording, op};
use super::report::Progress;
use crate::archive::{Archive, ArchivedDeadLetter};
use crate::audit::{AuditAction, AuditOutcome};
use crate::backend::{Entry, Import, Imported};
use crate::broker::Broker;
use crate::error::Error;
use crate::names::{EntryId, StreamKey};

/// How many dead letters a step takes, and about how many bytes.
const STEP: (usize, usize) = (100, 4 << 20);

/// How many dead letters a report lists.
const LISTED: usize = 1_000;

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
    /// What it is told by in all audits.
    op: String,
    /// What the audit of each queue is told.
    recorded: BTreeMap<StreamKey, Recorded>,
}

/// What the audit of one queue is told of an import.
#[derive(Debug)]
struct Recorded {
    recording: Recording,
    imported: u64,
    already: u64,
    gone: u64,
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
            op: op(),
            recorded: BTreeMap::new(),
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
        let some: Vec<&ArchivedDeadLetter> = some.collect();
        let lying = self.lying(&queue, &some).await?;
        if lying.contains(&false) {
            self.begin(&queue).await?;
        }
        let some = self.waiting.iter().take(lying.len());
        let some: Vec<&ArchivedDeadLetter> = some.collect();
        let all = some.len();
        let before = std::mem::replace(&mut self.asked, all);
        let to_ask = some.iter().zip(&lying).filter(|(_, lies)| !**lies);
        let to_ask: Vec<&ArchivedDeadLetter> = to_ask.map(|(one, _)| *one).collect();
        let (answers, again) = self.answers(&queue, &to_ask).await?;
        self.asked = 0;
        let mut refused = None;
        let mut left = VecDeque::new();
        let mut answers = answers.into_iter();
        for (place, lies) in lying.into_iter().enumerate() {
            let Some(one) = self.waiting.pop_front() else {
                break;
            };
            if lies {
                let id = one.dead_letter.id;
                self.book(&queue, &one, id, ImportOutcome::Already);
                continue;
            }
            let Some(answer) = answers.next() else {
                left.push_back(one);
                continue;
            };
            match answer {
                (Imported::Added(new), _) => {
                    self.book(&queue, &one, new, ImportOutcome::Imported);
                }
                (Imported::Already(new), Is::Gone) => {
                    self.book(&queue, &one, new, ImportOutcome::Gone);
                }
                // Its first answer was lost on the way: it was this call that imported it.
                (Imported::Already(new), Is::There) if again || place < before => {
                    self.book(&queue, &one, new, ImportOutcome::Imported);
                }
                (Imported::Already(new), Is::There) => {
                    self.book(&queue, &one, new, ImportOutcome::Already);
                }
                (Imported::Refused(error), _) => {
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

    /// Writes down that it begins, in the audit of this queue.
    async fn begin(&mut self, queue: &StreamKey) -> Result<(), Error> {
        self.recorded_in(queue).recording.begin().await
    }

    fn recorded_in(&mut self, queue: &StreamKey) -> &mut Recorded {
        let (broker, options, op) = (&self.broker, &self.options, &self.op);
        self.recorded.entry(queue.clone()).or_insert_with(|| {
            let (what, audit) = (AuditAction::Import, options.audit.clone());
            let recording = Recording::new(broker, queue, op.clone(), what, audit);
            Recorded {
                recording: recording.described(options.source.as_deref()),
                imported: 0,
                already: 0,
                gone: 0,
            }
        })
    }

    /// Records how it ended, in the audit of each queue in which it has begun: when nothing is left to
    /// add, when it is ended before, or a [`step`](Self::step) has failed for good.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: then it may not be recorded everywhere.
    pub async fn end(&mut self, outcome: AuditOutcome) {
        for one in self.recorded.values_mut() {
            let counts = [
                ("selected", one.imported + one.already),
                ("done", one.imported),
                ("already", one.already),
                ("gone", one.gone),
            ];
            one.recording.end(outcome, &counts).await;
        }
    }

    fn queue_of<'a>(&'a self, one: &'a ArchivedDeadLetter) -> &'a StreamKey {
        self.options.into.as_ref().unwrap_or(&one.queue)
    }

    /// Which of them lie in the queue under the id that they had: they were not gone, and would be doubled.
    async fn lying(
        &self,
        queue: &StreamKey,
        some: &[&ArchivedDeadLetter],
    ) -> Result<Vec<bool>, Error> {
        let ids: Vec<EntryId> = some.iter().map(|one| one.dead_letter.id).collect();
        let found = self.found(queue, &ids).await?;
        let lies = |(one, found): (&&ArchivedDeadLetter, Option<Entry>)| {
            found.is_some_and(|found| found.fields == *one.dead_letter.stored())
        };
        Ok(some.iter().zip(found).map(lies).collect())
    }

    /// Imports these, each with whether it is in the queue now, and says whether something had to be asked
    /// again. What was imported before and is gone is imported under the word, where there is one: what is
    /// still there is not doubled.
    async fn answers(
        &self,
        queue: &StreamKey,
        some: &[&ArchivedDeadLetter],
    ) -> Result<(Vec<(Imported, Is)>, bool), Error> {
        let orders: Vec<Import> = some.iter().map(|one| order(one, None)).collect();
        let (mut answers, mut again) = self.ask_where(queue, &orders).await?;
        if let Some(word) = &self.options.again {
            let gone = some.iter().zip(&mut answers);
            let gone = gone.filter(|(_, (_, is))| *is == Is::Gone);
            let (orders, places): (Vec<_>, Vec<_>) = gone
                .map(|(one, answer)| (order(one, Some(word)), answer))
                .unzip();
            let (once_more, asked_again) = self.ask_where(queue, &orders).await?;
            again |= asked_again;
            for (place, answer) in places.into_iter().zip(once_more) {
                *place = answer;
            }
        }
        Ok((answers, again))
    }

    async fn ask_where(
        &self,
        queue: &StreamKey,
        orders: &[Import],
    ) -> Result<(Vec<(Imported, Is)>, bool), Error> {
        let (answers, again) = self.ask(queue, orders).await?;
        let already = |answer: &Imported| match answer {
            Imported::Already(id) => Some(*id),
            Imported::Added(_) | Imported::Refused(_) => None,
        };
        let ids: Vec<EntryId> = answers.iter().filter_map(already).collect();
        let mut found = self.found(queue, &ids).await?.into_iter();
        let placed = |answer: Imported| match already(&answer).map(|_| found.next().flatten()) {
            Some(None) => (answer, Is::Gone),
            Some(Some(_)) | None => (answer, Is::There),
        };
        Ok((answers.into_iter().map(placed).collect(), again))
    }

    /// What lies under these ids, in their order.
    async fn found(&self, queue: &StreamKey, ids: &[EntryId]) -> Result<Vec<Option<Entry>>, Error> {
        let mut all = Vec::with_capacity(ids.len());
        let mut patience = Patience::default();
        while let Some(rest) = ids.get(all.len()..).filter(|rest| !rest.is_empty()) {
            match self.broker.backend().named(queue, rest).await {
                // As many as fit into one answer.
                Ok(some) => all.extend(some),
                Err(error) => patience.with(error).await?,
            }
        }
        Ok(all)
    }

    /// Asks until there is an answer; says whether it had to ask again.
    async fn ask(
        &self,
        queue: &StreamKey,
        orders: &[Import],
    ) -> Result<(Vec<Imported>, bool), Error> {
        if orders.is_empty() {
            return Ok((Vec::new(), false));
        }
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
            ImportOutcome::Gone => {
                report.already += 1;
                report.gone += 1;
            }
        }
        let recorded = self.recorded_in(queue);
        match outcome {
            ImportOutcome::Imported => recorded.imported += 1,
            ImportOutcome::Already => recorded.already += 1,
            ImportOutcome::Gone => {
                recorded.already += 1;
                recorded.gone += 1;
            }
        }
        let result = ImportResult {
            dlq: queue.clone(),
            id: one.dead_letter.id,
            new_id,
            outcome,
        };
        let report = &mut self.report;
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

/// Whether something that was imported is in its queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    There,
    Gone,
}

fn order(one: &ArchivedDeadLetter, again: Option<&str>) -> Import {
    Import {
        receipt: match again {
            None => one.check.clone(),
            Some(word) => format!("{} {word}", one.check),
        },
        stored: one.dead_letter.stored().clone(),
    }
}
