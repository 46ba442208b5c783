//! A purge step by step.

use super::DeadLetterQueue;
use super::recording::Recording;
use super::report::{Progress, PurgeReport};
use super::walk::{STEP, Walk};
use crate::audit::{AuditAction, AuditOutcome};
use crate::error::Error;
use crate::names::EntryId;
use crate::selection::Selection;

/// A purge, step by step: for who shows how far it is, or sets its pace.
#[derive(Debug)]
#[must_use = "it does nothing until it is asked for a step"]
pub struct Purging {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    /// Those of this step; `None` before it is known which.
    ids: Option<Vec<EntryId>>,
    /// Whether the broker may have been asked to remove them.
    asked: bool,
    recording: Recording,
    report: PurgeReport,
}

impl Purging {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
    ) -> Result<Self, Error> {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            recording: Recording::of(&queue, AuditAction::Purge).about(selection),
            queue,
            left: selection.limit.unwrap_or(usize::MAX),
            ids: None,
            asked: false,
            report: PurgeReport::default(),
        })
    }

    /// Looks at the next 100 at most and removes those that match; `None` when there is nothing
    /// left to do. A step in which nothing matches is one too.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step or to begin anew.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        let ids = match &self.ids {
            Some(ids) => ids,
            None => {
                let page = match self.left {
                    0 => None,
                    left => self.walk.page(&self.queue, left, STEP).await?,
                };
                let Some(mut page) = page else {
                    self.end(AuditOutcome::Done).await;
                    return Ok(None);
                };
                page.truncate(self.left);
                self.left -= page.len();
                self.report.selected += page.len() as u64;
                let mut ids = Vec::with_capacity(page.len());
                for found in page {
                    match found {
                        Ok(letter) => ids.push(letter.id),
                        Err(missing) => self.report.missing(missing),
                    }
                }
                &*self.ids.insert(ids)
            }
        };
        if !ids.is_empty() {
            self.recording.begin().await?;
        }
        let asked_again = std::mem::replace(&mut self.asked, true);
        let backend = self.queue.broker.backend();
        let removed = backend.purge(&self.queue.stream, ids).await?;
        self.asked = false;
        for (id, removed) in self.ids.take().into_iter().flatten().zip(removed) {
            // They were there: what is gone when it is asked again went by the first time.
            if removed || asked_again {
                self.report.purged += 1;
            } else {
                self.report.missing(id);
            }
        }
        Ok(Some(self.walk.progress()))
    }

    /// Records how it ended, where it has begun and that is not recorded yet: for who ends it before
    /// a [`step`](Self::step) has answered `None`, or when one has failed for good.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: then it may not be recorded.
    pub async fn end(&mut self, outcome: AuditOutcome) {
        let PurgeReport {
            selected, purged, ..
        } = self.report;
        let counts = [
            ("selected", selected),
            ("done", purged),
            ("missing", selected - purged),
        ];
        self.recording.end(outcome, &counts).await;
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.walk.progress()
    }

    /// What it has done so far.
    #[must_use]
    pub fn report(&self) -> &PurgeReport {
        &self.report
    }

    /// What it has done.
    #[must_use]
    pub fn into_report(self) -> PurgeReport {
        self.report
    }
}
