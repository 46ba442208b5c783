//! What only a test may do to a broker: the hands that a backend lends to the suite.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::backend::Backend;
use crate::message::Fields;
use crate::names::{EntryId, Source, StreamKey};

/// How a backend is brought up for one test.
pub(crate) trait Bench: Lab + Sized {
    /// The runtime that the test runs on: paused where the backend's clock is tokio's.
    fn runtime() -> tokio::runtime::Runtime;

    /// A broker for one test. Tests choose names that no other test has.
    async fn open() -> Self;

    /// The end of a test that passed: the place to fail over keys left behind.
    async fn close(self);
}

/// What only a test may do to a broker. Every hand is one atomic step and none of them waits.
#[async_trait]
pub(crate) trait Lab: Send + Sync {
    fn backend(&self) -> Arc<dyn Backend>;

    /// `XADD stream id …`.
    async fn add_with_id(&self, stream: &StreamKey, id: EntryId, fields: Fields);

    /// Makes a pending entry look idle that much longer: `XCLAIM … IDLE … JUSTID` to its owner.
    async fn age(&self, source: &Source, id: EntryId, by: Duration);

    /// Moves the due time of a waiting message that much earlier.
    async fn age_due(&self, source: &Source, id: EntryId, by: Duration);

    /// A plain `XREADGROUP … COUNT count … >` by a consumer that is not redrive's.
    async fn foreign_read(&self, source: &Source, consumer: &str, count: usize) -> Vec<EntryId>;

    /// A plain `XCLAIM … 0 id`, which counts as a delivery.
    async fn foreign_claim(&self, source: &Source, consumer: &str, id: EntryId);

    /// A plain `XACK`.
    async fn foreign_ack(&self, source: &Source, id: EntryId);

    /// `XDEL`: the entry is gone from the stream and still pending.
    async fn trim(&self, stream: &StreamKey, id: EntryId);

    /// `XPENDING`, all of it.
    async fn pel(&self, source: &Source) -> Vec<Row>;

    /// What redrive keeps of one message.
    async fn state(&self, source: &Source, id: EntryId) -> Option<StateParts>;

    /// What redrive keeps of all messages.
    async fn states(&self, source: &Source) -> BTreeMap<EntryId, StateParts>;

    /// The due times in the order in which they come: how many ms from now, less than 0 when past.
    async fn due(&self, source: &Source) -> Vec<(EntryId, i64)>;

    /// Whether no state and no due time is left.
    async fn is_clean(&self, source: &Source) -> bool;

    /// The ledger of a dead-letter queue, without what is 0.
    async fn ledger(&self, dlq: &StreamKey) -> BTreeMap<String, u64>;

    /// `XGROUP DESTROY`.
    async fn drop_group(&self, source: &Source);

    /// `DEL` of the stream, which takes its groups with it and nothing else.
    async fn drop_stream(&self, stream: &StreamKey);

    /// Makes the key of a stream that does not exist hold something that is no stream.
    async fn spoil(&self, stream: &StreamKey);

    /// Takes that back.
    async fn mend(&self, stream: &StreamKey);

    /// Ends the sign of life of one of redrive's consumers, as time would.
    async fn presume_dead(&self, source: &Source, consumer: &str);
}

/// An entry of the pending entries list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: EntryId,
    pub(crate) consumer: String,
    pub(crate) idle: Duration,
    pub(crate) count: u64,
}

/// The parts of a message's state that the suite looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateParts {
    pub(crate) failures: u32,
    pub(crate) crashes: u32,
    pub(crate) open: u64,
    pub(crate) hint: u64,
    pub(crate) nonce: String,
    pub(crate) booked: u64,
    pub(crate) alone: u64,
    pub(crate) first_failure_ms: Option<u64>,
    pub(crate) error: String,
}
