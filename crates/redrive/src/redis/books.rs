//! What is counted of a dead-letter queue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use redis::Pipeline;

use super::inspect::unless_missing;
use super::wire::{self, Table};
use super::{Redis, keys, transaction};
use crate::error::Error;
use crate::keeping::Books;
use crate::ledger::Counts;
use crate::names::StreamKey;

#[async_trait]
impl Books for Redis {
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error> {
        let doing = "reading the ledger";
        // One step, so that the numbers belong together.
        let mut commands = Pipeline::new();
        commands.cmd("XINFO").arg("STREAM").arg(dlq.as_str());
        commands.cmd("HGETALL").arg(keys::ledger(dlq));
        let values = transaction::look(&self.link, commands, doing).await;
        let mut values = values.map_err(|error| error.during(dlq))?.into_iter();
        let mut next = || values.next().ok_or_else(|| wire::unexpected("the ledger"));

        let info = unless_missing(&self.link, next()?, doing);
        let info = info.map_err(|error| error.during(dlq))?;
        let key = keys::ledger(dlq);
        let ledger = self.link.answer(next()?, doing);
        let ledger = read(ledger.map_err(|error| error.during(&key))?)?;
        if info.is_none() && ledger.values().all(|count| *count == 0) {
            return Ok(None);
        }
        let mut info = info.map(Table::read).transpose()?;
        let mut told = |name: &str| info.as_mut().and_then(|info| info.count(name));
        let kept = told("length");
        let added = told("entries-added");
        let count = |name: &str| ledger.get(name).copied().unwrap_or_default();
        Ok(Some(Counts {
            dead_lettered: count("dead_lettered"),
            imported: count("imported"),
            replayed: count("replayed"),
            purged: count("purged"),
            spilled: count("spilled"),
            dropped: count("dropped"),
            rewritten: count("rewritten"),
            kept: kept.unwrap_or_default(),
            // A stream that is not there was given nothing, as far as anybody knows.
            added: match kept {
                Some(_) => added,
                None => Some(0),
            },
        }))
    }
}

/// The fields of the ledger; what is no number was not written by redrive.
fn read(answer: redis::Value) -> Result<BTreeMap<String, i64>, Error> {
    let mut counts = BTreeMap::new();
    let mut values = wire::list(answer, "the ledger")?.into_iter();
    while let (Some(name), Some(count)) = (values.next(), values.next()) {
        let (name, count) = (wire::text(name, "a name")?, wire::text(count, "a count")?);
        if let Ok(count) = count.parse() {
            counts.insert(name, count);
        }
    }
    Ok(counts)
}
