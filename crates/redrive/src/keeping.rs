//! The seam, beside `backend.rs`: what keeps a queue of dead letters within its limit.

use async_trait::async_trait;

use crate::backend::Entry;
use crate::dead_letter::Level;
use crate::error::Error;
use crate::ledger::Counts;
use crate::names::{EntryId, StreamKey};

/// What a consumer does for the limit of its queue. A call may be repeated after an error.
#[async_trait]
pub(crate) trait Keeping {
    /// Drops the oldest of the queue as far as its limit says so, and counts them; also where nothing
    /// dies. Answers how many went.
    async fn make_room(&self) -> Result<u64, Error>;

    /// How much the queue holds, as far as it is limited.
    async fn level(&self) -> Result<Level, Error>;

    /// The oldest of the queue: so many at most, and no more than fits a page.
    async fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error>;

    /// Removes these, which are written elsewhere, counts them as spilled and notes that in the audit
    /// under this operation, in one step. Answers how many were still there.
    async fn take_out(&self, ids: &[EntryId], operation: &str) -> Result<u64, Error>;
}

/// What a broker tells of what came into a queue of dead letters and left it.
#[async_trait]
pub(crate) trait Books {
    /// What is counted of this queue, in one step; `None` where there is neither a stream nor a ledger.
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error>;
}
