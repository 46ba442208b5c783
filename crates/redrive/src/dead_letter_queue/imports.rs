//! How dead letters are imported, and what became of them.

use serde::Serialize;

use crate::audit::Audit;
use crate::names::{EntryId, StreamKey};

/// How dead letters are imported. Default: each into the queue that it came from, and not again where
/// it was imported before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until an import is given them"]
pub struct ImportOptions {
    pub(super) into: Option<StreamKey>,
    pub(super) again: Option<String>,
    pub(super) audit: Audit,
    pub(super) source: Option<String>,
}

impl ImportOptions {
    /// All of them into this queue.
    pub fn into_queue(mut self, queue: StreamKey) -> Self {
        self.into = Some(queue);
        self
    }

    /// In the hands of somebody, as [`DeadLetterQueue::audited`](crate::DeadLetterQueue::audited): it
    /// is recorded in the audit of each queue that something is imported into.
    pub fn audited(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Where they come from, for the audit: the name of a file.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Also those that were imported in the last days and are in the queue no more: they have been replayed
    /// or purged since. The word tells this import from others: asked again with the same one it goes
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
    /// Imported before, by this or another call, or never gone: it is in the queue under the id that it
    /// had when it was exported.
    Already,
    /// Imported before, and not in the queue any more: it was replayed or purged since.
    Gone,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// How many the export holds.
    pub dead_letters: u64,
    /// Imported now.
    pub imported: u64,
    /// There before: imported by this or another call, or still lying where they were exported. Not
    /// imported again.
    pub already: u64,
    /// Of these, imported before and replayed or purged since: they are not in the queue.
    pub gone: u64,
    /// The first 1,000 of both, old ids and new ones, in the order of the export.
    pub new_ids: Vec<ImportResult>,
    /// Whether there are more than listed.
    pub new_ids_truncated: bool,
}
