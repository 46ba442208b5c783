//! What the limit of the dead-letter queue does to this run: said once per change, and which
//! messages it keeps pending.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::run::Run;
use super::spilling;
use crate::backend::Died;
use crate::dead_letter::Reason;
use crate::names::EntryId;

/// What is known of a queue with a limit.
#[derive(Debug, Default)]
pub(super) struct Brim {
    /// What the broker last said of these is that the queue is full. Only for a run that ends when
    /// nothing else is pending: in others it would grow with what others bury.
    kept: BTreeSet<EntryId>,
    queue: Queue,
    /// What was found since it was last said.
    found: Option<Queue>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Queue {
    #[default]
    HasRoom,
    Full,
}

impl Brim {
    /// It is here again, or somebody had it in hand.
    pub(super) fn lets_go(&mut self, id: EntryId) {
        self.kept.remove(&id);
    }

    pub(super) fn died(&mut self, died: &Died) {
        self.lets_go(died.id);
        self.dropped += died.dropped;
        // A tombstone is written to a full queue, too.
        if died.reason != Reason::Trimmed {
            self.found.get_or_insert(Queue::HasRoom);
        }
    }

    /// Of nothing is it known that it stays pending.
    pub(super) fn let_all_go(&mut self) {
        self.kept.clear();
    }

    pub(super) fn dropped(&mut self, dropped: u64) {
        self.dropped += dropped;
    }

    pub(super) fn kept(&self) -> &BTreeSet<EntryId> {
        &self.kept
    }
}

impl Run {
    /// A message was to be given up, and stays pending because the queue is full.
    pub(super) fn keep_for_room(&mut self, id: EntryId) {
        self.tell.kept(id);
        self.brim.found = Some(Queue::Full);
        self.spilling.wake();
        // Where the queue spills there is room again soon, unless it cannot.
        let soon = spilling::pause(self.plan.options.dead_letter_limit.as_ref());
        if let Some(pause) = soon {
            self.intake.due_in(pause, Instant::now());
        }
        let waits = soon.is_some() && !self.spilling.is_failing();
        if self.intake.ends_when_idle() && !waits {
            self.brim.kept.insert(id);
        }
    }

    /// Says what the limit did since the last time: not a line per message.
    pub(super) fn tell_of_the_limit(&mut self) {
        let options = &self.plan.options;
        let Some(limit) = &options.dead_letter_limit else {
            return;
        };
        let (tell, dlq) = (&mut self.tell, &options.dead_letters);
        let dropped = std::mem::take(&mut self.brim.dropped);
        if dropped > 0 {
            tell.dropped(dlq, dropped);
        }
        let Some(found) = self.brim.found.take() else {
            return;
        };
        // Where it spills it is full for moments; that it cannot is said by itself.
        if limit.spill_to().is_some() {
            return;
        }
        if found == self.brim.queue {
            return;
        }
        self.brim.queue = found;
        match found {
            Queue::Full => tell.queue_full(dlq, limit),
            Queue::HasRoom => tell.queue_has_room(dlq),
        }
    }
}
