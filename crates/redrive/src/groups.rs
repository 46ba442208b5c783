//! Groups of dead letters: what they share, counted within bounds.

use std::collections::HashMap;

use crate::dead_letter::{DeadLetter, Reason};
use crate::fingerprint::clip;
use crate::names::{EntryId, StreamKey};

/// How many groups are told of at most. Twice as many are kept while counting, so that a cause that
/// shows late is not taken for one of many that came once.
pub(crate) const MOST_GROUPS: usize = 10_000;

/// How much of a key and of a sample's error is kept, in bytes: what strangers wrote, so many times.
const TEXT_LIMIT: usize = 1024;

/// What dead letters of one group share. Default: the fingerprint of their error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupBy {
    /// The fingerprint of the error: errors that differ only in ids, numbers, quoted strings, paths
    /// and URL queries are one group.
    #[default]
    Fingerprint,
    /// Why they were given up.
    Reason,
    /// The stream that they came from.
    Stream,
    /// The type or code of the error. Native layout only.
    ErrorKind,
    /// Who had them last. Native layout only.
    Consumer,
}

impl GroupBy {
    fn key(self, letter: &DeadLetter) -> Option<&str> {
        match self {
            Self::Fingerprint => Some(&letter.fingerprint),
            Self::Reason => letter.reason.map(Reason::as_str),
            Self::Stream => letter.stream.as_ref().map(StreamKey::as_str),
            Self::ErrorKind => letter.error_kind.as_deref(),
            Self::Consumer => letter.consumer.as_deref(),
        }
    }
}

/// Dead letters that share something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterGroup {
    /// What they share, cut at 1 KiB; `None` is the group of those that do not say it.
    pub key: Option<String>,
    /// The fingerprint of their errors; `None` where they differ.
    pub fingerprint: Option<String>,
    /// How many they are.
    pub count: u64,
    /// Why they were given up; `None` where it is not known, or not the same of all.
    pub reason: Option<Reason>,
    /// The error of the sample, cut at 1 KiB.
    pub error: Option<String>,
    /// One of them: the first in the order of the selection.
    pub sample_id: EntryId,
    /// When the first of them was given up, in Unix ms: by its own id where its layout does not say
    /// when.
    pub first_at_ms: u64,
    /// When the last of them was, likewise.
    pub last_at_ms: u64,
}

/// What [`DeadLetterQueue::groups`](crate::DeadLetterQueue::groups) counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterGroups {
    /// The busiest first, 10,000 at most.
    pub groups: Vec<DeadLetterGroup>,
    /// How many dead letters were counted, all groups and [`other`](Self::other) together.
    pub counted: u64,
    /// How many of these are in none of the groups, because there were too many groups. Where it is
    /// not 0, a group that was small for long may have more than its count, by some of these.
    pub other: u64,
}

impl DeadLetterGroups {
    /// The part of all that were counted, from 0 to 1.
    #[must_use]
    pub fn share(&self, count: u64) -> f64 {
        if self.counted == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "no queue holds 2^53 entries")]
        let share = count as f64 / self.counted as f64;
        share
    }
}

/// Groups while they are counted. What it holds is bounded, whatever is added.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    by: GroupBy,
    groups: HashMap<Option<String>, DeadLetterGroup>,
    counted: u64,
}

impl Tally {
    pub(crate) fn new(by: GroupBy) -> Self {
        Self {
            by,
            groups: HashMap::new(),
            counted: 0,
        }
    }

    pub(crate) fn add(&mut self, letter: &DeadLetter) {
        self.counted += 1;
        let key = (self.by.key(letter)).map(|key| clip(key, TEXT_LIMIT).to_owned());
        let at = letter.dead_at_ms.unwrap_or(letter.id.millis());
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            group.first_at_ms = group.first_at_ms.min(at);
            group.last_at_ms = group.last_at_ms.max(at);
            group.reason = group.reason.filter(|one| letter.reason == Some(*one));
            if group.fingerprint.as_ref() != Some(&letter.fingerprint) {
                group.fingerprint = None;
            }
            return;
        }
        if self.groups.len() >= 2 * MOST_GROUPS {
            self.forget_the_smallest();
        }
        let error = letter.error.as_deref();
        let group = DeadLetterGroup {
            key: key.clone(),
            fingerprint: Some(letter.fingerprint.clone()),
            count: 1,
            reason: letter.reason,
            error: error.map(|error| clip(error, TEXT_LIMIT).to_owned()),
            sample_id: letter.id,
            first_at_ms: at,
            last_at_ms: at,
        };
        self.groups.insert(key, group);
    }

    /// Makes room for as many as are told of. A group is forgotten only while that many others are
    /// at least as large: what makes up more than one in 10,000 all along is never among them.
    fn forget_the_smallest(&mut self) {
        let busiest = busiest(self.groups.drain().map(|(_, group)| group));
        self.groups
            .extend(busiest.into_iter().map(|group| (group.key.clone(), group)));
    }

    /// What has been counted so far.
    pub(crate) fn groups(&self) -> DeadLetterGroups {
        let groups = busiest(self.groups.values().cloned());
        let told: u64 = groups.iter().map(|group| group.count).sum();
        DeadLetterGroups {
            groups,
            counted: self.counted,
            other: self.counted - told,
        }
    }
}

