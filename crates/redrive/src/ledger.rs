//! The books of a dead-letter queue: what came, what went, and whether that adds up to what is there.

use serde::Serialize;

/// What is counted of a queue: the fields of its ledger, and what its stream tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) dead_lettered: i64,
    pub(crate) imported: i64,
    pub(crate) replayed: i64,
    pub(crate) purged: i64,
    pub(crate) spilled: i64,
    pub(crate) dropped: i64,
    /// Entries that redrive added and that are in none of the others: in place of a tombstone, one that
    /// was lifted, one that was parked again.
    pub(crate) rewritten: i64,
    /// The length of the stream.
    pub(crate) kept: u64,
    /// How many entries were ever added to it, where the server tells.
    pub(crate) added: Option<u64>,
}

/// The books of a dead-letter queue. What redrive adds and removes is counted in the same step; the
/// rest of what the stream tells was done by others. Serialises to a JSON object with these names;
/// unknown is `null`.
///
/// `dead_lettered + imported + foreign_in = kept + replayed + purged + spilled + dropped + foreign_out`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Dead letters that redrive wrote. One that took the place of its tombstone counts once, one whose
    /// message succeeded after all does not count.
    pub dead_lettered: u64,
    /// Added by an import.
    pub imported: u64,
    /// Put back, and not parked again since.
    pub replayed: u64,
    /// Removed by a purge.
    pub purged: u64,
    /// Written to where a [spill](crate::Overflow) goes, and removed.
    pub spilled: u64,
    /// Dropped by a limit.
    pub dropped: u64,
    /// In the queue now.
    pub kept: u64,
    /// Added by others, such as the Python systems. `None` where the server does not count what is added
    /// to a stream (before Redis 7.0), and where less was added than redrive did.
    pub foreign_in: Option<u64>,
    /// Removed by others: trimmed or deleted. `None` likewise, and where more is there than can be.
    pub foreign_out: Option<u64>,
    /// Whether it adds up: no number would have to be below zero; where the server does not count, that
    /// what came is what went and what is there. If not, the ledger or the stream was deleted, restored
    /// from another time, or not counted by who changed it.
    pub balanced: bool,
    #[serde(skip)]
    surplus: i64,
}

impl Ledger {
    pub(crate) fn of(counts: &Counts) -> Self {
        let known = |count: i64| u64::try_from(count).unwrap_or(0);
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let parts = [
            counts.dead_lettered,
            counts.imported,
            counts.replayed,
            counts.purged,
            counts.spilled,
            counts.dropped,
            counts.rewritten,
        ];
        let came = counts.dead_lettered.saturating_add(counts.imported);
        let went = [counts.purged, counts.spilled, counts.dropped]
            .into_iter()
            .fold(counts.replayed, i64::saturating_add);
        let kept = signed(counts.kept);
        let surplus = kept.saturating_add(went).saturating_sub(came);
        let others = counts.added.map(|added| {
            let own = came.saturating_add(counts.rewritten);
            let foreign_in = signed(added).saturating_sub(own);
            (foreign_in, foreign_in.saturating_sub(surplus))
        });
        let foreign = |pick: fn((i64, i64)) -> i64| others.map(pick).map(u64::try_from)?.ok();
        let adds_up = match others {
            Some((foreign_in, foreign_out)) => foreign_in >= 0 && foreign_out >= 0,
            None => surplus == 0,
        };
        Self {
            dead_lettered: known(counts.dead_lettered),
            imported: known(counts.imported),
            replayed: known(counts.replayed),
            purged: known(counts.purged),
            spilled: known(counts.spilled),
            dropped: known(counts.dropped),
            kept: counts.kept,
            foreign_in: foreign(|(foreign_in, _)| foreign_in),
            foreign_out: foreign(|(_, foreign_out)| foreign_out),
            balanced: adds_up && parts.iter().all(|part| *part >= 0),
            surplus,
        }
    }

    /// How many more came into the queue than redrive added, less what left it beside redrive: below
    /// zero where dead letters are missing. All that is known of others where the server does not count
    /// what is added.
    #[must_use]
    pub fn surplus(&self) -> i64 {
        self.surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 died, 2 were imported; 3 replayed, 1 purged, 2 spilled, 2 dropped; 4 are there.
    const WHOLE: Counts = Counts {
        dead_lettered: 10,
        imported: 2,
        replayed: 3,
        purged: 1,
        spilled: 2,
        dropped: 2,
        rewritten: 5,
        kept: 4,
        added: Some(17),
    };

    fn judged(counts: Counts) -> (Option<u64>, Option<u64>, bool, i64) {
        let ledger = Ledger::of(&counts);
        let Ledger {
            foreign_in,
            foreign_out,
            balanced,
            ..
        } = ledger;
        (foreign_in, foreign_out, balanced, ledger.surplus())
    }

    #[test]
    fn what_came_is_what_went_and_what_is_there() {
        assert_eq!(judged(WHOLE), (Some(0), Some(0), true, 0));
        let unknown = Counts {
            added: None,
            ..WHOLE
        };
        assert_eq!(judged(unknown), (None, None, true, 0));
        assert_eq!(
            judged(Counts {
                added: Some(0),
                ..Counts::default()
            }),
            (Some(0), Some(0), true, 0)
        );
    }

    #[test]
    fn what_others_added_and_removed_is_told_apart() {
        let counts = Counts {
            kept: 7,
            added: Some(22),
            ..WHOLE
        };
        assert_eq!(judged(counts), (Some(5), Some(2), true, 3));
        let counts = Counts {
            added: None,
            ..counts
        };
        assert_eq!(judged(counts), (None, None, false, 3));
    }

    #[test]
    fn what_cannot_be_is_not_balanced() {
        // The stream was deleted.
        let counts = Counts {
            kept: 0,
            added: Some(0),
            ..WHOLE
        };
        let (foreign_in, _, balanced, surplus) = judged(counts);
        assert_eq!((foreign_in, balanced, surplus), (None, false, -4));
        // The ledger was deleted, and an undo came after.
        let counts = Counts {
            replayed: -1,
            kept: 1,
            added: Some(17),
            rewritten: 1,
            ..Counts::default()
        };
        assert!(!Ledger::of(&counts).balanced);
        // More is there than was added.
        let counts = Counts { kept: 40, ..WHOLE };
        assert_eq!(judged(counts), (Some(0), None, false, 36));
        let extreme = Counts {
            dead_lettered: i64::MAX,
            imported: i64::MAX,
            replayed: i64::MIN,
            kept: u64::MAX,
            added: Some(u64::MAX),
            ..WHOLE
        };
        assert!(!Ledger::of(&extreme).balanced);
    }
}
