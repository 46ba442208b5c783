//! Dead letters: why a message was given up, and the layouts in which it is kept.

use serde::Serialize;

/// Why a message was given up: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It failed as often as it may.
    AttemptsExhausted,
    /// It ended its process as often as it may.
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

    /// The reason of this name.
    pub(crate) fn from_stored(name: &str) -> Option<Self> {
        [
            Self::AttemptsExhausted,
            Self::CrashLoop,
            Self::Rejected,
            Self::Undecodable,
            Self::Trimmed,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == name)
    }
}

/// How a dead letter's fields are laid out. All are read everywhere; a processor writes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layout {
    /// redrive's own: every user field verbatim, then the metadata under `redrive-`.
    #[default]
    Native,
    /// The first Python system's: the user fields and five more.
    Flat,
}
