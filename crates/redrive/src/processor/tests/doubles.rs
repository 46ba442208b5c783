//! A backend in front of another one, that loses calls and answers as it is told, and counts.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

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
use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::keeping::{Books, Keeping};
use crate::ledger::Counts;
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, GroupStart, Names, Source, StreamKey};
use crate::stats::{Pending, Stats};
use crate::trim::{TrimStep, Trimmed};

/// A call of the seam that may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Join,
    Receive,
    Tend,
    Begin,
    Renew,
    Settle,
    Pending,
    Leave,
    Probe,
    TakeOut,
}

impl Verb {
    pub(super) const ALL: [Self; 9] = [
        Self::Join,
        Self::Receive,
        Self::Tend,
        Self::Begin,
        Self::Renew,
        Self::Settle,
        Self::Pending,
        Self::Leave,
        Self::Probe,
    ];
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    NeverArrives,
    ReplyLost,
    Fatal(ErrorKind),
    Slow(Duration),
}

/// What is to go wrong, and how often each verb was called.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: HashMap<Verb, VecDeque<Wrong>>,
    always: HashMap<Verb, Wrong>,
    calls: HashMap<Verb, u64>,
    renewed_on: Option<RenewedOn>,
}

impl Faults {
    /// The next calls of this verb go wrong, one by one.
    pub(super) fn next(&self, verb: Verb, wrong: impl IntoIterator<Item = Wrong>) {
        let mut state = self.0.lock().unwrap();
        state.next.entry(verb).or_default().extend(wrong);
    }

    /// Every call of this verb goes wrong.
    pub(super) fn always(&self, verb: Verb, wrong: Wrong) {
        self.0.lock().unwrap().always.insert(verb, wrong);
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&self) {
        let mut state = self.0.lock().unwrap();
        state.next.clear();
        state.always.clear();
    }

    /// Leases are renewed from there, whatever the backend says.
    pub(super) fn renew_on(&self, renewed_on: RenewedOn) {
        self.0.lock().unwrap().renewed_on = Some(renewed_on);
    }

    pub(super) fn calls(&self, verb: Verb) -> u64 {
        let state = self.0.lock().unwrap();
        state.calls.get(&verb).copied().unwrap_or_default()
    }

    async fn through<T>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let wrong = {
            let mut state = self.0.lock().unwrap();
            *state.calls.entry(verb).or_default() += 1;
            let next = state.next.get_mut(&verb).and_then(VecDeque::pop_front);
            next.or_else(|| state.always.get(&verb).copied())
        };
        let error = |kind| Err(Error::new(kind, format!("calling {verb:?}")));
        match wrong {
            None => call.await,
            Some(Wrong::NeverArrives) => error(ErrorKind::Unreachable),
            Some(Wrong::ReplyLost) => {
                let _ = call.await;
                error(ErrorKind::TimedOut)
            }
            Some(Wrong::Fatal(kind)) => error(kind),
            Some(Wrong::Slow(by)) => {
                tokio::time::sleep(by).await;
                call.await
            }
        }
    }
}

/// A backend or a seat whose calls go wrong.
pub(super) struct Faulty<B: ?Sized> {
    inner: Arc<B>,
    faults: Faults,
}

impl<B: ?Sized> Faulty<B> {
    pub(super) fn new(inner: Arc<B>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl AuditLog for Faulty<dyn Backend> {
    async fn record(&self, dlq: &StreamKey, entry: &Fields) -> Result<(), Error> {
        self.inner.record(dlq, entry).await
    }

    async fn recorded(
        &self,
        dlq: &StreamKey,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.inner.recorded(dlq, from, limit).await
    }
}

#[async_trait]
impl Backend for Faulty<dyn Backend> {
    async fn join(&self, membership: Membership) -> Result<Joined, Error> {
        let joining = self.inner.join(membership);
        let joined = self.faults.through(Verb::Join, joining).await?;
        let Joined::Seat(inner) = joined else {
            return Ok(joined);
        };
        let seat: Faulty<dyn Seat> = Faulty::new(inner, self.faults.clone());
        Ok(Joined::Seat(Arc::new(seat)))
    }

    async fn append(&self, stream: &StreamKey, entries: &[Fields]) -> Result<Vec<EntryId>, Error> {
        self.inner.append(stream, entries).await
    }

    async fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        self.inner.entries(stream, range).await
    }

    async fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        self.inner.page(stream, range).await
    }

    async fn named(
        &self,
        stream: &StreamKey,
        ids: &[EntryId],
    ) -> Result<Vec<Option<Entry>>, Error> {
        self.inner.named(stream, ids).await
    }

    async fn length(&self, stream: &StreamKey) -> Result<u64, Error> {
        self.inner.length(stream).await
    }

    async fn replay(&self, dlq: &StreamKey, orders: &[Replay]) -> Result<Vec<Replayed>, Error> {
        self.inner.replay(dlq, orders).await
    }

    async fn receipts(
        &self,
        dlq: &StreamKey,
        orders: &[Replay],
    ) -> Result<Vec<Option<EntryId>>, Error> {
        self.inner.receipts(dlq, orders).await
    }

    async fn import(&self, dlq: &StreamKey, orders: &[Import]) -> Result<Vec<Imported>, Error> {
        self.inner.import(dlq, orders).await
    }

