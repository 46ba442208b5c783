//! The broker in memory: Redis streams and the settle protocol as a model, for tests, doc tests
//! and trying things out.

mod audit;
mod campaigns;
mod dead_letters;
mod examine;
mod hints;
mod inspect;
mod keeping;
#[cfg(test)]
#[cfg(not(fuzzing_libfuzzer))]
pub(crate) mod lab;
mod limit;
mod members;
mod pages;
mod quarantine;
mod seat;
mod settle;
mod stream;
mod takeover;
mod tombstones;
mod trim;
mod world;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::{
    Backend, Entry, IdRange, Import, Imported, Joined, Mark, Membership, Opened, Replay, Replayed,
    Undo, UndoHow, Undone,
};
use crate::campaign::{CampaignName, CampaignState, Death, Plan, Record};
use crate::doctor::Named;
use crate::doctor::facts::{ServerFacts, StreamFacts};
use crate::error::Error;
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, GroupStart, Names, Source, StreamKey};
use crate::stats::{Pending, Stats};
use crate::trim::{TrimStep, Trimmed};

use seat::MemorySeat;
use world::{Kept, Moment, World};

/// The worlds that have a name, as long as somebody holds them.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<World>>>> = LazyLock::new(Mutex::default);

/// A broker that lives in this process and ends with its last handle.
///
/// Clones share one world, and so do handles of the same [name](Self::named).
#[derive(Clone)]
pub(crate) struct Memory {
    world: Arc<World>,
}

