//! Ending messages at the broker: acks together, everything else in arrays, each until answered.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::{Backoff, Health, Part};
use super::held::{Ending, Held, Sent, Stage};
use super::intake::Call;
use super::receipt::restoring;
use super::run::{Answer, Run};
use super::start::all_of;
use crate::backend::{Died, Failed, How, Seat, Settled, Settlement};
use crate::error::Error;
use crate::names::EntryId;
use crate::telemetry::Meters;

/// How long a first ack waits for others.
const ACK_WAIT: Duration = Duration::from_millis(5);
/// How many messages one call settles; acks may be more, where a batch is.
const MOST_SETTLED: usize = 100;
/// What waits to be settled. One call of a lane is under way at a time; what ends meanwhile goes
/// together into the next. Acks have a lane of their own: they succeed where writes are refused.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<EntryId>,
    oldest: Option<Instant>,
    busy: bool,
}

impl Lane {
    /// Whether no slot will become free by this lane.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.busy
    }

    /// When what waits has waited long enough.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        let oldest = self.oldest.filter(|_| !self.busy)?;
        Some(oldest + ACK_WAIT)
    }

    pub(super) fn push(&mut self, id: EntryId) {
        self.oldest.get_or_insert_with(Instant::now);
        self.waiting.push_back(id);
    }
}

/// Settles, asking until it is answered.
async fn send(
    seat: Arc<dyn Seat>,
    meters: Arc<Meters>,
    part: Part,
    batch: Vec<Settlement>,
    health: Health,
) -> Answer {
    let mut backoff = Backoff::default();
    let mut sent = Sent::AtMostOnce;
    loop {
        let answer = seat.settle(&batch).await;
        match restoring(&*seat, &meters, answer).await {
            Err(error) if error.kind().is_transient() => {
                health.failing(part, error);
                tokio::time::sleep(backoff.pause()).await;
                sent = Sent::Again;
            }
            answer => {
                health.well(part);
                let answer = answer.and_then(|settled| all_of(settled, batch.len()));
                return Answer::Settled(part, batch, sent, answer);
            }
        }
    }
}

/// Whether a handler ran and failed.
fn is_failure(how: &How) -> bool {
    match how {
        How::Retry { .. } => true,
        How::DeadLetter { failed, .. } => *failed == Failed::Yes,
        How::Ack | How::Defer { .. } | How::Release => false,
    }
}

impl Run {
    /// Ends a held message. Its slot stays taken until the broker has confirmed it. `discarded`
    /// says why it need not be done.
    pub(super) fn end(&mut self, id: EntryId, how: How, discarded: Option<String>) {
        let part = match how {
            How::Ack => Part::Acks,
            _ => Part::Settling,
        };
        self.lane(part).push(id);
        if let Some(held) = self.held.get_mut(&id) {
            held.ends(how, discarded);
        }
    }

    /// Sends again what was refused.
    pub(super) fn send_again(&mut self, id: EntryId) {
        let acks = match self.held.get(&id).map(|held| &held.stage) {
            Some(Stage::Settling(ending)) => matches!(ending.how, Some(How::Ack)),
            _ => return,
        };
        self.lane(if acks { Part::Acks } else { Part::Settling })
            .push(id);
    }

    fn lane(&mut self, part: Part) -> &mut Lane {
        match part {
            Part::Acks => &mut self.acks,
            _ => &mut self.others,
        }
    }

    /// Sends what has waited long enough.
    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn send_settlements(&mut self, now: Instant) {
        let batch = self.plan.options.batch;
        // Nobody to wait for: nothing runs, and no read is about to bring more; or intake waits for
        // these slots.
        let none_running = self.crew.running() == 0 && self.beginning == 0;
        let none_coming = !matches!(self.asked, Some(Call::Read { .. }));
        let at_once = self.queue.is_empty() && (none_running && none_coming || self.needs_room());
        let waited = self.acks.flush_at().is_some_and(|flush_at| flush_at <= now);
        // All other handlers of the process wait for the end of one that ran alone.
        let at_once = at_once || self.quarantine.is_occupied();
        if at_once || waited || self.acks.waiting.len() >= batch {
            self.send_lane(Part::Acks, batch.max(MOST_SETTLED));
        }
    }

