//! What a world in memory tells of a stream for it to be judged, and what mends it.

use std::time::Duration;

use super::hints::millis;
use super::stream::{Group, Stream};
use super::world::{Kept, Moment};
use crate::doctor::facts::{ConsumerFacts, GroupFacts, LOOK, Lag, Purpose, Row, StreamFacts, Told};
use crate::names::{GroupName, Source, StreamKey};

impl Kept {
    /// `None` where there is no such stream.
    pub(super) fn stream_facts(&self, key: &StreamKey, now: Moment) -> Option<StreamFacts> {
        let stream = self.streams.get(key)?;
        let first = stream.entries.first_key_value();
        let mut names: Vec<&GroupName> = stream.groups.keys().collect();
        names.sort_unstable();
        let groups = names.into_iter().filter_map(|name| {
            let group = stream.groups.get(name)?;
            Some(self.group_facts(key, stream, name, group, now))
        });
        let groups: Vec<GroupFacts> = groups.collect();
        let mut vanished = self.marked(key);
        vanished.retain(|name| !stream.groups.contains_key(name));
        Some(StreamFacts {
            purpose: Purpose::of(key, first.map(|(id, fields)| (*id, fields.clone()))),
            length: stream.entries.len() as u64,
            first: first.map(|(id, _)| *id),
            last: stream.last_id,
            added: Some(stream.added),
            deleted: None,
            nodes: None,
            all_groups: groups.len() as u64,
            groups,
            unnamed: 0,
            vanished: Told::Yes(vanished),
            rights: None,
            stream: key.clone(),
        })
    }

    fn group_facts(
        &self,
        key: &StreamKey,
        stream: &Stream,
        name: &GroupName,
        group: &Group,
        now: Moment,
    ) -> GroupFacts {
        let source = Source {
            stream: key.clone(),
            group: name.clone(),
        };
        let hints = self.hints.get(&source);
        let look = usize::try_from(LOOK).unwrap_or(usize::MAX);
        let rows = group.pending.iter().take(look).map(|(id, row)| Row {
            id: *id,
            consumer: row.consumer.to_string(),
            idle_ms: millis(row.idle(now)),
            deliveries: row.count,
        });
        let consumers = group.consumers.iter().map(|(consumer, seen_ms)| {
            let own = hints.and_then(|hints| hints.own.get(consumer));
            ConsumerFacts {
                name: consumer.to_string(),
                pending: group.pending_on(consumer) as u64,
                idle_ms: now.ms().saturating_sub(*seen_ms),
                lease_ms: own.map(|own| millis(own.lease)),
                alive: own.is_some_and(|own| own.alive_until_ms > now.ms()),
            }
        });
        let mut unread = stream.entries.range(group.last_delivered.successor()..);
        let next = unread.next().map(|(id, _)| *id);
        let states = hints.into_iter().flat_map(|hints| hints.states.keys());
        let unsettled =
            states.filter(|id| stream.entries.contains_key(id) && !group.pending.contains_key(id));
        let gone = group.pending.keys();
        let first = stream.entries.first_key_value().map(|(first, _)| first);
        GroupFacts {
            group: name.clone(),
            last_delivered: group.last_delivered,
            lag: Lag::Count(next.iter().count() as u64 + unread.count() as u64),
            counts: None,
            pending: group.pending.len() as u64,
            unread_ms: next.and_then(|id| now.ms().checked_sub(id.millis())),
            marked: hints.is_some_and(|hints| hints.mark.is_some()),
            consumers: Told::Yes(consumers.collect()),
            own: Told::Yes(()),
            rows: Told::Yes(rows.collect()),
            deleted: gone
                .filter(|id| {
                    !stream.entries.contains_key(id) && first.is_some_and(|first| *id >= first)
                })
                .copied()
                .collect(),
            unseen: 0,
            unsettled: Told::Yes(unsettled.copied().collect()),
        }
    }

    pub(super) fn remove_consumers(
        &mut self,
        source: &Source,
        names: &[String],
        silent: Duration,
        now: Moment,
    ) -> u64 {
        let stream = self.streams.get_mut(&source.stream);
        let group = stream.and_then(|stream| stream.groups.get_mut(&source.group));
        let Some(group) = group else { return 0 };
        let mut hints = self.hints.get_mut(source);
        let gone = group.consumers.iter().filter(|(name, seen_ms)| {
            let own = hints.as_ref().and_then(|hints| hints.own.get(*name));
            let dead = match own {
                Some(own) => own.alive_until_ms <= now.ms(),
                None => now.ms().saturating_sub(**seen_ms) > millis(silent),
            };
            dead && names.iter().any(|wanted| wanted == name.as_str())
        });
        let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
        let mut removed = 0;
        for name in gone {
            if group.remove_idle(&name) {
                removed += 1;
                if let Some(hints) = hints.as_mut() {
                    hints.own.remove(&name);
                }
            }
        }
        removed
    }
}
