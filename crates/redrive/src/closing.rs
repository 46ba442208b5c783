//! A backend that ends with its broker: from then on every call is an error of kind `Closed`, and
//! so is what waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::audit_log::AuditLog;
use crate::backend::{
    Backend, Begun, Beside, Cursor, Delivery, Entry, Fence, IdRange, Import, Imported, Joined,
    Mark, Membership, Opened, Renewed, RenewedOn, Replay, Replayed, Restored, Seat, Settled,
    Settlement, Tended, Undo, UndoHow, Undone,
};
use crate::campaign::{CampaignName, CampaignState, Death, Plan, Record};
use crate::dead_letter::Level;
use crate::doctor::Named;
use crate::doctor::facts::{ServerFacts, StreamFacts};
use crate::error::Error;
use crate::gate::Gate;
use crate::keeping::{Books, Keeping};
use crate::ledger::Counts;
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, GroupStart, Names, Source, StreamKey};
use crate::stats::{Pending, Stats};
use crate::trim::{TrimStep, Trimmed};

/// Any backend or seat, until it is closed.
pub(crate) struct Closing<B: ?Sized> {
    closed: CancellationToken,
    inner: Arc<B>,
}

impl<B: ?Sized> Closing<B> {
    pub(crate) fn new(inner: Arc<B>, closed: CancellationToken) -> Self {
        Self { closed, inner }
    }

    pub(crate) async fn unless_closed<T>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error::closed()),
            answer = call => answer,
        }
    }
}

#[async_trait]
impl AuditLog for Closing<dyn Backend> {
    async fn record(&self, dlq: &StreamKey, entry: &Fields) -> Result<(), Error> {
        self.unless_closed(self.inner.record(dlq, entry)).await
    }

    async fn recorded(
        &self,
        dlq: &StreamKey,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.unless_closed(self.inner.recorded(dlq, from, limit))
            .await
    }
}

#[async_trait]
impl Backend for Closing<dyn Backend> {
    async fn join(&self, membership: Membership) -> Result<Joined, Error> {
        let joined = self.unless_closed(self.inner.join(membership)).await?;
        let Joined::Seat(seat) = joined else {
            return Ok(joined);
        };
        let closing: Closing<dyn Seat> = Closing::new(seat, self.closed.clone());
        Ok(Joined::Seat(Arc::new(closing)))
    }

    async fn append(&self, stream: &StreamKey, entries: &[Fields]) -> Result<Vec<EntryId>, Error> {
        self.unless_closed(self.inner.append(stream, entries)).await
    }

