//! A worker as the engine is: what it holds in memory, and which calls it does not know the fate of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answers::Sent;
use super::truth::MAX_CRASHES;
use crate::backend::{Beside, Charge, Cursor, Fence, How, Seat, Settlement};
use crate::message::Fields;
use crate::names::EntryId;

/// Where a held message is on its way through the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    /// A begin was sent and not answered.
    Beginning,
    Running,
    /// A settlement was sent and not answered.
    Settling(How),
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) fence: Fence,
    pub(super) fields: Fields,
    pub(super) failures: u32,
    pub(super) crashes: u32,
    /// Whether it is the one that keeps all others outside.
    pub(super) alone: bool,
    pub(super) stage: Stage,
    pub(super) tombstone: Option<EntryId>,
    /// Told that its lease is lost: the handler still runs, and only its success counts.
    pub(super) lost: bool,
    /// Put back by this holder, to be begun again by itself.
    pub(super) kept: bool,
}

/// A call whose answer never came, to be sent again as it was.
#[derive(Clone, Debug)]
pub(super) enum Doubt {
    Begin {
        ids: Vec<EntryId>,
        beside: Beside,
        nonce: String,
    },
    Settle {
        ids: Vec<EntryId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Working,
    /// Told to stop: hands everything back, then leaves.
    Leaving,
}

pub(super) struct Worker {
    pub(super) name: String,
    pub(super) seat: Arc<dyn Seat>,
    pub(super) held: BTreeMap<EntryId, Held>,
    pub(super) doubts: Vec<Doubt>,
    pub(super) cursor: Cursor,
    pub(super) mode: Mode,
    /// Steps for which it does nothing at all.
    pub(super) frozen: u32,
}

impl Worker {
    pub(super) fn new(name: String, seat: Arc<dyn Seat>) -> Self {
        Self {
            name,
            seat,
            held: BTreeMap::new(),
            doubts: Vec::new(),
            cursor: Cursor::START,
            mode: Mode::Working,
            frozen: 0,
        }
    }

    /// Those held whose holder may do with them what it wants: no call about them is in doubt.
    pub(super) fn ids(&self, which: impl Fn(&Held) -> bool) -> Vec<EntryId> {
        let found = self.held.iter().filter(|(_, held)| which(held));
        found.map(|(&id, _)| id).collect()
    }

    pub(super) fn stage(&mut self, id: EntryId, stage: &Stage) {
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = stage.clone();
        }
    }

    pub(super) fn sent(&self, id: EntryId) -> Option<Sent> {
        let held = self.held.get(&id)?;
        let Stage::Settling(how) = &held.stage else {
            return None;
        };
        Some(Sent {
            fence: held.fence,
            tombstone: held.tombstone,
            how: how.clone(),
        })
    }

    pub(super) fn settlement(&self, sent: &Sent) -> Settlement {
        let held = &self.held[&sent.fence.id];
        let mut lease =
            crate::backend::Lease::new(sent.fence.id, sent.fence.token, sent.fence.charge);
        lease.tombstone = sent.tombstone;
        Settlement {
            lease,
            fields: held.fields.clone(),
            how: sent.how.clone(),
        }
    }

    /// Whether a handler that begins now has others beside it: those that run or are about to.
    pub(super) fn is_busy(&self) -> bool {
        let mut held = self.held.values();
        held.any(|held| matches!(held.stage, Stage::Beginning | Stage::Running))
    }

    /// Whether one runs alone, or is not yet known to have ended.
    pub(super) fn is_occupied(&self) -> bool {
        self.held.values().any(|held| held.alone)
    }

    /// Goes on holding what is to be run again by itself.
    pub(super) fn keep(&mut self, id: EntryId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.fence.charge = Charge::TakenOver;
            held.stage = Stage::Queued;
            held.kept = true;
            held.alone = false;
        }
    }

    /// No longer knows a message, nor asks about it again.
    pub(super) fn drop_held(&mut self, id: EntryId) {
        self.held.remove(&id);
        for doubt in &mut self.doubts {
            let (Doubt::Begin { ids, .. } | Doubt::Settle { ids }) = doubt;
            ids.retain(|&other| other != id);
        }
        self.doubts.retain(|doubt| {
            let (Doubt::Begin { ids, .. } | Doubt::Settle { ids }) = doubt;
            !ids.is_empty()
        });
    }
}

impl Held {
    /// Not begun: its runs must be charged first.
    pub(super) fn waits_for_begin(&self) -> bool {
        self.stage == Stage::Queued
            && self.fence.charge == Charge::TakenOver
            && self.tombstone.is_none()
    }

    /// One more crash would be too many.
    pub(super) fn is_suspect(&self) -> bool {
        self.crashes + 1 >= MAX_CRASHES
    }
}
