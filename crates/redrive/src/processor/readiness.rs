//! Whether handlers can run, and whether their runs work: full speed, a pause, a probe.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::{Breaker, Ended, Window};
use crate::retry::RetryPolicy;

/// The first pause, before jitter; doubled each time a probe could not run either.
const FIRST: Duration = Duration::from_millis(500);
/// The same where runs fail.
const FIRST_OPEN: Duration = Duration::from_secs(1);
/// The longest pause.
const MOST: Duration = Duration::from_secs(30);
/// The shortest one, whatever the dice say: else asking could become a hot loop.
const SHORTEST: Duration = Duration::from_millis(100);

/// Which change a run was started after. What runs from before a change say of handlers is no
/// news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// How much may be started and asked for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Full,
    /// Nothing, until then.
    Paused(Instant),
    /// One run, to see whether handlers can run again.
    Probe,
    /// Nothing, until that one run has come back.
    Probing,
}

/// What a run tells of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Handlers cannot begin.
    CannotRun,
    /// It failed: an error, a panic, a time-out.
    Failed,
    /// It failed, and its message had failed before: that may be the message's own fault.
    FailedAgain,
    /// It came back with an answer, whichever.
    Answered,
    /// Nothing: no handler was called, or it was interrupted.
    Nothing,
}

/// What has changed, to be said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// From full speed to a pause, because handlers cannot begin.
    CannotRun { pause: Duration },
    /// They can again, after so long.
    RunsAgain { after: Duration },
    /// From full speed to a pause, because so many of the last runs failed.
    Opened { failed: u32, pause: Duration },
    /// A run has worked again, after so long.
    Closed { after: Duration },
}

/// The state behind the [`Pace`]: what is called closed (full speed), open (paused) and half-open
/// (the pause is over, one run probes) of a circuit breaker.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    breaker: Breaker,
    /// How the last runs at full speed ended.
    window: Window,
    pause: Option<Pause>,
    changes: u64,
}

#[derive(Debug)]
struct Pause {
    reason: Reason,
    since: Instant,
    until: Instant,
    /// How many pauses there have been in a row, this one included.
    tries: u32,
    probing: bool,
}

/// Why there is a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    CannotRun,
    Fails,
}

impl Reason {
    fn pause(self, tries: u32, roll: f64) -> Duration {
        let up_to = |first, roll| RetryPolicy::exponential(first, MOST).delay(tries, roll);
        match self {
            Self::CannotRun => up_to(FIRST, roll).max(SHORTEST),
            // A probe is charged: never less than half, so that a long outage costs few messages.
            Self::Fails => up_to(FIRST_OPEN, 0.5 + roll / 2.0),
        }
    }
}

impl Readiness {
    pub(crate) fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            ..Self::default()
        }
    }

    pub(crate) fn pace(&self, now: Instant) -> Pace {
        match &self.pause {
            None => Pace::Full,
            Some(pause) if now < pause.until => Pace::Paused(pause.until),
            Some(pause) if pause.probing => Pace::Probing,
            Some(_) => Pace::Probe,
        }
    }

    /// Whether there is a pause because runs fail.
    pub(crate) fn is_open(&self) -> bool {
        let reason = self.pause.as_ref().map(|pause| pause.reason);
        reason == Some(Reason::Fails)
    }

    /// A run is started.
    pub(crate) fn started(&mut self) -> Ticket {
        if let Some(pause) = &mut self.pause {
            pause.probing = true;
        }
        Ticket(self.changes)
    }

    /// A run has ended. `roll` is a random number in `0.0..1.0`. Answers what has changed with it.
    pub(crate) fn learn(
        &mut self,
        ticket: Ticket,
        told: Told,
        now: Instant,
        roll: f64,
    ) -> Option<Change> {
        if ticket != Ticket(self.changes) {
            return None;
        }
        let ended = match (told, self.pause.as_mut()) {
            (Told::Nothing | Told::FailedAgain, None) => return None,
            // Another one has to probe.
            (Told::Nothing, Some(pause)) => {
                pause.probing = false;
                return None;
            }
            (Told::CannotRun, None) => {
                let pause = self.pause(Reason::CannotRun, now, roll);
                return Some(Change::CannotRun { pause });
            }
            (Told::CannotRun, Some(pause)) => {
                let reason = pause.reason;
                self.pause(reason, now, roll);
                return None;
            }
            (Told::Failed | Told::FailedAgain, Some(pause)) if pause.reason == Reason::Fails => {
                self.pause(Reason::Fails, now, roll);
                return None;
            }
            (_, Some(_)) => return self.resume(now),
            (Told::Failed, None) => Ended::Failed,
            (Told::Answered, None) => Ended::Answered,
        };
        if self.breaker == Breaker::Off {
            return None;
        }
        let failed = self.window.note(ended)?;
        let pause = self.pause(Reason::Fails, now, roll);
        Some(Change::Opened { failed, pause })
    }

    /// Begins a pause, or the next one in a row, and answers how long it is.
    fn pause(&mut self, reason: Reason, now: Instant, roll: f64) -> Duration {
        let (since, tries) = match &self.pause {
            Some(pause) => (pause.since, pause.tries.saturating_add(1)),
            None => (now, 1),
        };
        let pause = reason.pause(tries, roll);
        self.pause = Some(Pause {
            reason,
            since,
            until: now + pause,
            tries,
            probing: false,
        });
        self.changed();
        pause
    }

    fn resume(&mut self, now: Instant) -> Option<Change> {
        let pause = self.pause.take()?;
        self.changed();
        let after = now.saturating_duration_since(pause.since);
        Some(match pause.reason {
            Reason::CannotRun => Change::RunsAgain { after },
            Reason::Fails => Change::Closed { after },
        })
    }

    fn changed(&mut self) {
        self.changes += 1;
        self.window = Window::default();
    }
}

#[cfg(test)]
mod tests;
