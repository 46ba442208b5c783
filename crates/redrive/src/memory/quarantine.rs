//! Which messages have had too many crashes, and of whose they were.

use std::time::Duration;

use crate::backend::Fence;
use crate::dead_letter::Reason;
use crate::names::EntryId;

use super::hints::{State, millis};
use super::settle::Turn;
use super::stream::Pending;

/// How many leases of its owner a verdict of `crash_loop` waits.
const PATIENCE: u32 = 2;

impl State {
    /// Whether the last crash, booked or open, is of a delivery that began alone in its process.
    fn is_guilty(&self, count: u64) -> bool {
        let last = if self.open == count {
            count
        } else {
            self.booked
        };
        self.alone != 0 && self.alone == last
    }

    /// The error of a `crash_loop`: the last one that was recorded, or what is known instead.
    pub(super) fn say_last_words(&mut self, reason: Reason, count: u64) {
        if reason == Reason::CrashLoop && self.fault.error.is_empty() {
            let crashes = self.crashes_at(count);
            self.fault.error = format!(
                "{crashes} of its deliveries ended with their process, the last while it ran alone"
            );
        }
    }
}

impl Turn<'_> {
    /// Why a message may not run again, if it may not.
    pub(super) fn used_up(&self, state: &State, count: u64) -> Option<Reason> {
        if state.failures >= self.member.max_attempts {
            return Some(Reason::AttemptsExhausted);
        }
        let too_many = state.crashes_at(count) >= self.member.max_crashes;
        (too_many && state.is_guilty(count)).then_some(Reason::CrashLoop)
    }

    /// Crashes as they are told to who runs it: without a proof one short of too many.
    pub(super) fn told(&self, state: &State, count: u64) -> u32 {
        self.as_told(state.crashes_at(count))
    }

    pub(super) fn as_told(&self, crashes: u32) -> u32 {
        crashes.min(self.member.max_crashes.saturating_sub(1))
    }

    /// The verdict waits, under its owner: who is only slow may still come back. A hint for the
    /// open delivery says that it has waited.
    pub(super) fn doubt(&mut self, id: EntryId, pending: &Pending) {
        let wait: Duration = PATIENCE * self.lease_of(&pending.consumer);
        let due_ms = self.now.ms().saturating_add(millis(wait));
        let mut state = self.state(id, pending.count);
        state.hint = pending.count;
        self.keep_waiting(id, pending);
        let hints = self.hints();
        hints.states.insert(id, state);
        hints.due.set(id, due_ms);
    }

    /// Its owner is back, with the very delivery that was taken for a crash: it was slow.
    pub(super) fn came_back(&mut self, fence: Fence) {
        let Fence { id, token, .. } = fence;
        if !fence.is_charged() || !self.kept_due(id) {
            return;
        }
        let mut state = self.state(id, token);
        if state.hint == token && state.open == token {
            state.hint = 0;
            let hints = self.hints();
            hints.states.insert(id, state);
            hints.due.remove(id);
        }
    }
}
