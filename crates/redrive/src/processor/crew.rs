//! Hands that run handlers: tasks, each of which takes one message after another, for as long as there
//! are any, and whose place another one takes while a handler waits for something.
//!
//! A task for each message costs more than a quick handler does. But a handler may as well block its
//! thread for a minute, and nothing that waits behind it then may depend on that thread: so a hand
//! speaks to the run only when it is about to leave its thread to others (a task that is woken runs
//! on the thread that woke it), and the run looks by itself whether hands get on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;

use super::execution::{self, Ran, Work};
use crate::names::EntryId;

/// More messages than this are many.
const FEW: usize = 4;
/// How many messages a hand ends at most before others of its thread have their turn.
const MOST_IN_A_TURN: usize = 64;
/// How long it goes on at most, by what it knows between two messages.
const LONGEST_TURN: Duration = Duration::from_micros(200);
/// How long work may lie before another hand is called for it.
const PATIENCE: Duration = Duration::from_micros(500);
/// So many runs in a row that waited for nothing say that others will not wait either.
const QUICK: u32 = 16;
/// How long no hand gets on before each piece of work has one called: their threads are blocked.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The hands of one run. Dropping it drops the handlers that run, at their next await.
pub(super) struct Crew {
    floor: Arc<Floor>,
    /// To be put down for the hands, all at once.
    next: Vec<Work>,
    /// How many runs have been begun and not been told of as ended.
    running: usize,
    /// Since when there has always been work that nobody had taken.
    behind_since: Option<Instant>,
    /// How many had been taken, and since when there have been no more.
    taken: (u64, Option<Instant>),
    /// Since when runs that are quick have been under way, as far as they do not wait for something.
    quick_since: Option<Instant>,
    aside: usize,
}

/// Where the run and its hands meet.
struct Floor {
    inside: Mutex<Inside>,
    /// Said when something has ended, by a hand that is about to leave its thread.
    news: Notify,
    /// How many threads there are to run hands.
    threads: usize,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Work>,
    ended: Vec<Ended>,
    /// Hands that will look for work again without anything that they wait for.
    free: usize,
    /// Those of them that were called and have not come yet.
    called: usize,
    taken: u64,
    /// How many runs in a row have waited for nothing.
    quick: u32,
    /// How many runs wait for something.
    aside: usize,
    hands: JoinSet<()>,
}

/// A handler that has ended, what came of it, and how long it took.
pub(super) struct Ended {
    pub(super) id: EntryId,
    pub(super) ran: Ran,
    pub(super) took: Duration,
}

/// What is there to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A few messages after none: how soon they start matters more than how many.
    Light,
    Other,
}

impl Crew {
    pub(super) fn new() -> Self {
        let threads = Handle::try_current().map_or(1, |handle| handle.metrics().num_workers());
        Self {
            floor: Arc::new(Floor {
                inside: Mutex::default(),
                news: Notify::new(),
                threads,
            }),
            next: Vec::new(),
            running: 0,
            behind_since: None,
            taken: (0, None),
            quick_since: None,
            aside: 0,
        }
    }

    /// How many have begun and not ended.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// To be run. A hand takes it after the next [`set_to_work`](Self::set_to_work).
    pub(super) fn push(&mut self, work: Work) {
        self.running += 1;
        self.next.push(work);
    }

    /// Gives the hands what was pushed, and calls as many as that needs. Answers how much there is to do.
    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn set_to_work(&mut self, now: Instant) -> Load {
        if self.running == 0 {
            return Load::Other;
        }
        let mut inside = self.floor.inside();
        let lies = !inside.waiting.is_empty();
        if lies {
            self.behind_since.get_or_insert(now);
        } else {
            self.behind_since = None;
        }
        if !lies || self.taken.0 != inside.taken {
            self.taken = (inside.taken, lies.then_some(now));
        }
        let over = |since: Option<Instant>, most| since.is_some_and(|since| now - since >= most);
        let more = more_hands(Look {
            waiting: inside.waiting.len() + self.next.len(),
            free: inside.free,
            called: inside.called,
            threads: self.floor.threads,
            behind: over(self.behind_since, PATIENCE),
            stuck: over(self.taken.1, LOOK_AGAIN),
        });
        let few = !self.next.is_empty() && self.next.len() <= FEW;
        self.aside = inside.aside;
        self.quick_since = match inside.quick {
            QUICK.. if self.next.is_empty() => self.quick_since,
            QUICK.. => Some(now),
            _ => None,
        };
        inside.waiting.extend(self.next.drain(..));
        for _ in 0..more {
            self.floor.call(&mut inside);
        }
        if few && more > 0 && self.running <= FEW {
            Load::Light
        } else {
            Load::Other
        }
    }

    /// Whether what runs is about to end: the last runs waited for nothing, and these have just begun.
    pub(super) fn is_about_to_end(&self, now: Instant) -> bool {
        let just_begun = |since: Instant| now.saturating_duration_since(since) < LOOK_AGAIN;
        self.running > self.aside && self.quick_since.is_some_and(just_begun)
    }

