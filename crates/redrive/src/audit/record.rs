//! What is read of operations: both entries of one joined, whoever wrote them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{AuditAction, AuditOutcome};
use crate::message::Fields;
use crate::names::EntryId;

/// How many counts of an operation are read, and how long a name of one may be: others may have
/// written anything.
const COUNTS: usize = 32;
const LONGEST_NAME: usize = 64;

/// Whether anything is known of an operation's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditState {
    /// It began, and has not ended: it goes on, or was killed.
    Began,
    /// It has ended.
    Ended,
}

/// One operation on dead letters. Serialises to a JSON object of these names; unknown is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// What it is told by: 16 hex digits.
    pub op: String,
    /// What was done: the name of an [`AuditAction`], or of one of a later version.
    pub what: String,
    /// Whether it has ended.
    pub state: AuditState,
    /// Who did it, where that was said.
    pub who: Option<String>,
    /// Why, where that was said.
    pub because: Option<String>,
    /// Which dead letters, as the flags of the command line; of an import where they came from.
    pub selection: Option<String>,
    /// The campaign, if any.
    pub campaign: Option<String>,
    /// When it began, in Unix ms of the server; `None` where that entry is no longer kept, and of what
    /// is told only when it is over.
    pub at_ms: Option<u64>,
    /// When it ended, in Unix ms of the server.
    pub ended_at_ms: Option<u64>,
    /// How it ended.
    pub outcome: Option<AuditOutcome>,
    /// How many: `selected`, `done` and others. Empty where it has not ended.
    pub counts: BTreeMap<String, u64>,
}

/// Which operations to tell of. Default: the latest 50.
///
/// ```
/// use redrive::{AuditAction, AuditQuery};
/// let purges = AuditQuery::default().what(AuditAction::Purge).limit(10);
/// # let _ = purges;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a query does nothing until it is asked"]
pub struct AuditQuery {
    limit: usize,
    since_ms: u64,
    what: Vec<AuditAction>,
}

impl Default for AuditQuery {
    fn default() -> Self {
        Self {
            limit: 50,
            since_ms: 0,
            what: Vec::new(),
        }
    }
}

impl AuditQuery {
    /// No more than so many. Default 50.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Those that began at this instant or later, in Unix ms of the server. Default: all that are
    /// kept.
    pub fn since_ms(mut self, at_ms: u64) -> Self {
        self.since_ms = at_ms;
        self
    }

    /// Those of this kind, or any other that is named. Default: all.
    pub fn what(mut self, what: AuditAction) -> Self {
        self.what.push(what);
        self
    }

    fn takes(&self, record: &AuditRecord) -> bool {
        let all = self.what.is_empty();
        all || self.what.iter().any(|what| what.as_str() == record.what)
    }
}

/// Joins entries into operations, while they are read from the newest on.
#[derive(Debug)]
pub(crate) struct Trail {
    query: AuditQuery,
    found: Vec<AuditRecord>,
    /// Where an operation stands that has been found: asked again after a lost answer, it may have
    /// begun twice.
    at: HashMap<String, usize>,
    /// Ended ones whose beginning is not found yet.
    ended: HashMap<String, AuditRecord>,
}

impl Trail {
    pub(crate) fn of(query: AuditQuery) -> Self {
        Self {
            query,
            found: Vec::new(),
            at: HashMap::new(),
            ended: HashMap::new(),
        }
    }

    /// Takes in the next older entry; `false` when no older one is of interest. What is no entry of an
    /// audit is left out.
    pub(crate) fn takes(&mut self, id: EntryId, fields: &Fields) -> bool {
        if id.millis() < self.query.since_ms {
            return false;
        }
        let Some(mut record) = read(id, fields) else {
            return true;
        };
        if let Some(at) = self.at.get(&record.op) {
            if let Some(known) = self.found.get_mut(*at)
                && record.state == AuditState::Began
            {
                known.at_ms = record.at_ms;
            }
            return true;
        }
        if record.state == AuditState::Ended {
            if record.what == AuditAction::Spill.as_str() {
                return self.found(record);
            }
            // The newest one counts: an end is written again where its answer was lost.
            self.ended.entry(record.op.clone()).or_insert(record);
            return true;
        }
        if let Some(ended) = self.ended.remove(&record.op) {
            record = AuditRecord {
                at_ms: record.at_ms,
                ..ended
            };
        }
        self.found(record)
    }

    fn found(&mut self, record: AuditRecord) -> bool {
        if self.found.len() == self.query.limit {
            return false;
        }
        if self.query.takes(&record) {
            self.at.insert(record.op.clone(), self.found.len());
            self.found.push(record);
        }
        true
    }

    /// All that were found, the latest first. Where it was read to its end, `whole`, also those that
    /// have ended and whose beginning is not kept any more.
    pub(crate) fn records(mut self, whole: bool) -> Vec<AuditRecord> {
        if whole {
            let mut rest: Vec<AuditRecord> = self.ended.drain().map(|(_, record)| record).collect();
            rest.sort_by_key(|record| std::cmp::Reverse(record.ended_at_ms));
            for record in rest {
                self.found(record);
            }
        }
        self.found
    }
}

/// The names that are no counts.
const TEXTS: [&str; 8] = [
    "op",
    "what",
    "state",
    "who",
    "because",
    "selection",
    "campaign",
    "outcome",
];

fn read(id: EntryId, fields: &Fields) -> Option<AuditRecord> {
    let text = |name: &str| {
        let value = fields.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let state = match text("state")?.as_str() {
        "began" => AuditState::Began,
        "ended" => AuditState::Ended,
        _ => return None,
    };
    let is_ended = state == AuditState::Ended;
    let mut record = AuditRecord {
        op: text("op")?,
        what: text("what")?,
        state,
        who: text("who"),
        because: text("because"),
        selection: text("selection"),
        campaign: text("campaign"),
        at_ms: (!is_ended).then(|| id.millis()),
        ended_at_ms: is_ended.then(|| id.millis()),
        outcome: None,
        counts: BTreeMap::new(),
    };
    if is_ended {
        record.outcome = text("outcome").and_then(|name| AuditOutcome::from_stored(&name));
        let count = |(name, value): (&[u8], &[u8])| {
            let name = std::str::from_utf8(name).ok()?;
            let count = std::str::from_utf8(value).ok()?.parse().ok()?;
            let is_one = !TEXTS.contains(&name) && name.len() <= LONGEST_NAME;
            is_one.then(|| (name.to_owned(), count))
        };
        let counts = fields.iter().filter_map(count).take(COUNTS);
        record.counts = counts.collect();
    }
    Some(record)
}