impl Memory {
    /// An empty world of its own.
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(World::new()))
    }

    /// The world of this name in this process; an empty one if nobody holds it.
    pub(crate) fn named(name: &str) -> Self {
        let mut worlds = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.retain(|_, world| world.strong_count() > 0);
        let world = worlds.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let world = Arc::new(World::new());
            worlds.insert(name.to_owned(), Arc::downgrade(&world));
            world
        });
        Self::over(world)
    }

    fn over(world: Arc<World>) -> Self {
        Self { world }
    }

    /// All there is, and what time it is: one step of the model happens under one such lock.
    fn open(&self) -> (MutexGuard<'_, Kept>, Moment) {
        let kept = self.world.kept();
        // Asked under the lock, so that time never runs backwards from one step to the next.
        let now = self.world.now();
        (kept, now)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Memory {
    async fn join(&self, membership: Membership) -> Result<Joined, Error> {
        MemorySeat::take(self.clone(), membership)
    }

    async fn append(&self, stream: &StreamKey, entries: &[Fields]) -> Result<Vec<EntryId>, Error> {
        let ids = {
            let (mut kept, now) = self.open();
            kept.append(stream, entries, now)?
        };
        self.world.changed.notify_waiters();
        Ok(ids)
    }

    async fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        let (kept, _) = self.open();
        kept.entries(stream, range)
    }

    async fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        let (kept, _) = self.open();
        kept.page(stream, range)
    }

    async fn named(
        &self,
        stream: &StreamKey,
        ids: &[EntryId],
    ) -> Result<Vec<Option<Entry>>, Error> {
        let (kept, _) = self.open();
        kept.named(stream, ids)
    }

    async fn length(&self, stream: &StreamKey) -> Result<u64, Error> {
        let (kept, _) = self.open();
        kept.check_type(stream)?;
        let entries = kept.streams.get(stream).map(|stream| stream.entries.len());
        Ok(entries.unwrap_or(0) as u64)
    }

    async fn replay(&self, dlq: &StreamKey, orders: &[Replay]) -> Result<Vec<Replayed>, Error> {
        let answers = {
            let (mut kept, now) = self.open();
            if !orders.is_empty() {
                kept.check_type(dlq)?;
            }
            orders
                .iter()
                .map(|order| kept.replay(dlq, order, now))
                .collect()
        };
        self.world.changed.notify_waiters();
        Ok(answers)
    }

    async fn open_campaign(&self, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error> {
        let (mut kept, now) = self.open();
        Ok(kept.open_campaign(dlq, plan, now))
    }

    async fn mark_campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
    ) -> Result<Option<CampaignState>, Error> {
        let (mut kept, now) = self.open();
        Ok(kept.mark_campaign(dlq, name, mark, now))
    }

    async fn campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
    ) -> Result<Option<Record>, Error> {
        let (mut kept, now) = self.open();
        Ok(kept.record(dlq, name, now))
    }

    async fn campaigns(&self, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error> {
        let (mut kept, now) = self.open();
        Ok(kept.campaign_names(dlq, now))
    }

    async fn note_deaths(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
    ) -> Result<(), Error> {
        let (mut kept, now) = self.open();
        kept.note_deaths(dlq, name, deaths, searched, now);
        Ok(())
    }

    async fn undo(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        orders: &[Undo],
        how: UndoHow,
    ) -> Result<Vec<Undone>, Error> {
        let (mut kept, now) = self.open();
        if !orders.is_empty() {
            kept.check_type(dlq)?;
        }
        let undone = orders.iter();
        Ok(undone
            .map(|order| kept.undo(dlq, name, order, how, now))
            .collect())
    }

    async fn stage(&self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error> {
        let (mut kept, _) = self.open();
        kept.stage(dlq, letters)
    }

    async fn receipts(
        &self,
        dlq: &StreamKey,
        orders: &[Replay],
    ) -> Result<Vec<Option<EntryId>>, Error> {
        let (kept, now) = self.open();
        let receipts = orders.iter().map(|order| kept.receipt(dlq, order, now));
        Ok(receipts.collect())
    }

    async fn import(&self, dlq: &StreamKey, orders: &[Import]) -> Result<Vec<Imported>, Error> {
        let answers = {
            let (mut kept, now) = self.open();
            let orders = orders.iter();
            orders.map(|order| kept.import(dlq, order, now)).collect()
        };
        self.world.changed.notify_waiters();
        Ok(answers)
    }

    async fn purge(&self, dlq: &StreamKey, ids: &[EntryId]) -> Result<Vec<bool>, Error> {
        let (mut kept, _) = self.open();
        if !ids.is_empty() {
            kept.check_type(dlq)?;
        }
        Ok(ids.iter().map(|id| kept.purge(dlq, *id)).collect())
    }

    async fn marked(&self, stream: &StreamKey) -> Result<Vec<GroupName>, Error> {
        let (kept, _) = self.open();
        Ok(kept.marked(stream))
    }

    async fn trim(
        &self,
        stream: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Result<Option<Trimmed>, Error> {
        let (mut kept, _) = self.open();
        kept.check_type(stream)?;
        Ok(kept.trim(stream, marked, step))
    }

    async fn erase(&self, source: &Source, dlq: &StreamKey) -> Result<(), Error> {
        let (mut kept, _) = self.open();
        kept.streams.remove(&source.stream);
        kept.streams.remove(dlq);
        kept.hints.remove(source);
        kept.ledgers.remove(dlq);
        kept.receipts
            .retain(|(target, from, _), _| *target != source.stream || from != dlq);
        kept.imports.retain(|(queue, _), _| queue != dlq);
        kept.campaigns.retain(|(queue, _), _| queue != dlq);
        kept.audits.remove(dlq);
        Ok(())
    }

    async fn stats(
        &self,
        stream: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
    ) -> Result<Stats, Error> {
        let (kept, now) = self.open();
        kept.check_type(dlq)?;
        kept.check_type(stream)?;
        Ok(kept.stats(stream, group, dlq, now))
    }

    async fn groups(&self, stream: &StreamKey) -> Result<Option<Names<GroupName>>, Error> {
        let (kept, _) = self.open();
        kept.check_type(stream)?;
        Ok(kept.streams.get(stream).map(|stream| {
            let mut names: Vec<GroupName> = stream.groups.keys().cloned().collect();
            names.sort_unstable();
            Names { names, skipped: 0 }
        }))
    }

    async fn streams(&self) -> Result<Names<StreamKey>, Error> {
        let (kept, _) = self.open();
        let mut names: Vec<StreamKey> = kept.streams.keys().cloned().collect();
        names.sort_unstable();
        Ok(Names { names, skipped: 0 })
    }

    async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error> {
        let (kept, now) = self.open();
        kept.check_type(&source.stream)?;
        kept.pending(source, from, limit, now)
    }

    async fn create_group(&self, source: &Source, start: GroupStart) -> Result<Created, Error> {
        let (mut kept, _) = self.open();
        kept.ensure_group(source, Some(start))
    }

    async fn delete_group(&self, source: &Source, how: Deletion) -> Result<Deleted, Error> {
        let deleted = {
            let (mut kept, now) = self.open();
            kept.check_type(&source.stream)?;
            kept.delete_group(source, how, now)
        };
        // Who waits for entries is to know.
        self.world.changed.notify_waiters();
        Ok(deleted)
    }

    async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error> {
        let (kept, now) = self.open();
        kept.check_type(&source.stream)?;
        kept.consumers(source, now)
    }

    async fn prune(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
        let (mut kept, now) = self.open();
        kept.check_type(&source.stream)?;
        kept.prune(source, idle, removal, now)
    }

    async fn server_facts(&self) -> Result<Option<ServerFacts>, Error> {
        Ok(None)
    }

    async fn stream_facts(
        &self,
        stream: &StreamKey,
        _named: Named,
    ) -> Result<Option<StreamFacts>, Error> {
        let (kept, now) = self.open();
        kept.check_type(stream)?;
        Ok(kept.stream_facts(stream, now))
    }

    async fn remove_consumers(
        &self,
        source: &Source,
        names: &[String],
        silent: Duration,
    ) -> Result<u64, Error> {
        let (mut kept, now) = self.open();
        Ok(kept.remove_consumers(source, names, silent, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::EntryId;

    fn stream() -> StreamKey {
        StreamKey::new("orders").unwrap()
    }

    fn fields() -> Fields {
        [("kind", "order")].into_iter().collect()
    }

    async fn length(memory: &Memory) -> usize {
        let all = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: crate::selection::Order::Oldest,
            limit: 100,
        };
        memory.entries(&stream(), all).await.unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_world_is_shared_by_clones_and_by_name_and_by_nothing_else() {
        let alone = Memory::new();
        let shared = Memory::named("shared by name");
        let again = Memory::named("shared by name");
        alone.append(&stream(), &[fields()]).await.unwrap();
        again
            .append(&stream(), &[fields(), fields()])
            .await
            .unwrap();
        assert_eq!(length(&alone.clone()).await, 1);
        assert_eq!(length(&shared).await, 2);
        assert_eq!(length(&Memory::named("another name")).await, 0);
        assert_eq!(length(&Memory::new()).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_named_world_ends_with_its_last_handle() {
        let first = Memory::named("ends");
        first.append(&stream(), &[fields()]).await.unwrap();
        drop(first);
        assert_eq!(length(&Memory::named("ends")).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn ids_are_the_time_and_grow_within_one_millisecond() {
        let memory = Memory::new();
        let ids = memory
            .append(&stream(), &[fields(), fields()])
            .await
            .unwrap();
        tokio::time::advance(Duration::from_millis(7)).await;
        let later = memory.append(&stream(), &[fields()]).await.unwrap();
        assert_eq!(ids[1], EntryId::new(ids[0].millis(), 1));
        assert_eq!(later, [EntryId::new(ids[0].millis() + 7, 0)]);
    }
}
