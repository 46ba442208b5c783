//! Every event of a processor, each said in one place: what is logged, at which level, with what.
//!
//! Levels: `error` a person must act; `warn` a dead letter, a lost lease, a loss, a broker that
//! fails, a handler that cannot run; `info` other changes of state, and each failed run; `debug`
//! whatever else is per message. Payloads never appear; ids and error texts do. What others wrote
//! goes through [`Text`] or [`Name`]: logs end on terminals.

use std::fmt::{self, Debug, Display, Formatter, Write as _};
use std::time::Duration;

use tracing::{Span, debug, error, field, info, warn};

use crate::backend::Died;
use crate::dead_letter::{DeadLetterLimit, Reason};
use crate::error::{Error, with_causes};
use crate::fingerprint::clip;
use crate::names::{ConsumerName, EntryId, Source, StreamKey};

/// How much of an error a line holds at most that is kept elsewhere, in bytes.
const BRIEF: usize = 200;

/// The span around one run of a handler: what the handler logs carries the message's id.
pub(crate) fn run_span(id: EntryId, attempt: u32) -> Span {
    tracing::info_span!("message", %id, attempt)
}

pub(crate) fn joined(source: &Source, consumer: &ConsumerName) {
    info!(source = %Name(source), consumer = %Name(consumer), "processor started");
}

/// The name is another process's, or was: it is waited for.
pub(crate) fn name_taken(source: &Source, consumer: &ConsumerName, wait: Duration) {
    warn!(
        source = %Name(source),
        consumer = %Name(consumer),
        ?wait,
        "another process has this consumer's name: waiting for it"
    );
}

pub(crate) fn draining(source: &Source, drain: Duration) {
    info!(source = %Name(source), ?drain, "processor stops: handing back what has not started");
}

pub(crate) fn stopped(source: &Source, consumer: &ConsumerName) {
    info!(source = %Name(source), consumer = %Name(consumer), "processor stopped");
}

pub(crate) fn not_left(source: &Source, error: Option<&Error>) {
    let error = error.map(|error| Text(with_causes(error)));
    let error = error.map(field::debug);
    debug!(source = %Name(source), error, "consumer not removed, others will remove it");
}

/// Healthy to failing.
pub(crate) fn failing(source: &Source, error: &Error) {
    warn!(source = %Name(source), error = ?Text(&with_causes(error)), "broker fails, trying again");
}

/// An operation on dead letters is over, and its audit does not say so.
pub(crate) fn end_not_recorded(what: &'static str, dlq: &StreamKey, error: &Error) {
    warn!(
        what,
        dlq = %Name(dlq),
        error = ?Text(&with_causes(error)),
        "the audit does not say how it ended: it could not be written"
    );
}

/// Failing to healthy.
pub(crate) fn healed(source: &Source) {
    info!(source = %Name(source), "broker answers again");
}

/// Once for all connections of a broker.
pub(crate) fn primary_moved(service: &str, old: &impl Display, new: &impl Display) {
    info!(service = %Name(service), old = %Name(old), new = %Name(new), "another server is the primary now");
}

/// As after a failover to a server whose clock is wrong.
pub(crate) fn clock_went_ahead(source: &Source, by: Duration) {
    warn!(source = %Name(source), ?by, "the server's clock went ahead: leases seem to be over, messages may run twice");
}

pub(crate) fn clock_fell_behind(source: &Source, by: Duration) {
    warn!(source = %Name(source), ?by, "the server's clock fell behind: retries and abandoned messages wait for longer");
}

/// From writing to refusing: once, however many calls are refused.
pub(crate) fn writes_refused(source: &Source, error: &Error) {
    error!(
        source = %Name(source),
        error = ?Text(&with_causes(error)),
        hint = error.cure().map(Text).map(field::debug),
        "broker refuses writes: nothing new is read, what is held goes on"
    );
}

pub(crate) fn writes_taken(source: &Source, after: Duration) {
    info!(source = %Name(source), ?after, "broker takes writes again: reading goes on");
}

pub(crate) fn group_restored(source: &Source) {
    warn!(source = %Name(source), "the group had vanished and was created again");
}

/// Ends the processor.
pub(crate) fn fatal(source: &Source, error: &Error) {
    error!(
        source = %Name(source),
        error = ?Text(&with_causes(error)),
        hint = error.cure().map(Text).map(field::debug),
        "processor ends with an error"
    );
}

pub(crate) fn lease_lost(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "lease lost");
}

/// How many were lost at about the same time.
pub(crate) fn leases_lost(source: &Source, leases: u64) {
    warn!(source = %Name(source), leases, "leases lost: other consumers may run these messages too");
}

pub(crate) fn stale(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "failed after its lease was lost: nothing recorded");
}

pub(crate) fn trimmed(source: &Source, id: EntryId, tombstone: EntryId) {
    warn!(source = %Name(source), %id, %tombstone, "entry trimmed while it was held");
}

pub(crate) fn tombstone_refused(source: &Source, id: EntryId, error: &Error) {
    debug!(source = %Name(source), %id, error = ?Text(&with_causes(error)), "tombstone not written, trying again");
}

/// The first handler in a row that could not begin.
pub(crate) fn unavailable(source: &Source, pause: Duration, reason: &str) {
    let reason = Text(clip(reason, BRIEF));
    warn!(source = %Name(source), ?pause, ?reason, "handler cannot run: pausing, trying again");
}

