//! Dead letters: why a message was given up, and the layouts in which it is kept.

mod fixture;
mod limit;
mod read;
mod replay;
mod spilling;
#[cfg(test)]
mod tests;
mod write;

use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, StreamKey};

pub(crate) use limit::Precision;
pub use limit::{DeadLetterLimit, Overflow};
pub(crate) use read::read;
pub(crate) use replay::{default_target, migrated, of_campaign, replay_fields, split_lineage};
pub(crate) use spilling::Level;
pub(crate) use write::{Obituary, compose};

/// How much of an error's text a dead letter keeps, in bytes; [`clip`](crate::fingerprint::clip)
/// cuts it.
pub(crate) const ERROR_LIMIT: usize = 8 * 1024;

/// More user fields than this are packed into one, in the native layout: a script cannot add an
/// entry of more than 3,998.
pub(crate) const MOST_FIELDS: usize = 3_900;

/// The names of the fields that dead letters are made of.
mod field {
    pub(super) const V: &str = "redrive-v";
    pub(super) const FIELDS: &str = "redrive-fields";
    pub(super) const STREAM: &str = "redrive-stream";
    pub(super) const GROUP: &str = "redrive-group";
    pub(super) const ID: &str = "redrive-id";
    pub(super) const REASON: &str = "redrive-reason";
    pub(super) const ERROR: &str = "redrive-error";
    pub(super) const ERROR_KIND: &str = "redrive-error-kind";
    pub(super) const FINGERPRINT: &str = "redrive-fingerprint";
    pub(super) const ATTEMPTS: &str = "redrive-attempts";
    pub(super) const CRASHES: &str = "redrive-crashes";
    pub(super) const CONSUMER: &str = "redrive-consumer";
    pub(super) const FIRST_AT: &str = "redrive-first-at";
    pub(super) const DEAD_AT: &str = "redrive-dead-at";
    pub(super) const REPLAYS: &str = "redrive-replays";
    pub(super) const CAMPAIGN: &str = "redrive-campaign";
    pub(super) const REPLAYED_FROM: &str = "redrive-replayed-from";
    pub(super) const PACKED: &str = "redrive-packed";

    /// Of the flat layout, in the order in which they are written.
    pub(super) const FLAT: [&str; 5] = [
        "original_stream",
        "original_id",
        "failure_reason",
        "attempts",
        "dlq_timestamp",
    ];
    /// What a replay in the flat layout adds.
    pub(super) const FLAT_REPLAYED_FROM: &str = "replayed_from_dlq";

    /// Of the envelope layout.
    pub(super) const ENVELOPE: [&str; 7] = [
        "original_stream",
        "original_msg_id",
        "error",
        "attempt",
        "data",
        "ts",
        "trace_id",
    ];
    /// Of these, what the source entry had.
    pub(super) const ENVELOPE_USER: [&str; 3] = ["data", "ts", "trace_id"];
}

/// Why a message was given up: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It failed as often as it may.
    AttemptsExhausted,
    /// It ended its process as often as it may, the last time with no other handler beside it.
    CrashLoop,
    /// Its handler said so.
    Rejected,
    /// Its payload does not decode.
    Undecodable,
    /// The entry was trimmed while it was pending: a tombstone, unless a process still held the
    /// bytes.
    Trimmed,
}

impl Reason {
    pub(crate) const ALL: [Self; 5] = [
        Self::AttemptsExhausted,
        Self::CrashLoop,
        Self::Rejected,
        Self::Undecodable,
        Self::Trimmed,
    ];

    /// As it is stored and shown: `attempts_exhausted`, `crash_loop`, `rejected`, `undecodable`,
    /// `trimmed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::CrashLoop => "crash_loop",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::Trimmed => "trimmed",
        }
    }

    pub(crate) fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Reads a reason as it is shown.
impl FromStr for Reason {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is none of them.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_stored(name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::new(ErrorKind::Invalid, format!("reading the reason {name:?}"))
                .hint(format!("the reasons are {known}"))
        })
    }
}

