//! What the handler said becomes what is done with its message.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::RUNS;
use super::drain::Stop;
use super::execution::Ran;
use super::held::{Stage, Standing};
use super::readiness::{Change, Told};
use super::run::Run;
use super::turns::Turns;
use crate::backend::{Failed, Fault, How, Waits};
use crate::dead_letter::{ERROR_LIMIT, Reason};
use crate::fingerprint::{Fingerprints, clip};
use crate::names::EntryId;
use crate::outcome::{Failure, Outcome};
use crate::verdict::{History, Verdict, judge};

/// How much of an error's kind is kept, in bytes.
const MOST_KIND: usize = 256;
/// The longest delay that is asked for: ten years, far from what a server's clock can hold.
const LONGEST_DELAY: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Run {
    /// A handler has returned.
    pub(super) fn spoke(&mut self, id: EntryId, ran: Ran, now: Instant) {
        let Some(mut held) = self.held.get_mut(&id) else {
            return;
        };
        let (history, standing) = (held.history, held.standing);
        if let &Stage::Running(ticket, _) = &held.stage {
            let told = told(&ran, standing, history);
            let change = self.readiness.learn(ticket, told, now, fastrand::f64());
            if let Some(change) = change {
                self.pace_changed(change, &ran);
                let Some(still) = self.held.get_mut(&id) else {
                    return;
                };
                held = still;
            }
        }
        let (how, discarded) = match ran {
            Ran::Spoke(outcome) => {
                let for_others = matches!(outcome, Outcome::Unavailable { .. });
                let policy = &self.plan.options.retry;
                let verdict = judge(outcome, history, policy, fastrand::f64());
                let may_stay = || {
                    let most = self.plan.options.most_staying();
                    self.intake.goes_on() && (held.stays || self.staying < most)
                };
                let waits = match for_others || self.stop.is_some() {
                    true => Waits::InTheGroup,
                    false => where_it_waits(&self.turns, id, &verdict, may_stay),
                };
                decided(verdict, waits, &mut self.fingerprints)
            }
            Ran::Undecodable(error) => (
                undecodable(&error.to_string(), &mut self.fingerprints),
                None,
            ),
        };
        // The work is done, or need not be: refusing that would only add a run.
        if how == How::Ack {
            if let Some(envelope) = held.ends(how, discarded) {
                self.envelopes.put_away(envelope);
            }
            return self.acks.push(id);
        }
        if how.keeps() && !std::mem::replace(&mut held.stays, true) {
            self.staying += 1;
        }
        if standing == Standing::Lost {
            self.tell.stale(id);
            return self.release_slot(id);
        }
        // It was told to stop: what it says of that is not the message's fault.
        if self.stop.as_ref().is_some_and(Stop::has_cancelled) {
            return self.hand_back(id);
        }
        self.end(id, how, None);
    }

    /// What this run told has changed how much is started and asked for.
    fn pace_changed(&mut self, change: Change, ran: &Ran) {
        let tell = &mut self.tell;
        let reason = match ran {
            Ran::Spoke(Outcome::Unavailable { reason }) => reason.as_str(),
            _ => "",
        };
        match change {
            Change::CannotRun { pause } => tell.unavailable(pause, reason),
            Change::Opened { failed, pause } => {
                tell.breaker_opened(failed, RUNS, pause);
            }
            Change::RunsAgain { after } => return tell.available_again(after),
            Change::Closed { after } => return tell.breaker_closed(after),
        }
        // What was asked before would bring more than may run.
        self.wake();
        self.hand_back_the_queue();
    }

    /// Hands back all that no handler has seen; at a stop also what waits here to be run again.
    pub(super) fn hand_back_the_queue(&mut self) {
        self.queue.clear();
        self.quarantine.clear();
        let stays = |id: EntryId| self.stop.is_none() && self.turns.is_delayed(id);
        let mut not_started: Vec<EntryId> = self
            .held
            .iter()
            .filter(|(id, held)| matches!(held.stage, Stage::Queued) && !stays(**id))
            .map(|(id, _)| *id)
            .collect();
        // What is due first is taken first.
        not_started.sort_unstable();
        for id in not_started {
            self.refused.remove(&id);
            self.hand_back(id);
        }
    }

    /// Gives a message to whoever takes it next, uncharged.
    pub(super) fn hand_back(&mut self, id: EntryId) {
        let (how, _) = decided(Verdict::Release, Waits::InTheGroup, &mut self.fingerprints);
        self.end(id, how, None);
    }
}