    /// When to look whether the hands get on, if nothing is heard of them before.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        (self.running > 0 && self.floor.inside().free > 0).then(|| now + LOOK_AGAIN)
    }

    /// Waits for something to have ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has ended stays to be taken.
    pub(super) async fn news(&self) {
        self.floor.news.notified().await;
    }

    /// Takes all that has ended.
    pub(super) fn take_ended(&mut self, into: &mut Vec<Ended>) {
        let mut inside = self.floor.inside();
        std::mem::swap(&mut inside.ended, into);
        self.aside = inside.aside;
        if inside.quick < QUICK {
            self.quick_since = None;
        }
        drop(inside);
        self.running = self.running.saturating_sub(into.len());
    }

    /// Drops what runs, without waiting: a handler that blocks its thread ends when it wants. Nothing
    /// more is told of any.
    pub(super) fn dismiss(&mut self) {
        self.running = 0;
        self.next.clear();
        let mut inside = self.floor.inside();
        inside.hands.abort_all();
        // Hands that get on nevertheless do so on a floor that nobody looks at.
        let (waiting, ended) = (
            std::mem::take(&mut inside.waiting),
            std::mem::take(&mut inside.ended),
        );
        drop(inside);
        // Outside of the lock: what a message drops is its user's.
        drop((waiting, ended));
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// What is seen when it is decided whether to call hands.
#[derive(Clone, Copy, Debug)]
struct Look {
    waiting: usize,
    free: usize,
    called: usize,
    threads: usize,
    /// There has been work that nobody had taken for a while.
    behind: bool,
    /// None of it was taken for a while.
    stuck: bool,
}

/// How many more hands to call. One is enough for quick handlers, and where it is not there are as many
/// as threads. Where none of them gets on, their handlers block and perhaps have other threads to do
/// so: then each piece of work has a hand of its own.
fn more_hands(look: Look) -> usize {
    match look.waiting {
        0 => 0,
        waiting if look.stuck => waiting.saturating_sub(look.called),
        _ if look.free == 0 => 1,
        _ if look.behind && look.free < look.threads => 1,
        _ => 0,
    }
}

impl Floor {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Nothing in here is left half done by a panic.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a hand.
    fn call(self: &Arc<Self>, inside: &mut Inside) {
        while inside.hands.try_join_next().is_some() {}
        inside.free += 1;
        inside.called += 1;
        inside.hands.spawn(hand(Arc::clone(self)));
    }

    /// The next piece of work. Without one, who has waited for it is gone.
    fn next(&self, ended: Option<Ended>, has_waited: bool) -> Option<Work> {
        let mut inside = self.inside();
        if ended.is_some() {
            inside.quick = inside.quick.saturating_add(1);
        }
        inside.ended.extend(ended);
        let work = inside.waiting.pop_front();
        match work {
            Some(_) => inside.taken += 1,
            None if has_waited => inside.free -= 1,
            None => {}
        }
        let tells = work.is_none() && !inside.ended.is_empty();
        drop(inside);
        if tells {
            self.news.notify_one();
        }
        work
    }

    /// A hand has to wait for what its handler waits for: another one takes its place.
    fn step_aside(self: &Arc<Self>) {
        let mut inside = self.inside();
        inside.free -= 1;
        if inside.free == 0 && !inside.waiting.is_empty() {
            self.call(&mut inside);
        }
        inside.aside += 1;
        let were_quick = std::mem::take(&mut inside.quick) >= QUICK;
        let tells = were_quick || !inside.ended.is_empty();
        drop(inside);
        if tells {
            self.news.notify_one();
        }
    }

    fn come_back(&self) {
        let mut inside = self.inside();
        inside.aside -= 1;
        inside.free += 1;
    }

    /// Tells what has ended, before others have their turn.
    fn tell(&self, ended: Ended) {
        self.inside().ended.push(ended);
        self.news.notify_one();
    }
}

async fn hand(floor: Arc<Floor>) {
    floor.inside().called -= 1;
    let mut ended = None;
    let mut turn = (Instant::now(), 0);
    let mut now = turn.0;
    let mut has_waited = false;
    loop {
        let Some(work) = floor.next(ended.take(), has_waited) else {
            if has_waited {
                return;
            }
            // What has just ended makes room for the next one, which the run puts down now.
            has_waited = true;
            yield_now().await;
            now = Instant::now();
            turn = (now, 0);
            continue;
        };
        has_waited = false;
        let (id, began) = (work.envelope.id, now);
        let mut run = std::pin::pin!(execution::run(work, now));
        let ran = match poll!(run.as_mut()) {
            Poll::Ready(ran) => {
                now = Instant::now();
                ran
            }
            Poll::Pending => {
                floor.step_aside();
                let ran = execution::waiting(run.as_mut()).await;
                floor.come_back();
                now = Instant::now();
                turn = (now, 0);
                ran
            }
        };
        let last = Ended {
            id,
            ran,
            took: now - began,
        };
        turn.1 += 1;
        if turn.1 >= MOST_IN_A_TURN || now - turn.0 >= LONGEST_TURN {
            floor.tell(last);
            yield_now().await;
            now = Instant::now();
            turn = (now, 0);
        } else {
            ended = Some(last);
        }
    }
}

#[cfg(test)]
mod tests;
