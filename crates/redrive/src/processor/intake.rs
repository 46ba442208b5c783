//! What to ask the broker for next: a claim round, a read, or nothing for now.

use std::time::Duration;

use tokio::time::Instant;

use super::health::Backoff;
use crate::backend::{Cursor, Tended};

/// Workers sleep until the next due time, at most this long.
const TEND_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// The shortest pause after a claim round that took nothing, whatever it says is due.
const TEND_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// How many messages one claim round takes at most.
const MOST_TAKEN: usize = 100;
/// A shorter wait is none: durations travel in milliseconds, and 0 means for ever.
const SHORTEST_BLOCK: Duration = Duration::from_millis(1);

/// How long a run of a [`Processor`](crate::Processor) goes on if no signal ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// To its signal.
    UntilStopped,
    /// Until a read found nothing, nothing is held here, and nothing is pending in the whole group.
    /// It waits for what others hold, for retries to come due, and for a handler that
    /// [cannot run](crate::Outcome::unavailable).
    UntilIdle,
    /// So many rounds, each one round of taking over and one read that waits for
    /// [`block`](crate::ProcessorOptions::block). Rounds that find nothing count. Everything is
    /// settled before the next round. A round ends early when the handler
    /// [cannot run](crate::Outcome::unavailable); the next one begins after the pause.
    Batches(u64),
    /// One sweep over what is due or was left behind by a silent consumer, which is taken over and
    /// run. Nothing new is read. It ends early when the handler
    /// [cannot run](crate::Outcome::unavailable).
    Sweep,
}

/// A question to the broker. One is under way at a time, and none is ever cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Tend { max: usize, cursor: Cursor },
    Read { max: usize, block: Option<Duration> },
    CountPending,
}

/// What to do about intake now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask(Call),
    /// There is something to ask, and no room for the answer.
    NeedsRoom,
    /// Look again when something has ended, or at this time.
    Wait(Option<Instant>),
    /// Nothing more is to be taken in.
    Done,
}

/// What the plan depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) now: Instant,
    /// Slots that no held message takes.
    pub(crate) free: usize,
    pub(crate) held: usize,
    /// Whether it is worth a command: enough slots are free, or no more will be soon.
    pub(crate) room: bool,
    /// No handler can run before then: nothing is asked for.
    pub(crate) paused_until: Option<Instant>,
}

/// Where the taking in of messages stands.
#[derive(Debug)]
pub(crate) struct Intake {
    extent: Extent,
    batch: usize,
    block: Duration,
    cursor: Cursor,
    next_tend: Instant,
    step: Step,
    not_before: Option<Instant>,
    backoff: Backoff,
}

/// How far a run that ends by itself has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A claim round is next.
    Claim,
    /// A read is next.
    Read,
    /// Of a round: claimed and read, being settled. Of a sweep: all taken. Of a run until idle:
    /// nothing was left to read.
    Settle,
    /// Of a run until idle: others still hold something.
    Elsewhere,
    Done,
}

impl Intake {
    pub(crate) fn new(extent: Extent, batch: usize, block: Duration, now: Instant) -> Self {
        Self {
            extent,
            batch,
            block,
            cursor: Cursor::START,
            next_tend: now,
            step: match extent {
                Extent::Batches(0) => Step::Done,
                _ => Step::Claim,
            },
            not_before: None,
            backoff: Backoff::default(),
        }
    }

    /// What to ask now, as no question is under way.
    pub(crate) fn next(&mut self, view: View) -> Next {
        if self.step == Step::Done {
            return Next::Done;
        }
        if let Some(until) = view.paused_until {
            return self.next_while_paused(view, until);
        }
        if let Some(not_before) = self.not_before {
            if view.now < not_before {
                return Next::Wait(Some(not_before));
            }
            self.not_before = None;
        }
        match self.extent {
            Extent::Batches(_) => self.next_of_round(view),
            Extent::Sweep => match self.step {
                Step::Settle if view.held == 0 => Next::Done,
                Step::Settle => Next::Wait(None),
                _ => self.tend(view),
            },
            Extent::UntilStopped | Extent::UntilIdle if view.now >= self.next_tend => {
                self.tend(view)
            }
            Extent::UntilStopped => self.blocking_read(view),
            Extent::UntilIdle => match self.step {
                Step::Settle if view.held == 0 => Next::Ask(Call::CountPending),
                Step::Settle | Step::Elsewhere => self.blocking_read(view),
                _ => self.read(view, None),
            },
        }
    }

    /// No handler can run: a round that has begun, or a sweep, is over with what it could do.
    fn next_while_paused(&mut self, view: View, until: Instant) -> Next {
        let ends_now = match self.extent {
            Extent::Batches(_) => self.step != Step::Claim,
            Extent::Sweep => true,
            Extent::UntilStopped | Extent::UntilIdle => false,
        };
        if ends_now {
            self.step = match view.held {
                0 => self.next_round(),
                _ => Step::Settle,
            };
        }
        match self.step {
            Step::Done => Next::Done,
            _ => Next::Wait(Some(until)),
        }
    }