/// The busiest first; of those alike the one that was seen last, so that the order is no accident.
fn busiest(groups: impl Iterator<Item = DeadLetterGroup>) -> Vec<DeadLetterGroup> {
    let mut groups: Vec<DeadLetterGroup> = groups.collect();
    groups.sort_unstable_by(|one, other| {
        let rank = |group: &DeadLetterGroup| (group.count, group.last_at_ms, group.sample_id);
        rank(other).cmp(&rank(one))
    });
    groups.truncate(MOST_GROUPS);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::read;
    use crate::message::Fields;

    /// An envelope that died with this error, at the millisecond of its id.
    fn letter(id: u64, error: &str) -> DeadLetter {
        let fields = Fields::from_iter(
            [
                ("original_stream", "orders"),
                ("original_msg_id", "1-1"),
                ("error", error),
                ("attempt", "3"),
                ("data", "\u{1}"),
                ("ts", ""),
                ("trace_id", ""),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        read(EntryId::new(id, 0), fields)
    }

    fn tally(by: GroupBy, letters: impl IntoIterator<Item = DeadLetter>) -> DeadLetterGroups {
        let mut tally = Tally::new(by);
        for letter in letters {
            tally.add(&letter);
        }
        tally.groups()
    }

    #[test]
    fn a_group_says_what_all_of_it_share_and_nothing_else() {
        let letters = || {
            [
                letter(30, "rejected: no stock of 'tea'"),
                letter(10, "bank 10.0.0.7:443 timed out after 3s"),
                letter(20, "bank 10.0.0.9:443 timed out after 12s"),
            ]
        };
        let groups = tally(GroupBy::Fingerprint, letters());
        assert_eq!((groups.counted, groups.other), (3, 0));
        let [bank, stock] = &groups.groups[..] else {
            panic!("{groups:?}");
        };
        assert_eq!((bank.count, bank.first_at_ms, bank.last_at_ms), (2, 10, 20));
        assert_eq!(bank.sample_id, EntryId::new(10, 0));
        let error = bank.error.as_deref();
        assert_eq!(error, Some("bank 10.0.0.7:443 timed out after 3s"));
        assert_eq!(bank.reason, Some(Reason::AttemptsExhausted));
        assert_eq!(
            (bank.key.as_ref(), &stock.fingerprint),
            (bank.fingerprint.as_ref(), &stock.key)
        );
        assert_eq!(stock.reason, Some(Reason::Rejected));
        assert!((groups.share(bank.count) - 2.0 / 3.0).abs() < 1e-9);

        let groups = tally(GroupBy::Stream, letters());
        let [orders] = &groups.groups[..] else {
            panic!("{groups:?}");
        };
        assert_eq!((orders.key.as_deref(), orders.count), (Some("orders"), 3));
        assert_eq!((&orders.fingerprint, orders.reason), (&None, None));

        let groups = tally(GroupBy::Consumer, letters());
        assert_eq!((groups.groups.len(), &groups.groups[0].key), (1, &None));
        let groups = tally(GroupBy::Reason, letters());
        let keys = groups.groups.iter().map(|group| group.key.as_deref());
        let keys: Vec<Option<&str>> = keys.collect();
        assert_eq!(keys, [Some("attempts_exhausted"), Some("rejected")]);
        assert_eq!(tally(GroupBy::ErrorKind, []), DeadLetterGroups::default());
    }

    /// Among a hundred thousand that came once, in any order, what comes again and again is found.
    #[test]
    fn what_is_kept_is_bounded_and_what_is_busy_is_among_it() {
        let mut tally = Tally::new(GroupBy::Fingerprint);
        let mut one = letter(1, "once");
        let mut again = letter(2, "late");
        again.error = Some(format!("late {}", "é".repeat(4_000)));
        let mut late = 0;
        for n in 0..100_000 {
            one.fingerprint = format!("{n:016x}");
            tally.add(&one);
            assert!(tally.groups.len() <= 2 * MOST_GROUPS);
            if n > 60_000 && n % 1_000 == 0 {
                late += 2;
                tally.add(&again);
                tally.add(&again);
            }
        }
        let groups = tally.groups();
        assert_eq!(groups.groups.len(), MOST_GROUPS);
        assert_eq!(groups.counted, 100_000 + late);
        assert_eq!(groups.groups[0].key.as_ref(), Some(&again.fingerprint));
        let error = groups.groups[0].error.as_ref();
        assert_eq!(error.map(String::len), Some(TEXT_LIMIT - 1));
        assert_eq!(groups.groups[0].count, late);
        assert_eq!(groups.other, 100_000 - (MOST_GROUPS as u64 - 1));
    }
}
