//! Every event of a processor, each said in one place: what is logged, at which level, with what.
//!
//! Levels: `error` a person must act; `warn` a dead letter, a lost lease, a loss, a broker that fails; `info` other changes
//! of state; `debug` per message. Payloads never appear; ids and error texts do.

use std::time::Duration;

use tracing::{Span, debug, error, info, warn};

use crate::backend::Died;
use crate::dead_letter::Reason;
use crate::error::Error;
use crate::names::{ConsumerName, EntryId, Source, StreamKey};

/// The span around one run of a handler: what the handler logs carries the message's id.
pub(crate) fn run_span(id: EntryId, attempt: u32) -> Span {
    tracing::info_span!("message", %id, attempt)
}

pub(crate) fn joined(source: &Source, consumer: &ConsumerName) {
    info!(%source, %consumer, "processor started");
}

pub(crate) fn draining(source: &Source, drain: Duration) {
    info!(%source, ?drain, "processor stops: handing back what has not started");
}

pub(crate) fn stopped(source: &Source, consumer: &ConsumerName) {
    info!(%source, %consumer, "processor stopped");
}

pub(crate) fn not_left(source: &Source, error: Option<&Error>) {
    let error = error.map(tracing::field::display);
    debug!(%source, error, "consumer not removed, others will remove it");
}

/// Healthy to failing.
pub(crate) fn failing(source: &Source, error: &Error) {
    warn!(%source, error = %Causes(error), "broker fails, trying again");
}

/// Failing to healthy.
pub(crate) fn healed(source: &Source) {
    info!(%source, "broker answers again");
}

pub(crate) fn group_restored(source: &Source) {
    warn!(%source, "the group had vanished and was created again");
}

/// Ends the processor.
pub(crate) fn fatal(source: &Source, error: &Error) {
    error!(
        %source,
        error = %Causes(error),
        hint = error.cure(),
        "processor ends with an error"
    );
}

pub(crate) fn lease_lost(source: &Source, id: EntryId) {
    warn!(%source, %id, "lease lost: another consumer may run this message");
}

pub(crate) fn stale(source: &Source, id: EntryId) {
    warn!(%source, %id, "failed after its lease was lost: nothing recorded");
}

pub(crate) fn trimmed(source: &Source, id: EntryId, tombstone: EntryId) {
    warn!(%source, %id, %tombstone, "entry trimmed while it was held");
}

pub(crate) fn tombstone_refused(source: &Source, id: EntryId, error: &Error) {
    debug!(%source, %id, error = %Causes(error), "tombstone not written, trying again");
}

pub(crate) fn cut_off(source: &Source, handlers: usize) {
    warn!(%source, handlers, "drain time is over: handlers aborted, their messages handed back");
}

pub(crate) fn succeeded(source: &Source, id: EntryId) {
    debug!(%source, %id, "succeeded");
}

pub(crate) fn discarded(source: &Source, id: EntryId, reason: &str) {
    info!(%source, %id, reason, "discarded");
}

pub(crate) fn retried(source: &Source, id: EntryId, delay: Duration, error: &str) {
    debug!(%source, %id, ?delay, error, "failed, will be run again");
}

pub(crate) fn deferred(source: &Source, id: EntryId, delay: Duration) {
    debug!(%source, %id, ?delay, "deferred");
}

pub(crate) fn released(source: &Source, id: EntryId) {
    debug!(%source, %id, "handed back");
}

pub(crate) fn gone(source: &Source, id: EntryId) {
    debug!(%source, %id, "no longer pending, nothing recorded");
}

/// A message was given up. `error` is known where its handler ran here.
pub(crate) fn died(source: &Source, died: &Died, error: Option<&str>) {
    let Died {
        id,
        reason,
        dead_letter,
        layout,
        dropped: _,
    } = died;
    let (reason, layout) = (reason.as_str(), layout.as_str());
    warn!(%source, %id, reason, error, %dead_letter, layout, "dead letter");
}

/// A message was to be given up, and stays pending because the queue is full.
pub(crate) fn kept(source: &Source, id: EntryId) {
    debug!(%source, %id, "dead letter waits: the queue is full");
}

/// The queue came to a limit that stops: once per change.
pub(crate) fn queue_full(source: &Source, dlq: &StreamKey, most: u64) {
    error!(
        %source,
        hint = "replay or purge dead letters, or raise the limit",
        "dead-letter queue {dlq} is full: {most} of {most}; messages that should go there stay pending"
    );
}

pub(crate) fn queue_has_room(source: &Source, dlq: &StreamKey) {
    info!(%source, "dead-letter queue {dlq} has room again");
}

/// A limit that drops the oldest has done so: once per call.
pub(crate) fn dropped(source: &Source, dlq: &StreamKey, dropped: u64) {
    warn!(%source, %dlq, dropped, "oldest dead letters dropped: the queue is at its limit");
}

/// A message was given up by a call whose first answer was lost: the dead letter's id with it.
pub(crate) fn died_unseen(source: &Source, id: EntryId, reason: Reason, error: &str) {
    let reason = reason.as_str();
    warn!(%source, %id, reason, error, "dead letter");
}

/// An error and its causes in one line.
struct Causes<'a>(&'a Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = std::error::Error::source(self.0);
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