    /// Sends other ends than acks, unless they wait for the answer to a charge. Answers whether it did.
    pub(super) fn send_others(&mut self, now: Instant) -> bool {
        let waited = self
            .others
            .flush_at()
            .is_some_and(|flush_at| flush_at <= now);
        if self.holds_back() && !waited {
            return false;
        }
        self.send_lane(Part::Settling, MOST_SETTLED)
    }

    /// Whether other ends than acks wait for the answer to a charge. A broker answers both together when they come
    /// together, and has nothing to do until the next ones come; so it has these while the next runs are under way.
    fn holds_back(&self) -> bool {
        self.beginning > 0
            && self.others.waiting.len() < MOST_SETTLED
            && !self.quarantine.is_occupied()
    }

    fn send_lane(&mut self, part: Part, most: usize) -> bool {
        // By itself, so that what is held can be looked up beside it.
        let lane = match part {
            Part::Acks => &mut self.acks,
            _ => &mut self.others,
        };
        if lane.busy || lane.waiting.is_empty() {
            return false;
        }
        let many = lane.waiting.len().min(most);
        let mut batch: Vec<Settlement> = Vec::with_capacity(many);
        for id in lane.waiting.drain(..many) {
            batch.extend(self.held.get_mut(&id).and_then(Held::settlement));
        }
        if lane.waiting.is_empty() {
            lane.oldest = None;
        }
        if part == Part::Settling {
            // In the order of the list that they are looked up in, together.
            batch.sort_unstable_by_key(|settlement| settlement.lease.fence.id);
        }
        if batch.is_empty() {
            return false;
        }
        lane.busy = true;
        self.calls.push(Box::pin(send(
            Arc::clone(&self.seat),
            Arc::clone(self.tell.meters()),
            part,
            batch,
            self.health.clone(),
        )));
        true
    }

    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    pub(super) fn settled(
        &mut self,
        part: Part,
        batch: Vec<Settlement>,
        sent: Sent,
        answer: Result<Vec<Settled>, Error>,
    ) {
        self.lane(part).busy = false;
        match answer {
            Ok(answers) => {
                for (settlement, answer) in batch.into_iter().zip(answers) {
                    self.settled_one(settlement, sent, answer);
                }
            }
            Err(error) => {
                for settlement in batch {
                    self.release_slot(settlement.lease.fence.id);
                }
                self.fail(error);
            }
        }
    }

    fn settled_one(&mut self, settlement: Settlement, sent: Sent, answer: Settled) {
        let id = settlement.lease.fence.id;
        if let (How::Ack, Settled::Done) = (&settlement.how, &answer) {
            return self.acked(id);
        }
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        let unresolved = held.tombstone.is_some() && settlement.lease.tombstone.is_none();
        match answer {
            Settled::Refused(error) => {
                held.unsettled(settlement);
                self.refuse(id, error);
            }
            // Trimmed while this was under way: what stands for it is still to be resolved.
            Settled::Gone if unresolved => {
                held.unsettled(settlement);
                self.send_again(id);
            }
            // What was trimmed has ended with its bytes; anything else is run again from here.
            Settled::Done if settlement.how.keeps() && settlement.lease.tombstone.is_none() => {
                self.count(id, &settlement.how, None);
                self.stay(settlement);
            }
            answer => {
                if matches!(held.stage, Stage::Settling(_)) {
                    self.confirmed(id, &settlement.how, sent, answer);
                }
            }
        }
    }

    /// It is run again from here: at once, or, with an order by key, when its delay is over, and the later ones of its
    /// key behind it.
    fn stay(&mut self, settlement: Settlement) {
        let Settlement { lease, how, .. } = settlement;
        let id = lease.fence.id;
        let (How::Retry { delay, .. } | How::Defer { delay, .. }) = how else {
            return;
        };
        self.no_longer_refused(id);
        self.quarantine.leave(id);
        if let Some(held) = self.held.get_mut(&id) {
            held.pass = None;
            held.kept(lease, &how);
            if let Some(fence) = held.fence() {
                self.leases.insert(fence);
            }
        }
        let now = Instant::now();
        let in_order = self.turns.has_key(id);
        if in_order {
            self.queue.extend(self.turns.wait(id, now + delay));
        }
        if self.stop.is_some() || !in_order && self.is_paused(now) {
            self.hand_back(id);
        } else if !in_order {
            self.queue.push_back(id);
        }
    }

