//! What to ask the broker for next: a claim round, a read, or nothing for now.

use std::time::Duration;

use tokio::time::Instant;

use super::health::Backoff;
use crate::backend::{Cursor, Tended};

/// After so many full claim rounds in a row something new is read.
const MOST_FULL_ROUNDS: u32 = 4;
/// Workers sleep until the next due time, at most this long.
const TEND_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// The same while there is something to read: where there is load, what another worker hands back is
/// to be with somebody else within a second.
const TEND_UNDER_LOAD_EVERY: Duration = Duration::from_millis(500);
/// The same where nothing is pending and nobody else is there who could put anything back.
const TEND_IN_QUIET_EVERY: Duration = Duration::from_secs(2);
/// The shortest pause after a claim round that was not full, whatever it says is due.
const TEND_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// How many messages one claim round takes at most.
const MOST_TAKEN: usize = 200;
/// A sweep over much that is pending takes its time: the pause after a page with nothing to take over,
const PAGE_PAUSE: Duration = Duration::from_millis(5);
/// and for each of its pages how long the next sweep waits, so that looking takes a few hundredths of the server's
/// time at most,
const REST_FOR_A_PAGE: Duration = Duration::from_millis(60);
/// but no longer than this: what somebody left behind is to run again within five seconds.
const LONGEST_REST: Duration = Duration::from_secs(3);
/// A shorter wait is none: durations travel in milliseconds, and 0 means for ever.
const SHORTEST_BLOCK: Duration = Duration::from_millis(1);

/// How long a run of a [`Processor`](crate::Processor) goes on if no signal ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extent {
    /// To its signal.
    UntilStopped,
    /// Until a read found nothing, nothing is held here, and nothing is pending in the whole group.
    /// It waits for what others hold, for retries to come due, for a handler that
    /// [cannot run](crate::Outcome::unavailable), and through the pauses of an open
    /// [breaker](crate::Breaker); not for what a
    /// [full dead-letter queue](crate::Overflow::Stop) keeps pending.
    UntilIdle,
    /// So many rounds, each one round of taking over and one read that waits for
    /// [`block`](crate::ProcessorOptions::block). Rounds that find nothing count. Everything is
    /// settled before the next round. A round ends early when the handler
    /// [cannot run](crate::Outcome::unavailable), or the [breaker](crate::Breaker) opens; the next
    /// one begins after the pause.
    Batches(u64),
    /// One sweep over what is due or was left behind by a silent consumer, which is taken over and
    /// run. Nothing new is read. It ends early when the handler
    /// [cannot run](crate::Outcome::unavailable), or the [breaker](crate::Breaker) opens.
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
    /// What is new is asked for before what is due: the run that is next is to tell of others, and a
    /// message that failed before may be bad itself.
    pub(crate) new_first: bool,
    /// Nothing new is read: it could not all be brought to an end.
    pub(crate) reads_nothing: bool,
}

