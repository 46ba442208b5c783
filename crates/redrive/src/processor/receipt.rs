//! Taking in what the broker answers: messages, each held once, and what is said of held ones.

use std::collections::hash_map::Entry;
use std::time::Duration;

use tokio::time::Instant;

use super::asking::Reading;
use super::health::Part;
use super::held::{Held, Stage, Standing};
use super::leases::Report;
use super::run::Run;
use crate::backend::{Charge, Delivery, Died, Renewed, Restored, Seat, Tended};
use crate::error::{Error, ErrorKind};
use crate::names::EntryId;
use crate::telemetry::{self, Meters};

/// Ids from before this time, 2001-09-09, are numbers that a producer chose, not times.
const FIRST_TIME_MS: u64 = 1_000_000_000_000;

/// How a message came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Claimed,
    Read,
}

/// When messages come here.
#[derive(Clone, Copy, Debug)]
struct Present {
    /// By the server's clock, in Unix ms.
    server_ms: u64,
    /// Nothing is started now.
    hands_back: bool,
}

/// How long ago an entry was added; zero where its id is not a time.
fn age(id: EntryId, server_ms: u64) -> Duration {
    if id.millis() < FIRST_TIME_MS {
        return Duration::ZERO;
    }
    Duration::from_millis(server_ms.saturating_sub(id.millis()))
}

/// Creates the group again when an answer says that it is gone.
pub(super) async fn restoring<T>(
    seat: &dyn Seat,
    meters: &Meters,
    answer: Result<T, Error>,
) -> Result<T, Error> {
    if let Err(error) = &answer
        && error.kind() == ErrorKind::NoGroup
    {
        // Of several that find it gone one has created it, and says so.
        if seat.restore().await? == Restored::Created {
            meters.group_restored();
        }
    }
    answer
}

impl Run {
    pub(super) fn tended(&mut self, max: usize, answer: Result<Tended, Error>) {
        let Some(tended) = self.intake_answer(answer) else {
            return;
        };
        self.intake.tended(max, &tended, Instant::now());
        if tended.refused.is_empty() {
            self.health.well(Part::GivingUp);
        }
        for (_, error) in tended.refused {
            self.failing(Part::GivingUp, error);
        }
        for died in &tended.dead {
            self.gave_up(died);
        }
        for id in tended.kept {
            self.keep_for_room(id);
        }
        for id in tended.doubted {
            telemetry::doubted(&self.plan.source, id);
        }
        self.receive(tended.taken, Origin::Claimed);
    }

    pub(super) fn read_answered(&mut self, reading: Reading, answer: Result<Vec<Delivery>, Error>) {
        let answer = if reading.is_ahead {
            self.ahead = None;
            self.looked_at(answer)
        } else {
            self.intake_answer(answer)
        };
        if let Some(deliveries) = answer {
            let Reading { max, block, .. } = reading;
            self.intake.read_answered(block, max, deliveries.len());
            self.receive(deliveries, Origin::Read);
        }
    }

    pub(super) fn counted(&mut self, answer: Result<u64, Error>) {
        if let Some(pending) = self.intake_answer(answer) {
            self.intake.counted(pending);
        }
    }

