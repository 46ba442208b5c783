//! The settle protocol: begin, renew, and the ways a delivery ends.

use crate::backend::{
    Begun, Beside, Charge, Died, Fence, How, Membership, OnAck, Renewed, Settled, Settlement, Waits,
};
use crate::dead_letter::Reason;
use crate::error::Error;
use crate::message::Fields;
use crate::names::EntryId;

use super::dead_letters::Burial;
use super::hints::{Hints, Own, State, millis};
use super::limit::Buried;
use super::stream::Pending;
use super::tombstones::{Past, Stone};
use super::world::{Kept, Moment};

/// One step of one seat: all there is, who acts, and when.
pub(super) struct Turn<'a> {
    pub(super) kept: &'a mut Kept,
    pub(super) member: &'a Membership,
    pub(super) now: Moment,
}

/// What a settlement finds.
enum Found {
    /// Mine, this delivery, and the payload is there.
    Mine(State),
    /// Mine, this delivery, and the entry was trimmed.
    Trimmed(State),
    /// No longer pending, and its tombstone is this delivery's to resolve.
    Buried(Box<Stone>),
    /// This delivery was ended before.
    Already,
    Lost,
    Gone,
}

impl<'a> Turn<'a> {
    pub(super) fn new(kept: &'a mut Kept, member: &'a Membership, now: Moment) -> Self {
        Self { kept, member, now }
    }

    /// Charges a run that is about to start.
    pub(super) fn begin(&mut self, fence: Fence, beside: Beside, nonce: &str) -> Begun {
        // Whoever asks to begin holds it uncharged.
        let fence = Fence {
            charge: Charge::TakenOver,
            ..fence
        };
        let Fence { id, token, .. } = fence;
        let Some(pending) = self.pending(id) else {
            return match self.past(fence) {
                Past::Mine(stone) => Begun::Died(stone.died(id)),
                Past::Lost => Begun::Lost,
                Past::Gone => Begun::Gone,
            };
        };
        let mut state = self.state(id, token);
        if !self.is_mine(&pending) {
            return Begun::Lost;
        }
        if pending.count == token + 1 && state.nonce == nonce {
            return Begun::Started {
                token: token + 1,
                failures: state.failures,
                crashes: self.as_told(state.crashes),
            };
        }
        if pending.count != token || self.is_waiting(id, &pending) {
            return Begun::Lost;
        }
        let crashes = state.crashes_at(token);
        let payload = self.payload(id);
        let reason = match &payload {
            None => Some(Reason::Trimmed),
            Some(_) => self.used_up(&state, token),
        };
        if let Some(reason) = reason {
            state.say_last_words(reason, token);
            let burial = Burial::of(reason, &state, &pending);
            return match self.bury(id, payload.as_ref(), &burial) {
                Buried::Died(died) => Begun::Died(died),
                Buried::Kept => Begun::Full,
                Buried::Refused(error) => Begun::Refused(error),
            };
        }
        if crashes > state.crashes {
            state.booked = token;
        }
        state.crashes = crashes;
        state.open = token + 1;
        state.hint = 0;
        state.alone = match beside {
            Beside::Nobody => token + 1,
            Beside::Others => 0,
        };
        nonce.clone_into(&mut state.nonce);
        let begun = Begun::Started {
            token: token + 1,
            failures: state.failures,
            crashes: self.as_told(crashes),
        };
        self.hold(id);
        if let Some(pending) = self.group_pending(id) {
            pending.count += 1;
        }
        self.hints().states.insert(id, state);
        begun
    }

    /// Keeps a held message from being taken over; never takes one back.
    pub(super) fn renew(&mut self, fence: Fence) -> Renewed {
        let Fence { id, token, .. } = fence;
        let Some(pending) = self.pending(id) else {
            return match self.past(fence) {
                Past::Mine(stone) => {
                    let Died {
                        dead_letter: tombstone,
                        dropped,
                        ..
                    } = stone.died(id);
                    Renewed::Trimmed { tombstone, dropped }
                }
                Past::Lost => Renewed::Lost,
                Past::Gone => Renewed::Gone,
            };
        };
        if !self.is_mine(&pending) || pending.count != token {
            self.unbook(fence, &pending);
            return Renewed::Lost;
        }
        if self.payload(id).is_some() {
            self.hold(id);
            self.came_back(fence);
            return Renewed::Held;
        }
        let state = self.state(id, token);
        if fence.is_charged() && state.has_ended(token) {
            // Put back before, and the reply was lost: the tombstone is the takeover's, or its failure
            // would be counted again.
            return Renewed::Held;
        }
        let burial = Burial::of(Reason::Trimmed, &state, &pending).ended_by(fence, &state);
        match self.bury(id, None, &burial) {
            Buried::Died(died) => Renewed::Trimmed {
                tombstone: died.dead_letter,
                dropped: died.dropped,
            },
            Buried::Kept => Renewed::Held,
            Buried::Refused(error) => Renewed::Refused(error),
        }
    }

