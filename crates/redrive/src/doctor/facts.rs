//! What a broker tells of itself, of a stream and of its groups, before anybody judges it.

use crate::dead_letter::{self, DeadLetterLayout};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, StreamKey};

/// How much of what is pending in one group is looked at.
pub(crate) const LOOK: u64 = 100_000;

/// An answer, or why there is none: a user may not ask, or the server does not know the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told<T> {
    Yes(T),
    No(String),
}

impl<T> Told<T> {
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Yes(value) => Some(value),
            Self::No(_) => None,
        }
    }
}

/// What a server tells of itself.
#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    pub(crate) eviction: Told<Eviction>,
    pub(crate) journal: Told<Journal>,
    /// After how many seconds of silence it closes a connection; 0: never.
    pub(crate) timeout: Told<u64>,
    pub(crate) replicas: Told<Vec<Replica>>,
}

/// What the server does when its memory is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eviction {
    pub(crate) policy: String,
    /// In bytes; 0: no limit.
    pub(crate) limit: u64,
}

/// How it keeps what it has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) append_only: bool,
    /// `always`, `everysec` or `no`.
    pub(crate) fsync: Told<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replica {
    /// `HOST:PORT`, as the primary names it.
    pub(crate) name: String,
    /// By how many ms its clock is ahead of the primary's.
    pub(crate) ahead_ms: Told<i64>,
}

/// What there is of a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamFacts {
    pub(crate) stream: StreamKey,
    pub(crate) purpose: Purpose,
    pub(crate) length: u64,
    pub(crate) first: Option<EntryId>,
    /// The last id that was generated, deleted or not.
    pub(crate) last: EntryId,
    /// How many entries were ever added, where the server counts.
    pub(crate) added: Option<u64>,
    /// The highest id that was deleted by itself, where the server tells; `0-0` for none.
    pub(crate) deleted: Option<EntryId>,
    /// In how many nodes the entries are kept.
    pub(crate) nodes: Option<u64>,
    pub(crate) groups: Vec<GroupFacts>,
    /// How many groups there are, those that were not asked for too.
    pub(crate) all_groups: u64,
    /// How many groups are left out, for their names are not UTF-8.
    pub(crate) unnamed: u64,
    /// Groups that redrive has worked in, and that are not there any more.
    pub(crate) vanished: Told<Vec<GroupName>>,
    pub(crate) rights: Option<Told<Rights>>,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be consumed.
    Work,
    /// To be looked at: a dead-letter queue, or what redrive keeps.
    Record,
}

impl Purpose {
    /// By its name, or by what its first entry looks like.
    pub(crate) fn of(stream: &StreamKey, first: Option<(EntryId, Fields)>) -> Self {
        let name = stream.as_str();
        let letter = first.map(|(id, fields)| dead_letter::read(id, fields).layout);
        let is_letter = letter.is_some_and(|layout| layout != DeadLetterLayout::Foreign);
        if name.ends_with(":dlq") || name.contains(":redrive:") || is_letter {
            Self::Record
        } else {
            Self::Work
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct GroupFacts {
    pub(crate) group: GroupName,
    pub(crate) last_delivered: EntryId,
    pub(crate) lag: Lag,
    /// Whether the server knows how many entries the group has read; `None` where none does.
    pub(crate) counts: Option<bool>,
    pub(crate) pending: u64,
    /// How old the oldest entry is that it was not given, in ms; `None` for none, and where ids
    /// are no times.
    pub(crate) unread_ms: Option<u64>,
    /// Whether redrive keeps how far it has come.
    pub(crate) marked: bool,
    pub(crate) consumers: Told<Vec<ConsumerFacts>>,
    /// Whether it is known which consumers are redrive's.
    pub(crate) own: Told<()>,
    /// What is pending, the lowest id first.
    pub(crate) rows: Told<Vec<Row>>,
    /// Of what is pending: what was deleted by itself.
    pub(crate) deleted: Vec<EntryId>,
    /// How much of what is pending was not looked at whether it is still there.
    pub(crate) unseen: u64,
    /// What redrive keeps a state of, and is in the stream, and is not pending.
    pub(crate) unsettled: Told<Vec<EntryId>>,
}

/// What the server says is not delivered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// This server never says.
    NotTold,
    /// It has lost count.
    Unknown,
    Count(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerFacts {
    pub(crate) name: String,
    pub(crate) pending: u64,
    pub(crate) idle_ms: u64,
    /// Its lease, of one of redrive's.
    pub(crate) lease_ms: Option<u64>,
    /// Whether there is a sign of life of it; of one of redrive's.
    pub(crate) alive: bool,
}

impl ConsumerFacts {
    /// Whether it may still be at work: redrive's by their sign of life, others by their silence.
    pub(crate) fn is_at_work(&self, silent_ms: u64) -> bool {
        match self.lease_ms {
            Some(_) => self.alive,
            None => self.idle_ms < silent_ms,
        }
    }
}

/// One pending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: EntryId,
    pub(crate) consumer: String,
    pub(crate) idle_ms: u64,
    pub(crate) deliveries: u64,
}

/// What the user may do that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) user: String,
    pub(crate) role: Role,
    /// What is missing for that, as `ACL SETUSER` takes it: `+xclaim`, `~orders`.
    pub(crate) missing: Vec<String>,
}

/// What a user is for, as far as its rights say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It may read the group.
    Worker,
    /// It may remove dead letters.
    Operator,
    /// Neither: one that only looks, or only adds.
    Other,
}

impl StreamFacts {
    /// Whether an entry of this id was trimmed: what is below the first entry is gone.
    pub(crate) fn is_trimmed(&self, id: EntryId) -> bool {
        self.first.is_none_or(|first| id < first)
    }
}

impl GroupFacts {
    pub(crate) fn rows(&self) -> &[Row] {
        self.rows.known().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn consumers(&self) -> &[ConsumerFacts] {
        self.consumers.known().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn consumer(&self, name: &str) -> Option<&ConsumerFacts> {
        self.consumers()
            .iter()
            .find(|consumer| consumer.name == name)
    }

    /// The lowest id that it has not done with.
    pub(crate) fn reach(&self) -> EntryId {
        match self.rows().first() {
            Some(oldest) => oldest.id,
            None => self.last_delivered.successor(),
        }
    }
}
