//! What bulk operations did.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::campaign::CampaignName;
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

/// How many ids and failures a report lists.
const LISTED: usize = 1_000;

/// What a bulk replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// The campaign that it was part of, if any.
    pub campaign: Option<CampaignName>,
    /// How many were selected, as far as it came: all of the counts below together.
    pub selected: u64,
    /// Put back now.
    pub replayed: u64,
    /// Put back before, by this or another call.
    pub already: u64,
    /// Left out: replayed too often.
    pub skipped: u64,
    /// Not put back, still in the queue.
    pub failed: u64,
    /// The first 1,000 of these, with what went wrong.
    pub failures: Vec<ReplayFailure>,
    /// Whether there are more failures than listed.
    pub failures_truncated: bool,
    /// The first 1,000 new ids, in the order of the selection.
    pub new_ids: Vec<EntryId>,
    /// Whether there are more new ids than listed.
    pub new_ids_truncated: bool,
    /// The ids that those put back before have got, the first 1,000.
    pub already_ids: Vec<EntryId>,
    /// Whether there are more of these than listed.
    pub already_ids_truncated: bool,
}

/// A dead letter that could not be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayFailure {
    /// The dead letter.
    pub id: EntryId,
    /// Why.
    pub error: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
    /// What kind of error that is. Not serialised.
    #[serde(skip)]
    pub kind: ErrorKind,
}

/// What became of one dead letter in a bulk replay. Serialises to an object of these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayResult {
    /// The dead letter.
    pub id: EntryId,
    /// What became of it.
    pub outcome: ReplayOutcome,
    /// The id of the new entry: of one put back now or before.
    pub new_id: Option<EntryId>,
    /// Why it was not put back.
    pub error: Option<String>,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// What became of one dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReplayOutcome {
    /// Put back now.
    Replayed,
    /// Put back before, by this or another call.
    Already,
    /// Left out: replayed too often.
    Skipped,
    /// Not put back, still in the queue; or not there.
    Failed,
}

/// What a replay would make of one dead letter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplaySample {
    /// The dead letter.
    pub id: EntryId,
    /// The stream that it would be put on.
    pub target: StreamKey,
    /// The message's own fields as they are.
    pub before: Fields,
    /// The whole new entry: migrated, and what the layout adds to a replayed one.
    pub after: Fields,
    /// The payload as it is, as [`Inspection::payload`](crate::Inspection::payload) shows it.
    pub payload_before: Option<Box<RawValue>>,
    /// The payload of the new entry, in the same form.
    pub payload_after: Option<Box<RawValue>>,
    /// What stands beside the payload and will not be there any more.
    pub beside_before: Fields,
    /// What will be there beside the payload and was not.
    pub beside_after: Fields,
}

/// What a bulk replay has done, and what it did last.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) report: ReplayReport,
    /// Of the last step.
    pub(super) last: Vec<ReplayResult>,
}

impl Books {
    pub(super) fn fail(&mut self, id: EntryId, error: &Error) {
        let report = &mut self.report;
        report.failed += 1;
        let hint = error.cure().map(str::to_owned);
        let (kind, error) = (error.kind(), error.to_string());
        if report.failures.len() < LISTED {
            report.failures.push(ReplayFailure {
                id,
                error: error.clone(),
                hint: hint.clone(),
                kind,
            });
        } else {
            report.failures_truncated = true;
        }
        self.note(ReplayResult {
            id,
            outcome: ReplayOutcome::Failed,
            new_id: None,
            error: Some(error),
            hint,
        });
    }

    pub(super) fn added(&mut self, id: EntryId, new: EntryId) {
        let report = &mut self.report;
        report.replayed += 1;
        if report.new_ids.len() < LISTED {
            report.new_ids.push(new);
        } else {
            report.new_ids_truncated = true;
        }
        self.went(id, ReplayOutcome::Replayed, Some(new));
    }

    /// It would be put back, under an id that nobody knows.
    pub(super) fn would_be_added(&mut self, id: EntryId) {
        self.report.replayed += 1;
        self.went(id, ReplayOutcome::Replayed, None);
    }

    pub(super) fn already(&mut self, id: EntryId, new: EntryId) {
        let report = &mut self.report;
        report.already += 1;
        if report.already_ids.len() < LISTED {
            report.already_ids.push(new);
        } else {
            report.already_ids_truncated = true;
        }
        self.went(id, ReplayOutcome::Already, Some(new));
    }

    pub(super) fn skipped(&mut self, id: EntryId) {
        self.report.skipped += 1;
        self.went(id, ReplayOutcome::Skipped, None);
    }

    fn note(&mut self, one: ReplayResult) {
        self.report.selected += 1;
        self.last.push(one);
    }

    fn went(&mut self, id: EntryId, outcome: ReplayOutcome, new_id: Option<EntryId>) {
        self.note(ReplayResult {
            id,
            outcome,
            new_id,
            error: None,
            hint: None,
        });
    }
}

/// What a purge did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PurgeReport {
    /// How many were selected.
    pub selected: u64,
    /// Removed now.
    pub purged: u64,
    /// The first 1,000 that were selected and not there: named by an id that the queue does not
    /// have, or removed by somebody else meanwhile.
    pub missing: Vec<EntryId>,
    /// Whether there are more of these than listed. Altogether they are `selected` − `purged`.
    pub missing_truncated: bool,
}

/// What came of a shadow run. Serialises to a JSON object with these names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShadowReport {
    /// How many were looked at: all of the following together.
    pub selected: u64,
    /// The handler was done with them.
    pub passed: u64,
    /// It failed: a worker would try them again.
    pub failed: u64,
    /// It gave them up at once: a dead letter `rejected`.
    pub refused: u64,
    /// They do not decode: a dead letter `undecodable`, without a run.
    pub undecodable: u64,
    /// It put them off.
    pub deferred: u64,
    /// There is nothing in them to run, or to replay: tombstones, envelopes without a payload, packed
    /// fields that do not unpack.
    pub unreplayable: u64,
    /// Each of these and why, the first 1,000.
    pub failures: Vec<ReplayFailure>,
    /// Whether there are more.
    pub failures_truncated: bool,
    /// How many ids were named and are not there.
    pub missing: u64,
    /// Why the handler could not begin: it is not there, and no more was started. Says nothing of any
    /// dead letter.
    pub unavailable: Option<String>,
}

impl ShadowReport {
    /// How many would not pass now, whatever the reason.
    #[must_use]
    pub fn would_not_pass(&self) -> u64 {
        self.selected - self.passed
    }

    pub(super) fn missing(&mut self) {
        self.selected += 1;
        self.missing += 1;
    }

    pub(super) fn unreplayable(&mut self, failure: ReplayFailure) {
        self.selected += 1;
        self.unreplayable += 1;
        if self.failures.len() < LISTED {
            self.failures.push(failure);
        } else {
            self.failures_truncated = true;
        }
    }
}

impl ReplayFailure {
    pub(super) fn of(id: EntryId, error: &Error) -> Self {
        Self {
            id,
            error: error.to_string(),
            hint: error.cure().map(str::to_owned),
            kind: error.kind(),
        }
    }
}

impl PurgeReport {
    pub(super) fn missing(&mut self, id: EntryId) {
        if self.missing.len() < LISTED {
            self.missing.push(id);
        } else {
            self.missing_truncated = true;
        }
    }
}

/// How far a bulk operation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// How many dead letters it has looked at, those that do not match too.
    pub examined: u64,
    /// How many it is to look at: as many as the queue held when it began, or as were named. At
    /// most: it ends sooner where a limit is reached, or where others remove some.
    pub total: u64,
}
