//! Undoing a campaign: what nobody has been given is parked again.

use serde::Serialize;

use super::patience::Patience;
use super::recording::Recording;
use super::report::{Progress, ReplayFailure};
use super::{DeadLetterQueue, outcome_of};
use crate::audit::{AuditAction, AuditOutcome};
use crate::backend::{Undo, UndoHow, Undone};
use crate::campaign::{CampaignName, CampaignState};
use crate::error::{Error, ErrorKind};
use crate::names::EntryId;

/// How many are taken back in one step.
const STEP: usize = 100;
/// How many ids and failures a report lists.
const LISTED: usize = 1_000;

/// What undoing a campaign did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UndoReport {
    /// The campaign.
    pub campaign: CampaignName,
    /// How many of it were neither undone before nor known to have died again: all of the counts
    /// below together.
    pub selected: u64,
    /// Parked again now: their messages are off their streams.
    pub undone: u64,
    /// Parked again before, by another call.
    pub already: u64,
    /// Left as they are: a group has been given them, so they may have run.
    pub started: u64,
    /// No group was given them, and they are not on their stream any more: others removed them.
    pub gone: u64,
    /// Left as they are: their originals are not kept, or not any more.
    pub not_kept: u64,
    /// Refused by the broker, still on their streams.
    pub failed: u64,
    /// The first 1,000 of these, with what went wrong.
    pub failures: Vec<ReplayFailure>,
    /// Whether there are more failures than listed.
    pub failures_truncated: bool,
    /// The ids under which they are parked now, the first 1,000.
    pub new_ids: Vec<EntryId>,
    /// Whether there are more new ids than listed.
    pub new_ids_truncated: bool,
}

/// Undoing a campaign, step by step.
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for a step"]
pub struct Undoing {
    queue: DeadLetterQueue,
    how: UndoHow,
    orders: Vec<Undo>,
    done: usize,
    /// Whether the step that is under way may have reached the broker.
    asked: bool,
    recording: Recording,
    report: UndoReport,
}

