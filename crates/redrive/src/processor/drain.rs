//! Stopping politely: hand back what has not started, let the rest finish, then give it up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::health::Backoff;
use super::held::{Held, Stage, Standing};
use super::run::{Plan, Run};
use crate::backend::{How, Seat};
use crate::error::{Error, ErrorKind};
use crate::names::EntryId;
use crate::telemetry;

/// How long the broker has to confirm the last settlements after the grace of cancelled handlers,
/// or whatever else is last.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(4);

/// A run that is stopping.
#[derive(Debug)]
pub(super) struct Stop {
    step: Step,
    next_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Handlers have the drain time to finish.
    Finishing,
    /// They have been told, and have the grace to return.
    Cancelled,
    /// What still ran was aborted and handed back.
    Aborted,
}

impl Stop {
    pub(super) fn next_step(&self) -> Instant {
        self.next_at
    }

    /// Whether handlers were told that their run no longer counts.
    pub(super) fn has_cancelled(&self) -> bool {
        self.step != Step::Finishing
    }
}

impl Run {
    /// Takes in nothing more, and hands back at once what no handler has seen.
    pub(super) fn stop(&mut self, now: Instant) {
        if self.stop.is_some() {
            return;
        }
        let drain = self.plan.options.drain;
        telemetry::draining(&self.plan.source, drain);
        self.stop = Some(Stop {
            step: Step::Finishing,
            next_at: now + drain,
        });
        self.hand_back_the_queue();
        self.spilling.stop();
        self.wake();
    }

    /// Retrying cannot cure this: the run ends, as politely as that leaves possible.
    pub(super) fn fail(&mut self, error: Error) {
        if error.kind() == ErrorKind::Refused {
            self.disown();
        }
        self.stop(Instant::now());
        self.fatal.get_or_insert(error);
    }

    /// Another process has this consumer's name. To the broker what is held here is that one's as well
    /// as ours, so nothing more is settled but what succeeds: that work is done.
    fn disown(&mut self) {
        self.queue.clear();
        let mut dropped = Vec::new();
        for (id, held) in &mut self.held {
            held.again = None;
            match &held.stage {
                Stage::Queued => dropped.push(*id),
                Stage::Running(..) => {
                    held.standing = Standing::Lost;
                    held.cancel();
                }
                Stage::Settling(ending) => match ending.how {
                    Some(How::Ack) | None => {}
                    Some(_) => dropped.push(*id),
                },
                // The broker says whose it is.
                Stage::Beginning => {}
            }
        }
        for id in dropped {
            self.release_slot(id);
        }
    }

    /// Takes the next step of stopping when its time has come. Answers the error with which the
    /// run ends now, whatever is left.
    pub(super) fn watch_the_drain(&mut self, now: Instant) -> Option<Error> {
        let closed = |error: &Error| error.kind() == ErrorKind::Closed;
        if self.fatal.as_ref().is_some_and(closed) {
            return self.fatal.take();
        }
        let stop = self.stop.as_mut().filter(|stop| stop.next_at <= now)?;
        match stop.step {
            Step::Finishing => {
                stop.step = Step::Cancelled;
                stop.next_at = now + self.plan.options.grace;
                for held in self.held.values() {
                    held.cancel();
                }
                None
            }
            Step::Cancelled => {
                stop.step = Step::Aborted;
                stop.next_at = now + LAST_ANSWERS;
                self.cut_off();
                None
            }
            Step::Aborted => Some(self.given_up()),
        }
    }

    fn cut_off(&mut self) {
        // What they have said before counts.
        self.runs_ended();
        // Not waiting for them to end: one that blocks its thread cannot be aborted.
        self.crew.dismiss();
        let running = |held: &Held| matches!(held.stage, Stage::Running(..));
        let cut_off = self.held.iter().filter(|(_, held)| running(held));
        let mut cut_off: Vec<EntryId> = cut_off.map(|(id, _)| *id).collect();
        cut_off.sort_unstable();
        if !cut_off.is_empty() {
            self.tell.cut_off(cut_off.len());
        }
        for id in cut_off {
            self.summary.totals.cut_off += 1;
            match self.held.get(&id) {
                Some(held) if held.standing == Standing::Lost => self.release_slot(id),
                _ => self.hand_back(id),
            }
        }
    }

    fn given_up(&mut self) -> Error {
        self.fatal
            .take()
            .or_else(|| self.health.take_error())
            .unwrap_or_else(|| {
                Error::new(
                    ErrorKind::TimedOut,
                    format!("waiting for the last {} settlements", self.held.len()),
                )
                .hint("what was not settled comes back after its lease")
            })
    }

    pub(super) async fn leave(self) {
        // What is left of the run ends first: its tasks, and the keeper of its leases. Taking fields
        // out of it would drop the others only when this future ends.
        let (seat, plan) = (Arc::clone(&self.seat), Arc::clone(&self.plan));
        drop(self);
        leave(&*seat, &plan).await;
    }
}

/// Removes the consumer. Not more than a courtesy: others remove it otherwise.
pub(super) async fn leave(seat: &dyn Seat, plan: &Plan) {
    let leaving = async {
        let mut backoff = Backoff::default();
        loop {
            match seat.leave().await {
                Err(error) if error.kind().is_transient() => {
                    tokio::time::sleep(backoff.pause()).await;
                }
                answer => return answer.err(),
            }
        }
    };
    match timeout(LAST_ANSWERS, leaving).await {
        Ok(None) => {}
        Ok(error) => telemetry::not_left(&plan.source, error.as_ref()),
        Err(_) => telemetry::not_left(&plan.source, None),
    }
}
