//! What stands in the dead-letter queue for messages that were trimmed: remembered for a while, for
//! whoever still holds the bytes and was not told of it.

use std::time::Duration;

use crate::backend::{Died, Fault, Fence, How, Settled, Settlement};
use crate::dead_letter::{Layout, Reason, read};
use crate::names::{ConsumerName, EntryId};

use super::dead_letters::Burial;
use super::hints::{State, millis};
use super::settle::Turn;
use super::stream::Pending;

/// How long a tombstone is remembered at least; ten leases where that is longer.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A tombstone, and the message as it was when it went.
#[derive(Clone, Debug)]
pub(super) struct Stone {
    tombstone: EntryId,
    until_ms: u64,
    layout: Layout,
    count: u64,
    owner: ConsumerName,
    state: State,
}

/// What is known of a message that is no longer pending.
pub(super) enum Past {
    /// Its tombstone is this delivery's to resolve.
    Mine(Box<Stone>),
    /// A tombstone stands for it, and another delivery was its last.
    Lost,
    Gone,
}

impl Stone {
    pub(super) fn died(&self, id: EntryId) -> Died {
        Died {
            id,
            reason: Reason::Trimmed,
            dead_letter: self.tombstone,
            layout: self.layout,
            dropped: 0,
        }
    }
}

impl Turn<'_> {
    pub(super) fn remember(&mut self, died: &Died, burial: &Burial<'_>, state: State) {
        let kept = REMEMBERED.max(self.member.lease.saturating_mul(10));
        let stone = Stone {
            tombstone: died.dead_letter,
            until_ms: self.now.ms().saturating_add(millis(kept)),
            layout: died.layout,
            count: burial.deliveries,
            owner: burial.consumer.clone(),
            state,
        };
        self.hints().stones.insert(died.id, stone);
    }

    fn remembered(&self, id: EntryId) -> Option<&Stone> {
        let hints = self.kept.hints.get(&self.member.source)?;
        let stone = hints.stones.get(&id)?;
        (stone.until_ms > self.now.ms()).then_some(stone)
    }

    /// What to say of a message that is no longer pending; the hints of it go.
    pub(super) fn past(&mut self, fence: Fence) -> Past {
        self.hints().forget(fence.id);
        let Some(stone) = self.remembered(fence.id) else {
            return Past::Gone;
        };
        if stone.owner != self.member.consumer || stone.count != fence.token {
            return Past::Lost;
        }
        // Put back before it was trimmed, and that reply was lost: what it said is on the
        // tombstone.
        if fence.is_charged() && stone.state.has_ended(fence.token) {
            return Past::Gone;
        }
        Past::Mine(Box::new(stone.clone()))
    }

    /// Its message has succeeded after all: whether a tombstone stood for it.
    pub(super) fn lift(&mut self, id: EntryId) -> bool {
        let Some(tombstone) = self.remembered(id).map(|stone| stone.tombstone) else {
            return false;
        };
        self.hints().stones.remove(&id);
        self.take_away(tombstone);
        true
    }

    fn take_away(&mut self, tombstone: EntryId) {
        let dlq = &self.member.dead_letters;
        if self.kept.delete(dlq, tombstone) {
            let ledger = self.kept.ledger(dlq);
            ledger.dead_lettered = ledger.dead_lettered.saturating_sub(1);
            ledger.rewritten += 1;
        }
    }

    /// Ends what was trimmed while it was held, and has a tombstone: success takes that back,
    /// anything else puts the bytes in its place.
    pub(super) fn resolve(&mut self, settlement: &Settlement, tombstone: EntryId) -> Settled {
        let fence = settlement.lease.fence;
        let queue = self.kept.streams.get(&self.member.dead_letters);
        let Some(stands) = queue.and_then(|queue| queue.entries.get(&tombstone)) else {
            self.hints().stones.remove(&fence.id);
            return Settled::Done;
        };
        let stands = read(tombstone, stands.clone());
        let before = Fault {
            error: stands.error.clone().unwrap_or_default(),
            kind: stands.error_kind.clone(),
            // As it is stored: one that reading computed is nothing to write.
            fingerprint: String::new(),
        };
        let burial = Burial::remembered(fence, &self.member.consumer, &before, &stands);
        self.replace(settlement, tombstone, burial)
    }

    /// The same for a delivery that was not told, of which more is remembered.
    pub(super) fn resolve_mine(&mut self, settlement: &Settlement, stone: &Stone) -> Settled {
        let fence = settlement.lease.fence;
        let queue = self.kept.streams.get(&self.member.dead_letters);
        if !queue.is_some_and(|queue| queue.entries.contains_key(&stone.tombstone)) {
            self.hints().stones.remove(&fence.id);
            return Settled::Done;
        }
        let pending = Pending {
            count: stone.count,
            ..Pending::new(&self.member.consumer, self.now)
        };
        let burial =
            Burial::of(Reason::Trimmed, &stone.state, &pending).ended_by(fence, &stone.state);
        self.replace(settlement, stone.tombstone, burial)
    }

    fn replace(
        &mut self,
        settlement: &Settlement,
        tombstone: EntryId,
        burial: Burial<'_>,
    ) -> Settled {
        let id = settlement.lease.fence.id;
        if settlement.how == How::Ack {
            self.take_away(tombstone);
            self.hints().stones.remove(&id);
            return Settled::Done;
        }
        let burial = burial.with(&settlement.how, self.now);
        let mut died = match self.write(id, Some(&settlement.fields), &burial) {
            Ok(died) => died,
            Err(error) => return Settled::Refused(error),
        };
        self.take_away(tombstone);
        self.hints().stones.remove(&id);
        died.dropped = self.drop_oldest();
        Settled::Died(died)
    }

    /// Forgets the tombstones that nobody can be asking for any more.
    pub(super) fn forget_stones(&mut self) {
        let now_ms = self.now.ms();
        self.hints()
            .stones
            .retain(|_, stone| stone.until_ms > now_ms);
    }
}
