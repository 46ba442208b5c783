//! Keeping a queue of dead letters in memory within its limit, also when nothing dies.

use async_trait::async_trait;

use super::Memory;
use super::dead_letters::Ledger;
use super::seat::MemorySeat;
use crate::backend::Entry;
use crate::dead_letter::Level;
use crate::error::Error;
use crate::keeping::{Books, Keeping};
use crate::ledger::Counts;
use crate::names::{EntryId, StreamKey};

#[async_trait]
impl Keeping for MemorySeat {
    async fn make_room(&self) -> Result<u64, Error> {
        self.turn(|turn| Ok(turn.drop_oldest()))?
    }

    async fn level(&self) -> Result<Level, Error> {
        self.turn(|turn| turn.level())?
    }

    async fn oldest(&self, most: usize) -> Result<Vec<Entry>, Error> {
        self.turn(|turn| turn.oldest(most))?
    }

    async fn take_out(&self, ids: &[EntryId], _operation: &str) -> Result<u64, Error> {
        self.turn(|turn| turn.take_out(ids))
    }
}

#[async_trait]
impl Books for Memory {
    async fn counts(&self, dlq: &StreamKey) -> Result<Option<Counts>, Error> {
        let (kept, _) = self.open();
        kept.check_type(dlq)?;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (stream, ledger) = (kept.streams.get(dlq), kept.ledgers.get(dlq));
        if stream.is_none() && ledger.is_none_or(|ledger| *ledger == Ledger::default()) {
            return Ok(None);
        }
        let ledger = ledger.copied().unwrap_or_default();
        Ok(Some(Counts {
            dead_lettered: signed(ledger.dead_lettered),
            imported: signed(ledger.imported),
            replayed: signed(ledger.replayed),
            purged: signed(ledger.purged),
            spilled: signed(ledger.spilled),
            dropped: signed(ledger.dropped),
            rewritten: signed(ledger.rewritten),
            kept: stream.map_or(0, |stream| stream.entries.len() as u64),
            added: Some(stream.map_or(0, |stream| stream.added)),
        }))
    }
}
