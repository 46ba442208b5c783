//! The health of a stream as one of its groups sees it.

use serde::Serialize;

use crate::names::{EntryId, GroupName, StreamKey};

/// Whether the numbers of [`Stats`] mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupState {
    /// Stream and group exist.
    Ok,
    /// There is no such stream.
    Missing,
    /// The stream exists, the group does not.
    NoGroup,
}

/// The health of a stream and group. Serialises to a JSON object with these names; unknown is
/// `null`, never 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The stream.
    pub stream: StreamKey,
    /// The group.
    pub group: GroupName,
    /// Whether they exist.
    pub state: GroupState,
    /// Entries in the stream, acknowledged ones included.
    pub stream_length: Option<u64>,
    /// Entries delivered and not yet acknowledged, those waiting for a retry included.
    pub pending_messages: Option<u64>,
    /// Of these, how many wait for their due time. One that a consumer that is not redrive's took
    /// meanwhile is counted until the next round of taking over.
    pub waiting: Option<u64>,
    /// How many consumers the group has.
    pub consumers: Option<u64>,
    /// Each consumer of the group.
    pub consumer_list: Vec<ConsumerStats>,
    /// The dead-letter stream.
    pub dlq: StreamKey,
    /// Dead letters in it, of all streams and groups that share it. 0 where it does not exist.
    pub dlq_length: u64,
    /// How many dead letters redrive has ever added to it, by its ledger.
    pub dlq_arrivals: u64,
    /// How many a limit that [drops the oldest](crate::Overflow::DropOldest) has dropped, by its
    /// ledger.
    pub dlq_dropped: u64,
    /// The last entry that was delivered to the group.
    pub last_delivered_id: Option<EntryId>,
    /// The last entry that was added to the stream.
    pub last_entry_id: Option<EntryId>,
    /// Entries not yet delivered, where the server knows.
    pub lag: Option<u64>,
    /// Whether `lag` is exact; servers miscount after trimming.
    pub lag_exact: bool,
    /// How long the oldest pending entry has been idle, in ms.
    pub oldest_pending_ms: Option<u64>,
}

/// One consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// Its name, made valid UTF-8.
    pub name: String,
    /// Entries pending on it.
    pub pending: u64,
    /// How long it has been silent, in ms.
    pub idle_ms: u64,
}

impl Stats {
    /// The numbers of a source whose stream or group does not exist.
    pub(crate) fn empty(
        stream: StreamKey,
        group: GroupName,
        dlq: StreamKey,
        state: GroupState,
    ) -> Self {
        Self {
            stream,
            group,
            state,
            stream_length: None,
            pending_messages: None,
            waiting: None,
            consumers: None,
            consumer_list: Vec::new(),
            dlq,
            dlq_length: 0,
            dlq_arrivals: 0,
            dlq_dropped: 0,
            last_delivered_id: None,
            last_entry_id: None,
            lag: None,
            lag_exact: false,
            oldest_pending_ms: None,
        }
    }
}
