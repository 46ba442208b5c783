//! The part of the seam that keeps the audit of a dead-letter queue.

use async_trait::async_trait;

use crate::backend::Entry;
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

/// What a broker does for the audit: it adds, and it tells what was added.
#[async_trait]
pub(crate) trait AuditLog: Send + Sync {
    /// Adds an entry to the audit of a queue, which keeps about [`KEPT`](crate::audit::KEPT) of them.
    /// After an error it is unknown whether it was added; asked again it is there twice.
    async fn record(&self, dlq: &StreamKey, entry: &Fields) -> Result<(), Error>;

    /// The entries of the audit of a queue, from this id down, the newest first, no more than `limit`.
    async fn recorded(
        &self,
        dlq: &StreamKey,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Entry>, Error>;
}
