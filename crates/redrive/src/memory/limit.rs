//! The limit of a dead-letter queue in memory: stopping before it, or dropping the oldest.

use crate::backend::{Died, Entry, FULL_PAUSE, IdRange};
use crate::dead_letter::{DeadLetterLimit, Level, Overflow, Reason};
use crate::delivery::SPILL_PAUSE;
use crate::error::Error;
use crate::message::Fields;
use crate::names::EntryId;
use crate::selection::Order;

use super::dead_letters::Burial;
use super::hints::millis;
use super::settle::Turn;
use super::stream::{Stream, weight};

/// What became of a message that was to be given up.
pub(super) enum Buried {
    Died(Died),
    /// The queue is full: it stays pending.
    Kept,
    Refused(Error),
}

impl Turn<'_> {
    /// The one way out of what is pending into the queue. Tombstones are written whatever the
    /// limit: a loss must be said.
    pub(super) fn bury(
        &mut self,
        id: EntryId,
        fields: Option<&Fields>,
        burial: &Burial<'_>,
    ) -> Buried {
        if burial.reason != Reason::Trimmed && self.is_full() {
            self.keep(id, burial);
            return Buried::Kept;
        }
        match self.write(id, fields, burial) {
            Ok(mut died) => {
                died.dropped = self.drop_oldest();
                let state = self.state(id, burial.deliveries);
                self.remove(id);
                if fields.is_none() {
                    self.remember(&died, burial, state);
                }
                Buried::Died(died)
            }
            Err(error) => Buried::Refused(error),
        }
    }

    /// Whether the queue takes no more. What is no stream is not full: adding to it tells why. An empty
    /// one is not: its bytes are those of no dead letter.
    fn is_full(&self) -> bool {
        let Some(limit) = self.limit(Overflow::keeps_pending) else {
            return false;
        };
        let queue = self.kept.streams.get(&self.member.dead_letters);
        let Some(queue) = queue.filter(|queue| !queue.entries.is_empty()) else {
            return false;
        };
        let [most, bytes, age] = limit.edge();
        let least = age.map(|age| self.now.ms().saturating_sub(age));
        most.is_some_and(|most| queue.entries.len() as u64 >= most)
            || bytes.is_some_and(|bytes| queue.bytes() >= bytes)
            || least.is_some_and(|least| queue.oldest_ms() < least)
    }

    /// The ids of this time and later are not too old.
    fn least_ms(&self, limit: &DeadLetterLimit) -> Option<u64> {
        let age = limit.age_ms()?;
        Some(self.now.ms().saturating_sub(age))
    }

    /// Whether a full queue keeps messages pending here.
    pub(super) fn stops(&self) -> bool {
        self.limit(Overflow::keeps_pending).is_some()
    }

    fn limit(&self, which: impl Fn(&Overflow) -> bool) -> Option<&DeadLetterLimit> {
        let limit = self.member.limit.as_ref();
        limit.filter(|limit| which(limit.overflow()))
    }

    /// How much the queue holds.
    pub(super) fn level(&self) -> Result<Level, Error> {
        let dlq = &self.member.dead_letters;
        self.kept.check_type(dlq)?;
        let queue = self.kept.streams.get(dlq);
        let oldest = queue.filter(|queue| !queue.entries.is_empty());
        Ok(Level {
            length: queue.map_or(0, |queue| queue.entries.len() as u64),
            bytes: queue.map(Stream::bytes),
            oldest_ms: oldest.map(Stream::oldest_ms),
            now_ms: self.now.ms(),
        })
    }

    /// The oldest of the queue, no more than fit a page.
    pub(super) fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error> {
        let range = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: most,
        };
        self.kept.page(&self.member.dead_letters, range)
    }

    /// Removes what was written elsewhere, and counts it.
    pub(super) fn take_out(&mut self, ids: &[EntryId]) -> u64 {
        let dlq = &self.member.dead_letters;
        let mut removed = 0;
        for id in ids {
            removed += u64::from(self.kept.delete(dlq, *id));
        }
        if removed > 0 {
            self.kept.ledger(dlq).spilled += removed;
        }
        removed
    }

    /// It stays pending and waits, with what its last run said.
    fn keep(&mut self, id: EntryId, burial: &Burial<'_>) {
        let mut state = self.state(id, burial.deliveries);
        burial.recorded_in(&mut state);
        self.hold(id);
        let spills = self.limit(|full| matches!(full, Overflow::Spill(_)));
        let pause = spills.map_or(FULL_PAUSE, |_| SPILL_PAUSE);
        let due_ms = self.now.ms().saturating_add(millis(pause));
        let hints = self.hints();
        hints.states.insert(id, state);
        hints.due.set(id, due_ms);
    }

    /// Keeps the queue within its limit where that drops the oldest: how many went.
    pub(super) fn drop_oldest(&mut self) -> u64 {
        let Some(limit) = self.limit(|full| *full == Overflow::DropOldest).cloned() else {
            return 0;
        };
        let least = self.least_ms(&limit).unwrap_or_default();
        let dlq = &self.member.dead_letters;
        let Some(queue) = self.kept.streams.get_mut(dlq) else {
            return 0;
        };
        let mut dropped = 0;
        let mut bytes = queue.bytes();
        loop {
            let length = queue.entries.len() as u64;
            let too_many = limit.most().is_some_and(|most| length > most);
            // What was just added stays, however large.
            let too_much = length > 1 && limit.bytes().is_some_and(|most| bytes > most);
            if !too_many && !too_much && (length == 0 || queue.oldest_ms() >= least) {
                break;
            }
            let Some((_, fields)) = queue.entries.pop_first() else {
                break;
            };
            bytes = bytes.saturating_sub(weight(&fields));
            dropped += 1;
        }
        if dropped > 0 {
            self.kept.ledger(dlq).dropped += dropped;
        }
        dropped
    }
}