/// How a processor lays out the dead letters that it writes. Default native. What is read is a
/// [`DeadLetterLayout`]: all of them, mixed in one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// redrive's own: every user field verbatim, then the metadata under `redrive-`.
    #[default]
    Native,
    /// The first Python system's: the user fields and five more. A message that does not fit
    /// (see `docs/formats.md`) is written native.
    Flat,
    /// The second Python system's: `data`, `ts` and `trace_id` of the message and four more. Goes
    /// to `sg:stream:dlq` unless another queue is named, and keeps about 5,000 there unless
    /// another limit is set. A message that does not fit (see `docs/formats.md`) is written
    /// native.
    Envelope,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Native, Self::Flat, Self::Envelope];

    /// As it is shown: `native`, `flat`, `envelope`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Flat => "flat",
            Self::Envelope => "envelope",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.as_str() == name)
    }

    /// Where dead letters of a stream go in this layout, unless told otherwise.
    pub(crate) fn default_dead_letters(self, stream: &StreamKey) -> StreamKey {
        match self {
            Self::Native | Self::Flat => stream.default_dead_letters(),
            Self::Envelope => StreamKey::envelope_dead_letters(),
        }
    }

    /// How many of them a queue may hold, unless told otherwise.
    pub(crate) fn default_limit(self) -> Option<DeadLetterLimit> {
        match self {
            Self::Native | Self::Flat => None,
            Self::Envelope => Some(DeadLetterLimit::ENVELOPE),
        }
    }
}

/// The layout in which a dead letter was found, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadLetterLayout {
    /// redrive's own: every user field verbatim, then the metadata under `redrive-`.
    Native,
    /// The first Python system's: the user fields, `original_stream`, `original_id`,
    /// `failure_reason`, `attempts` and `dlq_timestamp`.
    Flat,
    /// The second Python system's: `original_stream`, `original_msg_id`, `error`, `attempt`,
    /// `data`, `ts` and `trace_id`, and nothing else.
    Envelope,
    /// None of these: an entry that something else put into the dead-letter stream. Nothing is
    /// known of it but its fields; replaying it needs an explicit target.
    Foreign,
}

impl DeadLetterLayout {
    /// As it is shown: `native`, `flat`, `envelope`, `foreign`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Flat => "flat",
            Self::Envelope => "envelope",
            Self::Foreign => "foreign",
        }
    }
}

/// A message that was given up, as it is kept in a dead-letter stream. Read from any layout; what
/// a layout does not hold, or what does not parse, is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its own id, in the dead-letter stream.
    pub id: EntryId,
    /// The layout in which it was found.
    pub layout: DeadLetterLayout,
    /// The stream that it came from: where a replay puts it unless told otherwise. `None` also
    /// for a name that is not UTF-8.
    pub stream: Option<StreamKey>,
    /// The group that gave it up. Native only.
    pub group: Option<GroupName>,
    /// The id that it had in its stream.
    pub original_id: Option<EntryId>,
    /// Why it was given up. The free texts of the Python systems are
    /// [`AttemptsExhausted`](Reason::AttemptsExhausted).
    pub reason: Option<Reason>,
    /// The last error, made valid UTF-8.
    pub error: Option<String>,
    /// The type or code of that error. Native only.
    pub error_kind: Option<String>,
    /// 16 hex digits, the same for errors that differ only in ids, numbers, quoted strings, paths
    /// and URL queries. Computed where it is not stored, of no error too.
    pub fingerprint: String,
    /// Recorded failures, the last included. In the flat layout: the delivery count.
    pub attempts: Option<u64>,
    /// Runs that ended with neither success, failure, hand-back nor a lost lease. Native only.
    pub crashes: Option<u64>,
    /// How often it had been replayed before it died. 0 where nothing is known of a replay.
    pub replays: u32,
    /// Who had it last, made valid UTF-8. Native only.
    pub consumer: Option<String>,
    /// When it first failed, in Unix ms of the server's clock. Native only.
    pub first_at_ms: Option<u64>,
    /// When it was given up, in Unix ms of the clock of the server, or in the flat layout of
    /// whoever wrote it.
    pub dead_at_ms: Option<u64>,
    /// The campaign that last replayed it. Native only.
    pub campaign: Option<String>,
    /// The dead letter it was last replayed from.
    pub replayed_from: Option<EntryId>,
    /// The message's own fields. Envelope: `data`, `ts`, `trace_id`, as they are stored. Foreign:
    /// all fields. Empty for a [tombstone](Self::is_tombstone).
    pub fields: Fields,
    body: Body,
    stored: Fields,
}

/// What became of the message's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Whole,
    /// There are none.
    Gone,
    /// They are packed and do not unpack: damaged, or not ours.
    Unreadable,
}

impl DeadLetter {
    /// Whether only the fact of the loss is left: the entry was trimmed before its fields could
    /// be stored. A tombstone cannot be replayed.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.body == Body::Gone
    }

    /// The entry of the dead-letter stream as it is: the message's fields and those of the
    /// layout.
    #[must_use]
    pub fn stored(&self) -> &Fields {
        &self.stored
    }

    /// What it takes in the dead-letter stream: the bytes of all stored names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.stored.size()
    }
}
