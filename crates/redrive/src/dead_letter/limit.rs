//! How much a queue of dead letters may hold, and what happens when it holds as much.

use std::fmt;
use std::time::Duration;

use crate::spill::{Spill, SpillTo};

/// How many a queue keeps, about, where dead letters are envelopes and no other limit is set.
const ENVELOPES: u64 = 5_000;
/// Far above what a server holds, far below what it refuses.
const MOST: u64 = 1_000_000_000_000;
const SHORTEST: Duration = Duration::from_millis(1);
/// A hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How much a queue of dead letters may hold, by count, by bytes or by age, and what happens when it
/// holds as much.
///
/// Each processor keeps to its own limit. Where several write to one queue, set the same.
///
/// ```
/// use std::time::Duration;
/// use redrive::{DeadLetterLimit, Overflow};
/// let limit = DeadLetterLimit::new(10_000, Overflow::Stop)
///     .and_bytes(64 << 20)
///     .and_age(Duration::from_secs(7 * 86_400));
/// assert_eq!((limit.most(), limit.overflow()), (Some(10_000), &Overflow::Stop));
/// assert_eq!(limit.bytes(), Some(67_108_864));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterLimit {
    most: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
    overflow: Overflow,
    precision: Precision,
}

/// What happens when a dead letter comes to a queue that is at its limit. Default
/// [`Stop`](Self::Stop).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The message stays pending until there is room, and is looked at again every minute. One
    /// whose attempts are used up is not run again. One that was rejected or does not decode is,
    /// each time.
    #[default]
    Stop,
    /// A queue that comes to nine tenths of its limit is brought down to eight: its oldest dead letters are
    /// written to where this says, and only then removed. Meanwhile messages go on dying, so it may hold
    /// more than its limit for a moment. What cannot be written stays in the queue; at twice the limit
    /// messages stay pending as with [`Stop`](Self::Stop), but are looked at again every second.
    Spill(SpillTo),
    /// The oldest dead letters go: counted, logged, shown in the statistics as
    /// [`dlq_dropped`](crate::Stats::dlq_dropped).
    DropOldest,
}

impl Overflow {
    /// [`Spill`](Self::Spill) to this.
    pub fn spill(to: impl Spill) -> Self {
        Self::Spill(SpillTo::new(to))
    }