/// Where the taking in of messages stands.
#[derive(Debug)]
pub(crate) struct Intake {
    extent: Extent,
    batch: usize,
    block: Duration,
    cursor: Cursor,
    /// When to look at the next page of what is pending.
    next_look: Instant,
    /// Whether the last claim round did.
    looks: bool,
    /// How many pages this sweep has had.
    pages: u32,
    /// When the first lease is over of those that this sweep has seen near their end.
    next_over: Option<Instant>,
    /// When to ask for what is due, or to look.
    next_tend: Instant,
    /// When the last read that waits for no longer than until then ends by itself.
    waits_until: Instant,
    step: Step,
    not_before: Option<Instant>,
    /// The last read found nothing.
    dry: bool,
    /// Whether the last read brought something.
    loaded: bool,
    /// Whether it brought all that it asked for.
    full: bool,
    /// How many claim rounds in a row took all that they asked for, with no read between them.
    full_rounds: u32,
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
            next_look: now,
            looks: true,
            pages: 0,
            next_over: None,
            next_tend: now,
            waits_until: now,
            step: match extent {
                Extent::Batches(0) => Step::Done,
                _ => Step::Claim,
            },
            not_before: None,
            dry: false,
            loaded: false,
            full: false,
            full_rounds: 0,
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
            Extent::UntilStopped | Extent::UntilIdle
                if view.new_first && !self.dry && !view.reads_nothing =>
            {
                self.read(view, None)
            }
            Extent::UntilStopped | Extent::UntilIdle if view.now >= self.next_tend => {
                // What always fails is due again and again: what is new has its turn nevertheless.
                match self.full_rounds >= MOST_FULL_ROUNDS && !view.reads_nothing {
                    true => self.read(view, None),
                    false => self.tend(view),
                }
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
        // A read that was ended early found nothing because it was ended.
        self.dry = false;
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

    fn tend(&mut self, view: View) -> Next {
        if !view.room {
            return Next::NeedsRoom;
        }
        self.looks = !self.goes_on() || view.now >= self.next_look;
        Next::Ask(Call::Tend {
            max: view.free.min(MOST_TAKEN),
            cursor: if self.looks { self.cursor } else { Cursor::END },
        })
    }

    fn blocking_read(&mut self, view: View) -> Next {
        let until_tend = self.next_tend.saturating_duration_since(view.now);
        let block = self.block.min(until_tend);
        self.waits_until = view.now + block;
        self.read(view, Some(block))
    }

    fn read(&self, view: View, block: Option<Duration>) -> Next {
        if view.reads_nothing {
            // What is pending is still looked after.
            let tends = !matches!(self.extent, Extent::Batches(_));
            return Next::Wait(tends.then_some(self.next_tend));
        }
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
        let ended = tended.dead.len() + tended.kept.len() + tended.doubted.len();
        let found = tended.taken.len() + ended;
        let full = found >= max;
        let more = full || tended.cursor.is_some();
        let most = match (self.loaded, tended.quiet) {
            (true, _) => TEND_UNDER_LOAD_EVERY,
            (false, true) => TEND_IN_QUIET_EVERY,
            (false, false) => TEND_AT_LEAST_EVERY,
        };
        if self.looks {
            self.looked(tended, found, most, now);
        }
        self.full_rounds = if full {
            self.full_rounds.saturating_add(1)
        } else {
            0
        };
        self.next_tend = if full {
            now
        } else {
            let due = tended.next_due.unwrap_or(most);
            let due = due.clamp(TEND_AT_MOST_EVERY, most);
            self.next_look.min(now + due)
        };
        self.step = match self.extent {
            Extent::Sweep if more => Step::Claim,
            Extent::Sweep => Step::Settle,
            _ => Step::Read,
        };
    }

    /// When to look at what is pending again, after a page of it.
    fn looked(&mut self, tended: &Tended, found: usize, most: Duration, now: Instant) {
        self.cursor = tended.cursor.unwrap_or(Cursor::START);
        self.pages = self.pages.saturating_add(1);
        let over = tended.next_over.map(|over| now + over);
        self.next_over = self.next_over.into_iter().chain(over).min();
        self.next_look = match tended.cursor {
            Some(_) if found > 0 => now,
            Some(_) => now + PAGE_PAUSE,
            None => {
                let rest = REST_FOR_A_PAGE.saturating_mul(std::mem::take(&mut self.pages));
                let next = now + rest.clamp(most, LONGEST_REST);
                let over = self
                    .next_over
                    .take()
                    .map(|at| at.max(now + TEND_AT_MOST_EVERY));
                over.map_or(next, |over| over.min(next))
            }
        };
    }

    /// A read answered.
    pub(crate) fn read_answered(&mut self, block: Option<Duration>, max: usize, got: usize) {
        self.answered();
        self.full_rounds = 0;
        self.dry = got == 0;
        self.loaded = got > 0;
        self.full = got >= max;
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
        // At once, many come due together; else those of a moment wait for each other.
        let pause = match delay {
            Duration::ZERO => delay,
            delay => delay.max(TEND_AT_MOST_EVERY),
        };
        self.next_tend = self.next_tend.min(now + pause);
    }

    /// When a read that waits should be ended early: something comes due that was not known when it began.
    pub(crate) fn read_ends_at(&self, call: Option<Call>) -> Option<Instant> {
        let waits = matches!(call, Some(Call::Read { block: Some(_), .. }));
        let rounds = matches!(self.extent, Extent::Batches(_));
        (waits && !rounds && self.next_tend < self.waits_until).then_some(self.next_tend)
    }

    /// Whether there is more to read than one read brings, in a run that takes all it can.
    pub(crate) fn is_full(&self) -> bool {
        self.full && self.goes_on()
    }

    /// Whether this run goes on as long as there is something: one of rounds ends with what it has taken.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self.extent, Extent::UntilStopped | Extent::UntilIdle)
    }

    /// Whether this run ends when nothing is pending.
    pub(crate) fn ends_when_idle(&self) -> bool {
        self.extent == Extent::UntilIdle
    }

    /// Whether what is under way should be ended early: the run could end, but for a read that
    /// waits for more; or something is due.
    pub(crate) fn could_end(&self, call: Call, held: usize, now: Instant) -> bool {
        let waits = matches!(call, Call::Read { block: Some(_), .. });
        let over = self.extent == Extent::UntilIdle && self.step == Step::Settle && held == 0;
        waits && over || self.read_ends_at(Some(call)).is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests;
