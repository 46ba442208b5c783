//! What is asked to be done with dead letters, and what comes of it: put back, taken back, imported,
//! as a campaign or not.

use std::time::Duration;

use crate::campaign::{CampaignName, CampaignState};
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, GroupName, StreamKey};

/// One dead letter to put back.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) dead_letter: EntryId,
    pub(crate) target: StreamKey,
    /// The whole new entry.
    pub(crate) fields: Fields,
    pub(crate) keep: Keep,
    pub(crate) campaign: Option<Enlisted>,
}

impl Replay {
    pub(crate) fn campaign_name(&self) -> Option<&CampaignName> {
        self.campaign.as_ref().map(|campaign| &campaign.name)
    }
}

/// The part that a campaign has in a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enlisted {
    pub(crate) name: CampaignName,
    /// The group that the message had died in.
    pub(crate) group: Option<GroupName>,
    /// How long the original is kept for undoing it; `None` keeps none. A copy needs none.
    pub(crate) undo_window: Option<Duration>,
}

/// How long a campaign is remembered after the last that was heard of it.
pub(crate) const CAMPAIGN_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Answer of [`Backend::open_campaign`](crate::backend::Backend::open_campaign).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It has begun, or goes on: what has a higher id died later, and is not its own.
    Open { newest: EntryId },
    /// It was ended before.
    Ended(CampaignState),
    /// It has another selection or target.
    Other { selection: String, target: String },
}

/// What is told to a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `None` changes nothing.
    pub(crate) state: Option<CampaignState>,
    /// How many were selected, from the command that works on it: a sign of life too.
    pub(crate) selected: Option<u64>,
}

/// One replay of a campaign to take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undo {
    pub(crate) dead_letter: EntryId,
    /// The id of the message.
    pub(crate) message: EntryId,
    pub(crate) target: StreamKey,
    /// Under which the original is kept.
    pub(crate) original: Option<EntryId>,
}

/// Whether it is done, or only looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UndoHow {
    Do,
    Look,
}

/// Answer of [`Backend::undo`](crate::backend::Backend::undo).
#[derive(Debug)]
pub(crate) enum Undone {
    /// It is parked again, under this id; or would be.
    Parked(EntryId),
    /// It had been parked again before, under this id.
    Already(EntryId),
    /// A group has been given it: it may have run.
    Started,
    /// The message is not on its stream any more, though no group was given it.
    Gone,
    /// The original is not kept, or not any more.
    NotKept,
    /// The broker refused this one; nothing has changed.
    Refused(Error),
}

/// Whether a replayed dead letter stays in the queue. Default: it is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Removed in the same step.
    #[default]
    Remove,
    /// A copy is put back, the dead letter stays.
    Copy,
}

/// Answer of [`Backend::replay`](crate::backend::Backend::replay).
#[derive(Debug)]
pub(crate) enum Replayed {
    /// Put back under this id.
    Added(EntryId),
    /// It had been put back before, under this id.
    Already(EntryId),
    /// There is no such dead letter.
    NotFound,
    /// The broker refused this one; nothing has changed.
    Refused(Error),
}

/// One dead letter to import.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// What it is told by: who is asked for it again has imported it.
    pub(crate) receipt: String,
    /// The whole entry of the dead-letter stream.
    pub(crate) stored: Fields,
}

/// Answer of [`Backend::import`](crate::backend::Backend::import).
#[derive(Debug)]
pub(crate) enum Imported {
    /// It is in the queue now, under this id.
    Added(EntryId),
    /// It had been imported before, under this id. It may have left the queue since.
    Already(EntryId),
    /// The broker refused this one; nothing has changed.
    Refused(Error),
}
