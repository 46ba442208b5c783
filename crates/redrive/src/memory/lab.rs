//! What only a test may do to a world in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Memory;
use super::hints::{Hints, State, millis};
use super::stream::Pending;
use super::world::Kept;
use crate::backend::Backend;
use crate::conformance::{Bench, Lab, Row, StateParts};
use crate::message::Fields;
use crate::names::{ConsumerName, EntryId, Source, StreamKey};

impl Memory {
    /// Destroys a group, as an operator or a lost key does; what waits on it is told.
    pub(crate) fn forget_group(&self, source: &Source) {
        if let Some(stream) = self.world.kept().streams.get_mut(&source.stream) {
            stream.groups.remove(&source.group);
        }
        self.world.changed.notify_waiters();
    }
}

impl Memory {
    /// `XDEL`.
    pub(crate) fn delete_entry(&self, stream: &StreamKey, id: EntryId) -> bool {
        self.world.kept().delete(stream, id)
    }
}

/// A world of its own for each test.
pub(crate) struct MemoryLab(Memory);

impl Bench for MemoryLab {
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    async fn open() -> Self {
        Self(Memory::new())
    }

    async fn close(self) {}
}

impl MemoryLab {
    fn pending<T>(
        &self,
        source: &Source,
        id: EntryId,
        change: impl FnOnce(&mut Pending) -> T,
    ) -> T {
        let mut kept = self.0.world.kept();
        let group = kept.group_mut(source).unwrap();
        change(group.pending.get_mut(&id).unwrap())
    }

    fn hints<T>(&self, source: &Source, look: impl FnOnce(&mut Hints) -> T) -> T {
        let mut kept = self.0.world.kept();
        look(kept.hints.entry(source.clone()).or_default())
    }

    fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.world.kept())
    }
}

fn parts(state: &State) -> StateParts {
    StateParts {
        failures: state.failures,
        crashes: state.crashes,
        open: state.open,
        hint: state.hint,
        nonce: state.nonce.clone(),
        booked: state.booked,
        alone: state.alone,
        first_failure_ms: state.first_failure_ms,
        error: state.fault.error.clone(),
    }
}

#[async_trait]
impl Lab for MemoryLab {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.0.clone())
    }

    async fn add_with_id(&self, stream: &StreamKey, id: EntryId, fields: Fields) {
        self.kept(|kept| {
            let stream = kept.streams.entry(stream.clone()).or_default();
            assert!(id > stream.last_id, "{id} is not above the last id");
            stream.put(id, fields);
        });
        self.0.world.changed.notify_waiters();
    }

    async fn age(&self, source: &Source, id: EntryId, by: Duration) {
        self.pending(source, id, |pending| pending.delivered_ms -= millis(by));
    }

    async fn age_due(&self, source: &Source, id: EntryId, by: Duration) {
        self.hints(source, |hints| {
            let at_ms = hints.due.at(id).unwrap();
            hints.due.set(id, at_ms - millis(by));
        });
    }

    async fn foreign_read(&self, source: &Source, consumer: &str, count: usize) -> Vec<EntryId> {
        let now = self.0.world.now();
        let consumer = ConsumerName::new(consumer).unwrap();
        self.kept(|kept| {
            let stream = kept.streams.get_mut(&source.stream).unwrap();
            let read = stream.read(&source.group, &consumer, count, now);
            read.into_iter().map(|(id, _)| id).collect()
        })
    }

    async fn foreign_claim(&self, source: &Source, consumer: &str, id: EntryId) {
        let now = self.0.world.now();
        let consumer = ConsumerName::new(consumer).unwrap();
        self.kept(|kept| {
            let group = kept.group_mut(source).unwrap();
            group.see(&consumer, now);
            group.claim(id, &consumer, now);
        });
        self.pending(source, id, |pending| pending.count += 1);
    }

    async fn foreign_ack(&self, source: &Source, id: EntryId) {
        self.kept(|kept| kept.group_mut(source).unwrap().pending.remove(&id));
    }

    async fn trim(&self, stream: &StreamKey, id: EntryId) {
        assert!(self.kept(|kept| kept.delete(stream, id)));
    }

    async fn pel(&self, source: &Source) -> Vec<Row> {
        let now = self.0.world.now();
        let kept = self.0.world.kept();
        let pending = &kept.group(source).unwrap().pending;
        pending
            .iter()
            .map(|(id, pending)| Row {
                id: *id,
                consumer: pending.consumer.to_string(),
                idle: pending.idle(now),
                count: pending.count,
            })
            .collect()
    }

    async fn state(&self, source: &Source, id: EntryId) -> Option<StateParts> {
        self.states(source).await.remove(&id)
    }

    async fn states(&self, source: &Source) -> BTreeMap<EntryId, StateParts> {
        self.hints(source, |hints| {
            let states = hints.states.iter();
            states.map(|(id, state)| (*id, parts(state))).collect()
        })
    }

    async fn due(&self, source: &Source) -> Vec<(EntryId, i64)> {
        let now_ms = self.0.world.now().ms();
        self.hints(source, |hints| {
            let times = hints.due.times();
            times
                .map(|(at_ms, id)| (id, at_ms.cast_signed() - now_ms.cast_signed()))
                .collect()
        })
    }

    async fn is_clean(&self, source: &Source) -> bool {
        self.hints(source, |hints| {
            hints.states.is_empty() && hints.due.ids().next().is_none()
        })
    }

    async fn ledger(&self, dlq: &StreamKey) -> BTreeMap<String, u64> {
        let ledger = self.kept(|kept| *kept.ledger(dlq));
        [
            ("dead_lettered", ledger.dead_lettered),
            ("imported", ledger.imported),
            ("replayed", ledger.replayed),
            ("purged", ledger.purged),
            ("spilled", ledger.spilled),
            ("dropped", ledger.dropped),
            ("rewritten", ledger.rewritten),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
    }

    async fn drop_group(&self, source: &Source) {
        self.0.forget_group(source);
    }

    async fn drop_stream(&self, stream: &StreamKey) {
        self.kept(|kept| kept.streams.remove(stream));
        self.0.world.changed.notify_waiters();
    }

    async fn spoil(&self, stream: &StreamKey) {
        self.kept(|kept| {
            assert!(!kept.streams.contains_key(stream), "{stream} is a stream");
            kept.spoiled.insert(stream.clone());
        });
    }

    async fn mend(&self, stream: &StreamKey) {
        assert!(self.kept(|kept| kept.spoiled.remove(stream)));
    }

    async fn presume_dead(&self, source: &Source, consumer: &str) {
        let consumer = ConsumerName::new(consumer).unwrap();
        self.hints(source, |hints| {
            hints.own.get_mut(&consumer).unwrap().alive_until_ms = 0;
        });
    }
}
