//! Entries of a stream, a page of them, and those of some ids.

use std::ops::RangeInclusive;

use super::world::Kept;
use crate::backend::{Entry, IdRange, PAGE_WEIGHT};
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};
use crate::selection::Order;

impl Kept {
    pub(super) fn entries(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        self.check_type(stream)?;
        let Some(stream) = self.streams.get(stream) else {
            return Ok(Vec::new());
        };
        if range.low > range.high {
            return Ok(Vec::new());
        }
        let entry = |(id, fields): (&EntryId, &Fields)| Entry {
            id: *id,
            fields: fields.clone(),
        };
        let ids: RangeInclusive<EntryId> = range.low..=range.high;
        let found = stream.entries.range(ids);
        Ok(match range.order {
            Order::Oldest => found.take(range.limit).map(entry).collect(),
            Order::Newest => found.rev().take(range.limit).map(entry).collect(),
        })
    }

    pub(super) fn page(&self, stream: &StreamKey, range: IdRange) -> Result<Vec<Entry>, Error> {
        let mut entries = self.entries(stream, range)?;
        entries.truncate(fitting(entries.iter().map(Entry::weight)));
        Ok(entries)
    }

    pub(super) fn named(
        &self,
        stream: &StreamKey,
        ids: &[EntryId],
    ) -> Result<Vec<Option<Entry>>, Error> {
        let found = ids.iter().map(|id| {
            let only = IdRange {
                low: *id,
                high: *id,
                order: Order::Oldest,
                limit: 1,
            };
            Ok(self.entries(stream, only)?.pop())
        });
        let mut found = found.collect::<Result<Vec<_>, Error>>()?;
        let weights = found
            .iter()
            .map(|one| one.as_ref().map_or(0, Entry::weight));
        found.truncate(fitting(weights));
        Ok(found)
    }
}

/// How many of what weighs this fit on a page.
fn fitting(weights: impl Iterator<Item = usize>) -> usize {
    let mut all = 0;
    let fit = weights.take_while(|weight| {
        all += weight;
        all <= PAGE_WEIGHT
    });
    fit.count().max(1)
}