    /// Ends a delivery.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Settled {
        if let Some(tombstone) = settlement.lease.tombstone {
            return self.resolve(settlement, tombstone);
        }
        let fence = settlement.lease.fence;
        if settlement.how == How::Ack {
            return self.ack(fence);
        }
        let dies = matches!(settlement.how, How::DeadLetter { .. });
        let (state, is_there) = match self.find(fence, &settlement.how) {
            Found::Mine(state) => (state, true),
            Found::Trimmed(state) => (state, false),
            // What a full queue kept pending, and that answer was lost.
            Found::Already if dies && self.stops() => return Settled::Full,
            Found::Already => return Settled::Done,
            Found::Buried(stone) => return self.resolve_mine(settlement, &stone),
            Found::Lost => return Settled::Stale,
            Found::Gone => return Settled::Gone,
        };
        match &settlement.how {
            // Bytes that only this process still has must not be waited for, or handed back.
            _ if !is_there => self.end(settlement, &state, Reason::Trimmed),
            How::DeadLetter { reason, .. } => self.end(settlement, &state, *reason),
            how => {
                self.put_back(fence, state, how);
                Settled::Done
            }
        }
    }

    fn find(&mut self, fence: Fence, how: &How) -> Found {
        let Fence { id, token, .. } = fence;
        let Some(pending) = self.pending(id) else {
            return match self.past(fence) {
                Past::Mine(stone) => Found::Buried(stone),
                Past::Lost => Found::Lost,
                Past::Gone => Found::Gone,
            };
        };
        let state = self.state(id, token);
        // Before the fence: after a lost reply somebody else may have it already, and this is
        // still the answer. What was taken over again under the same count is another lease, and
        // can only have been ended by being put back in the queue for its due time.
        let ended = if fence.is_charged() {
            state.has_ended(token)
        } else {
            state.hint == token && self.kept_due(id)
        };
        let dies = matches!(how, How::DeadLetter { .. });
        if ended && !dies {
            return Found::Already;
        }
        if !self.is_mine(&pending) || pending.count != token {
            self.unbook(fence, &pending);
            return Found::Lost;
        }
        if ended {
            return Found::Already;
        }
        if self.payload(id).is_none() {
            return Found::Trimmed(state);
        }
        Found::Mine(state)
    }

    /// Retry, defer, release: the message stays pending, and has a due time, unless it waits with
    /// its holder.
    fn put_back(&mut self, fence: Fence, mut state: State, how: &How) {
        let Fence { id, token, .. } = fence;
        let (delay, waits) = match how {
            How::Retry {
                delay,
                fault,
                waits,
            } => {
                state.record_failure(fault, self.now);
                (*delay, *waits)
            }
            How::Defer { delay, waits } => (*delay, *waits),
            How::Ack | How::DeadLetter { .. } | How::Release => {
                (std::time::Duration::ZERO, Waits::InTheGroup)
            }
        };
        // Handing back what was taken over and not begun forgives nothing.
        if fence.is_charged() {
            state.open = 0;
        }
        state.hint = token;
        self.hold(id);
        let due_ms = self.now.ms().saturating_add(millis(delay));
        let hints = self.hints();
        hints.states.insert(id, state);
        match waits {
            Waits::InTheGroup => hints.due.set(id, due_ms),
            // One that a group before this one left would be taken for that of this delivery.
            Waits::WithHolder => hints.due.remove(id),
        }
    }

    /// Moves a message to the dead-letter queue with its bytes.
    fn end(&mut self, settlement: &Settlement, state: &State, reason: Reason) -> Settled {
        let fence = settlement.lease.fence;
        let Some(pending) = self.pending(fence.id) else {
            return Settled::Gone;
        };
        let burial = Burial::of(reason, state, &pending)
            .ended_by(fence, state)
            .with(&settlement.how, self.now);
        let stored = self.payload(fence.id);
        let fields = stored.as_ref().unwrap_or(&settlement.fields);
        match self.bury(fence.id, Some(fields), &burial) {
            Buried::Died(died) => Settled::Died(died),
            Buried::Kept => Settled::Full,
            Buried::Refused(error) => Settled::Refused(error),
        }
    }

    /// Not fenced: the work is done, refusing it would only add a run.
    fn ack(&mut self, fence: Fence) -> Settled {
        let id = fence.id;
        let was_pending = self.pending(id).is_some();
        if fence.charge == Charge::Fresh {
            // One plain command for a whole batch: what a takeover meanwhile noted is left to the
            // next round.
            self.acknowledge(id);
        } else {
            self.remove(id);
        }
        let lifted = !was_pending && self.lift(id);
        if self.member.on_ack == OnAck::Delete {
            self.kept.delete(&self.member.source.stream, id);
        }
        if was_pending || lifted {
            Settled::Done
        } else {
            Settled::Gone
        }
    }

    /// A lost lease is not a crash: takes back what was booked, or would be, for this delivery.
    fn unbook(&mut self, fence: Fence, pending: &Pending) {
        let token = fence.token;
        if !fence.is_charged() {
            return;
        }
        let mut state = self.state(fence.id, pending.count);
        if state.booked == token && state.crashes > 0 {
            state.crashes -= 1;
            state.booked = 0;
        } else if pending.count == token && state.open == token {
            state.open = 0;
        } else {
            return;
        }
        self.hints().states.insert(fence.id, state);
    }

    /// `XACK`.
    fn acknowledge(&mut self, id: EntryId) {
        if let Some(group) = self.kept.group_mut(&self.member.source) {
            group.pending.remove(&id);
        }
    }

    /// `XACK`, and the hints with it.
    pub(super) fn remove(&mut self, id: EntryId) {
        self.acknowledge(id);
        self.hints().forget(id);
    }

    /// `XCLAIM … JUSTID` to this seat.
    pub(super) fn hold(&mut self, id: EntryId) {
        let Membership {
            source, consumer, ..
        } = self.member;
        if let Some(group) = self.kept.group_mut(source) {
            group.claim(id, consumer, self.now);
        }
    }

    /// A sign of life, as long as the consumer is still registered; refused when the name is another
    /// process's by now.
    pub(super) fn give_sign(&mut self) -> Result<(), Error> {
        let (now, member) = (self.now, self.member);
        if self.kept.taken_for(member, now).is_some() {
            return Err(Error::name_taken(&member.consumer));
        }
        if let Some(own) = self.hints().own.get_mut(&member.consumer) {
            *own = Own::seen(member, now);
        }
        Ok(())
    }

    pub(super) fn hints(&mut self) -> &mut Hints {
        self.kept
            .hints
            .entry(self.member.source.clone())
            .or_default()
    }

    pub(super) fn pending(&self, id: EntryId) -> Option<Pending> {
        let group = self.kept.group(&self.member.source).ok()?;
        group.pending.get(&id).cloned()
    }

    fn group_pending(&mut self, id: EntryId) -> Option<&mut Pending> {
        self.kept
            .group_mut(&self.member.source)?
            .pending
            .get_mut(&id)
    }

    pub(super) fn payload(&self, id: EntryId) -> Option<Fields> {
        let stream = self.kept.streams.get(&self.member.source.stream)?;
        stream.entries.get(&id).cloned()
    }

    pub(super) fn state(&self, id: EntryId, count: u64) -> State {
        self.kept
            .hints
            .get(&self.member.source)
            .and_then(|hints| hints.states.get(&id))
            .cloned()
            .unwrap_or_else(|| State::unwritten(count))
    }

    pub(super) fn kept_due(&self, id: EntryId) -> bool {
        self.kept
            .hints
            .get(&self.member.source)
            .is_some_and(|hints| hints.due.contains(id))
    }

    /// Whether its due time is valid: nobody has begun it since.
    pub(super) fn is_waiting(&self, id: EntryId, pending: &Pending) -> bool {
        self.kept_due(id) && self.state(id, pending.count).hint == pending.count
    }

    fn is_mine(&self, pending: &Pending) -> bool {
        pending.consumer == self.member.consumer
    }
}
