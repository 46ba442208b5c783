//! What redrive keeps beside a group: due times, the state of messages, its own consumers, and
//! how far the group had come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::backend::{Fault, Membership};
use crate::fingerprint::clip;
use crate::names::{ConsumerName, EntryId, ProcessToken};

use super::stream::{Group, Stream};
use super::tombstones::Stone;
use super::world::Moment;

/// How many bytes of an error a message's state keeps.
const ERROR_KEPT: usize = 1024;

/// Hints: losing them may cost extra runs, never a message.
#[derive(Default)]
pub(super) struct Hints {
    pub(super) due: Due,
    pub(super) states: BTreeMap<EntryId, State>,
    /// What stands for messages that were trimmed.
    pub(super) stones: BTreeMap<EntryId, Stone>,
    /// redrive's own consumers. Others do not renew, and are given more time.
    pub(super) own: HashMap<ConsumerName, Own>,
    pub(super) mark: Option<Mark>,
    /// The last state that was checked for being orphaned.
    pub(super) swept: EntryId,
}

impl Hints {
    /// Drops what is known of one message.
    pub(super) fn forget(&mut self, id: EntryId) {
        self.due.remove(id);
        self.states.remove(&id);
    }

    /// Drops what is known of all messages. Where nothing is pending it is about nothing; and
    /// where a group was created again, counts start again at 1 and would be mistaken for others.
    pub(super) fn forget_all(&mut self) {
        self.due = Due::default();
        self.states.clear();
    }
}

/// One of redrive's own consumers.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// The process that has the name.
    pub(super) token: ProcessToken,
    pub(super) lease: Duration,
    /// Until when it is alive if it gives no further sign, in Unix ms.
    pub(super) alive_until_ms: u64,
}

impl Own {
    pub(super) fn seen(membership: &Membership, now: Moment) -> Self {
        Self {
            token: membership.token.clone(),
            lease: membership.lease,
            alive_until_ms: now.ms().saturating_add(millis(membership.lease)),
        }
    }
}

/// The low-water mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// The oldest pending entry, or the last delivered one when nothing was pending.
    id: EntryId,
    /// Everything up to here was done.
    done: EntryId,
    /// How many entries had been added to the stream by then.
    added: u64,
}

impl Mark {
    pub(super) fn of(group: &Group, added: u64) -> Self {
        match group.pending.first_key_value() {
            Some((oldest, _)) => Self {
                id: *oldest,
                done: oldest.predecessor(),
                added,
            },
            None => Self {
                id: group.last_delivered,
                done: group.last_delivered,
                added,
            },
        }
    }

    /// Below which everything was done.
    pub(super) fn below(self) -> EntryId {
        self.done.successor()
    }

    /// Where to start again: at the first entry if this may be another stream of the same name.
    pub(super) fn start_in(self, stream: &Stream) -> EntryId {
        if stream.last_id >= self.id && stream.added >= self.added {
            self.done
        } else {
            EntryId::MIN
        }
    }
}

/// What is known of one message beside what the pending entries list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Recorded failures.
    pub(super) failures: u32,
    /// Booked crashes.
    pub(super) crashes: u32,
    /// The charged delivery that has not ended.
    pub(super) open: u64,
    /// The delivery for which the due time is valid.
    pub(super) hint: u64,
    /// Of the last begin.
    pub(super) nonce: String,
    /// The delivery whose crash was booked last.
    pub(super) booked: u64,
    /// The delivery that began alone in its process; 0 when it did not.
    pub(super) alone: u64,
    pub(super) first_failure_ms: Option<u64>,
    pub(super) fault: Fault,
}

impl State {
    /// The state of a message that has none: whoever had it last has not come back.
    pub(super) fn unwritten(count: u64) -> Self {
        Self {
            open: count,
            ..Self::default()
        }
    }

    /// Booked crashes, and the open one.
    pub(super) fn crashes_at(&self, count: u64) -> u32 {
        self.crashes.saturating_add(u32::from(self.open == count))
    }

    /// Whether a charged delivery has been ended before: by a retry, a defer or a release.
    pub(super) fn has_ended(&self, count: u64) -> bool {
        self.hint == count && self.open != count
    }

    pub(super) fn record_failure(&mut self, fault: &Fault, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.first_failure_ms.get_or_insert(now.ms());
        self.keep_error(fault);
    }

    /// No more than the error fits into a state on a server.
    pub(super) fn keep_error(&mut self, fault: &Fault) {
        self.fault = Fault {
            error: clip(&fault.error, ERROR_KEPT).to_owned(),
            ..Fault::default()
        };
    }
}

/// The due times, in Unix ms: a sorted set.
#[derive(Default)]
pub(super) struct Due {
    times: HashMap<EntryId, u64>,
    order: BTreeSet<(u64, EntryId)>,
}

impl Due {
    pub(super) fn set(&mut self, id: EntryId, at_ms: u64) {
        self.remove(id);
        self.times.insert(id, at_ms);
        self.order.insert((at_ms, id));
    }

    pub(super) fn remove(&mut self, id: EntryId) {
        if let Some(at_ms) = self.times.remove(&id) {
            self.order.remove(&(at_ms, id));
        }
    }

    pub(super) fn contains(&self, id: EntryId) -> bool {
        self.times.contains_key(&id)
    }

    pub(super) fn at(&self, id: EntryId) -> Option<u64> {
        self.times.get(&id).copied()
    }

    #[cfg(test)]
    #[cfg(not(fuzzing_libfuzzer))]
    pub(super) fn times(&self) -> impl Iterator<Item = (u64, EntryId)> {
        self.order.iter().copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.times.keys().copied()
    }

    /// Those whose time has come, the earliest first.
    pub(super) fn until(&self, now: Moment, max: usize) -> Vec<EntryId> {
        self.order
            .range(..=(now.ms(), EntryId::MAX))
            .take(max)
            .map(|(_, id)| *id)
            .collect()
    }

    pub(super) fn next_after(&self, now: Moment) -> Option<Duration> {
        let (at_ms, _) = self.order.first()?;
        Some(Duration::from_millis(at_ms.saturating_sub(now.ms())))
    }
}

/// A duration in whole ms, as it travels.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
