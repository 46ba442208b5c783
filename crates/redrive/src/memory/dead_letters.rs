//! The dead-letter queue in memory: writing, replaying, purging, and the books about it.

use std::collections::BTreeMap;

use crate::backend::{
    Died, Entry, Failed, Fault, Fence, How, Import, Imported, Keep, Replay, Replayed,
};
use crate::dead_letter::{DeadLetter, DeadLetterLayout, Obituary, Reason, compose};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, StreamKey};

use super::hints::State;
use super::settle::Turn;
use super::stream::Pending;
use super::world::{Kept, Moment};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What a queue was given and what it gave up. What others do to the stream is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) dead_lettered: u64,
    pub(super) imported: u64,
    pub(super) replayed: u64,
    pub(super) purged: u64,
    pub(super) spilled: u64,
    pub(super) dropped: u64,
    /// Entries that were added and are in none of the others.
    pub(super) rewritten: u64,
}

/// What was replayed: by target, queue and dead letter; the new id and when.
pub(super) type Receipts = BTreeMap<(StreamKey, StreamKey, EntryId), Receipt>;

/// What was imported: by queue and what a dead letter is told by; the new id and when.
pub(super) type Imports = BTreeMap<(StreamKey, String), Receipt>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    added: EntryId,
    day: u64,
}

impl Receipt {
    /// The keys of a day and of the two before it are looked at.
    fn is_valid(self, now: Moment) -> bool {
        now.ms() / DAY_MS <= self.day + 2
    }
}

/// Why a message is given up, and what is known of it.
pub(super) struct Burial<'a> {
    pub(super) reason: Reason,
    fault: &'a Fault,
    failures: u32,
    crashes: u32,
    pub(super) deliveries: u64,
    charged: bool,
    pub(super) consumer: ConsumerName,
    first_failure_ms: Option<u64>,
}

impl<'a> Burial<'a> {
    /// Of a message that nobody is running.
    pub(super) fn of(reason: Reason, state: &'a State, pending: &Pending) -> Self {
        Self {
            reason,
            fault: &state.fault,
            failures: state.failures,
            crashes: state.crashes_at(pending.count),
            deliveries: pending.count,
            charged: false,
            consumer: pending.consumer.clone(),
            first_failure_ms: state.first_failure_ms,
        }
    }

    /// Of a message whose state went when its tombstone was written: what that one still says.
    /// The flat layout says no more than the delivery count, an envelope no more than the error.
    pub(super) fn remembered(
        fence: Fence,
        consumer: &ConsumerName,
        fault: &'a Fault,
        tombstone: &DeadLetter,
    ) -> Self {
        let known = (tombstone.layout == DeadLetterLayout::Native).then_some(tombstone);
        let count = |part: fn(&DeadLetter) -> Option<u64>| {
            let count = known.and_then(part).unwrap_or_default();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Self {
            reason: Reason::Trimmed,
            fault,
            failures: count(|letter| letter.attempts),
            crashes: count(|letter| letter.crashes),
            deliveries: fence.token,
            charged: fence.is_charged(),
            consumer: consumer.clone(),
            first_failure_ms: known.and_then(|letter| letter.first_at_ms),
        }
    }

    /// By its holder: what is open is then this very run, which has not crashed.
    pub(super) fn ended_by(mut self, fence: Fence, state: &State) -> Self {
        self.charged = fence.is_charged();
        if self.charged {
            self.crashes = state.crashes;
        }
        self
    }

    /// What is known of it, for when it cannot be buried yet: it waits under this delivery.
    pub(super) fn recorded_in(&self, state: &mut State) {
        state.failures = self.failures;
        state.first_failure_ms = self.first_failure_ms;
        state.keep_error(self.fault);
        if self.charged {
            state.open = 0;
        }
        state.hint = self.deliveries;
    }

    /// With what its last run said.
    pub(super) fn with(mut self, how: &'a How, now: Moment) -> Self {
        let (fault, failed) = match how {
            How::Retry { fault, .. } => (fault, Failed::Yes),
            How::DeadLetter { fault, failed, .. } => (fault, *failed),
            How::Ack | How::Defer { .. } | How::Release => return self,
        };
        self.fault = fault;
        if failed == Failed::Yes {
            self.failures = self.failures.saturating_add(1);
            self.first_failure_ms.get_or_insert(now.ms());
        }
        self
    }
}

impl Turn<'_> {
    /// Adds a dead letter and counts it, whatever the limit. A refusal has changed nothing.
    pub(super) fn write(
        &mut self,
        id: EntryId,
        fields: Option<&Fields>,
        burial: &Burial<'_>,
    ) -> Result<Died, Error> {
        let about = Obituary {
            source: &self.member.source,
            id,
            reason: burial.reason,
            error: &burial.fault.error,
            error_kind: burial.fault.kind.as_deref(),
            fingerprint: &burial.fault.fingerprint,
            failures: burial.failures.into(),
            crashes: burial.crashes.into(),
            deliveries: burial.deliveries,
            consumer: burial.consumer.as_str(),
            first_at_ms: burial.first_failure_ms,
            dead_at_us: self.now.us(),
        };
        let (layout, composed) = compose(self.member.layout, fields, &about);
        let dlq = &self.member.dead_letters;
        let dead_letter = self.kept.add(dlq, composed, self.now)?;
        self.kept.ledger(dlq).dead_lettered += 1;
        if let Some(fields) = fields {
            let fingerprint = &burial.fault.fingerprint;
            self.kept
                .note_death(dlq, fields, dead_letter, fingerprint, self.now);
        }
        Ok(Died {
            id,
            reason: burial.reason,
            dead_letter,
            layout,
            dropped: 0,
        })
    }
}

