//! What the handler said becomes what is done with its message.

use std::time::Duration;

use tokio::time::Instant;

use super::drain::Stop;
use super::execution::Ran;
use super::held::{Stage, Standing};
use super::readiness::Ticket;
use super::run::Run;
use crate::backend::{Failed, Fault, How};
use crate::dead_letter::{ERROR_LIMIT, Reason};
use crate::fingerprint::{clip, fingerprint};
use crate::names::EntryId;
use crate::outcome::{Failure, Outcome};
use crate::telemetry;
use crate::verdict::{Verdict, judge};

/// How much of an error's kind is kept, in bytes.
const MOST_KIND: usize = 256;
/// The longest delay that is asked for: ten years, far from what a server's clock can hold.
const LONGEST_DELAY: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Run {
    /// A handler has returned.
    pub(super) fn spoke(&mut self, id: EntryId, ran: Ran) {
        let Some(held) = self.held.get(&id) else {
            return;
        };
        let (history, standing) = (held.history, held.standing);
        if let Stage::Running(ticket) = held.stage {
            self.learn(ticket, &ran);
        }
        let (how, discarded) = match ran {
            Ran::Spoke(outcome) => {
                let policy = &self.plan.options.retry;
                decided(judge(outcome, history, policy, fastrand::f64()))
            }
            Ran::Undecodable(error) => (undecodable(&error.to_string()), None),
        };
        // The work is done, or need not be: refusing that would only add a run.
        if how == How::Ack {
            return self.end(id, how, discarded);
        }
        if standing == Standing::Lost {
            telemetry::stale(&self.plan.source, id);
            return self.release_slot(id);
        }
        // It was told to stop: what it says of that is not the message's fault.
        if self.stop.as_ref().is_some_and(Stop::has_cancelled) {
            return self.hand_back(id);
        }
        self.end(id, how, None);
    }

    /// What a run tells of whether handlers can run.
    fn learn(&mut self, ticket: Ticket, ran: &Ran) {
        let (now, source) = (Instant::now(), &self.plan.source);
        match ran {
            Ran::Spoke(Outcome::Unavailable { reason }) => {
                let begins = self.readiness.unavailable(ticket, now, fastrand::f64());
                if let Some(pause) = begins {
                    telemetry::unavailable(source, pause, reason);
                    // What was asked before would bring more than may run.
                    self.wake();
                    self.hand_back_the_queue();
                }
            }
            Ran::Spoke(_) => {
                if let Some(lasted) = self.readiness.ran(ticket, now) {
                    telemetry::available_again(source, lasted);
                }
            }
            Ran::Undecodable(_) => self.readiness.told_nothing(ticket),
        }
    }

    /// Hands back all that no handler has seen.
    pub(super) fn hand_back_the_queue(&mut self) {
        self.queue.clear();
        self.quarantine.clear();
        let not_started: Vec<EntryId> = self
            .held
            .iter()
            .filter(|(_, held)| matches!(held.stage, Stage::Queued))
            .map(|(id, _)| *id)
            .collect();
        for id in not_started {
            self.refused.remove(&id);
            self.hand_back(id);
        }
    }

    /// Gives a message to whoever takes it next, uncharged.
    pub(super) fn hand_back(&mut self, id: EntryId) {
        let (how, _) = decided(Verdict::Release);
        self.end(id, how, None);
    }
}

/// The settlement of a verdict, and why the message was discarded.
fn decided(verdict: Verdict) -> (How, Option<String>) {
    let how = match verdict {
        Verdict::Ack => How::Ack,
        Verdict::Discard(reason) => return (How::Ack, Some(reason)),
        Verdict::RetryIn { delay, failure } => How::Retry {
            delay: delay.min(LONGEST_DELAY),
            fault: fault(&failure),
        },
        Verdict::DeferBy(delay) => How::Defer {
            delay: delay.min(LONGEST_DELAY),
        },
        Verdict::DeadLetter { reason, failure } => How::DeadLetter {
            reason,
            fault: fault(&failure),
            failed: Failed::Yes,
        },
        Verdict::Release => How::Release,
    };
    (how, None)
}

fn undecodable(error: &str) -> How {
    How::DeadLetter {
        reason: Reason::Undecodable,
        fault: fault(&Failure {
            error: error.to_owned(),
            kind: None,
        }),
        failed: Failed::No,
    }
}

fn fault(failure: &Failure) -> Fault {
    let error = clip(&failure.error, ERROR_LIMIT).to_owned();
    let kind = failure.kind.as_deref();
    let kind = kind.map(|kind| clip(kind, MOST_KIND).to_owned());
    Fault {
        fingerprint: fingerprint(kind.as_deref(), &error),
        error,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_cut_between_characters() {
        let long = fault(&Failure {
            error: "é".repeat(5_000) + "!",
            kind: Some("x".repeat(500)),
        });
        assert_eq!(long.error.len(), 8 * 1024);
        assert_eq!(long.kind.map(|kind| kind.len()), Some(256));
    }

    #[test]
    fn a_delay_without_end_is_ten_years() {
        let (how, _) = decided(Verdict::DeferBy(Duration::MAX));
        assert_eq!(
            how,
            How::Defer {
                delay: LONGEST_DELAY
            }
        );
    }
}
