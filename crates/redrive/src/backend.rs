//! The seam: what a broker does, in domain words. Defined by the conformance suite, which every
//! backend passes whole. Durations cross it, timestamps never do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::audit_log::AuditLog;
use crate::campaign::{CampaignName, CampaignState, Death, Plan, Record};
use crate::dead_letter::{DeadLetterLimit, Layout};
pub(crate) use crate::delivery::{
    Begun, Charge, Cursor, Delivery, Died, FULL_PAUSE, Failed, Fault, Fence, How, Lease, NEAR,
    Renewed, Settled, Settlement, Tended, Waits, Way,
};
use crate::doctor::{Named, facts::ServerFacts, facts::StreamFacts};
use crate::error::Error;
pub(crate) use crate::gate::{Beside, Gate};
use crate::keeping::{Books, Keeping};
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::message::Fields;
pub use crate::moves::Keep;
pub(crate) use crate::moves::{
    CAMPAIGN_KEPT, Enlisted, Import, Imported, Mark, Opened, Replay, Replayed, Undo, UndoHow,
    Undone,
};
use crate::names::{
    ConsumerName, EntryId, GroupName, GroupStart, Names, ProcessToken, Source, StreamKey,
};
use crate::selection::Order;
use crate::stats::{Pending, Stats};
use crate::trim::{TrimStep, Trimmed};

