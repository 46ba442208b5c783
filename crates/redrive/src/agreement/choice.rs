//! From an operation, which names places, to what it is about: made definite by what memory shows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::operation::{Among, By, End, From, Hold, Operation, Target, Twist};
use super::room::HOUR;
use super::side::{Act, Held};
use super::twins::Twins;
use super::view::Group;
use crate::backend::{Charge, Cursor, Fence, How};
use crate::dead_letter::{read, replay_fields};
use crate::message::Fields;
use crate::names::EntryId;

impl Twins<'_> {
    pub(super) fn acts(&mut self, operation: &Operation) -> Vec<Act> {
        let there = self.group == Group::There;
        let one = |act: Option<Act>| act.into_iter().collect();
        match operation {
            Operation::Add(body) => {
                let last = self.seen.last_id;
                let id = EntryId::new(last.millis(), last.seq() + 2);
                vec![Act::Add(id, body.fields(id))]
            }
            Operation::Receive { seat, max } => vec![Act::Receive(*seat, *max)],
            Operation::Tend { seat, max, from } => {
                let cursor = match from {
                    From::Start => Cursor::START,
                    From::Last => self.cursors[*seat],
                };
                vec![Act::Tend(*seat, *max, cursor)]
            }
            Operation::Age { pick, hours } => {
                let by = HOUR * u32::try_from(*hours).unwrap();
                let all = self.seen.pending.iter().filter(|row| !row.is_trimmed);
                if *pick > 10 {
                    return all.map(|row| Act::Age(row.id, by)).collect();
                }
                one(self.untrimmed(*pick).map(|id| Act::Age(id, by)))
            }
            Operation::AgeDue { pick, hours } => {
                let by = HOUR * u32::try_from(*hours).unwrap();
                one(back(&self.seen.due, *pick).map(|id| Act::AgeDue(*id, by)))
            }
            Operation::Begin {
                leases,
                by,
                beside,
                nonce,
            } => {
                let (seat, mut fences) = self.leases(leases, *by, Some(Charge::TakenOver));
                // Each message once in one call: a process never holds one twice.
                let mut begun = BTreeSet::new();
                fences.retain(|fence| begun.insert(fence.id));
                let nonce = format!("nonce{nonce}");
                one((!fences.is_empty()).then(|| Act::Begin(seat, fences, *beside, nonce)))
            }
            Operation::Rerun { .. } => Vec::new(),
            Operation::Renew { leases, by } => {
                let (seat, fences) = self.leases(leases, *by, None);
                one((!fences.is_empty()).then(|| Act::Renew(seat, fences)))
            }
            Operation::Settle { ends, by } => one(self.settle(ends, *by)),
            Operation::Trim(pick) => {
                let pending = self.untrimmed(*pick).filter(|_| pick % 4 > 0);
                let entry = pending.or_else(|| back(&self.seen.entries, *pick).copied());
                one(entry.map(Act::Trim))
            }
            Operation::ForeignRead(count) => {
                let last = self.seen.delivered;
                let unread = self.seen.entries.last().is_some_and(|id| *id > last);
                one((there && unread).then_some(Act::ForeignRead(*count)))
            }
            Operation::ForeignClaim(pick) => one(self.untrimmed(*pick).map(Act::ForeignClaim)),
            Operation::ForeignAck(pick) => {
                let pending = back(&self.seen.pending, *pick);
                one(pending.map(|one| Act::ForeignAck(one.id)))
            }
            Operation::DropGroup => one(there.then_some(Act::DropGroup)),
            Operation::Restore if there => vec![Act::Restore(0)],
            Operation::Restore => (0..3).map(Act::Restore).collect(),
            Operation::Replay(orders) => {
                let orders: Vec<_> = orders
                    .iter()
                    .filter_map(|(pick, keep, target)| {
                        let letter = self.letter(*pick)?;
                        let target = match target {
                            Target::Source => &self.memory.room.source.stream,
                            Target::Other => &self.memory.room.other,
                        };
                        Some((letter, target.clone(), self.put_back(letter), *keep))
                    })
                    .collect();
                one((!orders.is_empty()).then_some(Act::Replay(orders)))
            }
            Operation::Purge(picks) => {
                let letters = picks.iter().filter_map(|pick| self.letter(*pick));
                vec![Act::Purge(letters.collect())]
            }
            Operation::Import(orders) => {
                let id = EntryId::new(1712, 0);
                let orders = orders
                    .iter()
                    .map(|(receipt, body)| (format!("receipt-{receipt}"), body.fields(id)));
                vec![Act::Import(orders.collect())]
            }
            Operation::Spoil if self.spoiled => vec![Act::Mend],
            Operation::Spoil => {
                let never_was = self.memory.letters.is_empty();
                one(never_was.then_some(Act::Spoil))
            }
        }
    }

    /// One that is pending and that the stream still has: a plain claim of another drops it from
    /// what is pending, on some servers.
    fn untrimmed(&self, pick: usize) -> Option<EntryId> {
        let pending = self.seen.pending.iter();
        let there: Vec<_> = pending.filter(|one| !one.is_trimmed).collect();
        back(&there, pick).map(|one| one.id)
    }

    fn letter(&self, pick: usize) -> Option<usize> {
        let known = self.memory.letters.len();
        (known > 0).then(|| known - 1 - pick % known)
    }

    /// What a replay of a dead letter adds, with an id that both can name.
    fn put_back(&self, letter: usize) -> Fields {
        let stored = self.seen.letters.get(&letter).cloned();
        let id = EntryId::new(1712, u64::try_from(letter).unwrap());
        let back = stored.and_then(|stored| replay_fields(&read(id, stored)).ok());
        back.unwrap_or_else(|| Fields::from_iter([("again", "yes")]))
    }

    fn choose(&self, hold: Hold, seat: Option<usize>, charge: Option<Charge>) -> Option<Held> {
        let fits = |held: &&Held| {
            seat.is_none_or(|seat| seat == held.seat)
                && charge.is_none_or(|charge| charge == held.fence.charge)
        };
        let mut fitting: Vec<_> = self.held.iter().filter(fits).collect();
        if let Among::Live = hold.among {
            let live: Vec<_> = fitting
                .iter()
                .copied()
                .filter(|one| self.is_live(one))
                .collect();
            fitting = if live.is_empty() { fitting } else { live };
        }
        let mut held = (*back(&fitting, hold.pick)?).clone();
        let fence = &mut held.fence;
        match hold.twist {
            Twist::Nothing => {}
            Twist::TokenBelow => fence.token = fence.token.saturating_sub(1),
            Twist::TokenAbove => fence.token += 1,
            Twist::Charge(charge) => fence.charge = charge,
        }
        Some(held)
    }

    /// Whether what a seat was given is still its own, and the last it was given of this.
    fn is_live(&self, held: &Held) -> bool {
        let same = |other: &&Held| other.seat == held.seat && other.fence.id == held.fence.id;
        let consumer = ["a", "b", "c"][held.seat];
        let is_pending = self.seen.pending.iter().any(|row| {
            row.id == held.fence.id && row.count == held.fence.token && row.consumer == consumer
        });
        let stands = |letter| self.seen.letters.contains_key(&letter);
        (is_pending || held.tombstone.is_some_and(stands))
            && self.held.iter().rev().find(same) == Some(held)
    }

    /// Those that a seat holds or has held, the seat of the first unless another is to act.
    fn holds<'h>(
        &self,
        holds: impl Iterator<Item = &'h Hold>,
        by: By,
        charge: Option<Charge>,
    ) -> (usize, Vec<Option<Held>>) {
        let mut seat = None;
        let mut chosen = Vec::new();
        for hold in holds {
            let held = self.choose(*hold, seat, charge);
            seat = seat.or(held.as_ref().map(|held| held.seat));
            chosen.push(held);
        }
        let acting = match by {
            By::Holder => seat.unwrap_or_default(),
            By::Seat(seat) => seat,
        };
        (acting, chosen)
    }

    fn leases(&self, leases: &[Hold], by: By, charge: Option<Charge>) -> (usize, Vec<Fence>) {
        let (seat, held) = self.holds(leases.iter(), by, charge);
        (
            seat,
            held.into_iter().flatten().map(|one| one.fence).collect(),
        )
    }

    /// Each message once in one call: a process never holds one twice.
    fn settle(&mut self, ends: &[(Hold, End)], by: By) -> Option<Act> {
        let (seat, held) = self.holds(ends.iter().map(|(hold, _)| hold), by, None);
        let mut settled: Vec<(Held, How)> = Vec::new();
        for (held, (_, end)) in held.into_iter().zip(ends) {
            let Some(held) = held else { continue };
            if settled.iter().all(|(one, _)| one.fence.id != held.fence.id) {
                let how = self.how(end);
                settled.push((held, how));
            }
        }
        (!settled.is_empty()).then_some(Act::Settle(seat, settled))
    }

    fn how(&mut self, end: &End) -> How {
        let mut delay = |hours: u64| match hours {
            0 => Duration::ZERO,
            hours => Duration::from_secs(3600 * hours) + self.minutes(),
        };
        match end {
            End::Ack => How::Ack,
            End::Retry {
                hours,
                error,
                waits,
            } => How::Retry {
                delay: delay(*hours),
                fault: error.fault(),
                waits: *waits,
            },
            End::Defer { hours, waits } => How::Defer {
                delay: delay(*hours),
                waits: *waits,
            },
            End::DeadLetter(reason, error, failed) => How::DeadLetter {
                reason: *reason,
                fault: error.fault(),
                failed: *failed,
            },
            End::Release => How::Release,
        }
    }
}

/// So many places back from the newest, around.
fn back<T>(all: &[T], pick: usize) -> Option<&T> {
    all.iter().rev().nth(pick.checked_rem(all.len())?)
}
