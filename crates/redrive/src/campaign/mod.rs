//! Campaigns: replays that are known by a name, and what became of what they put back.

mod record;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

pub(crate) use self::record::{Death, NOT_KEPT, Plan, Record, went};
pub(crate) use self::tally::{Standing, Standings, groups_of, sample};
use crate::error::{Error, ErrorKind};
use crate::names::StreamKey;

/// The name of a campaign: 1 to 64 of the letters, digits and signs `A-Z a-z 0-9 . _ -`.
///
/// ```
/// use redrive::CampaignName;
/// let name: CampaignName = "after-the-outage_2".parse()?;
/// assert_eq!(name.as_str(), "after-the-outage_2");
/// assert!(CampaignName::new("two words").is_err());
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignName(Arc<str>);

impl CampaignName {
    /// Checks the name and keeps it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for any other name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(proper) {
            return Ok(Self(name.into()));
        }
        let doing = format!("reading the name {name:?} of a campaign");
        Err(Error::new(ErrorKind::Invalid, doing)
            .hint("it is made of 1 to 64 letters, digits, points, underscores and hyphens"))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CampaignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CampaignName {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl Serialize for CampaignName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// How a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CampaignState {
    /// Its command puts back, or was killed while it did: the same one goes on.
    Running,
    /// A person said wait.
    Paused,
    /// A person ended it.
    Aborted,
    /// Its own rule ended it.
    Stopped,
    /// All that was selected was looked at.
    Done,
}

impl CampaignState {
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Paused,
        Self::Aborted,
        Self::Stopped,
        Self::Done,
    ];

    /// As it is stored and shown: `running`, `paused`, `aborted`, `stopped`, `done`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::Stopped => "stopped",
            Self::Done => "done",
        }
    }

    pub(crate) fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether it may become another one by being told so.
    pub(crate) fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (_, _) if self == next => true,
            (Self::Running, _) => true,
            (Self::Paused, next) => next != Self::Done,
            (Self::Aborted | Self::Stopped | Self::Done, _) => false,
        }
    }

    /// From which ones it may be reached.
    pub(crate) fn before(self) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(move |state| state.may_become(self))
    }

    /// Whether nothing more is put back.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Aborted | Self::Stopped | Self::Done)
    }

    /// Whether no command goes on with it.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Aborted | Self::Stopped)
    }
}

/// A campaign, and what became of the messages that it put back. Serialises to a JSON object of
/// these names; unknown is `null`.
///
/// Each message that was put back is counted once:
///
/// - **undone**, when it was taken off its stream again and parked;
/// - else **dead again**, when any group gave it up after it was put back;
/// - else **waiting**, while it is not delivered, or is pending;
/// - else it **succeeded**: it was delivered, is no longer pending, and did not die again.
///
/// "Delivered" and "pending" are asked of the group in which it died; where that is not known, or is
/// not there, of all the groups of the stream, and where there is none it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Campaign {
    /// Its name.
    pub name: CampaignName,
    /// How it stands.
    pub state: CampaignState,
    /// Which dead letters it is about, as the flags of the command line.
    pub selection: String,
    /// The stream that all were put on, where that was not the one each came from.
    pub target: Option<StreamKey>,
    /// How fast it was to go.
    pub rate: Option<String>,
    /// After how many it was to wait for their outcome.
    pub canary: Option<u64>,
    /// When it was to stop itself.
    pub abort_if: Option<String>,
    /// Who began it, where that was said.
    pub who: Option<String>,
    /// Why, where that was said.
    pub because: Option<String>,
    /// When it began, in Unix ms of the server.
    pub began_at_ms: u64,
    /// When it ended, in Unix ms of the server.
    pub ended_at_ms: Option<u64>,
    /// When its command last gave a sign, in Unix ms of the server: about twice a second while it
    /// lives, whatever it waits for.
    pub seen_at_ms: u64,
    /// How long ago that was, in ms, by the clock of the server.
    pub silent_ms: u64,
    /// How many dead letters were selected, as far as it came.
    pub selected: u64,
    /// How many were put back.
    pub replayed: u64,
    /// Of these, how many were delivered, are no longer pending, and have not died again.
    pub succeeded: u64,
    /// Of these, how many died again.
    pub dead_again: u64,
    /// Of these, how many are not delivered, or pending.
    pub waiting: u64,
    /// Of these, how many were parked again.
    pub undone: u64,
    /// The errors of those that died again, the most frequent first.
    pub fingerprints: Vec<DiedAgain>,
}

/// How many died again of the same error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiedAgain {
    /// The fingerprint of the error; `None` where the dead letter is gone and had named none.
    pub fingerprint: Option<String>,
    /// How many.
    pub count: u64,
}
