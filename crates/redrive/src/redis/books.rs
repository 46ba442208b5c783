//! What is counted of a dead-letter queue.

use async_trait::async_trait;
use redis::Pipeline;

use super::inspect::unless_missing;
use super::wire::{self, Table};
use super::{Redis, keys, transaction};
use crate::error::Error;
use crate::keeping::Books;
use crate::ledger::Counts;
use crate::names::StreamKey;

/// What the ledger counts.
const COUNTS: [&str; 7] = [
    "dead_lettered",
    "imported",
    "replayed",
    "purged",
    "spilled",
    "dropped",
    "rewritten",
];

#[async_trait]
impl Books for Redis {
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error> {
        let doing = "reading the ledger";
        // One step, so that the numbers belong together.
        let mut commands = Pipeline::new();
        commands.cmd("XINFO").arg("STREAM").arg(dlq.as_str());
        commands.cmd("HMGET").arg(keys::ledger(dlq)).arg(&COUNTS);
        let values = transaction::look(&self.link, commands, doing).await;
        let mut values = values.map_err(|error| error.during(dlq))?.into_iter();
        let mut next = || values.next().ok_or_else(|| wire::unexpected("the ledger"));

        let info = unless_missing(&self.link, next()?, doing);
        let info = info.map_err(|error| error.during(dlq))?;
        let key = keys::ledger(dlq);
        let ledger = self.link.answer(next()?, doing);
        let ledger = read(ledger.map_err(|error| error.during(&key))?)?;
        if info.is_none() && ledger == [0; COUNTS.len()] {
            return Ok(None);
        }
        let mut info = info.map(Table::read).transpose()?;
        let mut told = |name: &str| info.as_mut().and_then(|info| info.count(name));
        let kept = told("length");
        let added = told("entries-added");
        let [
            dead_lettered,
            imported,
            replayed,
            purged,
            spilled,
            dropped,
            rewritten,
        ] = ledger;
        Ok(Some(Counts {
            dead_lettered,
            imported,
            replayed,
            purged,
            spilled,
            dropped,
            rewritten,
            kept: kept.unwrap_or_default(),
            // A stream that is not there was given nothing, as far as anybody knows.
            added: match kept {
                Some(_) => added,
                None => Some(0),
            },
        }))
    }
}

/// The counts of the ledger, 0 where there is none; what is no number was not written by redrive.
fn read(answer: redis::Value) -> Result<[i64; COUNTS.len()], Error> {
    let mut counts = [0; COUNTS.len()];
    for (count, value) in counts.iter_mut().zip(wire::list(answer, "the ledger")?) {
        if value != redis::Value::Nil {
            *count = wire::text(value, "a count")?.parse().unwrap_or_default();
        }
    }
    Ok(counts)
}
