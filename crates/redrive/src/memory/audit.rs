//! The audit of a dead-letter queue in memory: a stream that nobody sees among the others.

use async_trait::async_trait;

use super::Memory;
use crate::audit::KEPT;
use crate::audit_log::AuditLog;
use crate::backend::Entry;
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

#[async_trait]
impl AuditLog for Memory {
    async fn record(&self, dlq: &StreamKey, entry: &Fields) -> Result<(), Error> {
        let (mut kept, now) = self.open();
        let audit = kept.audits.entry(dlq.clone()).or_default();
        audit.add(entry.clone(), now);
        while audit.entries.len() > KEPT {
            audit.entries.pop_first();
        }
        Ok(())
    }

    async fn recorded(
        &self,
        dlq: &StreamKey,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let (kept, _) = self.open();
        let entries = kept.audits.get(dlq).into_iter();
        let entries = entries.flat_map(|audit| audit.entries.range(..=from).rev());
        let entries = entries.take(limit).map(|(id, fields)| Entry {
            id: *id,
            fields: fields.clone(),
        });
        Ok(entries.collect())
    }
}