impl Kept {
    pub(super) fn ledger(&mut self, dlq: &StreamKey) -> &mut Ledger {
        self.ledgers.entry(dlq.clone()).or_default()
    }

    /// Puts a dead letter back, once however often it is asked.
    pub(super) fn replay(&mut self, dlq: &StreamKey, order: &Replay, now: Moment) -> Replayed {
        self.receipts.retain(|_, receipt| receipt.is_valid(now));
        let key = (order.target.clone(), dlq.clone(), order.dead_letter);
        if let Some(receipt) = self.receipts.get(&key).copied() {
            // A copy was put back before, or the first try ended half-way.
            self.take_out(dlq, order);
            return Replayed::Already(receipt.added);
        }
        let stands = self
            .streams
            .get(dlq)
            .is_some_and(|stream| stream.entries.contains_key(&order.dead_letter));
        if !stands {
            return Replayed::NotFound;
        }
        if order.fields.is_empty() {
            return Replayed::Refused(Error::new(
                ErrorKind::Invalid,
                format!("replaying {} without fields", order.dead_letter),
            ));
        }
        match self.add(&order.target, order.fields.clone(), now) {
            Err(error) => Replayed::Refused(error),
            Ok(added) => {
                let day = now.ms() / DAY_MS;
                self.receipts.insert(key, Receipt { added, day });
                self.enlist(dlq, order, added, now);
                self.take_out(dlq, order);
                Replayed::Added(added)
            }
        }
    }

    /// The id under which a dead letter was put back.
    pub(super) fn receipt(&self, dlq: &StreamKey, order: &Replay, now: Moment) -> Option<EntryId> {
        let key = (order.target.clone(), dlq.clone(), order.dead_letter);
        let receipt = self.receipts.get(&key)?;
        receipt.is_valid(now).then_some(receipt.added)
    }

    fn take_out(&mut self, dlq: &StreamKey, order: &Replay) {
        if order.keep == Keep::Remove && self.delete(dlq, order.dead_letter) {
            self.ledger(dlq).replayed += 1;
        }
    }

    /// Adds a dead letter that was stored elsewhere, once however often it is asked.
    pub(super) fn import(&mut self, dlq: &StreamKey, order: &Import, now: Moment) -> Imported {
        self.imports.retain(|_, receipt| receipt.is_valid(now));
        let key = (dlq.clone(), order.receipt.clone());
        if let Some(receipt) = self.imports.get(&key) {
            return Imported::Already(receipt.added);
        }
        if order.stored.is_empty() {
            return Imported::Refused(Error::new(
                ErrorKind::Invalid,
                format!("adding to {dlq} without fields"),
            ));
        }
        match self.add(dlq, order.stored.clone(), now) {
            Err(error) => Imported::Refused(error),
            Ok(added) => {
                let day = now.ms() / DAY_MS;
                self.imports.insert(key, Receipt { added, day });
                self.ledger(dlq).imported += 1;
                Imported::Added(added)
            }
        }
    }

    /// As `stage.lua`: up to the first that is refused.
    pub(super) fn stage(&mut self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error> {
        let mut added = 0;
        for letter in letters {
            self.check_type(dlq)?;
            let stream = self.streams.entry(dlq.clone()).or_default();
            if stream.entries.contains_key(&letter.id) {
                continue;
            }
            if letter.id <= stream.last_id {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!("staging dead letters in {dlq}"),
                ));
            }
            stream.put(letter.id, letter.fields.clone());
            self.ledger(dlq).dead_lettered += 1;
            added += 1;
        }
        Ok(added)
    }

    pub(super) fn purge(&mut self, dlq: &StreamKey, id: EntryId) -> bool {
        let removed = self.delete(dlq, id);
        if removed {
            self.ledger(dlq).purged += 1;
        }
        removed
    }
}