    fn next_of_round(&mut self, view: View) -> Next {
        if self.step == Step::Settle && view.held == 0 {
            self.step = self.next_round();
        }
        match self.step {
            Step::Claim => self.tend(view),
            Step::Read => self.read(view, Some(self.block)),
            Step::Done => Next::Done,
            Step::Settle | Step::Elsewhere => Next::Wait(None),
        }
    }

    fn next_round(&mut self) -> Step {
        match &mut self.extent {
            Extent::Batches(left) if *left > 1 => {
                *left -= 1;
                Step::Claim
            }
            _ => Step::Done,
        }
    }

    fn tend(&self, view: View) -> Next {
        if !view.room {
            return Next::NeedsRoom;
        }
        Next::Ask(Call::Tend {
            max: view.free.min(MOST_TAKEN),
            cursor: self.cursor,
        })
    }

    fn blocking_read(&self, view: View) -> Next {
        let until_tend = self.next_tend.saturating_duration_since(view.now);
        self.read(view, Some(self.block.min(until_tend)))
    }

    fn read(&self, view: View, block: Option<Duration>) -> Next {
        if !view.room {
            return Next::NeedsRoom;
        }
        Next::Ask(Call::Read {
            max: view.free.min(self.batch),
            block: block.filter(|block| *block >= SHORTEST_BLOCK),
        })
    }

    /// A claim round answered.
    pub(crate) fn tended(&mut self, max: usize, tended: &Tended, now: Instant) {
        self.answered();
        self.cursor = tended.cursor.unwrap_or(Cursor::START);
        let found = tended.taken.len() + tended.dead.len() + tended.kept.len();
        let full = found >= max;
        let more = full || tended.cursor.is_some();
        self.next_tend = if more {
            now
        } else {
            now + tended
                .next_due
                .unwrap_or(TEND_AT_LEAST_EVERY)
                .clamp(TEND_AT_MOST_EVERY, TEND_AT_LEAST_EVERY)
        };
        self.step = match self.extent {
            Extent::Sweep if more => Step::Claim,
            Extent::Sweep => Step::Settle,
            _ => Step::Read,
        };
    }

    /// A read answered.
    pub(crate) fn read_answered(&mut self, block: Option<Duration>, got: usize) {
        self.answered();
        self.step = match self.extent {
            Extent::Batches(_) => Step::Settle,
            Extent::UntilIdle if got == 0 && block.is_none() => Step::Settle,
            _ => Step::Read,
        };
    }

    /// The broker said how much of the whole group is pending.
    pub(crate) fn counted(&mut self, pending: u64) {
        self.answered();
        self.step = match pending {
            0 => Step::Done,
            _ => Step::Elsewhere,
        };
    }

    fn answered(&mut self) {
        self.backoff.reset();
    }

