//! What becomes of a message after its handler has spoken: the whole decision, pure.

use std::time::Duration;

use crate::dead_letter::Reason;
use crate::outcome::{Failure, Outcome};
use crate::retry::RetryPolicy;

/// What the processor does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a verdict does nothing until it is settled"]
pub(crate) enum Verdict {
    /// Done.
    Ack,
    /// Done without the work, for this reason.
    Discard(String),
    /// One failure recorded; due again after the delay.
    RetryIn { delay: Duration, failure: Failure },
    /// Nothing charged; due again after the delay.
    DeferBy(Duration),
    /// Given up.
    DeadLetter { reason: Reason, failure: Failure },
    /// Handed back: nothing charged, due at once.
    Release,
}

/// What is recorded of a message before the run that has just ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Recorded failures. The run's attempt number was one more.
    pub(crate) failures: u32,
    /// Crashes booked and open before this run.
    pub(crate) crashes: u32,
}

/// Turns the handler's word into what is done. `roll` is a random number in `0.0..1.0`.
pub(crate) fn judge(
    outcome: Outcome,
    history: History,
    policy: &RetryPolicy,
    roll: f64,
) -> Verdict {
    match outcome {
        Outcome::Ack => Verdict::Ack,
        Outcome::Discard { reason } => Verdict::Discard(reason),
        Outcome::Defer { by } => Verdict::DeferBy(by),
        // It is this processor that waits, not the message: others may be able to run it.
        Outcome::Unavailable { .. } => Verdict::DeferBy(Duration::ZERO),
        Outcome::DeadLetter { failure } => Verdict::DeadLetter {
            reason: Reason::Rejected,
            failure,
        },
        Outcome::Retry { failure, after } => {
            let failures = history.failures.saturating_add(1);
            if failures >= policy.max_attempts {
                Verdict::DeadLetter {
                    reason: Reason::AttemptsExhausted,
                    failure,
                }
            } else {
                Verdict::RetryIn {
                    delay: after.unwrap_or_else(|| policy.delay(failures, roll)),
                    failure,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(failures: u32, outcome: Outcome) -> Verdict {
        let history = History {
            failures,
            crashes: 2,
        };
        judge(outcome, history, &RetryPolicy::default(), 1.0)
    }

    #[test]
    fn the_third_failure_dead_letters_and_the_first_two_do_not() {
        let fail = || Outcome::retry("no");
        assert!(matches!(after(0, fail()), Verdict::RetryIn { delay, .. } if delay == SECOND));
        assert!(matches!(after(1, fail()), Verdict::RetryIn { delay, .. } if delay == 2 * SECOND));
        let Verdict::DeadLetter { reason, failure } = after(2, fail()) else {
            panic!("the third failure did not dead-letter");
        };
        assert_eq!(reason, Reason::AttemptsExhausted);
        assert_eq!(failure.error, "no");
    }

    #[test]
    fn a_delay_of_the_handler_replaces_the_backoff_but_not_the_budget() {
        let again = || Outcome::retry_after("busy", 9 * SECOND);
        assert!(matches!(after(0, again()), Verdict::RetryIn { delay, .. } if delay == 9 * SECOND));
        assert!(matches!(after(2, again()), Verdict::DeadLetter { .. }));
    }

    #[test]
    fn what_is_not_a_failure_never_uses_the_budget() {
        assert_eq!(after(9, Outcome::Ack), Verdict::Ack);
        assert_eq!(after(9, Outcome::defer(SECOND)), Verdict::DeferBy(SECOND));
        assert_eq!(
            after(9, Outcome::unavailable("not there")),
            Verdict::DeferBy(Duration::ZERO)
        );
        assert_eq!(
            after(9, Outcome::discard("old")),
            Verdict::Discard("old".into())
        );
        assert!(matches!(
            after(0, Outcome::dead_letter("negative")),
            Verdict::DeadLetter {
                reason: Reason::Rejected,
                ..
            }
        ));
    }
}