/// What a broker does for anybody: add, look, replay, purge; and let a consumer in.
#[async_trait]
pub(crate) trait Backend: Books + AuditLog + Send + Sync + 'static {
    /// Lets a consumer into a group, which is created if it is missing; unless another process
    /// lives under its name.
    async fn join(&self, membership: Membership) -> Result<Joined, Error>;

    /// Adds entries in this order and answers their ids. Never sent twice: after an error it is
    /// unknown which were added.
    async fn append(&self, stream: &StreamKey, entries: &[Fields]) -> Result<Vec<EntryId>, Error>;

    /// The entries of a stream within a range; a missing stream has none.
    async fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error>;

    /// As [`entries`](Self::entries), but not more than fits: the first, and what comes behind it
    /// while all together weigh no more than [`PAGE_WEIGHT`]. Empty only where there is none.
    async fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error>;

    /// As [`page`](Self::page), for who goes from the oldest on and takes out what it has passed, all but so many
    /// entries that are left there. A broker that can tell beforehand that what comes is light answers as
    /// many as the range allows, which together weigh no more than [`LIGHT_WEIGHT`]; else no more than
    /// [`PAGE_LENGTH`].
    async fn page_behind(
        &self,
        stream: &StreamKey,
        range: IdRange,
        _left: u64,
    ) -> Result<Vec<Entry>, Error> {
        self.page(stream, range.of_a_page()).await
    }

    /// The entries of these ids, `None` for what is not there: of the first, and of those behind it
    /// as in [`page`](Self::page). Answers in this order, for as many as it looked at.
    async fn named(&self, stream: &StreamKey, ids: &[EntryId])
    -> Result<Vec<Option<Entry>>, Error>;

    /// How many entries a stream has; a missing stream has none.
    async fn length(&self, stream: &StreamKey) -> Result<u64, Error>;

    /// Puts dead letters back, each once however often it is asked, and answers in this order: for all, or
    /// for the first of them, where something fails behind one that is answered. What is not answered may
    /// have been put back.
    async fn replay(&self, dlq: &StreamKey, orders: &[Replay]) -> Result<Vec<Replayed>, Error>;

    /// Begins a campaign, or goes on with it, and answers up to where the queue is selected from.
    async fn open_campaign(&self, dlq: &StreamKey, plan: &Plan) -> Result<Opened, Error>;

    /// Tells a campaign how it stands, unless it [may not](CampaignState::may_become) become that;
    /// answers how it stood before. `None` when there is none of this name.
    async fn mark_campaign(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        mark: Mark,
    ) -> Result<Option<CampaignState>, Error>;

    /// All that is kept of a campaign; `None` when there is none of this name.
    async fn campaign(&self, dlq: &StreamKey, name: &CampaignName)
    -> Result<Option<Record>, Error>;

    /// The campaigns of a queue, the latest first.
    async fn campaigns(&self, dlq: &StreamKey) -> Result<Vec<CampaignName>, Error>;

    /// Notes what was found of a campaign: as what its messages died again, and up to where the
    /// queue was searched for that. Nothing where there is none of this name.
    async fn note_deaths(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        deaths: &[(EntryId, Death)],
        searched: EntryId,
    ) -> Result<(), Error>;

    /// Takes back replays of a campaign whose messages no group has been given: parks the dead
    /// letter again and removes the message, in one step for each, once however often it is asked.
    /// Answers in this order.
    async fn undo(
        &self,
        dlq: &StreamKey,
        name: &CampaignName,
        orders: &[Undo],
        how: UndoHow,
    ) -> Result<Vec<Undone>, Error>;

    /// Adds dead letters under ids of their own and counts them as dead-lettered, in one step for each;
    /// one whose id is there is left alone. Answers how many were added.
    async fn stage(&self, dlq: &StreamKey, letters: &[Entry]) -> Result<u64, Error>;

    /// Which of these were put back before, and under which id; changes nothing. Answers in this
    /// order.
    async fn receipts(
        &self,
        dlq: &StreamKey,
        orders: &[Replay],
    ) -> Result<Vec<Option<EntryId>>, Error>;

    /// Adds dead letters as they were stored elsewhere, each once however often it is asked, and
    /// counts them. No limit of the queue stops it. Answers in this order.
    async fn import(&self, dlq: &StreamKey, orders: &[Import]) -> Result<Vec<Imported>, Error>;

    /// Removes dead letters for good; `true` for each that was there.
    async fn purge(&self, dlq: &StreamKey, ids: &[EntryId]) -> Result<Vec<bool>, Error>;

    /// The groups of a stream of which it is kept how far they had come, those that have vanished
    /// too.
    async fn marked(&self, stream: &StreamKey) -> Result<Vec<GroupName>, Error>;

    /// One step of removing the oldest entries that every group has done with, the vanished ones
    /// among `marked` too; `None` when there is no such stream. An entry that is pending, or that a
    /// group has not read, stays, whoever reads or takes over meanwhile.
    async fn trim(
        &self,
        stream: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Result<Option<Trimmed>, Error>;

    /// Deletes a stream, its dead letters, and everything kept beside them for this group.
    async fn erase(&self, source: &Source, dlq: &StreamKey) -> Result<(), Error>;

    /// The health of a stream as this group sees it, or as nobody does, and of its dead-letter
    /// queue.
    async fn stats(
        &self,
        stream: &StreamKey,
        group: Option<&GroupName>,
        dlq: &StreamKey,
    ) -> Result<Stats, Error>;

    /// The groups of a stream; `None` when there is no such stream.
    async fn groups(&self, stream: &StreamKey) -> Result<Option<Names<GroupName>>, Error>;

    /// All streams there are.
    async fn streams(&self) -> Result<Names<StreamKey>, Error>;

    /// What is pending from this id on, the lowest first, no more than `limit`; an error of kind
    /// `NoGroup` where there is no such stream or group.
    async fn pending(
        &self,
        source: &Source,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Pending>, Error>;

    /// Creates a group that is missing, and its stream: at `start`, or where an earlier one of its name
    /// had come to.
    async fn create_group(&self, source: &Source, start: GroupStart) -> Result<Created, Error>;

    /// Removes a group with what is pending in it, and what is kept beside it, in one step; or says what
    /// that would be. One that is in use only where that is forced, checked in the same step.
    async fn delete_group(&self, source: &Source, how: Deletion) -> Result<Deleted, Error>;

    /// The consumers of a group, by their names; an error of kind `NoGroup` where there is no such
    /// stream or group.
    async fn consumers(&self, source: &Source) -> Result<Vec<Consumer>, Error>;

    /// Removes the consumers that hold nothing, are not alive and have been silent for at least
    /// `idle`, each checked and removed in one step; or says which these are. All of the group, by their
    /// names, and why those stay that do. Errors as [`consumers`](Self::consumers).
    async fn prune(
        &self,
        source: &Source,
        idle: Duration,
        removal: Removal,
    ) -> Result<Vec<(Consumer, Option<WhyKept>)>, Error>;

    /// What the server tells of itself; `None` where there is none. Changes nothing.
    async fn server_facts(&self) -> Result<Option<ServerFacts>, Error>;

    /// What there is of a stream and its groups; `None` where there is no such stream. Changes
    /// nothing. Of one that was not named, groups that have vanished are looked for only where none
    /// is left.
    async fn stream_facts(
        &self,
        stream: &StreamKey,
        named: Named,
    ) -> Result<Option<StreamFacts>, Error>;

    /// Removes those of these consumers that hold nothing and are gone: redrive's without a sign of
    /// life, others that have been silent for so long. Answers how many.
    async fn remove_consumers(
        &self,
        source: &Source,
        names: &[String],
        silent: Duration,
    ) -> Result<u64, Error>;
}

/// What a consumer that has joined a group does. One per running processor.
///
/// All but [`receive`](Self::receive) may be repeated after an error, and answer what they answered.
#[async_trait]
pub(crate) trait Seat: Keeping + Send + Sync + 'static {
    /// Up to `max` entries nobody has had yet, waiting for the first as long as `block`; `None`
    /// does not wait. Never drop this future: what it was about to answer would be held by a
    /// live consumer and known to nobody until the lease is over.
    async fn receive(&self, max: usize, block: Option<Duration>) -> Result<Vec<Delivery>, Error>;

    /// One round of taking over what is due and what others left behind, from `cursor` on: none of the
    /// latter at [`Cursor::END`]. A sweep that starts, at [`Cursor::START`], also keeps the books of the group.
    async fn tend(&self, max: usize, cursor: Cursor) -> Result<Tended, Error>;

    /// Charges runs that are about to start on messages taken over. Asked again with the same
    /// nonce it charges nothing more. Answers in this order.
    async fn begin(
        &self,
        leases: &[Fence],
        beside: Beside,
        nonce: &str,
    ) -> Result<Vec<Begun>, Error>;

    /// Keeps held messages from being taken over, and is this consumer's sign of life, with nothing
    /// held too. Answers in this order; with an error of kind `Refused`, and renews nothing, when
    /// another process has the name by now.
    async fn renew(&self, leases: &[Fence]) -> Result<Vec<Renewed>, Error>;

    /// Ends deliveries, way by way. Answers in this order.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error>;

    /// Creates the group again after it vanished: where that loses nothing just below what was
    /// still to be done, else at the first entry. An existing group is left alone.
    async fn restore(&self) -> Result<Restored, Error>;

    /// Removes the consumer if nothing is pending on it.
    async fn leave(&self) -> Result<(), Error>;

    /// Ends a [`receive`](Self::receive) that waits, early and cleanly, where the broker can.
    async fn wake(&self);

    /// How many entries of the whole group are pending, these not counted.
    async fn pending(&self, but: &BTreeSet<EntryId>) -> Result<u64, Error>;

    /// Whether the broker takes writes: an error of kind `WritesRefused` where it does not, though it
    /// may still take acks. Changes nothing. Called from where leases are renewed.
    async fn probe_writes(&self) -> Result<(), Error>;

    /// The gate of all handlers that a crash here would end together.
    fn gate(&self) -> Gate;

    /// Where the leases of this seat are renewed from.
    fn renewed_on(&self) -> RenewedOn;

    /// The server's clock, in Unix ms, as well as it is known without asking. For showing only.
    fn now_ms(&self) -> u64;
}

