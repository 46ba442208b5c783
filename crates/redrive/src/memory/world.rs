//! Everything a world in memory holds, and its clock.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::gate::Gate;
use crate::message::Fields;
use crate::names::{EntryId, Source, StreamKey};

use super::campaigns::Campaigns;
use super::dead_letters::{Imports, Ledger, Receipts};
use super::hints::Hints;
use super::stream::Stream;

/// Where the clock of a world starts, in Unix ms. Not the real time: all time here is tokio's, so
/// that a test's paused clock rules, and the ids look like those of a server.
const EPOCH_MS: u64 = 1_732_250_000_000;

/// A moment by the clock of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    micros: u64,
}

impl Moment {
    pub(super) fn ms(self) -> u64 {
        self.micros / 1000
    }

    pub(super) fn us(self) -> u64 {
        self.micros
    }
}

/// One world: what is kept, its clock, and a bell.
pub(super) struct World {
    began: Instant,
    kept: Mutex<Kept>,
    /// Rings when entries were added or a group vanished.
    pub(super) changed: Notify,
    /// A crash in here is the end of a run, whatever its process: so each world has a gate.
    pub(super) gate: Gate,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            kept: Mutex::default(),
            changed: Notify::new(),
            gate: Gate::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Moment {
            micros: (EPOCH_MS * 1000).saturating_add(elapsed),
        }
    }

    /// A panic elsewhere under this lock could only come from a bug here; what is kept is still
    /// the best there is.
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a world holds: the keys of a server.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) streams: HashMap<StreamKey, Stream>,
    /// What redrive keeps beside a group. Survives the group, as keys of their own do.
    pub(super) hints: HashMap<Source, Hints>,
    pub(super) ledgers: HashMap<StreamKey, Ledger>,
    pub(super) receipts: Receipts,
    pub(super) imports: Imports,
    pub(super) campaigns: Campaigns,
    /// Who did what to a dead-letter queue.
    pub(super) audits: HashMap<StreamKey, Stream>,
    /// Keys that hold something else than a stream.
    pub(super) spoiled: HashSet<StreamKey>,
}

impl Kept {
    pub(super) fn append(
        &mut self,
        stream: &StreamKey,
        entries: &[Fields],
        now: Moment,
    ) -> Result<Vec<EntryId>, Error> {
        if entries.iter().any(Fields::is_empty) {
            return Err(
                Error::new(ErrorKind::Invalid, format!("adding to {stream}"))
                    .hint("an entry needs at least one field"),
            );
        }
        entries
            .iter()
            .map(|fields| self.add(stream, fields.clone(), now))
            .collect()
    }

    /// `XADD` with an id of the server's choice.
    pub(super) fn add(
        &mut self,
        stream: &StreamKey,
        fields: Fields,
        now: Moment,
    ) -> Result<EntryId, Error> {
        self.check_type(stream)?;
        Ok(self
            .streams
            .entry(stream.clone())
            .or_default()
            .add(fields, now))
    }

    /// `XDEL`: whether it was there.
    pub(super) fn delete(&mut self, stream: &StreamKey, id: EntryId) -> bool {
        self.streams
            .get_mut(stream)
            .is_some_and(|stream| stream.entries.remove(&id).is_some())
    }

    pub(super) fn check_type(&self, stream: &StreamKey) -> Result<(), Error> {
        if self.spoiled.contains(stream) {
            return Err(Error::new(
                ErrorKind::WrongType,
                format!("using {stream} as a stream"),
            ));
        }
        Ok(())
    }
}
