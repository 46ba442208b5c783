//! Keeping the queue of dead letters within a limit by age: with time alone they become too old.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Part;
use super::run::{Answer, Run};
use crate::dead_letter::DeadLetterLimit;
use crate::error::Error;

/// How often the queue is looked at though nothing dies.
const EVERY: Duration = Duration::from_secs(60);
/// When to look again after an error, or where there is more to drop than one call does.
const SOON: Duration = Duration::from_secs(5);

/// When to look at the queue next; `None` while a look is under way, and where there is nothing to look
/// for.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    look_at: Option<Instant>,
}

impl Keeping {
    pub(super) fn of(limit: Option<&DeadLetterLimit>, now: Instant) -> Self {
        Self {
            look_at: limit
                .is_some_and(DeadLetterLimit::drops_with_time)
                .then_some(now),
        }
    }

    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }
}

impl Run {
    /// Looks whether the oldest have become too old, if it is time.
    pub(super) fn make_room(&mut self, now: Instant) {
        let is_time = self.keeping.look_at.is_some_and(|at| at <= now);
        if !is_time || self.stop.is_some() {
            return;
        }
        self.keeping.look_at = None;
        let seat = Arc::clone(&self.seat);
        self.calls.push(Box::pin(
            async move { Answer::MadeRoom(seat.make_room().await) },
        ));
    }

    pub(super) fn made_room(&mut self, answer: Result<u64, Error>) {
        let pause = match &answer {
            Ok(0) => EVERY,
            _ => SOON,
        };
        self.keeping.look_at = Some(Instant::now() + pause);
        match answer {
            Ok(dropped) => {
                self.health.well(Part::Keeping);
                self.brim.dropped(dropped);
            }
            Err(error) => self.failing(Part::Keeping, error),
        }
    }
}