/// Answer of [`Seat::restore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It was missing.
    Created,
    /// Somebody else was faster, or it had not vanished.
    WasThere,
}

/// Where the leases of a seat are renewed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenewedOn {
    /// The caller's runtime: its clock is the broker's clock.
    CallersRuntime,
    /// A thread of its own, so that a handler that blocks the runtime does not lose its leases.
    OwnThread,
}

/// Answer of [`Backend::join`].
pub(crate) enum Joined {
    Seat(Arc<dyn Seat>),
    /// Another process lives under this name, or did: its last sign of life is good for so long.
    Taken {
        left: Duration,
    },
}

/// Who joins which group, and by which rules.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) source: Source,
    pub(crate) consumer: ConsumerName,
    /// Who it is that has this name: one process at a time.
    pub(crate) token: ProcessToken,
    pub(crate) start: GroupStart,
    pub(crate) lease: Duration,
    pub(crate) foreign_lease: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) max_crashes: u32,
    pub(crate) dead_letters: StreamKey,
    pub(crate) layout: Layout,
    pub(crate) limit: Option<DeadLetterLimit>,
    pub(crate) on_ack: OnAck,
}

/// What becomes of an acknowledged entry. Default: it stays in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAck {
    /// It stays, for other groups and for looking back.
    #[default]
    Keep,
    /// It is deleted. Only for streams with one group: the others would never see it.
    Delete,
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
}

/// What the entries of a page weigh at most, in bytes; one that is heavier comes alone.
pub(crate) const PAGE_WEIGHT: usize = 1 << 20;
/// How many entries a page has at most that is weighed entry by entry.
pub(crate) const PAGE_LENGTH: usize = 100;
/// What the entries of a page take at most, in bytes at the server, that is not weighed entry by entry.
pub(crate) const LIGHT_WEIGHT: u64 = 5 << 20;
/// What a field weighs beside its bytes: thousands of small ones are work as well.
pub(crate) const FIELD_WEIGHT: usize = 128;

impl Entry {
    pub(crate) fn weight(&self) -> usize {
        self.fields.size() + self.fields.len() * FIELD_WEIGHT
    }
}

/// Ids from `low` to `high`, both included; at most `limit` of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdRange {
    pub(crate) low: EntryId,
    pub(crate) high: EntryId,
    pub(crate) order: Order,
    pub(crate) limit: usize,
}

impl IdRange {
    /// No more of it than a page has that is weighed entry by entry.
    pub(crate) fn of_a_page(self) -> Self {
        Self {
            limit: self.limit.min(PAGE_LENGTH),
            ..self
        }
    }
}
