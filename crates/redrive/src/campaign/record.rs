//! What is kept of a campaign: a hash of names and texts, the same on every backend.

use std::collections::BTreeMap;

use super::{CampaignName, CampaignState};
use crate::names::{EntryId, GroupName, StreamKey};

/// Stands for what is not known or not kept.
pub(crate) const NOT_KEPT: &str = "-";

/// What a campaign begins with.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) name: CampaignName,
    pub(crate) selection: String,
    pub(crate) target: Option<StreamKey>,
    pub(crate) rate: Option<String>,
    pub(crate) canary: Option<u64>,
    pub(crate) abort_if: Option<String>,
    pub(crate) who: Option<String>,
    pub(crate) because: Option<String>,
}

impl Plan {
    /// What is stored of it, where it is said at all.
    pub(crate) fn texts(&self) -> Vec<(&'static str, String)> {
        let said = [
            ("selection", Some(self.selection.clone())),
            ("target", self.target.as_ref().map(ToString::to_string)),
            ("rate", self.rate.clone()),
            ("canary", self.canary.map(|canary| canary.to_string())),
            ("abort-if", self.abort_if.clone()),
            ("who", self.who.clone()),
            ("because", self.because.clone()),
        ];
        let said = said.into_iter();
        said.filter_map(|(name, text)| Some((name, text?)))
            .collect()
    }
}

impl Plan {
    /// Whether it is this campaign that it would go on with, and whether that goes on at all.
    pub(crate) fn goes_on_with(&self, known: &Record) -> bool {
        let target = self.target.as_ref().map(StreamKey::as_str);
        known.state().is_some_and(|state| !state.is_final())
            && known.text("selection") == Some(&self.selection)
            && known.text("target") == target
    }
}

/// Where a dead letter of a campaign went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Went {
    /// The id of the message.
    pub(crate) id: EntryId,
    /// Under which the original is kept for undoing it.
    pub(crate) original: Option<EntryId>,
    pub(crate) stream: StreamKey,
    /// The group that it had died in, where it said so.
    pub(crate) group: Option<GroupName>,
}

/// What stands in a member behind the ids: the stream, behind its length in bytes, for names may hold
/// anything, and the group.
pub(crate) fn went(stream: &StreamKey, group: Option<&GroupName>) -> String {
    let group = group.map_or(NOT_KEPT, GroupName::as_str);
    format!("{} {stream} {group}", stream.as_str().len())
}

/// As what a message died again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) id: EntryId,
    pub(crate) fingerprint: Option<String>,
}

impl Death {
    pub(crate) fn text(&self) -> String {
        let fingerprint = self.fingerprint.as_deref().unwrap_or(NOT_KEPT);
        format!("{} {fingerprint}", self.id)
    }
}

/// All that is kept of a campaign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// When it was read, in Unix ms of the server.
    pub(crate) now_ms: u64,
    texts: BTreeMap<String, String>,
    pub(crate) replayed: BTreeMap<EntryId, Went>,
    pub(crate) died: BTreeMap<EntryId, Death>,
    pub(crate) undone: BTreeMap<EntryId, EntryId>,
}

impl Record {
    /// What a hash holds; `None` where it is no campaign, or one of a later version. A member that
    /// does not parse was not written by redrive, and is left out.
    pub(crate) fn read(pairs: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let mut record = Self::default();
        for (name, text) in pairs {
            match name.split_once(':') {
                Some((kind @ ("r" | "d" | "u"), id)) => record.member(kind, id, &text),
                _ => drop(record.texts.insert(name, text)),
            }
        }
        (record.text("v") == Some("1") && record.state().is_some()).then_some(record)
    }

    pub(crate) fn read_at(mut self, now_ms: u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    fn member(&mut self, kind: &str, id: &str, text: &str) {
        let Ok(id) = id.parse() else { return };
        match kind {
            "r" => self.replayed.extend(replayed(text).map(|went| (id, went))),
            "d" => self.died.extend(died(text).map(|death| (id, death))),
            _ => self
                .undone
                .extend(text.parse().ok().map(|parked| (id, parked))),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn id(&self, name: &str) -> Option<EntryId> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn state(&self) -> Option<CampaignState> {
        CampaignState::from_stored(self.text("state")?)
    }

    /// Those of which neither death nor undoing is known.
    pub(crate) fn open(&self) -> impl Iterator<Item = (EntryId, &Went)> {
        let replayed = self.replayed.iter();
        replayed
            .filter(|(id, _)| !self.died.contains_key(id) && !self.undone.contains_key(id))
            .map(|(id, went)| (*id, went))
    }
}

fn replayed(text: &str) -> Option<Went> {
    let mut parts = text.splitn(4, ' ');
    let id = parts.next()?.parse().ok()?;
    let original = match parts.next()? {
        NOT_KEPT => None,
        original => Some(original.parse().ok()?),
    };
    let length: usize = parts.next()?.parse().ok()?;
    let (stream, group) = parts.next()?.split_at_checked(length)?;
    let group = match group.strip_prefix(' ')? {
        NOT_KEPT => None,
        group => Some(GroupName::new(group).ok()?),
    };
    Some(Went {
        id,
        original,
        stream: StreamKey::new(stream).ok()?,
        group,
    })
}

fn died(text: &str) -> Option<Death> {
    let (id, fingerprint) = text.split_once(' ')?;
    Some(Death {
        id: id.parse().ok()?,
        fingerprint: (fingerprint != NOT_KEPT).then(|| fingerprint.to_owned()),
    })
}
