//! What bulk operations did.

use serde::Serialize;

use crate::error::Error;
use crate::names::EntryId;

/// How many ids and failures a report lists.
const LISTED: usize = 1_000;

/// What a bulk replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// How many were selected.
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
}

/// A dead letter that could not be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayFailure {
    /// The dead letter.
    pub id: EntryId,
    /// Why.
    pub error: String,
}

impl ReplayReport {
    pub(super) fn fail(&mut self, id: EntryId, error: &Error) {
        self.failed += 1;
        if self.failures.len() < LISTED {
            let error = error.to_string();
            self.failures.push(ReplayFailure { id, error });
        } else {
            self.failures_truncated = true;
        }
    }

    pub(super) fn added(&mut self, id: EntryId) {
        self.replayed += 1;
        if self.new_ids.len() < LISTED {
            self.new_ids.push(id);
        } else {
            self.new_ids_truncated = true;
        }
    }
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PurgeReport {
    /// How many were selected.
    pub selected: u64,
    /// Removed now.
    pub purged: u64,
}