    async fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        self.unless_closed(self.inner.entries(stream, range)).await
    }

    async fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        self.unless_closed(self.inner.page(stream, range)).await
    }

    async fn named(
        &self,
        stream: &StreamKey,
        ids: &[EntryId],
    ) -> Result<Vec<Option<Entry>>, Error> {
        self.unless_closed(self.inner.named(stream, ids)).await
    }

    async fn page_behind(
        &self,
        stream: &StreamKey,
        range: IdRange,
        left: u64,
    ) -> Result<Vec<Entry>, Error> {
        self.unless_closed(self.inner.page_behind(stream, range, left))
            .await
    }

    async fn length(&self, stream: &StreamKey) -> Result<u64, Error> {
        self.unless_closed(self.inner.length(stream)).await
    }

    async fn replay(&self, dlq: &StreamKey, orders: &[Replay]) -> Result<Vec<Replayed>, Error> {
        self.unless_closed(self.inner.replay(dlq, orders)).await
    }

    async fn receipts(
        &self,
        dlq: &StreamKey,
        orders: &[Replay],
    ) -> Result<Vec<Option<EntryId>>, Error> {
        self.unless_closed(self.inner.receipts(dlq, orders)).await
    }

    async fn import(&self, dlq: &StreamKey, orders: &[Import]) -> Result<Vec<Imported>, Error> {
        self.unless_closed(self.inner.import(dlq, orders)).await
    }

    async fn open_campaign(&self, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error> {
        self.unless_closed(self.inner.open_campaign(dlq, plan))
            .await
    }

    async fn mark_campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
    ) -> Result<Option<CampaignState>, Error> {
        self.unless_closed(self.inner.mark_campaign(dlq, name, mark))
            .await
    }

    async fn campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
    ) -> Result<Option<Record>, Error> {
        self.unless_closed(self.inner.campaign(dlq, name)).await
    }

    async fn campaigns(&self, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error> {
        self.unless_closed(self.inner.campaigns(dlq)).await
    }

    async fn note_deaths(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
    ) -> Result<(), Error> {
        let noting = self.inner.note_deaths(dlq, name, deaths, searched);
        self.unless_closed(noting).await
    }

    async fn undo(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        orders: &[Undo],
        how: UndoHow,
    ) -> Result<Vec<Undone>, Error> {
        self.unless_closed(self.inner.undo(dlq, name, orders, how))
            .await
    }

    async fn stage(&self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error> {
        self.unless_closed(self.inner.stage(dlq, letters)).await
    }

    async fn purge(&self, dlq: &StreamKey, ids: &[EntryId]) -> Result<Vec<bool>, Error> {
        self.unless_closed(self.inner.purge(dlq, ids)).await
    }

    async fn marked(&self, stream: &StreamKey) -> Result<Vec<GroupName>, Error> {
        self.unless_closed(self.inner.marked(stream)).await
    }

    async fn trim(
        &self,
        stream: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Result<Option<Trimmed>, Error> {
        self.unless_closed(self.inner.trim(stream, marked, step))
            .await
    }

    async fn erase(&self, source: &Source, dlq: &StreamKey) -> Result<(), Error> {
        self.unless_closed(self.inner.erase(source, dlq)).await
    }

    async fn stats(
        &self,
        stream: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
    ) -> Result<Stats, Error> {
        self.unless_closed(self.inner.stats(stream, group, dlq))
            .await
    }

    async fn groups(&self, stream: &StreamKey) -> Result<Option<Names<GroupName>>, Error> {
        self.unless_closed(self.inner.groups(stream)).await
    }

    async fn streams(&self) -> Result<Names<StreamKey>, Error> {
        self.unless_closed(self.inner.streams()).await
    }

    async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error> {
        self.unless_closed(self.inner.pending(source, from, limit))
            .await
    }

    async fn create_group(&self, source: &Source, start: GroupStart) -> Result<Created, Error> {
        self.unless_closed(self.inner.create_group(source, start))
            .await
    }

    async fn delete_group(&self, source: &Source, how: Deletion) -> Result<Deleted, Error> {
        self.unless_closed(self.inner.delete_group(source, how))
            .await
    }

    async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error> {
        self.unless_closed(self.inner.consumers(source)).await
    }

    async fn prune(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
        self.unless_closed(self.inner.prune(source, idle, removal))
            .await
    }

    async fn server_facts(&self) -> Result<Option<ServerFacts>, Error> {
        self.unless_closed(self.inner.server_facts()).await
    }

    async fn stream_facts(
        &self,
        stream: &StreamKey,
        named: Named,
    ) -> Result<Option<StreamFacts>, Error> {
        self.unless_closed(self.inner.stream_facts(stream, named))
            .await
    }

    async fn remove_consumers(
        &self,
        source: &Source,
        names: &[String],
        silent: Duration,
    ) -> Result<u64, Error> {
        self.unless_closed(self.inner.remove_consumers(source, names, silent))
            .await
    }
}

#[async_trait]
impl Books for Closing<dyn Backend> {
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error> {
        self.unless_closed(self.inner.counts(dlq)).await
    }
}

#[async_trait]
impl Keeping for Closing<dyn Seat> {
    async fn make_room(&self) -> Result<u64, Error> {
        self.unless_closed(self.inner.make_room()).await
    }

    async fn level(&self) -> Result<Level, Error> {
        self.unless_closed(self.inner.level()).await
    }

    async fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error> {
        self.unless_closed(self.inner.oldest(most)).await
    }

    async fn take_out(&self, ids: &[EntryId], operation: &str) -> Result<u64, Error> {
        self.unless_closed(self.inner.take_out(ids, operation))
            .await
    }
}

#[async_trait]
impl Seat for Closing<dyn Seat> {
    async fn receive(&self, max: usize, block: Option<Duration>) -> Result<Vec<Delivery>, Error> {
        self.unless_closed(self.inner.receive(max, block)).await
    }

    async fn tend(&self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        self.unless_closed(self.inner.tend(max, cursor)).await
    }

    async fn begin(
        &self,
        leases: &[Fence],
        beside: Beside,
        nonce: &str,
    ) -> Result<Vec<Begun>, Error> {
        self.unless_closed(self.inner.begin(leases, beside, nonce))
            .await
    }

    async fn renew(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        self.unless_closed(self.inner.renew(leases)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        self.unless_closed(self.inner.settle(settlements)).await
    }

    async fn restore(&self) -> Result<Restored, Error> {
        self.unless_closed(self.inner.restore()).await
    }

    async fn leave(&self) -> Result<(), Error> {
        self.unless_closed(self.inner.leave()).await
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }

    async fn pending(&self, but: &BTreeSet<EntryId>) -> Result<u64, Error> {
        self.unless_closed(self.inner.pending(but)).await
    }

    async fn probe_writes(&self) -> Result<(), Error> {
        self.unless_closed(self.inner.probe_writes()).await
    }

    fn gate(&self) -> Gate {
        self.inner.gate()
    }

    fn renewed_on(&self) -> RenewedOn {
        self.inner.renewed_on()
    }

    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }
}
