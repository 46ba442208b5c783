//! Every event of a processor, each said in one place: what is logged, at which level, with what, and which
//! metric it is counted in.
//!
//! Levels: `error` a person must act; `warn` a dead letter, a lost lease, a loss, a broker that
//! fails, a handler that cannot run; `info` other changes of state, and each failed run; `debug`
//! whatever else is per message. Payloads never appear; ids and error texts do. What others wrote
//! goes through [`Text`] or [`Name`]: logs end on terminals.

mod meters;
mod teller;

pub(crate) use self::meters::{Level, Meters, Share};
pub(crate) use self::teller::Teller;

use std::fmt::{self, Debug, Display, Formatter, Write as _};
use std::time::Duration;

use tracing::{Span, debug, error, field, info, warn};

use crate::error::{Error, with_causes};
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

/// An operation on dead letters is over, and its audit does not say so.
pub(crate) fn end_not_recorded(what: &'static str, dlq: &StreamKey, error: &Error) {
    warn!(
        what,
        dlq = %Name(dlq),
        error = ?Text(&with_causes(error)),
        "the audit does not say how it ended: it could not be written"
    );
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

/// Ends the processor.
pub(crate) fn fatal(source: &Source, error: &Error) {
    error!(
        source = %Name(source),
        error = ?Text(&with_causes(error)),
        hint = error.cure().map(Text).map(field::debug),
        "processor ends with an error"
    );
}

/// How many were lost at about the same time.
pub(crate) fn leases_lost(source: &Source, leases: u64) {
    warn!(source = %Name(source), leases, "leases lost: other consumers may run these messages too");
}

pub(crate) fn tombstone_refused(source: &Source, id: EntryId, error: &Error) {
    debug!(source = %Name(source), %id, error = ?Text(&with_causes(error)), "tombstone not written, trying again");
}

/// One more crash of this message would be too many: nothing runs beside it now.
pub(crate) fn runs_alone(source: &Source, id: EntryId, crashes: u32) {
    info!(source = %Name(source), %id, crashes, "starts alone: one crash short of crash_loop");
}

/// It looks like the end of too many processes, and whoever has it may still come back.
pub(crate) fn doubted(source: &Source, id: EntryId) {
    info!(source = %Name(source), %id, "silent while it ran alone: crash_loop, unless its process comes back");
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