impl DeadLetterQueue {
    /// Takes back what of a campaign has not started yet: the dead letter is parked again, under a new
    /// id and byte for byte as it was, and its message is removed from the stream, in one step for
    /// each. What any group of that stream has been given stays. The ledger takes back that it was
    /// replayed. No limit of the queue stops it.
    ///
    /// The originals are kept for [`undo_window`](crate::ReplayOptions::undo_window) after the last
    /// replay of the campaign.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use redrive::{Broker, CampaignName, Message, Outcome, Processor, ReplayOptions, Selection, Source};
    /// let broker = Broker::connect("memory:").await?;
    /// broker.producer("orders".parse()?).send_all(&[1, 2]).await?;
    /// Processor::builder(&broker, Source::new("orders", "billing")?)
    ///     .build(|_: Message<u32>| async { Outcome::dead_letter("no currency") })?
    ///     .run_until_idle()
    ///     .await?;
    /// let queue = broker.dead_letters("orders:dlq".parse()?);
    /// let name: CampaignName = "too-early".parse()?;
    /// let options = ReplayOptions::default().campaign(name.clone());
    /// queue.replay_many(&Selection::all(), &options).await?;
    /// assert_eq!(queue.undo(&name).await?.undone, 2);
    /// assert_eq!(queue.count(&Selection::all()).await?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. [`ErrorKind::NotFound`] when there is no campaign of this name,
    /// [`ErrorKind::Refused`] while it is running: pause or abort it first.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled.
    pub async fn undo(&self, name: &CampaignName) -> Result<UndoReport, Error> {
        let mut undoing = self.undoing(name).await?;
        let ended = loop {
            match undoing.step().await {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        undoing.end(outcome_of(&ended)).await;
        ended.map(|()| undoing.into_report())
    }

    /// As [`undo`](Self::undo), step by step.
    ///
    /// # Errors
    ///
    /// As [`undo`](Self::undo).
    pub async fn undoing(&self, name: &CampaignName) -> Result<Undoing, Error> {
        Undoing::start(self.clone(), name, UndoHow::Do).await
    }

    /// What [`undo`](Self::undo) would do, step by step, at this moment. Nothing is changed.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. [`ErrorKind::NotFound`] when there is no campaign of this name.
    pub async fn dry_undo(&self, name: &CampaignName) -> Result<Undoing, Error> {
        Undoing::start(self.clone(), name, UndoHow::Look).await
    }
}

impl Undoing {
    async fn start(
        queue: DeadLetterQueue,
        name: &CampaignName,
        how: UndoHow,
    ) -> Result<Self, Error> {
        let record = queue.broker.backend().campaign(&queue.stream, name).await?;
        let record = record.ok_or_else(|| queue.no_campaign(name))?;
        if how == UndoHow::Do && record.state() == Some(CampaignState::Running) {
            let doing = format!("undoing the campaign {name}, which is running");
            return Err(Error::new(ErrorKind::Refused, doing).hint(
                "pause or abort it first (`redrive dlq abort`): one whose command is gone too",
            ));
        }
        let mut orders: Vec<Undo> = record
            .open()
            .map(|(dead_letter, went)| Undo {
                dead_letter,
                message: went.id,
                target: went.stream.clone(),
                original: went.original,
            })
            .collect();
        orders
            .sort_by(|one, other| (&one.target, one.message).cmp(&(&other.target, other.message)));
        let recording = Recording::of(&queue, AuditAction::Undo).in_campaign(Some(name));
        Ok(Self {
            recording,
            queue,
            how,
            orders,
            done: 0,
            asked: false,
            report: UndoReport {
                campaign: name.clone(),
                selected: 0,
                undone: 0,
                already: 0,
                started: 0,
                gone: 0,
                not_kept: 0,
                failed: 0,
                failures: Vec::new(),
                failures_truncated: false,
                new_ids: Vec::new(),
                new_ids_truncated: false,
            },
        })
    }

    /// Takes back the next, 100 at most; `None` when there is nothing left to do.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step or to begin anew: nothing is doubled.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        let rest = self.orders.get(self.done..).unwrap_or_default();
        let some = rest.get(..STEP.min(rest.len())).unwrap_or_default();
        if some.is_empty() {
            self.end(AuditOutcome::Done).await;
            return Ok(None);
        }
        if self.how == UndoHow::Do {
            self.recording.begin().await?;
        }
        let before = std::mem::replace(&mut self.asked, true);
        let backend = self.queue.broker.backend();
        let name = &self.report.campaign;
        let mut patience = Patience::default();
        let answers = loop {
            match backend.undo(&self.queue.stream, name, some, self.how).await {
                Ok(answers) => break answers,
                Err(error) => patience.with(error).await?,
            }
        };
        let asked_again = before || patience.was_tried();
        for (order, answer) in some.iter().zip(answers) {
            self.report.note(order, answer, asked_again);
        }
        self.done += some.len();
        self.asked = false;
        Ok(Some(self.progress()))
    }

    /// Records how it ended, as [`Purging::end`](crate::Purging::end).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: then it may not be recorded.
    pub async fn end(&mut self, outcome: AuditOutcome) {
        let report = &self.report;
        let counts = [
            ("selected", report.selected),
            ("done", report.undone),
            ("already", report.already),
            ("started", report.started),
            ("gone", report.gone),
            ("not_kept", report.not_kept),
            ("failed", report.failed),
        ];
        self.recording.end(outcome, &counts).await;
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            examined: self.done as u64,
            total: self.orders.len() as u64,
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> &UndoReport {
        &self.report
    }

    /// What it has done.
    #[must_use]
    pub fn into_report(self) -> UndoReport {
        self.report
    }
}

impl UndoReport {
    fn note(&mut self, order: &Undo, answer: Undone, asked_again: bool) {
        self.selected += 1;
        match answer {
            Undone::Parked(id) => self.parked(id),
            // Its first answer was lost on the way: it was this call that parked it.
            Undone::Already(id) if asked_again => self.parked(id),
            Undone::Already(_) => self.already += 1,
            Undone::Started => self.started += 1,
            Undone::Gone => self.gone += 1,
            Undone::NotKept => self.not_kept += 1,
            Undone::Refused(error) => {
                self.failed += 1;
                if self.failures.len() < LISTED {
                    self.failures.push(ReplayFailure {
                        id: order.dead_letter,
                        error: error.to_string(),
                        hint: error.cure().map(str::to_owned),
                        kind: error.kind(),
                    });
                } else {
                    self.failures_truncated = true;
                }
            }
        }
    }

    fn parked(&mut self, id: EntryId) {
        self.undone += 1;
        if self.new_ids.len() < LISTED {
            self.new_ids.push(id);
        } else {
            self.new_ids_truncated = true;
        }
    }
}
