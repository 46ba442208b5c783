//! What a handler says of a message.

use std::time::Duration;

use crate::error::{BoxError, with_causes};

/// A handler's word about one message. What becomes of it is the processor's decision: only
/// policy turns a retry into a dead letter.
///
/// | outcome | becomes |
/// |---|---|
/// | [`Ack`](Self::Ack) | done |
/// | [`Retry`](Self::Retry) | one recorded failure: run again after a delay, or a dead letter `attempts_exhausted` |
/// | [`Defer`](Self::Defer) | run again after the delay; nothing is charged |
/// | [`Unavailable`](Self::Unavailable) | nothing is charged; the processor pauses, and whoever can runs it |
/// | [`DeadLetter`](Self::DeadLetter) | a dead letter `rejected`, at once |
/// | [`Discard`](Self::Discard) | done, counted and logged with the reason |
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an outcome does nothing unless the handler returns it"]
#[non_exhaustive]
pub enum Outcome {
    /// The work is done.
    Ack,
    /// It failed and may succeed later.
    Retry {
        /// What went wrong.
        failure: Failure,
        /// Run again after this long; by the backoff of the policy where it is `None`.
        after: Option<Duration>,
    },
    /// Not now: run again after this long. Charges nothing.
    Defer {
        /// How long to wait, from now.
        by: Duration,
    },
    /// The handler could not even begin: what it needs is not there, for this message or any
    /// other. Charges nothing.
    Unavailable {
        /// What is not there, for the log.
        reason: String,
    },
    /// It can never succeed.
    DeadLetter {
        /// Why, for the person who reads the dead letter.
        failure: Failure,
    },
    /// It need not be done.
    Discard {
        /// Why, for the log.
        reason: String,
    },
}

impl Outcome {
    /// It failed: retry by the backoff of the policy. The same as returning an `Err`.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self::Retry {
            failure: Failure::of(error),
            after: None,
        }
    }

    /// It failed: retry after `delay`.
    pub fn retry_after(error: impl Into<BoxError>, delay: Duration) -> Self {
        Self::Retry {
            failure: Failure::of(error),
            after: Some(delay),
        }
    }

    /// Not now, again after `by`; charges nothing.
    pub fn defer(by: Duration) -> Self {
        Self::Defer { by }
    }

    /// The handler could not even begin: a program that cannot be started, a server that refuses
    /// connections.
    ///
    /// It says nothing of the message, so nothing is charged to it. The processor puts it back,
    /// and all that waits here, so that other workers of the group can take it. It starts no other
    /// handler and takes in nothing new for a while, and then tries with one message. Each try that
    /// ends like this makes the pause longer, about 0.5 s doubling to 30 s, with full jitter; one
    /// that ends otherwise, a failure too, ends it. What fails for some messages only is a
    /// [`retry`](Self::retry) or a [`defer`](Self::defer).
    ///
    /// ```
    /// use redrive::{Message, Outcome};
    /// use tokio::net::TcpStream;
    ///
    /// async fn deliver(parcel: Message<String>) -> Outcome {
    ///     match TcpStream::connect("localhost:2525").await {
    ///         Ok(_connection) => Outcome::Ack,
    ///         Err(error) => Outcome::unavailable(error.to_string()),
    ///     }
    /// }
    /// ```
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
        }
    }

    /// It can never succeed: a dead letter at once.
    pub fn dead_letter(reason: impl Into<String>) -> Self {
        Self::DeadLetter {
            failure: Failure {
                error: reason.into(),
                kind: None,
            },
        }
    }

    /// It need not be done: acknowledged, counted, logged with the reason.
    pub fn discard(reason: impl Into<String>) -> Self {
        Self::Discard {
            reason: reason.into(),
        }
    }
}

/// What went wrong in a run, as it is kept with the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The error's text with its causes, the outermost first, joined by `: `.
    pub error: String,
    /// Its type or code, where one is known: `panic`, `timeout`, or the last part of the type's
    /// name.
    pub kind: Option<String>,
}

impl Failure {
    fn of(error: impl Into<BoxError>) -> Self {
        Self {
            error: with_causes(error.into().as_ref()),
            kind: None,
        }
    }

    pub(crate) fn kinded(error: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            kind: Some(kind.into()),
        }
    }
}

/// What a handler may return.
///
/// | returned | outcome |
/// |---|---|
/// | `()` | ack |
/// | `true`, `false` | ack, retry |
/// | [`Outcome`] | itself |
/// | `Ok(any of these)` | that |
/// | `Err(error)` | retry, with the error's text and its causes |
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not an outcome",
    note = "return `()`, `bool`, `Outcome`, or a `Result` of one of these with any error"
)]
pub trait IntoOutcome {
    /// The outcome this stands for.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Ack
    }
}

impl IntoOutcome for bool {
    fn into_outcome(self) -> Outcome {
        if self {
            Outcome::Ack
        } else {
            Outcome::retry("handler returned false")
        }
    }
}

impl<R: IntoOutcome, E: Into<BoxError>> IntoOutcome for Result<R, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(outcome) => outcome.into_outcome(),
            Err(error) => Outcome::Retry {
                failure: Failure {
                    kind: kind_of::<E>(),
                    ..Failure::of(error)
                },
                after: None,
            },
        }
    }
}

/// The last part of an error type's name; `None` for types that can hold any error, or a text.
fn kind_of<E>() -> Option<String> {
    let name = std::any::type_name::<E>();
    let bare = name.split('<').next().unwrap_or(name);
    let holds_any = bare.ends_with("::Box")
        || bare.starts_with('&')
        || matches!(
            bare,
            "anyhow::Error" | "eyre::Report" | "alloc::string::String"
        );
    (!holds_any).then(|| bare.rsplit("::").next().unwrap_or(bare).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(outcome: Outcome) -> Failure {
        match outcome {
            Outcome::Retry { failure, .. } => failure,
            other => panic!("not a retry: {other:?}"),
        }
    }

    #[test]
    fn what_a_handler_returns_becomes_its_outcome() {
        assert_eq!(().into_outcome(), Outcome::Ack);
        assert_eq!(true.into_outcome(), Outcome::Ack);
        assert_eq!(
            failure(false.into_outcome()).error,
            "handler returned false"
        );
        assert_eq!(Ok::<_, BoxError>(Outcome::Ack).into_outcome(), Outcome::Ack);
        let refused = Ok::<_, BoxError>(Outcome::dead_letter("no")).into_outcome();
        assert_eq!(refused, Outcome::dead_letter("no"));
    }

    #[test]
    fn an_error_is_a_retry_with_its_causes_and_its_type() {
        let parse = failure("x".parse::<u32>().map(drop).into_outcome());
        assert_eq!(parse.error, "invalid digit found in string");
        assert_eq!(parse.kind.as_deref(), Some("ParseIntError"));

        let chained = anyhow::anyhow!("refused").context("charging the card");
        let chained = failure(Err::<(), _>(chained).into_outcome());
        assert_eq!(chained.error, "charging the card: refused");
        assert_eq!(chained.kind, None);
        assert_eq!(failure(Err::<(), _>("text").into_outcome()).kind, None);
        assert_eq!(
            failure(Err::<(), BoxError>("t".into()).into_outcome()).kind,
            None
        );
    }
}
