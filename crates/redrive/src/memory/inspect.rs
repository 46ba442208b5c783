//! Looking at a world in memory: its health, and what is pending.

use crate::error::Error;
use crate::names::{EntryId, GroupName, Source, StreamKey};
use crate::stats::{ConsumerStats, GroupState, Pending, Stats};

use super::hints::millis;
use super::stream::{Group, Stream};
use super::world::{Kept, Moment};

impl Kept {
    pub(super) fn stats(
        &self,
        key: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
        now: Moment,
    ) -> Stats {
        let mut stats = Stats::empty(
            key.clone(),
            group.cloned(),
            dlq.clone(),
            GroupState::Missing,
        );
        if let Some(queue) = self.streams.get(dlq) {
            stats.dlq_length = queue.entries.len() as u64;
        }
        if let Some(ledger) = self.ledgers.get(dlq) {
            stats.dlq_arrivals = ledger.dead_lettered + ledger.imported;
            stats.dlq_dropped = ledger.dropped;
        }
        let Some(stream) = self.streams.get(key) else {
            return stats;
        };
        stats.state = GroupState::NoGroup;
        stats.stream_length = Some(stream.entries.len() as u64);
        stats.last_entry_id = (stream.added > 0).then_some(stream.last_id);
        let found = group.and_then(|name| stream.groups.get_key_value(name));
        if let Some((name, group)) = found {
            let source = Source {
                stream: key.clone(),
                group: name.clone(),
            };
            self.group_stats(&mut stats, &source, stream, group, now);
        }
        stats
    }

    fn group_stats(
        &self,
        stats: &mut Stats,
        source: &Source,
        stream: &Stream,
        group: &Group,
        now: Moment,
    ) {
        stats.state = GroupState::Ok;
        stats.pending_messages = Some(group.pending.len() as u64);
        stats.waiting = Some(self.waiting(source, group));
        stats.consumers = Some(group.consumers.len() as u64);
        stats.consumer_list = group
            .consumers
            .iter()
            .map(|(name, seen_ms)| ConsumerStats {
                name: name.to_string(),
                pending: group.pending_on(name) as u64,
                idle_ms: now.ms().saturating_sub(*seen_ms),
            })
            .collect();
        stats.last_delivered_id = Some(group.last_delivered);
        let undelivered = group.last_delivered.successor()..;
        stats.lag = Some(stream.entries.range(undelivered).count() as u64);
        stats.lag_exact = true;
        stats.oldest_pending_ms = group
            .pending
            .first_key_value()
            .map(|(_, oldest)| millis(oldest.idle(now)));
    }

    /// `XPENDING` from this id on, with what is kept of each.
    pub(super) fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
        now: Moment,
    ) -> Result<Vec<Pending>, Error> {
        let group = self.group(source)?;
        let hints = self.hints.get(source);
        let rows = group.pending.range(from..).take(limit);
        let seen = rows.map(|(id, row)| {
            let state = hints.and_then(|hints| hints.states.get(id));
            let due = hints.and_then(|hints| hints.due.at(*id));
            let waits = state.is_some_and(|state| state.hint == row.count);
            Pending {
                id: *id,
                consumer: row.consumer.to_string(),
                idle_ms: millis(row.idle(now)),
                deliveries: row.count,
                failures: state.map(|state| state.failures),
                crashes: state.map(|state| state.crashes),
                due_in_ms: due
                    .filter(|_| waits)
                    .map(|at_ms| at_ms.saturating_sub(now.ms())),
                first_failed_at_ms: state.and_then(|state| state.first_failure_ms),
                error: state
                    .map(|state| state.fault.error.clone())
                    .filter(|error| !error.is_empty()),
                own: hints.is_some_and(|hints| hints.own.contains_key(&row.consumer)),
            }
        });
        Ok(seen.collect())
    }

    /// As many as have a due time. One that is no longer valid counts until the next takeover
    /// drops it: a server does not look at each.
    fn waiting(&self, source: &Source, group: &Group) -> u64 {
        let due = self.hints.get(source).map(|hints| hints.due.ids().count());
        due.unwrap_or(0).min(group.pending.len()) as u64
    }
}
