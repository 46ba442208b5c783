//! Where a sweep over what is pending passed by, so that the next ones are cheap.
//!
//! The server can leave out what somebody keeps, which costs it a fraction of telling it row by row; but it looks until
//! it has found as many as were asked for, or the end of a range. So that no command looks at very many, a range
//! has to end somewhere: at an id that an earlier sweep passed, row by row. New messages are behind all of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::backend::Cursor;
use crate::names::EntryId;

/// How many rows apart they are: what the server looks at in one command, a millisecond or two.
const APART: u64 = 4_000;
/// How long they are good for. A group that was set back has more than this between two of them.
const GOOD_FOR: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Milestones {
    /// In order.
    passed: Vec<EntryId>,
    /// When the first of them was found.
    since: Option<Instant>,
    /// Rows since the last of them.
    walked: u64,
}

impl Milestones {
    /// The next one behind a cursor, where one is known.
    pub(super) fn next(&mut self, cursor: Cursor, now: Instant) -> Option<EntryId> {
        if cursor == Cursor::START {
            self.walked = 0;
            if self.since.is_some_and(|since| now >= since + GOOD_FOR) {
                self.forget();
            }
            self.since.get_or_insert(now);
        }
        let behind = self.passed.partition_point(|id| *id <= cursor.0);
        self.passed.get(behind).copied()
    }

    /// A round has looked at so many rows, one by one, and goes on here.
    pub(super) fn passed(&mut self, cursor: Option<Cursor>, rows: u64) {
        self.walked += rows;
        let Some(Cursor(id)) = cursor else { return };
        if self.walked >= APART && self.passed.last().is_none_or(|last| *last < id) {
            self.passed.push(id);
            self.walked = 0;
        }
    }

    /// The group is another one.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Cursor {
        Cursor(EntryId::new(ms, 0))
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_leaves_milestones_that_are_good_for_half_a_minute() {
        let (mut milestones, now) = (Milestones::default(), Instant::now());
        assert_eq!(milestones.next(Cursor::START, now), None);
        for page in 1..=9 {
            milestones.passed(Some(at(page * 1_000)), 1_000);
        }
        milestones.passed(None, 500);
        for (from, next) in [
            (Cursor::START, Some(4_000)),
            (at(3_999), Some(4_000)),
            (at(4_000), Some(8_000)),
            (at(8_000), None),
            (Cursor::END, None),
        ] {
            let next = next.map(|ms| EntryId::new(ms, 0));
            assert_eq!(milestones.next(from, now), next, "{from:?}");
        }
        // What is behind the last one is walked, and gets its own when it has become long enough.
        milestones.passed(Some(at(12_000)), 4_000);
        assert_eq!(
            milestones.next(at(8_000), now),
            Some(EntryId::new(12_000, 0))
        );
        assert_eq!(milestones.next(Cursor::START, now + GOOD_FOR), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_goes_on_where_one_is_known_adds_none() {
        let (mut milestones, now) = (Milestones::default(), Instant::now());
        milestones.next(Cursor::START, now);
        milestones.passed(Some(at(1)), 4_000);
        milestones.next(Cursor::START, now);
        milestones.passed(Some(at(1)), 0);
        milestones.passed(Some(at(2)), 1_000);
        assert_eq!(milestones.next(at(1), now), None);
    }
}
