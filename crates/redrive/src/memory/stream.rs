//! A stream as Redis keeps it: entries, groups, and what is pending in each.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Duration;

use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, GroupName};

use super::world::Moment;

/// A stream.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) entries: BTreeMap<EntryId, Fields>,
    /// The last id that was generated, deleted or not.
    pub(super) last_id: EntryId,
    /// How many entries were ever added.
    pub(super) added: u64,
    pub(super) groups: HashMap<GroupName, Group>,
}

impl Stream {
    /// Adds an entry under the next id: the time, unless the last one is not below it.
    pub(super) fn add(&mut self, fields: Fields, now: Moment) -> EntryId {
        let id = EntryId::new(now.ms(), 0).max(self.last_id.successor());
        self.put(id, fields);
        id
    }

    pub(super) fn put(&mut self, id: EntryId, fields: Fields) {
        self.entries.insert(id, fields);
        self.last_id = self.last_id.max(id);
        self.added += 1;
    }

    /// What its entries take, for a limit: names, values, and something for each entry.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.values().map(weight).sum()
    }

    /// The time of its first id.
    pub(super) fn oldest_ms(&self) -> u64 {
        self.entries.keys().next().map_or(0, |id| id.millis())
    }

    /// `XREADGROUP … COUNT max STREAMS … >`.
    pub(super) fn read(
        &mut self,
        group: &GroupName,
        consumer: &ConsumerName,
        max: usize,
        now: Moment,
    ) -> Vec<(EntryId, Fields)> {
        let Some(group) = self.groups.get_mut(group) else {
            return Vec::new();
        };
        group.see(consumer, now);
        let read: Vec<_> = self
            .entries
            .range((Bound::Excluded(group.last_delivered), Bound::Unbounded))
            .take(max)
            .map(|(id, fields)| (*id, fields.clone()))
            .collect();
        for (id, _) in &read {
            group.last_delivered = *id;
            group.pending.insert(*id, Pending::new(consumer, now));
        }
        read
    }
}

/// What an entry takes beside its bytes, as a limit counts it.
const ENTRY: u64 = 32;

/// What one entry takes, as a limit counts it.
pub(super) fn weight(fields: &Fields) -> u64 {
    fields.size() as u64 + ENTRY
}

/// A consumer group.
pub(super) struct Group {
    pub(super) last_delivered: EntryId,
    pub(super) pending: BTreeMap<EntryId, Pending>,
    /// Consumers, and when each was last seen, in Unix ms.
    pub(super) consumers: BTreeMap<ConsumerName, u64>,
}

impl Group {
    pub(super) fn starting_after(last_delivered: EntryId) -> Self {
        Self {
            last_delivered,
            pending: BTreeMap::new(),
            consumers: BTreeMap::new(),
        }
    }

    /// Notes a sign of life; creates the consumer as any command that names it does.
    pub(super) fn see(&mut self, consumer: &ConsumerName, now: Moment) {
        match self.consumers.get_mut(consumer) {
            Some(seen) => *seen = now.ms(),
            None => {
                self.consumers.insert(consumer.clone(), now.ms());
            }
        }
    }

    /// `XCLAIM … JUSTID`: another owner, idle for no time, and the same delivery count.
    pub(super) fn claim(&mut self, id: EntryId, consumer: &ConsumerName, now: Moment) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.consumer = consumer.clone();
            pending.delivered_ms = now.ms();
        }
    }

    pub(super) fn pending_on(&self, consumer: &ConsumerName) -> usize {
        self.pending
            .values()
            .filter(|pending| pending.consumer == *consumer)
            .count()
    }

    /// `XGROUP DELCONSUMER`, but only where nothing is pending on it.
    pub(super) fn remove_idle(&mut self, consumer: &ConsumerName) -> bool {
        let idle = self.pending_on(consumer) == 0;
        if idle {
            self.consumers.remove(consumer);
        }
        idle
    }
}

/// An entry of the pending entries list.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) consumer: ConsumerName,
    /// When it was last delivered, claimed or renewed, in Unix ms.
    pub(super) delivered_ms: u64,
    /// The delivery count: with the consumer's name, the fencing token.
    pub(super) count: u64,
}

impl Pending {
    pub(super) fn new(consumer: &ConsumerName, now: Moment) -> Self {
        Self {
            consumer: consumer.clone(),
            delivered_ms: now.ms(),
            count: 1,
        }
    }

    pub(super) fn idle(&self, now: Moment) -> Duration {
        Duration::from_millis(now.ms().saturating_sub(self.delivered_ms))
    }
}
