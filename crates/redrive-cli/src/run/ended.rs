//! How a run of a handler ended, in words that are the same for programs and for servers.

use std::time::Duration;

use redrive::{Failure, Outcome};

use crate::literals::Shown;

/// How much of what a handler says of its failure is kept, in bytes.
pub(crate) const ERROR_LIMIT: usize = 8 * 1024;

/// How a run of a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The work is done.
    Ack,
    /// It can never succeed.
    Reject(Reason),
    /// It failed and may succeed later: by the backoff, or after this long.
    Fail(Reason, Option<Duration>),
    /// The handler is not there; says nothing of the message.
    Unavailable(String),
}

/// Why a run failed: a text for people, a code for grouping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) error: String,
    pub(crate) kind: String,
}

impl Reason {
    pub(crate) fn new(error: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            kind: kind.into(),
        }
    }
}

impl Ended {
    pub(crate) fn timed_out(limit: Duration) -> Self {
        let text = match limit.subsec_millis() {
            0 => format!("timed out after {}", Shown(limit)),
            // As the library tells it: 1.5s, which reads better than what can be typed.
            _ => format!("timed out after {limit:?}"),
        };
        Self::Fail(Reason::new(text, "timeout"), None)
    }

    /// Ended by us because it no longer counts. Nobody looks at it.
    pub(crate) fn cancelled() -> Self {
        Self::Fail(Reason::new("cancelled", "cancelled"), None)
    }
}

/// Resolves when the limit is over, and answers it; never where there is none.
pub(crate) async fn over(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Ack => Self::Ack,
            Ended::Reject(reason) => Self::DeadLetter {
                failure: reason.into(),
            },
            Ended::Fail(reason, after) => Self::Retry {
                failure: reason.into(),
                after,
            },
            Ended::Unavailable(reason) => Self::unavailable(reason),
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        let mut failure = Self::default();
        failure.error = reason.error;
        failure.kind = Some(reason.kind);
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_is_told_as_people_write_it() {
        for (ms, told) in [(400, "400ms"), (1_500, "1.5s"), (90_000, "1m30s")] {
            let Ended::Fail(reason, None) = Ended::timed_out(Duration::from_millis(ms)) else {
                panic!("{ms}")
            };
            assert_eq!(reason.error, format!("timed out after {told}"));
        }
    }
}
