//! Whether the broker answers, said once per change; and how long to wait before asking again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::telemetry::{Level, Meters, Share};

/// The ways a run talks to the broker. They fail and heal apart: out of memory, a server refuses
/// dead letters and takes acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Join,
    Intake,
    /// Dead letters that a claim round could not write.
    GivingUp,
    Begin,
    Acks,
    Settling,
    /// What was refused one by one.
    Refused,
    Renewal,
    /// The look whether writes are taken.
    Writes,
    /// What keeps the queue of dead letters within its limit.
    Keeping,
}

/// Whether the broker takes writes. Without memory it refuses them, and still lets acks, renewals
/// and retries through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writes {
    Taken,
    Refused,
}

/// Which parts of a run fail at the moment. One log line when the first begins to, one when the
/// last has healed: never one per try. And likewise whether it takes writes.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    meters: Arc<Meters>,
    state: Arc<Mutex<State>>,
    writes: watch::Sender<Writes>,
}

#[derive(Debug)]
struct State {
    failing: BTreeSet<Part>,
    last: Option<Error>,
    refused_since: Option<Instant>,
    /// What is shown of it.
    fails: Share,
    refuses: Share,
}

impl Health {
    pub(crate) fn new(meters: Arc<Meters>) -> Self {
        let state = State {
            failing: BTreeSet::new(),
            last: None,
            refused_since: None,
            fails: meters.share(Level::BrokerFails),
            refuses: meters.share(Level::BrokerRefuses),
        };
        Self {
            meters,
            state: Arc::new(Mutex::new(state)),
            writes: watch::Sender::new(Writes::Taken),
        }
    }

    pub(crate) fn failing(&self, part: Part, error: Error) {
        match error.kind() {
            // Where it could not be created again the error is another one.
            ErrorKind::NoGroup => return self.well(part),
            ErrorKind::WritesRefused => return self.refused(part, error),
            _ => {}
        }
        let mut state = self.lock();
        if state.failing.is_empty() {
            state.fails.set(1);
            self.meters.failing(&error);
        }
        state.failing.insert(part);
        state.last = Some(error);
    }

    /// The broker answered, and refuses to write.
    fn refused(&self, part: Part, error: Error) {
        self.well(part);
        let mut state = self.lock();
        if state.refused_since.is_none() {
            state.refused_since = Some(Instant::now());
            state.refuses.set(1);
            self.meters.writes_refused(&error);
            self.writes.send_replace(Writes::Refused);
        }
        state.last = Some(error);
    }

    /// A write was taken, other than an ack.
    pub(crate) fn writes_taken(&self) {
        let mut state = self.lock();
        if let Some(since) = state.refused_since.take() {
            state.refuses.set(0);
            self.meters.writes_taken(since.elapsed());
            self.writes.send_replace(Writes::Taken);
        }
    }

    /// Whether the broker takes writes, now and from now on.
    pub(crate) fn writes(&self) -> watch::Receiver<Writes> {
        self.writes.subscribe()
    }

    pub(crate) fn well(&self, part: Part) {
        let mut state = self.lock();
        if state.failing.remove(&part) && state.failing.is_empty() {
            state.heal(&self.meters);
        }
    }

    /// Everything was answered to the end: what was to be tried again need not be.
    pub(crate) fn all_well(&self) {
        let mut state = self.lock();
        if !state.failing.is_empty() {
            state.failing.clear();
            state.heal(&self.meters);
        }
    }

    /// The error of what still fails.
    pub(crate) fn take_error(&self) -> Option<Error> {
        self.lock().last.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn heal(&mut self, meters: &Meters) {
        self.last = None;
        self.fails.set(0);
        meters.healed();
    }
}

/// Growing pauses between tries, spread so that what failed together does not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    /// What has healed is found again within five seconds, connecting included.
    const MOST: Duration = Duration::from_secs(3);

    pub(crate) fn pause(&mut self) -> Duration {
        let ceiling = Self::FIRST
            .saturating_mul(1 << self.tries.min(16))
            .min(Self::MOST);
        self.tries = self.tries.saturating_add(1);
        // Never nothing: a call that fails at once must not become a hot loop.
        ceiling
            .mul_f64(fastrand::f64())
            .max(Self::FIRST.mul_f64(0.2))
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_cap_and_are_never_nothing() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..500).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= Backoff::FIRST);
        assert!(
            pauses
                .iter()
                .all(|pause| (Duration::from_millis(10)..=Backoff::MOST).contains(pause))
        );
        assert!(pauses.iter().any(|pause| *pause > Backoff::MOST / 2));
        backoff.reset();
        assert!(backoff.pause() <= Backoff::FIRST);
    }
}
