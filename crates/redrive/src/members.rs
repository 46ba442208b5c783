//! Groups as people keep them: made, looked at, cleared of dead consumers, removed.

use std::time::Duration;

use serde::Serialize;

use crate::names::{EntryId, GroupName, StreamKey};

/// A consumer of a group. Serialises to a JSON object with these names; unknown is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Consumer {
    /// Its name, made valid UTF-8.
    pub name: String,
    /// Entries pending on it. Removing it with `XGROUP DELCONSUMER` would lose these.
    pub pending: u64,
    /// How long it has been silent, in ms, as the server counts: before Redis 7.2 a read that found
    /// nothing is no sign of life.
    pub idle_ms: u64,
    /// Whether it is one of redrive's.
    pub own: bool,
    /// How long it may be silent before others take over what is pending on it, in ms. `None` for one
    /// that is not redrive's, for which each worker's `foreign_lease` counts.
    pub lease_ms: Option<u64>,
    /// Whether its process has given a sign of life within its lease. `None` for one that is not
    /// redrive's: these give none.
    pub alive: Option<bool>,
}

/// What became of a group that was to be created. Serialises to a JSON object with these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupCreation {
    /// The stream.
    pub stream: StreamKey,
    /// The group.
    pub group: GroupName,
    /// Whether it was created; `false` where it was there, and nothing has changed.
    pub created: bool,
    /// Whether the stream was created for it, empty.
    pub stream_created: bool,
    /// Whether it starts where an earlier group of this name had come to, whatever was asked for:
    /// nothing that one had to do is passed over.
    pub resumed: bool,
    /// The entry after which it goes on: the last one that counts as delivered.
    pub last_delivered_id: Option<EntryId>,
}

/// What was removed with a group, or would be. Serialises to a JSON object with these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupDeletion {
    /// The stream. Its entries stay.
    pub stream: StreamKey,
    /// The group.
    pub group: GroupName,
    /// Whether the group was there; `false` where it had vanished and only what redrive keeps of it
    /// was left.
    pub existed: bool,
    /// Whether it was removed; `false` where it was only looked at.
    pub removed: bool,
    /// Entries that were pending: no other group is given them, and no retry of them comes any more.
    pub pending: u64,
    /// The consumers that live, by their names: redrive's whose processes give signs of life, and
    /// others that were seen within the last hour.
    pub alive: Vec<String>,
    /// Whether anything that redrive keeps beside a group was there: due times, states, consumers, how
    /// far it had come.
    pub kept: bool,
}

impl GroupDeletion {
    /// Whether somebody needs it: something is pending in it, or a consumer lives.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.pending > 0 || !self.alive.is_empty()
    }
}

/// What becomes of a group that is to be deleted and is in use: something is pending in it, or a
/// consumer lives. Default: it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InUse {
    /// It stays, and that is an error.
    #[default]
    Keep,
    /// It is deleted all the same, and what was pending in it is lost to it.
    Delete,
}

/// What was found of a group's consumers, and which of them were removed. Serialises to a JSON object
/// with these names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// The stream.
    pub stream: StreamKey,
    /// The group.
    pub group: GroupName,
    /// Those that were removed, or would be, by their names.
    pub removed: Vec<Consumer>,
    /// Those that stay, by their names.
    pub kept: Vec<KeptConsumer>,
}

/// A consumer that is not removed. Serialises to the object of the consumer with `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptConsumer {
    /// The consumer.
    #[serde(flatten)]
    pub consumer: Consumer,
    /// Why it stays.
    pub why: WhyKept,
}

/// Why a consumer is not removed; of several reasons the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhyKept {
    /// Something is pending on it, and would be lost with it.
    Holds,
    /// It is a redrive consumer whose process lives.
    Alive,
    /// It has not been silent for long enough.
    Recent,
}

/// Whether something is removed, or only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Look,
    Remove,
}

/// How a group is removed: not at all, only where it is not in use, whatever is lost with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    Look,
    Unused,
    Forced,
}

/// How long a consumer that is not redrive's may be silent, with nothing pending, before it is
/// taken for dead: it gives no other sign of life.
pub(crate) const FOREIGN_IDLE: Duration = Duration::from_secs(3600);

/// What a backend says of a group that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    WasThere,
    /// With its stream, where that was missing.
    New {
        stream: bool,
        /// Where an earlier one of its name had come to.
        resumed: bool,
    },
}

/// What a backend says of a group that was to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) existed: bool,
    pub(crate) removed: bool,
    pub(crate) pending: u64,
    pub(crate) alive: Vec<String>,
    pub(crate) kept: bool,
}

/// What becomes of a consumer that holds so much and has been silent for so long: `None` where it goes.
pub(crate) fn why_kept(consumer: &Consumer, idle_ms: u64) -> Option<WhyKept> {
    match consumer {
        Consumer { pending: 1.., .. } => Some(WhyKept::Holds),
        Consumer {
            alive: Some(true), ..
        } => Some(WhyKept::Alive),
        one if one.idle_ms < idle_ms => Some(WhyKept::Recent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_holds_nothing_and_has_long_been_silent_and_is_dead_goes() {
        let judge = |pending, idle_ms, alive: Option<bool>| {
            let consumer = Consumer {
                name: "c".to_owned(),
                pending,
                idle_ms,
                own: alive.is_some(),
                lease_ms: None,
                alive,
            };
            why_kept(&consumer, 1_000)
        };
        for alive in [None, Some(false)] {
            assert_eq!(judge(0, 1_000, alive), None);
            assert_eq!(judge(0, 999, alive), Some(WhyKept::Recent));
            assert_eq!(judge(1, 1_001, alive), Some(WhyKept::Holds));
        }
        assert_eq!(judge(0, u64::MAX, Some(true)), Some(WhyKept::Alive));
        assert_eq!(judge(1, 0, Some(true)), Some(WhyKept::Holds));
    }
}
