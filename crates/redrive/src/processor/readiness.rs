//! Whether handlers can run at all, as they say themselves: full speed, a pause, a probe.

use std::time::Duration;

use tokio::time::Instant;

use crate::retry::RetryPolicy;

/// The first pause, before jitter; doubled each time a probe could not run either.
const FIRST: Duration = Duration::from_millis(500);
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

/// The state behind the [`Pace`]: what is called closed (full speed), open (paused) and half-open
/// (the pause is over, one run probes) of a circuit breaker.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    pause: Option<Pause>,
    changes: u64,
}

#[derive(Debug)]
struct Pause {
    since: Instant,
    until: Instant,
    /// How many pauses there have been in a row, this one included.
    tries: u32,
    probing: bool,
}

impl Readiness {
    pub(crate) fn pace(&self, now: Instant) -> Pace {
        match &self.pause {
            None => Pace::Full,
            Some(pause) if now < pause.until => Pace::Paused(pause.until),
            Some(pause) if pause.probing => Pace::Probing,
            Some(_) => Pace::Probe,
        }
    }

    /// A run is started.
    pub(crate) fn started(&mut self) -> Ticket {
        if let Some(pause) = &mut self.pause {
            pause.probing = true;
        }
        Ticket(self.changes)
    }

    /// A run could not begin. `roll` is a random number in `0.0..1.0`. Answers the pause, if it is
    /// the first one after full speed.
    pub(crate) fn unavailable(
        &mut self,
        ticket: Ticket,
        now: Instant,
        roll: f64,
    ) -> Option<Duration> {
        if ticket != Ticket(self.changes) {
            return None;
        }
        let (since, tries) = match &self.pause {
            Some(pause) => (pause.since, pause.tries.saturating_add(1)),
            None => (now, 1),
        };
        let pause = RetryPolicy::exponential(FIRST, MOST).delay(tries, roll);
        let pause = pause.max(SHORTEST);
        self.pause = Some(Pause {
            since,
            until: now + pause,
            tries,
            probing: false,
        });
        self.changes += 1;
        (tries == 1).then_some(pause)
    }

    /// A run came back, whatever it says of its message. Answers for how long none could, if that
    /// is over with this.
    pub(crate) fn ran(&mut self, ticket: Ticket, now: Instant) -> Option<Duration> {
        if ticket != Ticket(self.changes) {
            return None;
        }
        let pause = self.pause.take()?;
        self.changes += 1;
        Some(now.saturating_duration_since(pause.since))
    }

    /// A run ended before its handler was called: another one has to probe.
    pub(crate) fn told_nothing(&mut self, ticket: Ticket) {
        if ticket == Ticket(self.changes)
            && let Some(pause) = &mut self.pause
        {
            pause.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run is started and cannot begin. Answers when the pause is over.
    fn fail(readiness: &mut Readiness, now: Instant, roll: f64) -> Instant {
        let ticket = readiness.started();
        readiness.unavailable(ticket, now, roll);
        match readiness.pace(now) {
            Pace::Paused(until) => until,
            other => panic!("not a pause: {other:?}"),
        }
    }

    #[test]
    fn pauses_double_from_half_a_second_to_thirty_and_are_never_nothing() {
        let (mut readiness, mut now) = (Readiness::default(), Instant::now());
        let pauses: Vec<u128> = (0..9)
            .map(|_| {
                let began = now;
                now = fail(&mut readiness, now, 1.0);
                (now - began).as_millis()
            })
            .collect();
        assert_eq!(
            pauses,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000
            ]
        );
        assert_eq!(fail(&mut readiness, now, 0.0), now + SHORTEST);
    }

    #[test]
    fn after_a_pause_one_run_probes_and_its_word_counts() {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        assert_eq!(readiness.pace(start), Pace::Full);
        let ticket = readiness.started();
        assert_eq!(readiness.pace(start), Pace::Full);
        assert_eq!(readiness.unavailable(ticket, start, 1.0), Some(FIRST));
        let over = start + FIRST;
        assert_eq!(readiness.pace(start), Pace::Paused(over));
        assert_eq!(readiness.pace(over), Pace::Probe);

        let probe = readiness.started();
        assert_eq!(readiness.pace(over), Pace::Probing);
        assert_eq!(readiness.unavailable(probe, over, 1.0), None);
        assert_eq!(readiness.pace(over), Pace::Paused(over + 2 * FIRST));

        let over = over + 2 * FIRST;
        let probe = readiness.started();
        assert_eq!(readiness.ran(probe, over), Some(over - start));
        assert_eq!(readiness.pace(over), Pace::Full);
        let next = readiness.started();
        assert_eq!(readiness.ran(next, over), None);
        assert_eq!(readiness.unavailable(next, over, 1.0), Some(FIRST));
    }

    #[test]
    fn runs_from_before_a_change_neither_lengthen_a_pause_nor_end_it() {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        let [first, second, third] = [(); 3].map(|()| readiness.started());
        let until = start + FIRST;
        assert_eq!(readiness.unavailable(first, start, 1.0), Some(FIRST));
        assert_eq!(readiness.unavailable(second, start + FIRST / 5, 1.0), None);
        assert_eq!(readiness.ran(third, start), None);
        assert_eq!(readiness.pace(start), Pace::Paused(until));

        let probe = readiness.started();
        assert!(readiness.ran(probe, until).is_some());
        assert_eq!(readiness.unavailable(second, until, 1.0), None);
        assert_eq!(readiness.pace(until), Pace::Full);
    }

    #[test]
    fn a_probe_that_never_reached_a_handler_makes_room_for_another() {
        let (mut readiness, start) = (Readiness::default(), Instant::now());
        let ticket = readiness.started();
        assert!(readiness.unavailable(ticket, start, 1.0).is_some());
        let over = start + FIRST;
        let probe = readiness.started();
        readiness.told_nothing(ticket);
        assert_eq!(readiness.pace(over), Pace::Probing);
        readiness.told_nothing(probe);
        assert_eq!(readiness.pace(over), Pace::Probe);
    }
}