    /// A question failed and is to be asked again.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.not_before = Some(now + self.backoff.pause());
    }

    /// Something comes due after this long, that the last claim round did not know of.
    pub(crate) fn due_in(&mut self, delay: Duration, now: Instant) {
        self.next_tend = self.next_tend.min(now + delay.max(TEND_AT_MOST_EVERY));
    }

    /// Whether this run ends when nothing is pending.
    pub(crate) fn ends_when_idle(&self) -> bool {
        self.extent == Extent::UntilIdle
    }

    /// Whether what is under way should be ended early: the run could end, but for a read that
    /// waits for more.
    pub(crate) fn could_end(&self, call: Call, held: usize) -> bool {
        let waits = matches!(call, Call::Read { block: Some(_), .. });
        self.extent == Extent::UntilIdle && self.step == Step::Settle && held == 0 && waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Charge, Delivery, Lease};
    use crate::message::Fields;
    use crate::names::EntryId;

    const SECOND: Duration = Duration::from_secs(1);

    fn view(now: Instant) -> View {
        View {
            now,
            free: 116,
            held: 0,
            room: true,
            paused_until: None,
        }
    }

    fn read(block: Option<Duration>) -> Next {
        Next::Ask(Call::Read { max: 100, block })
    }

    fn tend(max: usize, cursor: Cursor) -> Next {
        Next::Ask(Call::Tend { max, cursor })
    }

    fn tended(taken: usize, cursor: Option<Cursor>, next_due: Option<Duration>) -> Tended {
        let delivery = |n| Delivery {
            lease: Lease::new(EntryId::new(n, 0), 1, Charge::TakenOver),
            fields: Fields::default(),
            failures: 0,
            crashes: 0,
        };
        Tended {
            taken: (0..taken as u64).map(delivery).collect(),
            cursor,
            next_due,
            ..Tended::default()
        }
    }

    #[test]
    fn a_worker_claims_first_and_then_reads_until_the_next_claim_is_due() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
        assert_eq!(intake.next(view(start)), tend(100, Cursor::START));
        intake.tended(100, &tended(0, None, None), start);
        assert_eq!(intake.next(view(start)), read(Some(SECOND)));
        intake.read_answered(Some(SECOND), 0);
        assert_eq!(intake.next(view(start + SECOND)), tend(100, Cursor::START));
    }

    #[test]
    fn a_claim_round_follows_at_once_when_it_was_full_or_has_not_come_to_the_end() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
        intake.tended(100, &tended(100, None, None), start);
        assert_eq!(intake.next(view(start)), tend(100, Cursor::START));
        let middle = Cursor(EntryId::new(7, 0));
        intake.tended(100, &tended(0, Some(middle), None), start);
        assert_eq!(intake.next(view(start)), tend(100, middle));
    }

    #[test]
    fn a_read_waits_no_longer_than_the_next_due_time() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
        intake.tended(100, &tended(0, None, Some(SECOND / 4)), start);
        assert_eq!(intake.next(view(start)), read(Some(SECOND / 4)));
        intake.due_in(SECOND / 10, start);
        assert_eq!(intake.next(view(start)), read(Some(SECOND / 10)));
        intake.tended(100, &tended(0, None, Some(Duration::ZERO)), start);
        assert_eq!(intake.next(view(start)), read(Some(TEND_AT_MOST_EVERY)));
    }

    #[test]
    fn nothing_is_asked_without_room_or_before_the_pause_is_over() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::UntilStopped, 100, 5 * SECOND, start);
        let full = View {
            free: 3,
            room: false,
            ..view(start)
        };
        assert_eq!(intake.next(full), Next::NeedsRoom);
        intake.failed(start);
        assert!(matches!(intake.next(view(start)), Next::Wait(Some(until)) if until > start));
        assert_eq!(intake.next(view(start + SECOND)), tend(100, Cursor::START));
    }

    #[test]
    fn a_run_until_idle_ends_after_an_empty_read_with_nothing_held_here_or_elsewhere() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::UntilIdle, 100, 5 * SECOND, start);
        intake.tended(100, &tended(0, None, None), start);
        assert_eq!(intake.next(view(start)), read(None));
        intake.read_answered(None, 0);
        let busy = View {
            held: 1,
            ..view(start)
        };
        assert_eq!(intake.next(busy), read(Some(SECOND)));
        assert_eq!(intake.next(view(start)), Next::Ask(Call::CountPending));
        intake.counted(1);
        assert_eq!(intake.next(view(start)), read(Some(SECOND)));
        intake.read_answered(Some(SECOND), 0);
        assert_eq!(intake.next(view(start)), read(None));
        intake.read_answered(None, 0);
        intake.counted(0);
        assert_eq!(intake.next(view(start)), Next::Done);
    }

    #[test]
    fn a_round_is_one_claim_and_one_read_all_settled_before_the_next() {
        let start = Instant::now();
        let mut intake = Intake::new(Extent::Batches(2), 100, 5 * SECOND, start);
        for _ in 0..2 {
            assert!(matches!(
                intake.next(view(start)),
                Next::Ask(Call::Tend { .. })
            ));
            intake.tended(100, &tended(100, None, None), start);
            assert_eq!(intake.next(view(start)), read(Some(5 * SECOND)));
            intake.read_answered(Some(5 * SECOND), 1);
            let busy = View {
                held: 1,
                ..view(start)
            };
            assert_eq!(intake.next(busy), Next::Wait(None));
        }
        assert_eq!(intake.next(view(start)), Next::Done);
        let mut none = Intake::new(Extent::Batches(0), 100, SECOND, start);
        assert_eq!(none.next(view(start)), Next::Done);
    }

    #[test]
    fn in_a_pause_nothing_is_asked_and_a_round_or_a_sweep_that_has_begun_is_over() {
        let start = Instant::now();
        let paused = |held| View {
            free: 0,
            room: false,
            held,
            paused_until: Some(start + SECOND),
            ..view(start)
        };
        let waits = Next::Wait(Some(start + SECOND));
        for extent in [Extent::UntilStopped, Extent::UntilIdle] {
            let mut intake = Intake::new(extent, 100, 5 * SECOND, start);
            intake.tended(100, &tended(3, None, None), start);
            assert_eq!(intake.next(paused(3)), waits);
            assert_eq!(intake.next(paused(0)), waits);
        }
        let mut sweep = Intake::new(Extent::Sweep, 100, 5 * SECOND, start);
        sweep.tended(100, &tended(100, None, None), start);
        assert_eq!(sweep.next(paused(2)), waits);
        assert_eq!(sweep.next(paused(0)), Next::Done);

        let mut rounds = Intake::new(Extent::Batches(2), 100, 5 * SECOND, start);
        rounds.tended(100, &tended(3, None, None), start);
        assert_eq!(rounds.next(paused(3)), waits);
        assert_eq!(rounds.next(view(start)), tend(100, Cursor::START));
        rounds.tended(100, &tended(1, None, None), start);
        assert_eq!(rounds.next(paused(0)), Next::Done);
    }
}
