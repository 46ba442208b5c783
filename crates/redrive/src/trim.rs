//! How far a stream may be trimmed: to where every group has done with it, and not one entry more.

use serde::Serialize;

use crate::names::{EntryId, GroupName, StreamKey};

/// What a trim did, or would do. Serialises to a JSON object with these names; unknown is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrimReport {
    /// The stream.
    pub stream: StreamKey,
    /// How many entries were removed: what all groups have acknowledged.
    pub removed: u64,
    /// How many are left.
    pub left: u64,
    /// The oldest one that is left.
    pub first_id: Option<EntryId>,
    /// The group that holds the most back. `None` where nothing is held back: nothing is left, or the
    /// stream has no group, and then nobody has said what is done. It may be one that has vanished, which
    /// is not among [`Broker::groups`](crate::Broker::groups) then.
    pub held_by_group: Option<GroupName>,
    /// The oldest entry that this group has not acknowledged; where it has vanished, the oldest that it is
    /// not known to have done.
    pub held_by_id: Option<EntryId>,
}

impl TrimReport {
    pub(crate) fn of(stream: StreamKey) -> Self {
        Self {
            stream,
            removed: 0,
            left: 0,
            first_id: None,
            held_by_group: None,
            held_by_id: None,
        }
    }
}

/// One step of a trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrimStep {
    /// Remove about a thousand of what may go.
    Remove,
    /// Count a few hundred of it, from this id on.
    Count { from: EntryId },
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    /// How many were removed, or counted.
    pub(crate) entries: u64,
    /// Where the next step goes on; `None` after the last.
    pub(crate) next: Option<EntryId>,
    pub(crate) left: u64,
    pub(crate) first: Option<EntryId>,
    /// Who holds the most back, and from which entry on.
    pub(crate) held_by: Option<(GroupName, EntryId)>,
}

/// How far one group has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) group: GroupName,
    /// Everything below is done.
    pub(crate) below: EntryId,
}

/// The group that has come least far: everything below it may go. Nothing may where there is no
/// group. Of several the first by its name, so that two brokers say the same.
pub(crate) fn least(reaches: impl IntoIterator<Item = Reach>) -> Option<Reach> {
    reaches
        .into_iter()
        .min_by(|a, b| (a.below, &a.group).cmp(&(b.below, &b.group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_come_least_far_decides_and_nobody_decides_nothing() {
        let reach = |group: &str, below| Reach {
            group: GroupName::new(group).unwrap(),
            below: EntryId::new(below, 0),
        };
        assert_eq!(least([]), None);
        let all = [reach("c", 7), reach("b", 3), reach("a", 9), reach("a2", 3)];
        assert_eq!(least(all), Some(reach("a2", 3)));
    }
}