    /// Whether a full queue keeps messages pending.
    pub(crate) fn keeps_pending(&self) -> bool {
        matches!(self, Self::Stop | Self::Spill(_))
    }
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
        most: Some(ENVELOPES),
        bytes: None,
        age: None,
        overflow: Overflow::DropOldest,
        precision: Precision::About,
    };

    const fn none(overflow: Overflow) -> Self {
        Self {
            most: None,
            bytes: None,
            age: None,
            overflow,
            precision: Precision::Exactly,
        }
    }

    /// At most so many dead letters, 1 or more. Tombstones are written beyond it.
    #[must_use]
    pub const fn new(most: u64, overflow: Overflow) -> Self {
        let mut limit = Self::none(overflow);
        limit.most = Some(most);
        limit
    }

    /// At most so many bytes, 1 or more, and no limit to the count: see
    /// [`and_bytes`](Self::and_bytes).
    #[must_use]
    pub const fn of_bytes(bytes: u64, overflow: Overflow) -> Self {
        let mut limit = Self::none(overflow);
        limit.bytes = Some(bytes);
        limit
    }

    /// None older than this, and no limit to the count: see [`and_age`](Self::and_age).
    #[must_use]
    pub const fn of_age(age: Duration, overflow: Overflow) -> Self {
        let mut limit = Self::none(overflow);
        limit.age = Some(age);
        limit
    }

    /// And at most so many bytes, 1 or more, as the server counts them: `MEMORY USAGE` of the stream,
    /// which is exact up to about 1,000 of its nodes (each holds up to 100 entries or 4 KiB, unless the
    /// server is configured otherwise) and an estimate beyond. A node gives its bytes back when the last
    /// of its entries has gone. In memory: all names and values, and 32 bytes for each dead letter. A
    /// queue that is empty always takes one, and the newest one always stays.
    #[must_use]
    pub const fn and_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// And none older than this, 1 ms to a hundred years: by how long it has been in this queue, which
    /// its id there tells.
    #[must_use]
    pub const fn and_age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// How many there may be; `None` for no limit to that.
    #[must_use]
    pub const fn most(&self) -> Option<u64> {
        self.most
    }

    /// How many bytes they may take; `None` for no limit to that.
    #[must_use]
    pub const fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// How old they may become; `None` for no limit to that.
    #[must_use]
    pub const fn age(&self) -> Option<Duration> {
        self.age
    }

    /// What happens at the limit.
    #[must_use]
    pub const fn overflow(&self) -> &Overflow {
        &self.overflow
    }

    /// Where the oldest go before they are removed.
    pub(crate) fn spill_to(&self) -> Option<&SpillTo> {
        match &self.overflow {
            Overflow::Spill(to) => Some(to),
            Overflow::Stop | Overflow::DropOldest => None,
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The age in the unit of ids.
    pub(crate) fn age_ms(&self) -> Option<u64> {
        self.age
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    /// From where on messages stay pending: count, bytes and age in ms.
    pub(crate) fn edge(&self) -> [Option<u64>; 3] {
        let times = match self.overflow {
            Overflow::Spill(_) => 2,
            Overflow::Stop | Overflow::DropOldest => 1,
        };
        let parts = [self.most, self.bytes, self.age_ms()];
        parts.map(|part| part.map(|part| part.saturating_mul(times)))
    }

    /// Whether the oldest go, and not only when others come: with time alone they become too old.
    pub(crate) fn drops_with_time(&self) -> bool {
        self.overflow == Overflow::DropOldest && self.age.is_some()
    }

    /// Why it cannot work, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        for (what, number) in [("most", self.most), ("bytes", self.bytes)] {
            if let Some(number) = number.filter(|number| !(1..=MOST).contains(number)) {
                return Some(format!(
                    "{what} of dead_letter_limit is {number}, it must be between 1 and {MOST}"
                ));
            }
        }
        let age = self.age.filter(|age| !(SHORTEST..=LONGEST).contains(age))?;
        Some(format!(
            "age of dead_letter_limit is {age:?}, it must be between {SHORTEST:?} and a hundred years"
        ))
    }
}

/// As a sentence goes on: `100 dead letters, 4096 bytes or an age of 7s`.
impl fmt::Display for DeadLetterLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.most.map(|most| format!("{most} dead letters")),
            self.bytes.map(|bytes| format!("{bytes} bytes")),
            self.age.map(|age| format!("an age of {age:?}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.split_last() {
            Some((last, [])) => f.write_str(last),
            Some((last, before)) => write!(f, "{} or {last}", before.join(", ")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_told_by_its_name() {
        let stop = || Overflow::Stop;
        for (limit, problem) in [
            (DeadLetterLimit::new(0, stop()), "most of"),
            (DeadLetterLimit::of_bytes(0, stop()), "bytes of"),
            (
                DeadLetterLimit::new(1, stop()).and_bytes(MOST + 1),
                "bytes of",
            ),
            (DeadLetterLimit::of_age(Duration::ZERO, stop()), "age of"),
            (DeadLetterLimit::of_age(LONGEST * 2, stop()), "age of"),
        ] {
            let told = limit.problem().unwrap();
            assert!(told.starts_with(problem), "{told}");
        }
        let all = DeadLetterLimit::new(1, stop())
            .and_bytes(1)
            .and_age(SHORTEST);
        assert_eq!(all.problem(), None);
        assert_eq!(all.to_string(), "1 dead letters, 1 bytes or an age of 1ms");
    }
}
