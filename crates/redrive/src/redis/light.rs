//! Reading what is known to be light by number, which costs the server a fifth of weighing each entry.

use std::sync::atomic::{AtomicBool, Ordering};

use super::connection::{Address, Call, Link};
use super::reader::Reader;
use super::{page, scripts, wire};
use crate::backend::{Entry, IdRange, LIGHT_WEIGHT, PAGE_LENGTH};
use crate::error::{Error, ErrorKind};
use crate::names::{EntryId, StreamKey};

/// How many nodes of a stream are weighed, of 4 KiB each where entries are light.
const NODES: u64 = 1_100;
/// How many of them may go at their beginning while a page is asked for, because somebody else takes out entries.
const SPARE: u64 = 50;

/// Pages that need not be weighed entry by entry, read on a connection of their own.
pub(super) struct Light {
    reader: Reader,
    /// Whether the server tells what a stream takes.
    tells: AtomicBool,
}

impl Light {
    pub(super) fn new(address: Address) -> Self {
        Self {
            reader: Reader::of_entries(address),
            tells: AtomicBool::new(true),
        }
    }

    /// The first of a range, of a stream that has so many entries in front of it.
    ///
    /// A node of a stream has at least one entry. So what is in front of the range, and as many entries
    /// of it, are all in as many of the first nodes, and these can be weighed together.
    pub(super) async fn page(
        &self,
        link: &Link,
        stream: &StreamKey,
        range: IdRange,
        left: u64,
    ) -> Result<Vec<Entry>, Error> {
        let room = usize::try_from(NODES.saturating_sub(left + SPARE)).unwrap_or_default();
        let light = IdRange {
            limit: range.limit.min(room),
            ..range
        };
        // The first page is weighed: most replays have no other.
        let is_first = range.low == EntryId::MIN;
        let is_enough = light.limit >= range.limit.min(PAGE_LENGTH);
        if is_first || !is_enough || !self.is_light(link, stream).await? {
            return page::page(link, stream, range.of_a_page()).await;
        }
        let entries = self.reader.entries(stream, light).await?;
        if entries.len() < light.limit {
            // That was the last one.
            self.reader.hang_up().await;
        }
        Ok(entries)
    }

    async fn is_light(&self, link: &Link, stream: &StreamKey) -> Result<bool, Error> {
        if !self.tells.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut call = Call::new([stream.to_string()]);
        call.number(NODES);
        let told = match link.eval(&scripts::WEIGH, &call, page::DOING).await {
            // Who may not use scripts.
            Err(error) if error.kind() == ErrorKind::Denied => -1,
            told => wire::int(told.map_err(|error| error.during(stream))?, "a weight")?,
        };
        let weight = u64::try_from(told).ok();
        self.tells.store(weight.is_some(), Ordering::Relaxed);
        Ok(weight.is_some_and(|weight| weight <= LIGHT_WEIGHT))
    }
}

impl std::fmt::Debug for Light {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Light").finish_non_exhaustive()
    }
}
