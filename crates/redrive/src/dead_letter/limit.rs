//! How many dead letters a queue may hold, and what happens when there are as many.

/// How many a queue keeps, about, where dead letters are envelopes and no other limit is set.
const ENVELOPES: u64 = 5_000;
/// Far above what a server holds, far below what it refuses.
const MOST: u64 = 1_000_000_000_000;

/// How many dead letters a queue may hold, and what happens when there are as many.
///
/// Each processor keeps to its own limit. Where several write to one queue, set the same.
///
/// ```
/// use redrive::{DeadLetterLimit, Overflow};
/// let limit = DeadLetterLimit::new(10_000, Overflow::Stop);
/// assert_eq!((limit.most(), limit.overflow()), (10_000, Overflow::Stop));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterLimit {
    most: u64,
    overflow: Overflow,
    precision: Precision,
}

/// What happens when a dead letter comes to a queue that holds as many as it may. Default
/// [`Stop`](Self::Stop).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The message stays pending until there is room, and is looked at again every minute. One
    /// whose attempts are used up is not run again. One that was rejected or does not decode is,
    /// each time.
    #[default]
    Stop,
    /// The oldest dead letters go: counted, logged, shown in the statistics as
    /// [`dlq_dropped`](crate::Stats::dlq_dropped).
    DropOldest,
}

/// How closely a queue is kept to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Exactly,
    /// Some more may stay, where that costs the server less.
    About,
}

impl DeadLetterLimit {
    /// What the second Python system keeps.
    pub(crate) const ENVELOPE: Self = Self {
        most: ENVELOPES,
        overflow: Overflow::DropOldest,
        precision: Precision::About,
    };

    /// At most so many dead letters, 1 or more. Tombstones are written beyond it.
    #[must_use]
    pub const fn new(most: u64, overflow: Overflow) -> Self {
        Self {
            most,
            overflow,
            precision: Precision::Exactly,
        }
    }

    /// How many there may be.
    #[must_use]
    pub const fn most(self) -> u64 {
        self.most
    }

    /// What happens when there are as many.
    #[must_use]
    pub const fn overflow(self) -> Overflow {
        self.overflow
    }

    pub(crate) fn precision(self) -> Precision {
        self.precision
    }

    /// Why it cannot work, if it cannot.
    pub(crate) fn problem(self) -> Option<String> {
        let most = self.most;
        (!(1..=MOST).contains(&most))
            .then(|| format!("dead_letter_limit is {most}, it must be between 1 and {MOST}"))
    }
}
