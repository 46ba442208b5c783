//! A bulk replay step by step, at its rate.

use std::sync::Arc;

use tokio::time::Instant;

use super::course::{CampaignWatch, Course, Finished, LOOK};
use super::options::ReplayOptions;
use super::prepared::{Chunk, Prepared, Slot};
use super::recording::Recording;
use super::report::{Progress, ReplayReport, ReplayResult};
use super::{DeadLetterQueue, not_found};
use crate::audit::{AuditAction, AuditOutcome};
use crate::backend::Replayed;
use crate::campaign::CampaignState;
use crate::error::Error;
use crate::rate::Pace;
use crate::selection::Selection;

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
    /// The rate, and when it began.
    pace: Option<(Pace, Instant)>,
    /// Whether the orders that are under way may have reached the broker.
    asked: bool,
    /// The campaign that it is part of.
    course: Option<Course>,
    recording: Recording,
    /// What went wrong while it waited for its turn: the next step says it.
    trouble: Option<Error>,
}

impl Replaying {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
        options: &ReplayOptions,
    ) -> Result<Self, Error> {
        let recording = Recording::of(&queue, AuditAction::Replay).about(selection);
        let mut recording = recording.in_campaign(options.campaign.as_ref());
        let started = async {
            let course = Course::of(&queue, selection, options, &mut recording).await?;
            let prepared = Prepared::start(queue, selection, options).await?;
            Ok((course, prepared))
        };
        let (course, mut prepared) = match started.await {
            Ok(started) => started,
            Err(error) => {
                recording.end(AuditOutcome::Failed, &[]).await;
                return Err(error);
            }
        };
        if let Some(course) = &course
            && let Some(newest) = course.newest
        {
            prepared.books.report.campaign = Some(course.name().clone());
            prepared.go_on(newest, course.counted(options.keep));
        }
        Ok(Self {
            prepared,
            pace: options.rate.map(|rate| (Pace::new(rate), Instant::now())),
            asked: false,
            course,
            recording,
            trouble: None,
        })
    }

    /// The campaign that it is part of, to look at while it goes on; `None` where it is part of none.
    #[must_use]
    pub fn campaign(&self) -> Option<CampaignWatch> {
        self.course.as_ref().map(|course| course.watch.clone())
    }

    /// Waits until there is something to put back, which is read and
    /// [migrated](ReplayOptions::migrate_payload) meanwhile, and the [rate](ReplayOptions::rate) lets it
    /// go: the next [`step`](Self::step) only puts it back. A [campaign](ReplayOptions::campaign) that is
    /// paused, or waits for the outcome of its canary, has no turn meanwhile. Until then nothing is
    /// changed: for who wants to end a replay between its steps. What fails is told by the next step.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it goes on where it was. Dropped with the replay, what was migrated and not put back
    /// stays in the queue, and the migration is dropped where it is.
    pub async fn turn(&mut self) {
        // What may have reached the broker is finished first.
        while self.prepared.chunk.is_none() && self.trouble.is_none() {
            if let Some(course) = &mut self.course {
                if let Err(error) = course.turn().await {
                    self.trouble = Some(error);
                }
                if course.ended.is_some() {
                    return;
                }
            }
            self.prepared.ready().await;
            let wanted = self.prepared.waiting();
            let wait = match &self.pace {
                Some((pace, began)) if wanted > 0 => pace.wait(began.elapsed(), wanted),
                _ => return,
            };
            if wait.is_zero() {
                return;
            }
            // Whoever pauses or aborts a campaign has not to wait for a slow rate.
            let most = self.course.as_ref().map_or(wait, |_| LOOK);
            self.prepared.meanwhile(wait.min(most)).await;
        }
    }

    /// Looks at the next dead letters and puts back those that match, 500 at most; `None` when there
    /// is nothing left to do. What comes next is read meanwhile. It waits for its [turn](Self::turn) first; with a
    /// [rate](ReplayOptions::rate) it puts back as many as that allows. A step in which nothing matches,
    /// or nothing may go yet, is one too.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer, also after some tries. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, also while it migrates, and then to ask for the next step or to begin anew: nothing
    /// is doubled, nothing is skipped.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        self.turn().await;
        if let Some(error) = self.trouble.take() {
            return Err(error);
        }
        let this = &mut self.prepared;
        if self
            .course
            .as_ref()
            .is_some_and(|course| course.ended.is_some())
            || !this.next().await?
        {
            this.books.last.clear();
            if let Some(course) = &mut self.course
                && let Finished::NotYet = course.finish().await?
            {
                return Ok(Some(this.progress()));
            }
            self.end(AuditOutcome::Done).await;
            return Ok(None);
        }
        if this.chunk.is_none() {
            let mut wanted = this.waiting();
            // Where only receipts are looked for, nothing begins: and no campaign either.
            if this.is_of_something() {
                self.recording.begin().await?;
                if let Some(course) = &mut self.course {
                    course.open().await?;
                    this.books.report.campaign = Some(course.name().clone());
                }
            }
            if let Some(course) = &self.course {
                wanted = course.allows(wanted);
            }
            let some = match &mut self.pace {
                Some((pace, began)) => pace.take(began.elapsed(), wanted),
                None => wanted,
            };
            this.take(some);
            self.asked = false;
        }
        let before = std::mem::replace(&mut self.asked, true);
        let asked = this.carry_out().await;
        let again_from = if before { Some(0) } else { asked.again_from };
        let chunk = this.chunk.take().unwrap_or_default();
        let answered = asked.answers.len();
        let mut answers = chunk.orders.iter().zip(asked.answers).enumerate();
        let mut slots = chunk.slots.into_iter();
        let mut unanswered = Vec::new();
        while let Some(slot) = slots.next() {
            match slot {
                Slot::Skipped(id) => this.books.skipped(id),
                Slot::Failed(id, error) => this.books.fail(id, &error),
                Slot::Ordered(_) => {
                    let Some((at, (order, answer))) = answers.next() else {
                        unanswered.push(slot);
                        unanswered.extend(slots.by_ref());
                        continue;
                    };
                    let asked_again = again_from.is_some_and(|from| at >= from);
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
            }
        }
        if let Some(course) = &mut self.course {
            course.replayed = course.before + this.books.report.replayed;
            course.selected = this.books.report.selected;
        }
        if let Some(error) = asked.failed {
            // What was answered is done; the rest may have reached the broker, and is asked again.
            let rest = chunk.orders.get(answered..).unwrap_or_default();
            this.chunk = Some(Chunk {
                slots: unanswered,
                orders: Arc::new(rest.to_vec()),
            });
            return Err(error);
        }
        Ok(Some(this.progress()))
    }

    /// Records how it ended, where it has begun and that is not recorded yet: for who ends it before a
    /// [`step`](Self::step) has answered `None`, or when one has failed for good. What a campaign was ended by
    /// is recorded as stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: then it may not be recorded.
    pub async fn end(&mut self, outcome: AuditOutcome) {
        let ended = self.course.as_ref().and_then(|course| course.ended);
        let outcome = match ended {
            Some(CampaignState::Aborted | CampaignState::Stopped) => AuditOutcome::Stopped,
            _ => outcome,
        };
        let report = self.report();
        let counts = [
            ("selected", report.selected),
            ("done", report.replayed),
            ("already", report.already),
            ("skipped", report.skipped),
            ("failed", report.failed),
        ];
        self.recording.end(outcome, &counts).await;
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.prepared.progress()
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
