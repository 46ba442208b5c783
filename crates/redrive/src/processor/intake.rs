//! What to ask the broker for next: a claim round, a read, or nothing for now.

use std::time::Duration;

use tokio::time::Instant;

use super::health::Backoff;
use crate::backend::{Cursor, Tended};

/// Workers sleep until the next due time, at most this long.
const TEND_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// The same while there is something to read: where there is load, what another worker hands back is
/// to be with somebody else within a second.
const TEND_UNDER_LOAD_EVERY: Duration = Duration::from_millis(500);
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
    next_tend: Instant,
    step: Step,
    not_before: Option<Instant>,
    /// The last read found nothing.
    dry: bool,
    /// Whether the last read brought something.
    loaded: bool,
    /// Whether it brought all that it asked for.
    full: bool,
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
            dry: false,
            loaded: false,
            full: false,
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
        self.cursor = tended.cursor.unwrap_or(Cursor::START);
        let ended = tended.dead.len() + tended.kept.len() + tended.doubted.len();
        let found = tended.taken.len() + ended;
        let full = found >= max;
        let more = full || tended.cursor.is_some();
        self.next_tend = if more {
            now
        } else {
            let most = if self.loaded {
                TEND_UNDER_LOAD_EVERY
            } else {
                TEND_AT_LEAST_EVERY
            };
            let due = tended.next_due.unwrap_or(most);
            now + due.clamp(TEND_AT_MOST_EVERY, most)
        };
        self.step = match self.extent {
            Extent::Sweep if more => Step::Claim,
            Extent::Sweep => Step::Settle,
            _ => Step::Read,
        };
    }

    /// A read answered.
    pub(crate) fn read_answered(&mut self, block: Option<Duration>, max: usize, got: usize) {
        self.answered();
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
        self.next_tend = self.next_tend.min(now + delay.max(TEND_AT_MOST_EVERY));
    }

    /// Whether there is more to read than one read brings, in a run that takes all it can.
    pub(crate) fn is_full(&self) -> bool {
        let takes_all = matches!(self.extent, Extent::UntilStopped | Extent::UntilIdle);
        self.full && takes_all
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
mod tests;
