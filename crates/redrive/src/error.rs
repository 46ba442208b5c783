//! The one error type: its kind, what was being done, how to cure it, and what caused it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::names::ConsumerName;

/// Any error, as a handler may return it.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What went wrong, for code that reacts to it. Text is for people: [`Error`]'s `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value that can never work: a bad URL, option, name or id. Retrying does not help.
    Invalid,
    /// The server cannot be reached, or the connection broke. Retried by a processor.
    Unreachable,
    /// The server does not answer in time. Retried by a processor.
    TimedOut,
    /// The server is there but refuses for now: loading, read-only, busy. Retried by a processor.
    Unavailable,
    /// The server refuses to write: it has used up its memory, cannot save to its disk, or has too
    /// few replicas. Somebody has to act. Retried by a processor, which reads nothing new until then.
    WritesRefused,
    /// The stream or its group is gone. A processor creates it again.
    NoGroup,
    /// The server refuses these credentials, or this user may not do this.
    Denied,
    /// A key holds something else than what it should: it is not a stream.
    WrongType,
    /// What was asked for does not exist.
    NotFound,
    /// It would do harm, so it was not done: nothing has changed. A processor: another process runs
    /// under the name of its consumer.
    Refused,
    /// The broker has been closed.
    Closed,
    /// The server answered what redrive does not understand.
    Protocol,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::TimedOut
                | Self::Unavailable
                | Self::WritesRefused
                | Self::NoGroup
        )
    }

    fn text(self) -> &'static str {
        match self {
            Self::Invalid => "invalid value",
            Self::Unreachable => "server unreachable",
            Self::TimedOut => "no answer in time",
            Self::Unavailable => "server refuses for now",
            Self::WritesRefused => "server refuses writes",
            Self::NoGroup => "no such stream or group",
            Self::Denied => "permission denied",
            Self::WrongType => "wrong type of key",
            Self::NotFound => "not found",
            Self::Refused => "refused",
            Self::Closed => "broker is closed",
            Self::Protocol => "unexpected answer",
        }
    }
}

/// What every fallible call of this crate returns: a [kind](Self::kind), what was being done and
/// with what, often a [hint](Self::cure) that names the cure, and the cause as
/// [`source`](StdError::source).
///
/// No message holds a password or a payload. `Debug` shows all of it, for people too: it is what a
/// `main` that returns this error prints.
pub struct Error {
    kind: ErrorKind,
    doing: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<BoxError>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, doing: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            doing: doing.into(),
            hint: None,
            source: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, with what the step belonged to, or what it was about.
    pub(crate) fn during(mut self, context: impl fmt::Display) -> Self {
        self.doing = format!("{} ({context})", self.doing).into();
        self
    }

    /// Another process has the name under which this one was to run, or ran.
    pub(crate) fn name_taken(consumer: &ConsumerName) -> Self {
        Self::new(
            ErrorKind::Refused,
            format!("running as the consumer {consumer}, under which another process runs"),
        )
        .hint("stop the other one, or leave the consumer's name out: then it is a random one")
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "using a broker after close")
    }

    /// What went wrong, for code.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, for people, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // These name the thing itself: "dead letter not found: 1712-0".
            ErrorKind::NotFound => f.write_str(&self.doing),
            kind => write!(f, "{} while {}", kind.text(), self.doing),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_causes(self))?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// An error and its causes in one line; a cause that its parent already quotes is not said again.
pub(crate) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_where_and_keeps_its_cause() {
        let error = Error::new(ErrorKind::Unreachable, "connecting to localhost:1")
            .hint("is the server running?")
            .caused_by("connection refused");
        assert_eq!(
            error.to_string(),
            "server unreachable while connecting to localhost:1"
        );
        assert_eq!(error.cure(), Some("is the server running?"));
        assert_eq!(
            format!("{error:?}"),
            "server unreachable while connecting to localhost:1: connection refused\n\
             hint: is the server running?"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("connection refused")
        );
    }

    /// Errors of the client crate give themselves as their own cause: each was logged twice.
    #[test]
    fn a_cause_that_says_the_same_again_is_said_once() {
        let inner = Error::new(ErrorKind::Unreachable, "writing").caused_by("broken pipe");
        let outer = Error::new(ErrorKind::Unavailable, "receiving")
            .caused_by(Error::new(ErrorKind::Unreachable, "writing").caused_by(inner));
        assert_eq!(
            with_causes(&outer),
            "server refuses for now while receiving: server unreachable while writing: broken pipe"
        );
    }
}
