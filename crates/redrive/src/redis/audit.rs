//! The audit of a dead-letter queue: a stream beside it, trimmed to about so many.

use async_trait::async_trait;
use redis::cmd;

use super::{Redis, keys, wire};
use crate::audit::KEPT;
use crate::audit_log::AuditLog;
use crate::backend::Entry;
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

#[async_trait]
impl AuditLog for Redis {
    async fn record(&self, dlq: &StreamKey, entry: &Fields) -> Result<(), Error> {
        let mut add = cmd("XADD");
        add.arg(keys::audit(dlq)).arg("MAXLEN").arg("~").arg(KEPT);
        add.arg("*");
        for (name, value) in entry.iter() {
            add.arg(name).arg(value);
        }
        let added = self.link.send(&add, "writing the audit").await;
        added.map(drop).map_err(|error| error.during(dlq))
    }

    async fn recorded(
        &self,
        dlq: &StreamKey,
        from: EntryId,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut range = cmd("XREVRANGE");
        range.arg(keys::audit(dlq)).arg(from.to_string()).arg("-");
        range.arg("COUNT").arg(limit);
        let found = self.link.send(&range, "reading the audit").await;
        wire::entries(found.map_err(|error| error.during(dlq))?)
    }
}