/// With an order by key, what is run again stays here, and keeps its place. So does what is run
/// again at once, if there is room: nobody need look for it, and its bytes are here.
fn where_it_waits(
    turns: &Turns,
    id: EntryId,
    verdict: &Verdict,
    may_stay: impl FnOnce() -> bool,
) -> Waits {
    let at_once = matches!(verdict, Verdict::RetryIn { delay, .. } if delay.is_zero());
    if turns.has_key(id) || at_once && may_stay() {
        Waits::WithHolder
    } else {
        Waits::InTheGroup
    }
}

/// What a run tells of whether handlers can run, and whether what runs works.
fn told(ran: &Ran, standing: Standing, history: History) -> Told {
    match ran {
        Ran::Spoke(Outcome::Unavailable { .. }) => Told::CannotRun,
        // It was interrupted: how it ended says nothing of the others.
        Ran::Spoke(Outcome::Retry { .. }) if standing == Standing::Lost => Told::Nothing,
        Ran::Spoke(Outcome::Retry { .. }) if history.failures > 0 => Told::FailedAgain,
        Ran::Spoke(Outcome::Retry { .. }) => Told::Failed,
        Ran::Spoke(_) => Told::Answered,
        Ran::Undecodable(_) => Told::Nothing,
    }
}

/// The settlement of a verdict, and why the message was discarded.
fn decided(
    verdict: Verdict,
    waits: Waits,
    fingerprints: &mut Fingerprints,
) -> (How, Option<String>) {
    let how = match verdict {
        Verdict::Ack => How::Ack,
        Verdict::Discard(reason) => return (How::Ack, Some(reason)),
        Verdict::RetryIn { delay, failure } => How::Retry {
            delay: delay.min(LONGEST_DELAY),
            fault: fault(&failure, fingerprints),
            waits,
        },
        Verdict::DeferBy(delay) => How::Defer {
            delay: delay.min(LONGEST_DELAY),
            waits,
        },
        Verdict::DeadLetter { reason, failure } => How::DeadLetter {
            reason,
            fault: fault(&failure, fingerprints),
            failed: Failed::Yes,
        },
        Verdict::Release => How::Release,
    };
    (how, None)
}

fn undecodable(error: &str, fingerprints: &mut Fingerprints) -> How {
    How::DeadLetter {
        reason: Reason::Undecodable,
        fault: fault(
            &Failure {
                error: error.to_owned(),
                kind: None,
            },
            fingerprints,
        ),
        failed: Failed::No,
    }
}

/// A failure as it is kept.
pub(crate) fn fault(failure: &Failure, fingerprints: &mut Fingerprints) -> Box<Fault> {
    let error = clip(&failure.error, ERROR_LIMIT).to_owned();
    let kind = failure.kind.as_deref();
    let kind = kind.map(|kind| clip(kind, MOST_KIND).to_owned());
    Box::new(Fault {
        fingerprint: fingerprints.of(kind.as_deref(), &error),
        error,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_cut_between_characters() {
        let failure = Failure {
            error: "é".repeat(5_000) + "!",
            kind: Some("x".repeat(500)),
        };
        let long = fault(&failure, &mut Fingerprints::default());
        assert_eq!(long.error.len(), 8 * 1024);
        assert_eq!(long.kind.map(|kind| kind.len()), Some(256));
    }

    #[test]
    fn a_delay_without_end_is_ten_years() {
        let (how, _) = decided(
            Verdict::DeferBy(Duration::MAX),
            Waits::InTheGroup,
            &mut Fingerprints::default(),
        );
        assert_eq!(
            how,
            How::Defer {
                delay: LONGEST_DELAY,
                waits: Waits::InTheGroup,
            }
        );
    }
}
