//! Trimming a stream in memory, under one lock like every step.

use std::ops::Bound;

use crate::names::{EntryId, GroupName, StreamKey};
use crate::trim::{Reach, TrimStep, Trimmed, least};

use super::hints::Mark;
use super::world::Kept;

/// How many entries one step removes or counts.
const STEP: usize = 1_000;

impl Kept {
    /// The groups of which a mark is kept.
    pub(super) fn marked(&self, stream: &StreamKey) -> Vec<GroupName> {
        let marked = self.hints.iter().filter(|(_, hints)| hints.mark.is_some());
        let mut names: Vec<_> = marked
            .filter(|(source, _)| source.stream == *stream)
            .map(|(source, _)| source.group.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// `None` where there is no such stream.
    pub(super) fn trim(
        &mut self,
        key: &StreamKey,
        marked: &[GroupName],
        step: TrimStep,
    ) -> Option<Trimmed> {
        let hints = &self.hints;
        let stream = self.streams.get_mut(key)?;
        let groups = stream.groups.iter().map(|(name, group)| Reach {
            group: name.clone(),
            below: group
                .pending
                .keys()
                .next()
                .copied()
                .unwrap_or(group.last_delivered.successor()),
        });
        let vanished = hints.iter().filter_map(|(source, hints)| {
            let ours = source.stream == *key && marked.contains(&source.group);
            let there = stream.groups.contains_key(&source.group);
            (ours && !there).then(|| Reach {
                group: source.group.clone(),
                below: hints.mark.map_or(EntryId::MIN, Mark::below),
            })
        });
        let least = least(groups.chain(vanished));
        let edge = least.as_ref().map_or(EntryId::MIN, |least| least.below);
        let from = match step {
            TrimStep::Remove => EntryId::MIN,
            TrimStep::Count { from } => from,
        };
        let range = (Bound::Included(from), Bound::Excluded(edge));
        let some: Vec<EntryId> = match from < edge {
            true => stream
                .entries
                .range(range)
                .map(|(id, _)| *id)
                .take(STEP)
                .collect(),
            false => Vec::new(),
        };
        if step == TrimStep::Remove {
            for id in &some {
                stream.entries.remove(id);
            }
        }
        let next = some.last().filter(|_| some.len() == STEP);
        let held_by = least.and_then(|Reach { group, below }| {
            let pending = stream
                .groups
                .get(&group)
                .and_then(|group| group.pending.keys().next());
            let unread = stream.entries.range(below..).next().map(|(id, _)| id);
            Some((group, *pending.or(unread)?))
        });
        Some(Trimmed {
            entries: some.len() as u64,
            next: next.map(|id| id.successor()),
            left: stream.entries.len() as u64,
            first: stream.entries.keys().next().copied(),
            held_by,
        })
    }
}