    fn intake_answer<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        self.asked = None;
        self.looked_at(answer)
    }

    fn looked_at<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.health.well(Part::Intake);
                Some(answer)
            }
            Err(error) => {
                self.intake.failed(Instant::now());
                self.failing(Part::Intake, error);
                None
            }
        }
    }

    /// A message was given up by the broker, for a budget that was used up or because it was
    /// trimmed.
    pub(super) fn gave_up(&mut self, died: &Died) {
        self.summary.totals.dead_lettered += 1;
        self.brim.died(died);
        self.spilling.wake();
        self.tell.died(died, None);
    }

    // Not inlined: `make counts` knows it by its name.
    #[inline(never)]
    fn receive(&mut self, deliveries: Vec<Delivery>, origin: Origin) {
        let mut now = None;
        if let (Origin::Read, Some(oldest)) = (origin, deliveries.first()) {
            let now = *now.get_or_insert_with(|| self.present());
            let oldest = age(oldest.lease.fence.id, now.server_ms);
            self.tell.read(deliveries.len() as u64, oldest);
        }
        for delivery in deliveries {
            let id = delivery.lease.fence.id;
            self.brim.lets_go(id);
            let now = *now.get_or_insert_with(|| self.present());
            if let Some(delivery) = self.hold(delivery, now) {
                self.meet_again(delivery, origin);
            } else if origin == Origin::Claimed {
                self.summary.taken += 1;
                self.tell.taken_over();
            }
        }
    }

    /// What is the same for all messages of an answer.
    fn present(&self) -> Present {
        Present {
            server_ms: self.seat.now_ms(),
            hands_back: self.stop.is_some() || self.is_paused(Instant::now()),
        }
    }

    /// Holds a message, unless it is held already: then it comes back.
    fn hold(&mut self, delivery: Delivery, now: Present) -> Option<Delivery> {
        let fence = delivery.lease.fence;
        let id = fence.id;
        let Entry::Vacant(place) = self.held.entry(id) else {
            return Some(delivery);
        };
        self.turns.join(id, &delivery.fields);
        place.insert(Held::new(delivery, age(id, now.server_ms)));
        self.leases.insert(fence);
        if now.hands_back {
            self.hand_back(id);
        } else if self.turns.may_start(id) {
            self.queue.push_back(id);
        }
        None
    }

    /// The same entry, while an earlier delivery of it is still here.
    fn meet_again(&mut self, delivery: Delivery, origin: Origin) {
        let fence = delivery.lease.fence;
        let Some(held) = self.held.get_mut(&fence.id) else {
            return;
        };
        let known = held.token == fence.token;
        let ours = held.standing == Standing::Ours;
        match held.stage {
            // Its retry came due before its answer came here, or it is another delivery.
            Stage::Settling(_) => {}
            // A renewal.
            _ if known && ours => return,
            Stage::Queued => {
                held.adopt(delivery);
                self.leases.insert(fence);
                return;
            }
            // The group was created again: the run under way is the one of this delivery.
            Stage::Running(..) if ours && origin == Origin::Read => {
                held.adopt(delivery);
                self.leases.insert(fence);
                return;
            }
            Stage::Running(..) if ours => {
                held.standing = Standing::Lost;
                held.cancel();
                held.again = Some(Box::new(delivery));
                self.leases.insert(fence);
                return self.lost(fence.id);
            }
            Stage::Running(..) | Stage::Beginning => {}
        }
        held.again = Some(Box::new(delivery));
        self.leases.insert(fence);
    }

    /// A held message is at its end. If a newer delivery of it has come, that is next; else the next
    /// one of its key.
    pub(super) fn release_slot(&mut self, id: EntryId) {
        let held = self.held.remove(&id);
        self.staying -= usize::from(held.as_ref().is_some_and(|held| held.stays));
        self.let_go(id);
        if let Some(again) = held.and_then(|held| held.again) {
            if again.lease.fence.charge == Charge::TakenOver {
                self.tell.taken_over();
            }
            self.hold(*again, self.present());
        }
    }

    /// Nothing beside what is held knows of this one any more.
    pub(super) fn let_go(&mut self, id: EntryId) {
        self.no_longer_refused(id);
        self.leases.remove(id);
        self.quarantine.leave(id);
        self.queue.extend(self.turns.leave(id));
    }

    pub(super) fn no_longer_refused(&mut self, id: EntryId) {
        // Nearly always: not worth looking it up.
        if self.refused.is_empty() {
            return;
        }
        if self.refused.remove(&id).is_some() && self.refused.is_empty() {
            self.refusals.reset();
            self.health.well(Part::Refused);
        }
    }

    /// What the keeper of the leases says.
    pub(super) fn reported(&mut self, report: Report) {
        let (fence, answer) = match report {
            Report::Renewed(fence, answer) => (fence, answer),
            Report::Ended(error) => return self.fail(error),
        };
        let id = fence.id;
        match answer {
            Renewed::Held => {}
            Renewed::Refused(error) => {
                telemetry::tombstone_refused(&self.plan.source, id, &error);
            }
            Renewed::Trimmed { tombstone, dropped } => {
                self.brim.dropped(dropped);
                if let Some(held) = self.held.get_mut(&id) {
                    held.tombstone = Some(tombstone);
                    self.leases.remove(id);
                    self.tell.trimmed(id, tombstone);
                }
            }
            Renewed::Lost | Renewed::Gone if self.leases.is_current(fence) => self.lose(id),
            Renewed::Lost | Renewed::Gone => {}
        }
    }

    fn lose(&mut self, id: EntryId) {
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        match held.stage {
            Stage::Running(..) => {
                held.standing = Standing::Lost;
                held.cancel();
                self.leases.remove(id);
                self.lost(id);
            }
            Stage::Queued => {
                self.lost(id);
                self.queue.retain(|queued| *queued != id);
                self.release_slot(id);
            }
            // Its own settlement may be what ended it: the answer tells.
            Stage::Settling(_) | Stage::Beginning => {}
        }
    }

    /// A call failed: to be tried again, or the end of this run.
    pub(super) fn failing(&mut self, part: Part, error: Error) {
        if error.kind().is_transient() {
            self.health.failing(part, error);
        } else {
            self.fail(error);
        }
    }
}