pub(crate) fn available_again(source: &Source, after: Duration) {
    info!(source = %Name(source), ?after, "handler runs again");
}

/// Nearly all of the last runs failed: once, when intake slows down for it.
pub(crate) fn breaker_opened(source: &Source, failed: u32, of: u32, pause: Duration) {
    warn!(
        source = %Name(source),
        failed,
        of,
        ?pause,
        "nearly every run fails: intake pauses, then tries one message at a time"
    );
}

pub(crate) fn breaker_closed(source: &Source, after: Duration) {
    info!(source = %Name(source), ?after, "a run has worked: full speed again");
}

pub(crate) fn cut_off(source: &Source, handlers: usize) {
    warn!(source = %Name(source), handlers, "drain time is over: handlers aborted, their messages handed back");
}

pub(crate) fn succeeded(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "succeeded");
}

pub(crate) fn discarded(source: &Source, id: EntryId, reason: &str) {
    info!(source = %Name(source), %id, reason = ?Text(reason), "discarded");
}

/// One more crash of this message would be too many: nothing runs beside it now.
pub(crate) fn runs_alone(source: &Source, id: EntryId, crashes: u32) {
    info!(source = %Name(source), %id, crashes, "starts alone: one crash short of crash_loop");
}

/// It looks like the end of too many processes, and whoever has it may still come back.
pub(crate) fn doubted(source: &Source, id: EntryId) {
    info!(source = %Name(source), %id, "silent while it ran alone: crash_loop, unless its process comes back");
}

/// More of the error is kept with the message.
pub(crate) fn retried(source: &Source, id: EntryId, delay: Duration, error: &str) {
    let error = Text(clip(error, BRIEF));
    info!(source = %Name(source), %id, ?delay, ?error, "failed, will be run again");
}

pub(crate) fn deferred(source: &Source, id: EntryId, delay: Duration) {
    debug!(source = %Name(source), %id, ?delay, "deferred");
}

pub(crate) fn released(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "handed back");
}

pub(crate) fn gone(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "no longer pending, nothing recorded");
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
    let error = error.map(Text).map(field::debug);
    warn!(source = %Name(source), %id, reason, error, %dead_letter, layout, "dead letter");
}

/// A message was to be given up, and stays pending because the queue is full.
pub(crate) fn kept(source: &Source, id: EntryId) {
    debug!(source = %Name(source), %id, "dead letter waits: the queue is full");
}

/// The queue came to a limit that stops: once per change.
pub(crate) fn queue_full(source: &Source, dlq: &StreamKey, limit: &DeadLetterLimit) {
    let name = Name(dlq);
    error!(
        source = %Name(source),
        hint = "replay or purge dead letters, or raise the limit",
        "dead-letter queue {name} is full, at its limit of {limit}; messages that should go there stay pending"
    );
}

pub(crate) fn queue_has_room(source: &Source, dlq: &StreamKey) {
    let name = Name(dlq);
    info!(source = %Name(source), "dead-letter queue {name} has room again");
}

/// The oldest of a queue were written elsewhere, and removed.
pub(crate) fn spilled(source: &Source, dlq: &StreamKey, spilled: u64) {
    let name = Name(dlq);
    info!(source = %Name(source), spilled, "the oldest dead letters of {name} were spilled");
}

pub(crate) fn spill_failed(source: &Source, dlq: &StreamKey, error: &std::io::Error) {
    let name = Name(dlq);
    error!(
        source = %Name(source),
        error = ?Text(error),
        hint = "nothing was removed; it goes on by itself once it can be written",
        "the oldest dead letters of {name} cannot be spilled; when it is full, messages that should go there stay pending"
    );
}

pub(crate) fn spills_again(source: &Source, dlq: &StreamKey) {
    let name = Name(dlq);
    info!(source = %Name(source), "the oldest dead letters of {name} are spilled again");
}

/// A limit that drops the oldest has done so: once per call.
pub(crate) fn dropped(source: &Source, dlq: &StreamKey, dropped: u64) {
    warn!(
        source = %Name(source),
        dlq = %Name(dlq),
        dropped,
        "oldest dead letters dropped: the queue is at its limit"
    );
}

/// A message was given up by a call whose first answer was lost: the dead letter's id with it.
pub(crate) fn died_unseen(source: &Source, id: EntryId, reason: Reason, error: &str) {
    let (reason, error) = (reason.as_str(), Text(error));
    warn!(source = %Name(source), %id, reason, ?error, "dead letter");
}

/// A text of anybody's: one line, in quotes, with what would steer a terminal escaped.
#[derive(Clone, Copy)]
struct Text<T>(T);

impl<T: Display> Debug for Text<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.to_string())
    }
}

/// A name of anybody's, escaped likewise, and in no quotes.
struct Name<T>(T);

impl<T: Display> Display for Name<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string().chars() {
            match char {
                '"' | '\'' | '\\' => f.write_char(char)?,
                _ => write!(f, "{}", char.escape_debug())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_escaped() {
        let text = "a\u{1b}[2J\r\nb\u{202e}\u{9b}\u{7f} \"é\"";
        let escaped = r#"a\u{1b}[2J\r\nb\u{202e}\u{9b}\u{7f} "#;
        assert_eq!(format!("{:?}", Text(text)), format!(r#""{escaped}\"é\"""#));
        assert_eq!(Name(text).to_string(), format!(r#"{escaped}"é""#));
        assert_eq!(Name("{a}:b/c d").to_string(), "{a}:b/c d");
    }
}
