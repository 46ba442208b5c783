//! Counting what became of a campaign: facts go in, numbers come out.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Record, Went};
use super::{Campaign, CampaignName, CampaignState, DiedAgain};
use crate::names::{EntryId, GroupName, StreamKey};

/// How far a group has come, as far as a campaign has to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) last_delivered: EntryId,
    pub(crate) pending: BTreeSet<EntryId>,
}

impl Standing {
    /// Whether it has done with an entry, one way or another.
    fn has_done_with(&self, id: EntryId) -> bool {
        id <= self.last_delivered && !self.pending.contains(&id)
    }
}

/// The groups that are asked of a message: the one it died in where that is there, else all.
pub(crate) fn groups_of<'a>(went: &Went, all: &'a [GroupName]) -> &'a [GroupName] {
    let own = all
        .iter()
        .position(|group| Some(group) == went.group.as_ref());
    match own.and_then(|at| all.get(at..=at)) {
        Some(own) => own,
        None => all,
    }
}

/// What the groups of each stream say.
pub(crate) type Standings = BTreeMap<StreamKey, BTreeMap<GroupName, Standing>>;

fn waits(went: &Went, standings: &Standings) -> bool {
    let Some(groups) = standings.get(&went.stream) else {
        return true;
    };
    let names: Vec<GroupName> = groups.keys().cloned().collect();
    let mut asked = groups_of(went, &names).iter().peekable();
    asked.peek().is_none()
        || asked.any(|group| {
            let standing = groups.get(group);
            standing.is_none_or(|standing| !standing.has_done_with(went.id))
        })
}

/// The campaign as its record and the groups tell it. The groups have to be asked before the deaths
/// were read: what left a group by dying is then among the dead.
pub(crate) fn sample(name: &CampaignName, record: &Record, standings: &Standings) -> Campaign {
    let (mut succeeded, mut waiting) = (0, 0);
    for (_, went) in record.open() {
        if waits(went, standings) {
            waiting += 1;
        } else {
            succeeded += 1;
        }
    }
    let mut causes: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    let mut dead_again = 0;
    for (id, death) in &record.died {
        if record.replayed.contains_key(id) && !record.undone.contains_key(id) {
            dead_again += 1;
            *causes.entry(death.fingerprint.as_deref()).or_default() += 1;
        }
    }
    let mut fingerprints: Vec<DiedAgain> = causes
        .into_iter()
        .map(|(fingerprint, count)| DiedAgain {
            fingerprint: fingerprint.map(str::to_owned),
            count,
        })
        .collect();
    fingerprints.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    let replayed = record.replayed.len() as u64;
    let undone = record.undone.keys();
    let undone = undone.filter(|id| record.replayed.contains_key(id)).count() as u64;
    let text = |name| record.text(name).map(str::to_owned);
    let began_at_ms = record.number("began-at").unwrap_or_default();
    let seen_at_ms = record.number("seen-at").unwrap_or(began_at_ms);
    Campaign {
        name: name.clone(),
        state: record.state().unwrap_or(CampaignState::Running),
        selection: text("selection").unwrap_or_default(),
        target: record
            .text("target")
            .and_then(|name| StreamKey::new(name).ok()),
        rate: text("rate"),
        canary: record.number("canary"),
        abort_if: text("abort-if"),
        who: text("who"),
        because: text("because"),
        began_at_ms,
        ended_at_ms: record.number("ended-at"),
        seen_at_ms,
        silent_ms: record.now_ms.saturating_sub(seen_at_ms),
        // What was put back was selected, though its command was killed before it could say so.
        selected: record.number("selected").unwrap_or_default().max(replayed),
        replayed,
        succeeded,
        dead_again,
        waiting,
        undone,
        fingerprints,
    }
}