    /// The broker has confirmed an end: only now it is counted and said.
    fn confirmed(&mut self, id: EntryId, how: &How, sent: Sent, answer: Settled) {
        let died = match answer {
            _ if *how == How::Ack => return self.acked(id),
            Settled::Stale => {
                self.tell.stale(id);
                // Not known before: no renewal had come in between.
                if self.is_ours(id) {
                    self.lost(id);
                }
                return self.release_slot(id);
            }
            Settled::Gone if sent == Sent::AtMostOnce => {
                self.tell.gone(id);
                return self.release_slot(id);
            }
            Settled::Full => {
                if is_failure(how) {
                    self.failed();
                }
                self.keep_for_room(id);
                return self.release_slot(id);
            }
            Settled::Died(died) => {
                self.brim.died(&died);
                self.spilling.wake();
                Some(died)
            }
            _ => None,
        };
        self.count(id, how, died.as_ref());
        match how {
            How::Retry { delay, .. } | How::Defer { delay, .. } => {
                self.intake.due_in(*delay, Instant::now());
                self.release_slot(id);
            }
            How::Release => {
                // After a pause they are taken again from here as well.
                self.intake.due_in(Duration::ZERO, Instant::now());
                self.release_slot(id);
            }
            How::Ack | How::DeadLetter { .. } => self.release_slot(id),
        }
    }

    fn failed(&mut self) {
        self.summary.totals.failed += 1;
        self.tell.failed();
    }

    fn count(&mut self, id: EntryId, how: &How, died: Option<&Died>) {
        if is_failure(how) {
            self.failed();
        }
        let tell = &mut self.tell;
        let totals = &mut self.summary.totals;
        let error = match how {
            How::Retry { fault, .. } | How::DeadLetter { fault, .. } => Some(&*fault.error),
            How::Ack | How::Defer { .. } | How::Release => None,
        };
        if let Some(died) = died {
            totals.dead_lettered += 1;
            return tell.died(died, error);
        }
        match how {
            // Counted where it is let go.
            How::Ack => {}
            How::Retry { delay, fault, .. } => {
                totals.retried += 1;
                tell.retried(id, *delay, &fault.error);
            }
            How::Defer { delay, .. } => {
                totals.deferred += 1;
                tell.deferred(id, *delay);
            }
            How::DeadLetter { reason, fault, .. } => {
                totals.dead_lettered += 1;
                tell.died_unseen(id, *reason, &fault.error);
            }
            How::Release => {
                totals.released += 1;
                tell.released(id);
            }
        }
    }

    /// Done. What came again meanwhile is done as well: another run of it would only repeat.
    fn acked(&mut self, id: EntryId) {
        let Entry::Occupied(held) = self.held.entry(id) else {
            return;
        };
        if !matches!(held.get().stage, Stage::Settling(_)) {
            return;
        }
        let held = held.remove();
        self.staying -= usize::from(held.stays);
        self.let_go(id);
        match held.stage {
            Stage::Settling(Ending {
                discarded: Some(reason),
                ..
            }) => {
                self.summary.totals.discarded += 1;
                self.tell.discarded(id, &reason);
            }
            _ => {
                self.summary.totals.succeeded += 1;
                self.tell.succeeded(id);
            }
        }
        if let Some(again) = held.again {
            let seat = Arc::clone(&self.seat);
            let settlement = Settlement {
                lease: again.lease,
                fields: again.fields,
                how: How::Ack,
            };
            self.acked_again += 1;
            self.calls.push(Box::pin(async move {
                // Unanswered, it costs one more run: not worth asking again.
                let _ = seat.settle(&[settlement]).await;
                Answer::AckedAgain
            }));
        }
    }
}
