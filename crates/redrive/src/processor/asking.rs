//! Asking the broker for messages: a claim round or a read, and under load a second read beside the
//! first, so that the broker need not wait until an answer has been looked at.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Writes;
use super::intake::{Call, Next, View};
use super::readiness::Pace;
use super::receipt::restoring;
use super::run::{Answer, Run};

/// How often a read that is to end is told so.
const WAKE_AGAIN: Duration = Duration::from_millis(50);

/// A read that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) max: usize,
    pub(super) block: Option<Duration>,
    /// It was sent beside another one.
    pub(super) is_ahead: bool,
}

impl Run {
    /// Asks the broker for more, if it is time.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.stop.is_some() {
            return;
        }
        if let Some(call) = self.asked {
            if self.intake.could_end(call, self.held.len(), now) {
                self.wake();
            }
            return self.read_ahead(call, now);
        }
        self.next = self.intake.next(self.view(now));
        let Next::Ask(call) = self.next else { return };
        if self.ahead.is_some() && !matches!(call, Call::Read { .. }) {
            // What a read brings is looked at before anything but a read is asked for.
            self.next = Next::Wait(None);
            return;
        }
        self.asked = Some(call);
        let seat = Arc::clone(&self.seat);
        let meters = Arc::clone(self.tell.meters());
        let kept = match call {
            Call::CountPending => self.brim.kept().clone(),
            _ => BTreeSet::new(),
        };
        self.calls.push(Box::pin(async move {
            match call {
                Call::Tend { max, cursor } => {
                    let answer = seat.tend(max, cursor).await;
                    Answer::Tended(max, restoring(&*seat, &meters, answer).await)
                }
                Call::Read { max, block } => {
                    let answer = seat.receive(max, block).await;
                    let reading = Reading {
                        max,
                        block,
                        is_ahead: false,
                    };
                    Answer::Read(reading, restoring(&*seat, &meters, answer).await)
                }
                Call::CountPending => Answer::Counted(seat.pending(&kept).await),
            }
        }));
    }

    /// Sends a second read while the first is under way, where the last one brought all that it asked for:
    /// else the broker would wait each time until its answer has been looked at. Of two reads the later
    /// may be answered first. So not with an order by key, and not where fewer run at once than one read
    /// brings: they would be seen to start in another order than that of the stream.
    fn read_ahead(&mut self, under_way: Call, now: Instant) {
        let Call::Read { max: first, .. } = under_way else {
            return;
        };
        let options = &self.plan.options;
        let order_is_seen = self.turns.are_kept() || options.concurrency <= options.batch;
        if self.ahead.is_some() || !self.intake.is_full() || order_is_seen {
            return;
        }
        let view = self.view(now);
        let free = view.free.saturating_sub(first);
        let is_paced = view.paused_until.is_some() || view.new_first || view.reads_nothing;
        if is_paced || free < self.enough() {
            return;
        }
        let max = free.min(self.plan.options.batch);
        self.ahead = Some(max);
        let seat = Arc::clone(&self.seat);
        let meters = Arc::clone(self.tell.meters());
        self.calls.push(Box::pin(async move {
            let answer = seat.receive(max, None).await;
            let reading = Reading {
                max,
                block: None,
                is_ahead: true,
            };
            Answer::Read(reading, restoring(&*seat, &meters, answer).await)
        }));
    }

    /// How many slots are to be free before more is asked for. What stays here to be run again leaves none soon.
    fn enough(&self) -> usize {
        let options = &self.plan.options;
        let others = options.slots().saturating_sub(self.staying);
        options.enough().min((others / 2).max(1))
    }

    fn view(&self, now: Instant) -> View {
        let taken = self.held.len() + self.ahead.unwrap_or(0);
        let free = self.plan.options.slots().saturating_sub(taken);
        // Unless no more will be free soon.
        let enough = self.enough();
        let none_soon = self.queue.is_empty() && self.acks.is_idle() && self.ahead.is_none();
        let none_waits = self.queue.is_empty() && self.beginning == 0;
        let (free, room, paused_until) = match self.readiness.pace(now) {
            Pace::Full => (free, free >= enough || none_soon, None),
            Pace::Probe => (free.min(1), none_waits, None),
            Pace::Probing => (0, false, None),
            Pace::Paused(until) => (0, false, Some(until)),
        };
        View {
            now,
            free,
            held: self.held.len(),
            room: free > 0 && room,
            paused_until,
            new_first: self.readiness.is_open(),
            reads_nothing: self.reads_nothing(),
        }
    }

    /// Whether nothing new is read, because the broker refuses writes.
    pub(super) fn reads_nothing(&self) -> bool {
        *self.writes.borrow() == Writes::Refused
    }

    /// Whether intake waits for nothing but slots.
    pub(super) fn needs_room(&self) -> bool {
        self.asked.is_none() && self.next == Next::NeedsRoom
    }

    /// Ends a read that waits.
    pub(super) fn wake(&mut self) {
        if matches!(self.asked, Some(Call::Read { .. })) && !self.woken {
            self.woken = true;
            let seat = Arc::clone(&self.seat);
            self.calls.push(Box::pin(async move {
                seat.wake().await;
                // It does nothing to a read that is still on its way to waiting: said again then.
                tokio::time::sleep(WAKE_AGAIN).await;
                Answer::Woken
            }));
        }
    }
}