    async fn open_campaign(&self, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error> {
        self.inner.open_campaign(dlq, plan).await
    }

    async fn mark_campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
    ) -> Result<Option<CampaignState>, Error> {
        self.inner.mark_campaign(dlq, name, mark).await
    }

    async fn campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
    ) -> Result<Option<Record>, Error> {
        self.inner.campaign(dlq, name).await
    }

    async fn campaigns(&self, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error> {
        self.inner.campaigns(dlq).await
    }

    async fn note_deaths(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
    ) -> Result<(), Error> {
        self.inner.note_deaths(dlq, name, deaths, searched).await
    }

    async fn undo(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        orders: &[Undo],
        how: UndoHow,
    ) -> Result<Vec<Undone>, Error> {
        self.inner.undo(dlq, name, orders, how).await
    }

    async fn stage(&self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error> {
        self.inner.stage(dlq, letters).await
    }

    async fn purge(&self, dlq: &StreamKey, ids: &[EntryId]) -> Result<Vec<bool>, Error> {
        self.inner.purge(dlq, ids).await
    }

    async fn marked(&self, stream: &StreamKey) -> Result<Vec<GroupName>, Error> {
        self.inner.marked(stream).await
    }

    async fn trim(
        &self,
        stream: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Result<Option<Trimmed>, Error> {
        self.inner.trim(stream, marked, step).await
    }

    async fn erase(&self, source: &Source, dlq: &StreamKey) -> Result<(), Error> {
        self.inner.erase(source, dlq).await
    }

    async fn stats(
        &self,
        stream: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
    ) -> Result<Stats, Error> {
        self.inner.stats(stream, group, dlq).await
    }

    async fn groups(&self, stream: &StreamKey) -> Result<Option<Names<GroupName>>, Error> {
        self.inner.groups(stream).await
    }

    async fn streams(&self) -> Result<Names<StreamKey>, Error> {
        self.inner.streams().await
    }

    async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error> {
        self.inner.pending(source, from, limit).await
    }

    async fn create_group(&self, source: &Source, start: GroupStart) -> Result<Created, Error> {
        self.inner.create_group(source, start).await
    }

    async fn delete_group(&self, source: &Source, how: Deletion) -> Result<Deleted, Error> {
        self.inner.delete_group(source, how).await
    }

    async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error> {
        self.inner.consumers(source).await
    }

    async fn prune(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error> {
        self.inner.prune(source, idle, removal).await
    }

    async fn server_facts(&self) -> Result<Option<ServerFacts>, Error> {
        self.inner.server_facts().await
    }

    async fn stream_facts(
        &self,
        stream: &StreamKey,
        named: Named,
    ) -> Result<Option<StreamFacts>, Error> {
        self.inner.stream_facts(stream, named).await
    }

    async fn remove_consumers(
        &self,
        source: &Source,
        names: &[String],
        silent: Duration,
    ) -> Result<u64, Error> {
        self.inner.remove_consumers(source, names, silent).await
    }
}

#[async_trait]
impl Books for Faulty<dyn Backend> {
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error> {
        self.inner.counts(dlq).await
    }
}

#[async_trait]
impl Keeping for Faulty<dyn Seat> {
    async fn make_room(&self) -> Result<u64, Error> {
        self.inner.make_room().await
    }

    async fn level(&self) -> Result<Level, Error> {
        self.inner.level().await
    }

    async fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error> {
        self.inner.oldest(most).await
    }

    async fn take_out(&self, ids: &[EntryId], operation: &str) -> Result<u64, Error> {
        let call = self.inner.take_out(ids, operation);
        self.faults.through(Verb::TakeOut, call).await
    }
}

#[async_trait]
impl Seat for Faulty<dyn Seat> {
    async fn receive(&self, max: usize, block: Option<Duration>) -> Result<Vec<Delivery>, Error> {
        let call = self.inner.receive(max, block);
        self.faults.through(Verb::Receive, call).await
    }

    async fn tend(&self, max: usize, cursor: Cursor) -> Result<Tended, Error> {
        let call = self.inner.tend(max, cursor);
        self.faults.through(Verb::Tend, call).await
    }

    async fn begin(
        &self,
        leases: &[Fence],
        beside: Beside,
        nonce: &str,
    ) -> Result<Vec<Begun>, Error> {
        let call = self.inner.begin(leases, beside, nonce);
        self.faults.through(Verb::Begin, call).await
    }

    async fn renew(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error> {
        let call = self.inner.renew(leases);
        self.faults.through(Verb::Renew, call).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
        let call = self.inner.settle(settlements);
        self.faults.through(Verb::Settle, call).await
    }

    async fn restore(&self) -> Result<Restored, Error> {
        self.inner.restore().await
    }

    async fn leave(&self) -> Result<(), Error> {
        self.faults.through(Verb::Leave, self.inner.leave()).await
    }

    async fn wake(&self) {
        self.inner.wake().await;
    }

    async fn pending(&self, but: &BTreeSet<EntryId>) -> Result<u64, Error> {
        let call = self.inner.pending(but);
        self.faults.through(Verb::Pending, call).await
    }

    async fn probe_writes(&self) -> Result<(), Error> {
        let call = self.inner.probe_writes();
        self.faults.through(Verb::Probe, call).await
    }

    fn gate(&self) -> Gate {
        self.inner.gate()
    }

    fn renewed_on(&self) -> RenewedOn {
        let told = self.faults.0.lock().unwrap().renewed_on;
        told.unwrap_or_else(|| self.inner.renewed_on())
    }

    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }
}
