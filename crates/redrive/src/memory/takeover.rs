//! Taking over what is due and what others left behind, and keeping the books of a group.

use std::ops::Bound;
use std::time::Duration;

use crate::backend::{Charge, Cursor, Delivery, Lease, NEAR, Tended};
use crate::dead_letter::Reason;
use crate::error::Error;
use crate::names::{ConsumerName, EntryId};

use super::dead_letters::Burial;
use super::hints::Mark;
use super::limit::Buried;
use super::settle::Turn;
use super::stream::{Group, Pending};

/// How many pending entries one round looks at.
const PAGE: usize = 1000;

/// How many states one round checks for messages that are no longer pending.
const SWEPT: usize = 100;

/// How long a consumer that is not redrive's is idle before it is removed.
const FOREIGN_GONE_MS: u64 = 60 * 60 * 1000;

impl Turn<'_> {
    pub(super) fn tend(&mut self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        self.kept.group(&self.member.source)?;
        self.kept.register(self.member, self.now);
        let mut round = Tended::default();
        let left = max - self.take_due(max, &mut round).min(max);
        if cursor != Cursor::END {
            self.scan(left, cursor, &mut round);
        }
        let now = self.now;
        if cursor == Cursor::START {
            self.sweep();
            self.forget_stones();
            self.reap();
            self.set_mark();
            round.quiet = self.is_quiet();
        }
        round.next_due = self.hints().due.next_after(now);
        Ok(round)
    }

    /// Whether nothing is pending, and no other consumer of redrive's is known.
    fn is_quiet(&mut self) -> bool {
        let source = &self.member.source;
        let none = |group: &Group| group.pending.is_empty();
        self.kept.group(source).is_ok_and(none) && self.hints().own.len() <= 1
    }

    /// How long before its lease is over a message is looked at closely.
    fn near(&mut self) -> Duration {
        let (lease, foreign) = (self.member.lease, self.member.foreign_lease);
        let leases = self.hints().own.values().map(|own| own.lease);
        let shortest = leases.fold(lease.min(foreign), Duration::min);
        NEAR.min(shortest / 3)
    }

    /// What is due, whoever has it: answers how many were chosen.
    fn take_due(&mut self, max: usize, round: &mut Tended) -> usize {
        let now = self.now;
        let due = self.hints().due.until(now, max);
        let mut chosen = 0;
        for id in due {
            self.hints().due.remove(id);
            match self.pending(id) {
                None => self.hints().forget(id),
                Some(pending) if self.state(id, pending.count).hint == pending.count => {
                    chosen += 1;
                    self.offer(id, &pending, round);
                }
                // Somebody has begun it since: the lease decides.
                Some(_) => {}
            }
        }
        chosen
    }

    /// One page of what is pending, without an idle filter: so the cursor reaches the end however
    /// few may be taken.
    fn scan(&mut self, max: usize, cursor: Cursor, round: &mut Tended) {
        let page = self.page(cursor);
        let mut next = if page.len() < PAGE {
            None
        } else {
            page.last().map(|(id, _)| Cursor(*id))
        };
        let mut examined = cursor;
        let mut chosen = 0;
        let near = self.near();
        let refused: Vec<_> = round.refused.iter().map(|(id, _)| *id).collect();
        for (id, pending) in page {
            let lease = self.lease_of(&pending.consumer);
            let over = lease.saturating_sub(pending.idle(self.now));
            if over <= near && !refused.contains(&id) {
                if self.is_waiting(id, &pending) && self.payload(id).is_some() {
                    self.keep_waiting(id, &pending);
                } else if !over.is_zero() {
                    let next = round.next_over.map_or(over, |next| next.min(over));
                    round.next_over = Some(next);
                } else if chosen == max {
                    next = Some(examined);
                    break;
                } else {
                    chosen += 1;
                    self.hints().due.remove(id);
                    self.offer(id, &pending, round);
                }
            }
            examined = Cursor(id);
        }
        round.cursor = next;
    }

    fn page(&self, cursor: Cursor) -> Vec<(EntryId, Pending)> {
        let Ok(group) = self.kept.group(&self.member.source) else {
            return Vec::new();
        };
        group
            .pending
            .range((Bound::Excluded(cursor.0), Bound::Unbounded))
            .take(PAGE)
            .map(|(id, pending)| (*id, pending.clone()))
            .collect()
    }

    /// Takes a message over, charging nothing; or ends it if its budget is used or it is gone.
    fn offer(&mut self, id: EntryId, pending: &Pending, round: &mut Tended) {
        let state = self.state(id, pending.count);
        let crashes = self.told(&state, pending.count);
        let Some(fields) = self.payload(id) else {
            self.give_up(id, pending, Reason::Trimmed, round);
            return;
        };
        match self.used_up(&state, pending.count) {
            Some(Reason::CrashLoop) if state.hint != pending.count => {
                self.doubt(id, pending);
                round.doubted.push(id);
                return;
            }
            Some(reason) => return self.give_up(id, pending, reason, round),
            None => {}
        }
        self.hold(id);
        round.taken.push(Delivery {
            lease: Lease::new(id, pending.count, Charge::TakenOver),
            fields,
            failures: state.failures,
            crashes,
        });
    }

    /// Refreshes a waiting message to its owner, so that the lease does not end its wait.
    pub(super) fn keep_waiting(&mut self, id: EntryId, pending: &Pending) {
        if let Some(group) = self.kept.group_mut(&self.member.source) {
            group.claim(id, &pending.consumer, self.now);
        }
    }

    fn give_up(&mut self, id: EntryId, pending: &Pending, reason: Reason, round: &mut Tended) {
        let mut state = self.state(id, pending.count);
        let fields = self.payload(id);
        state.say_last_words(reason, pending.count);
        let burial = Burial::of(reason, &state, pending);
        match self.bury(id, fields.as_ref(), &burial) {
            Buried::Died(died) => round.dead.push(died),
            Buried::Kept => round.kept.push(id),
            Buried::Refused(error) => round.refused.push((id, error)),
        }
    }

    /// How long this consumer may stay silent.
    pub(super) fn lease_of(&self, consumer: &ConsumerName) -> Duration {
        self.kept
            .hints
            .get(&self.member.source)
            .and_then(|hints| hints.own.get(consumer))
            .map_or(self.member.foreign_lease, |own| own.lease)
    }

    /// Drops the state of messages that are no longer pending: who acknowledges without redrive
    /// leaves it behind.
    fn sweep(&mut self) {
        let Ok(group) = self.kept.group(&self.member.source) else {
            return;
        };
        let Some(hints) = self.kept.hints.get(&self.member.source) else {
            return;
        };
        let all_done = group.pending.is_empty();
        let range = (Bound::Excluded(hints.swept), Bound::Unbounded);
        let checked: Vec<_> = hints
            .states
            .range(range)
            .map(|(id, _)| *id)
            .take(SWEPT)
            .collect();
        let orphans: Vec<_> = checked
            .iter()
            .copied()
            .filter(|id| !group.pending.contains_key(id))
            .collect();
        let hints = self.hints();
        hints.swept = match checked.last() {
            Some(last) if checked.len() == SWEPT => *last,
            _ => EntryId::MIN,
        };
        if all_done {
            hints.forget_all();
        }
        for id in orphans {
            hints.forget(id);
        }
    }

    /// Removes consumers that have gone, and on which nothing is pending.
    pub(super) fn reap(&mut self) {
        let now_ms = self.now.ms();
        let me = &self.member.consumer;
        let source = &self.member.source;
        let (Some(group), Some(hints)) = (
            self.kept
                .streams
                .get_mut(&source.stream)
                .and_then(|stream| stream.groups.get_mut(&source.group)),
            self.kept.hints.get_mut(source),
        ) else {
            return;
        };
        let gone: Vec<_> = group
            .consumers
            .iter()
            .filter(|(name, seen_ms)| match hints.own.get(*name) {
                _ if *name == me => false,
                Some(own) => own.alive_until_ms <= now_ms,
                None => now_ms.saturating_sub(**seen_ms) > FOREIGN_GONE_MS,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if group.remove_idle(&name) {
                hints.own.remove(&name);
            }
        }
    }

    fn set_mark(&mut self) {
        let stream = self.kept.streams.get(&self.member.source.stream);
        let mark = stream.and_then(|stream| {
            let group = stream.groups.get(&self.member.source.group)?;
            Some(Mark::of(group, stream.added))
        });
        self.hints().mark = mark;
    }
}
