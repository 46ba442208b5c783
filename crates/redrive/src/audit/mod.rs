//! The audit of a dead-letter queue: who did what, why, and what came of it.

mod entry;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

pub(crate) use self::entry::{Head, began, cut, ended};
pub(crate) use self::record::Trail;
pub use self::record::{AuditQuery, AuditRecord, AuditState};
use crate::error::{Error, ErrorKind};

/// About how many entries the audit of a queue keeps: two for an operation.
pub(crate) const KEPT: usize = 10_000;
/// How long a name may be, in bytes.
const LONGEST_WHO: usize = 256;
/// How long a reason may be, in bytes.
const LONGEST_BECAUSE: usize = 1_024;

/// Who does something to dead letters, and why: what the [audit](crate::DeadLetterQueue::audit) says
/// of it. Default: nobody is named, and no reason.
///
/// ```
/// use redrive::Audit;
/// let ann = Audit::by("ann@desk")?.because("INC-1234: the currency service is back")?;
/// assert_eq!(ann.who(), Some("ann@desk"));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it is recorded only where a queue or an import is given it"]
pub struct Audit {
    who: Option<String>,
    because: Option<String>,
}

impl Audit {
    /// Whoever has this name: a person, or a program. It is what they say of themselves, and proves
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an empty name, and for one of more than 256 bytes.
    pub fn by(who: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            who: Some(within(who.into(), "a name", LONGEST_WHO)?),
            because: None,
        })
    }

    /// Why.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an empty text, and for one of more than 1,024 bytes.
    pub fn because(mut self, because: impl Into<String>) -> Result<Self, Error> {
        self.because = Some(within(because.into(), "a reason", LONGEST_BECAUSE)?);
        Ok(self)
    }

    /// Who it is, where that was said.
    #[must_use]
    pub fn who(&self) -> Option<&str> {
        self.who.as_deref()
    }

    /// Why it is done, where that was said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.because.as_deref()
    }
}

fn within(text: String, what: &str, most: usize) -> Result<String, Error> {
    let why = match text.len() {
        0 => "is empty".to_owned(),
        length if length > most => format!("has {length} bytes"),
        _ => return Ok(text),
    };
    let doing = format!("reading {what} for the audit, which {why}");
    Err(Error::new(ErrorKind::Invalid, doing).hint(format!("it has 1 to {most} bytes")))
}

/// What was done to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditAction {
    /// Some were put back.
    Replay,
    /// Some were removed for good.
    Purge,
    /// Some were brought back out of an export.
    Import,
    /// A campaign was undone.
    Undo,
    /// Some were moved into a file, because the queue was full.
    Spill,
    /// A campaign was told to wait.
    Pause,
    /// A campaign was told to go on.
    Resume,
    /// A campaign was ended.
    Abort,
}

impl AuditAction {
    /// As it is stored and shown: `replay`, `purge` and so on.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Purge => "purge",
            Self::Import => "import",
            Self::Undo => "undo",
            Self::Spill => "spill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
        }
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditOutcome {
    /// It came to its end. What it could not do one by one is in its counts.
    Done,
    /// Somebody ended it before, or a campaign stopped itself.
    Stopped,
    /// An error ended it before.
    Failed,
}

impl AuditOutcome {
    const ALL: [Self; 3] = [Self::Done, Self::Stopped, Self::Failed];

    /// As it is stored and shown: `done`, `stopped`, `failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}
