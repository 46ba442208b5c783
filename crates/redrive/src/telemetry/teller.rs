//! What a run tells of its messages and of its state: each event once, in the log and in the metrics.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, field, info, warn};

use super::meters::{Counted, Level, Meters, Pending, Share, Timed};
use super::{BRIEF, Name, Text};
use crate::backend::Died;
use crate::dead_letter::{DeadLetterLimit, Reason};
use crate::error::{Error, with_causes};
use crate::fingerprint::clip;
use crate::names::{EntryId, Source, StreamKey};

/// The voice of one run. What it counts is handed over to the recorder by
/// [`hand_over`](Self::hand_over), and at the latest when it is dropped.
#[derive(Debug)]
pub(crate) struct Teller {
    meters: Arc<Meters>,
    pending: Pending,
    held: Share,
    running: Share,
    handler_out: Share,
    open: Share,
    queue_full: Share,
    spill_fails: Share,
}

impl Teller {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        Self {
            held: meters.share(Level::Held),
            running: meters.share(Level::Running),
            handler_out: meters.share(Level::HandlerOut),
            open: meters.share(Level::Open),
            queue_full: meters.share(Level::QueueFull),
            spill_fails: meters.share(Level::SpillFails),
            pending: Pending::default(),
            meters,
        }
    }

    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    fn source(&self) -> &Source {
        &self.meters.source
    }

    /// Gives the recorder all that was counted since the last time.
    pub(crate) fn hand_over(&mut self) {
        self.pending.hand_over(&self.meters);
    }

    /// How much is in hand now.
    pub(crate) fn holds(&mut self, held: usize, running: usize) {
        self.held.set(held);
        self.running.set(running);
    }

    /// A read brought these. `oldest` is how long ago the first of them was added.
    pub(crate) fn read(&mut self, many: u64, oldest: Duration) {
        self.pending.add(Counted::Read, many);
        self.meters.time(Timed::Delay, oldest.as_secs_f64());
    }

    pub(crate) fn taken_over(&mut self) {
        self.pending.add(Counted::TakenOver, 1);
    }

    /// A handler has ended, whatever came of it.
    pub(crate) fn handled(&self, took: Duration) {
        self.meters.time(Timed::Handler, took.as_secs_f64());
    }

    /// A run was recorded as failed; what becomes of its message is told by itself.
    pub(crate) fn failed(&mut self) {
        self.pending.add(Counted::Failed, 1);
    }

    pub(crate) fn succeeded(&mut self, id: EntryId) {
        self.pending.add(Counted::Succeeded, 1);
        debug!(source = %Name(self.source()), %id, "succeeded");
    }

    pub(crate) fn discarded(&mut self, id: EntryId, reason: &str) {
        self.pending.add(Counted::Discarded, 1);
        info!(source = %Name(self.source()), %id, reason = ?Text(reason), "discarded");
    }

    /// More of the error is kept with the message.
    pub(crate) fn retried(&mut self, id: EntryId, delay: Duration, error: &str) {
        self.pending.add(Counted::Retried, 1);
        let error = Text(clip(error, BRIEF));
        info!(source = %Name(self.source()), %id, ?delay, ?error, "failed, will be run again");
    }

    pub(crate) fn deferred(&mut self, id: EntryId, delay: Duration) {
        self.pending.add(Counted::Deferred, 1);
        debug!(source = %Name(self.source()), %id, ?delay, "deferred");
    }

    pub(crate) fn released(&mut self, id: EntryId) {
        self.pending.add(Counted::Released, 1);
        debug!(source = %Name(self.source()), %id, "handed back");
    }

    pub(crate) fn gone(&mut self, id: EntryId) {
        self.pending.add(Counted::Gone, 1);
        debug!(source = %Name(self.source()), %id, "no longer pending, nothing recorded");
    }

    /// A message was given up. `error` is known where its handler ran here.
    pub(crate) fn died(&mut self, died: &Died, error: Option<&str>) {
        let Died {
            id,
            reason,
            dead_letter,
            layout,
            dropped: _,
        } = died;
        self.pending.died(*reason);
        let (reason, layout) = (reason.as_str(), layout.as_str());
        let error = error.map(Text).map(field::debug);
        warn!(source = %Name(self.source()), %id, reason, error, %dead_letter, layout, "dead letter");
    }

    /// A message was given up by a call whose first answer was lost: the dead letter's id with it.
    pub(crate) fn died_unseen(&mut self, id: EntryId, reason: Reason, error: &str) {
        self.pending.died(reason);
        let (reason, error) = (reason.as_str(), Text(error));
        warn!(source = %Name(self.source()), %id, reason, ?error, "dead letter");
    }

    /// A message was to be given up, and stays pending because the queue is full.
    pub(crate) fn kept(&mut self, id: EntryId) {
        self.pending.add(Counted::Kept, 1);
        debug!(source = %Name(self.source()), %id, "dead letter waits: the queue is full");
    }

    pub(crate) fn lease_lost(&mut self, id: EntryId) {
        self.pending.add(Counted::LeasesLost, 1);
        debug!(source = %Name(self.source()), %id, "lease lost");
    }

    pub(crate) fn stale(&mut self, id: EntryId) {
        self.pending.add(Counted::Stale, 1);
        debug!(source = %Name(self.source()), %id, "failed after its lease was lost: nothing recorded");
    }

    pub(crate) fn trimmed(&mut self, id: EntryId, tombstone: EntryId) {
        self.pending.add(Counted::Trimmed, 1);
        warn!(source = %Name(self.source()), %id, %tombstone, "entry trimmed while it was held");
    }

    pub(crate) fn cut_off(&mut self, handlers: usize) {
        self.pending.add(Counted::Aborted, handlers as u64);
        warn!(source = %Name(self.source()), handlers, "drain time is over: handlers aborted, their messages handed back");
    }

    /// The first handler in a row that could not begin.
    pub(crate) fn unavailable(&mut self, pause: Duration, reason: &str) {
        self.pending.add(Counted::CannotRun, 1);
        self.handler_out.set(1);
        let reason = Text(clip(reason, BRIEF));
        warn!(source = %Name(self.source()), ?pause, ?reason, "handler cannot run: pausing, trying again");
    }

    pub(crate) fn available_again(&mut self, after: Duration) {
        self.handler_out.set(0);
        info!(source = %Name(self.source()), ?after, "handler runs again");
    }

    /// Nearly all of the last runs failed: once, when intake slows down for it.
    pub(crate) fn breaker_opened(&mut self, failed: u32, of: u32, pause: Duration) {
        self.pending.add(Counted::Opened, 1);
        self.open.set(1);
        warn!(
            source = %Name(self.source()),
            failed,
            of,
            ?pause,
            "nearly every run fails: intake pauses, then tries one message at a time"
        );
    }

    pub(crate) fn breaker_closed(&mut self, after: Duration) {
        self.open.set(0);
        info!(source = %Name(self.source()), ?after, "a run has worked: full speed again");
    }

    /// The queue came to a limit that stops: once per change.
    pub(crate) fn queue_full(&mut self, dlq: &StreamKey, limit: &DeadLetterLimit) {
        self.queue_full.set(1);
        let name = Name(dlq);
        error!(
            source = %Name(self.source()),
            hint = "replay or purge dead letters, or raise the limit",
            "dead-letter queue {name} is full, at its limit of {limit}; messages that should go there stay pending"
        );
    }

    pub(crate) fn queue_has_room(&mut self, dlq: &StreamKey) {
        self.queue_full.set(0);
        let name = Name(dlq);
        info!(source = %Name(self.source()), "dead-letter queue {name} has room again");
    }

    /// A limit that drops the oldest has done so: once per call.
    pub(crate) fn dropped(&mut self, dlq: &StreamKey, dropped: u64) {
        self.pending.add(Counted::Dropped, dropped);
        warn!(
            source = %Name(self.source()),
            dlq = %Name(dlq),
            dropped,
            "oldest dead letters dropped: the queue is at its limit"
        );
    }

    /// The oldest of a queue were written elsewhere, and removed.
    pub(crate) fn spilled(&mut self, dlq: &StreamKey, spilled: u64) {
        self.pending.add(Counted::Spilled, spilled);
        let name = Name(dlq);
        info!(source = %Name(self.source()), spilled, "the oldest dead letters of {name} were spilled");
    }

    pub(crate) fn spill_failed(&mut self, dlq: &StreamKey, error: &std::io::Error) {
        self.pending.add(Counted::SpillFailed, 1);
        self.spill_fails.set(1);
        let name = Name(dlq);
        error!(
            source = %Name(self.source()),
            error = ?Text(error),
            hint = "nothing was removed; it goes on by itself once it can be written",
            "the oldest dead letters of {name} cannot be spilled; when it is full, messages that should go there stay pending"
        );
    }

    pub(crate) fn spills_again(&mut self, dlq: &StreamKey) {
        self.spill_fails.set(0);
        let name = Name(dlq);
        info!(source = %Name(self.source()), "the oldest dead letters of {name} are spilled again");
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// What is told of the broker, from wherever it is seen.
impl Meters {
    /// Healthy to failing.
    pub(crate) fn failing(&self, error: &Error) {
        self.count(Counted::Outages, 1);
        warn!(source = %Name(&self.source), error = ?Text(&with_causes(error)), "broker fails, trying again");
    }

    /// Failing to healthy.
    pub(crate) fn healed(&self) {
        info!(source = %Name(&self.source), "broker answers again");
    }

    /// From writing to refusing: once, however many calls are refused.
    pub(crate) fn writes_refused(&self, error: &Error) {
        self.count(Counted::Refusals, 1);
        error!(
            source = %Name(&self.source),
            error = ?Text(&with_causes(error)),
            hint = error.cure().map(Text).map(field::debug),
            "broker refuses writes: nothing new is read, what is held goes on"
        );
    }

    pub(crate) fn writes_taken(&self, after: Duration) {
        info!(source = %Name(&self.source), ?after, "broker takes writes again: reading goes on");
    }

    pub(crate) fn group_restored(&self) {
        self.count(Counted::Restored, 1);
        warn!(source = %Name(&self.source), "the group had vanished and was created again");
    }
}
