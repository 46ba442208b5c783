//! Keeping a group in memory: its consumers, those that go, and its end.

use std::time::Duration;

use crate::error::Error;
use crate::members::{Consumer, Deleted, Deletion, FOREIGN_IDLE, Removal, WhyKept, why_kept};
use crate::names::Source;

use super::hints::{Hints, millis};
use super::world::{Kept, Moment};

impl Kept {
    pub(super) fn consumers(&self, source: &Source, now: Moment) -> Result<Vec<Consumer>, Error> {
        let group = self.group(source)?;
        let hints = self.hints.get(source);
        let consumers = group.consumers.iter().map(|(name, seen_ms)| {
            let own = hints.and_then(|hints| hints.own.get(name));
            Consumer {
                name: name.to_string(),
                pending: group.pending_on(name) as u64,
                idle_ms: now.ms().saturating_sub(*seen_ms),
                own: own.is_some(),
                lease_ms: own.map(|own| millis(own.lease)),
                alive: own.map(|own| own.alive_until_ms > now.ms()),
            }
        });
        Ok(consumers.collect())
    }

    pub(super) fn prune(
        &mut self,
        source: &Source,
        idle: Duration,
        removal: Removal,
        now: Moment,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
        let idle_ms = millis(idle);
        let judged: Vec<_> = (self.consumers(source, now)?.into_iter())
            .map(|one| {
                let why = why_kept(&one, idle_ms);
                (one, why)
            })
            .collect();
        if removal == Removal::Remove {
            for (gone, _) in judged.iter().filter(|(_, why)| why.is_none()) {
                if let Some(group) = self.group_mut(source) {
                    group.consumers.retain(|name, _| name.as_str() != gone.name);
                }
            }
            self.forget_dead(source, now);
        }
        Ok(judged)
    }

    /// Drops what is known of consumers that are dead and in the group no more.
    fn forget_dead(&mut self, source: &Source, now: Moment) {
        let group = self.streams.get(&source.stream);
        let group = group.and_then(|stream| stream.groups.get(&source.group));
        if let (Some(group), Some(hints)) = (group, self.hints.get_mut(source)) {
            hints.own.retain(|name, own| {
                group.consumers.contains_key(name) || own.alive_until_ms > now.ms()
            });
        }
    }

    /// `XGROUP DESTROY`, and the keys beside it.
    pub(super) fn delete_group(&mut self, source: &Source, how: Deletion, now: Moment) -> Deleted {
        let pending = self.group(source).map(|group| group.pending.len() as u64);
        let kept = self.hints.get(source).is_some_and(|hints| {
            let Hints {
                due,
                states,
                stones,
                own,
                mark,
                swept: _,
            } = hints;
            let waits = due.ids().next().is_some() || !states.is_empty() || !stones.is_empty();
            waits || mark.is_some() || !own.is_empty()
        });
        let mut deleted = Deleted {
            existed: pending.is_ok(),
            removed: false,
            pending: pending.unwrap_or(0),
            alive: self.alive(source, now),
            kept,
        };
        let in_use = deleted.pending > 0 || !deleted.alive.is_empty();
        if how == Deletion::Forced || (how == Deletion::Unused && !in_use) {
            if let Some(stream) = self.streams.get_mut(&source.stream) {
                stream.groups.remove(&source.group);
            }
            self.hints.remove(source);
            deleted.removed = true;
        }
        deleted
    }

    /// Who lives, by their names: redrive's, in the group or not, and others of the group that were seen
    /// lately.
    fn alive(&self, source: &Source, now: Moment) -> Vec<String> {
        let own = self.hints.get(source).map(|hints| &hints.own);
        let lives = own.into_iter().flatten();
        let lives = lives.filter(|(_, one)| one.alive_until_ms > now.ms());
        let mut alive: Vec<String> = lives.map(|(name, _)| name.to_string()).collect();
        if let Ok(group) = self.group(source) {
            let seen = group.consumers.iter().filter(|(name, seen_ms)| {
                let foreign = own.is_none_or(|own| !own.contains_key(*name));
                foreign && now.ms().saturating_sub(**seen_ms) <= millis(FOREIGN_IDLE)
            });
            alive.extend(seen.map(|(name, _)| name.to_string()));
        }
        alive.sort_unstable();
        alive
    }
}
