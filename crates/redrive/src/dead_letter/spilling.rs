//! When a queue is so near its limit that its oldest dead letters are spilled, and how many of them.

use super::limit::DeadLetterLimit;

/// How near its limit, in tenths, a queue is spilled.
const FROM: u64 = 9;
/// Down to which tenth of it.
const TO: u64 = 8;

/// How much a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) length: u64,
    /// Its bytes, where these are limited.
    pub(crate) bytes: Option<u64>,
    /// The time of its oldest, where age is limited; Unix ms.
    pub(crate) oldest_ms: Option<u64>,
    pub(crate) now_ms: u64,
}

/// Which of the oldest go next: so many, and all from before that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surplus {
    count: u64,
    before_ms: u64,
}

impl Surplus {
    /// Whether the dead letter at this place goes, the oldest being 0.
    pub(crate) fn takes(self, place: usize, id_ms: u64) -> bool {
        (place as u64) < self.count || id_ms < self.before_ms
    }
}

impl DeadLetterLimit {
    /// Whether a queue is so near that the oldest have to go.
    pub(crate) fn is_near(&self, level: &Level) -> bool {
        let near =
            |is: u64, most: u64| is > 0 && is.saturating_mul(10) >= most.saturating_mul(FROM);
        let age = level
            .oldest_ms
            .map(|oldest| level.now_ms.saturating_sub(oldest));
        let pairs = [
            (Some(level.length), self.most()),
            (level.bytes.filter(|_| level.length > 0), self.bytes()),
            (age, self.age_ms()),
        ];
        pairs
            .into_iter()
            .any(|(is, most)| is.zip(most).is_some_and(|(is, most)| near(is, most)))
    }

    /// What of a queue goes, so that it comes to where it may stay; `None` where it is there.
    pub(crate) fn surplus(&self, level: &Level) -> Option<Surplus> {
        let share = |most: u64| most / 10 * TO + most % 10 * TO / 10;
        let too_many = self
            .most()
            .map_or(0, |most| level.length.saturating_sub(share(most)));
        // Of about the same size each: the next look tells whether they were.
        let too_heavy = self.bytes().zip(level.bytes).map_or(0, |(most, bytes)| {
            let over = u128::from(bytes.saturating_sub(share(most)));
            let count = (over * u128::from(level.length)).div_ceil(u128::from(bytes.max(1)));
            u64::try_from(count).unwrap_or(u64::MAX)
        });
        let before_ms = self
            .age_ms()
            .map_or(0, |age| level.now_ms.saturating_sub(share(age)));
        let too_old = level.oldest_ms.is_some_and(|oldest| oldest < before_ms);
        let count = too_many.max(too_heavy).min(level.length);
        (level.length > 0 && (count > 0 || too_old)).then_some(Surplus { count, before_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dead_letter::Overflow;

    fn of(length: u64) -> Level {
        Level {
            length,
            ..Level::default()
        }
    }

    #[test]
    fn from_nine_tenths_of_the_count_down_to_eight() {
        let limit = DeadLetterLimit::new(100, Overflow::Stop);
        assert!(!limit.is_near(&of(89)));
        assert!(limit.is_near(&of(90)));
        let surplus = limit.surplus(&of(90)).unwrap();
        assert!(surplus.takes(9, 0) && !surplus.takes(10, 0));
        assert_eq!(limit.surplus(&of(80)), None);
        let one = DeadLetterLimit::new(1, Overflow::Stop);
        assert!(one.is_near(&of(1)) && !one.is_near(&of(0)));
        assert!(one.surplus(&of(1)).unwrap().takes(0, 0));
        assert_eq!(one.surplus(&of(0)), None);
    }

    #[test]
    fn bytes_are_taken_to_be_spread_evenly() {
        let limit = DeadLetterLimit::of_bytes(1_000, Overflow::Stop);
        let level = |length, bytes| Level {
            bytes: Some(bytes),
            ..of(length)
        };
        assert!(!limit.is_near(&level(10, 899)));
        assert!(limit.is_near(&level(10, 900)));
        // Nothing can be taken out of what is empty, whatever that takes.
        assert!(!limit.is_near(&level(0, 5_000)));
        assert_eq!(limit.surplus(&level(0, 5_000)), None);
        let surplus = limit.surplus(&level(10, 1_000)).unwrap();
        assert!(surplus.takes(1, 0) && !surplus.takes(2, 0));
        assert!(limit.surplus(&level(1, 5_000)).unwrap().takes(0, 0));
        assert_eq!(limit.surplus(&level(10, 800)), None);
        let extreme = level(u64::MAX, u64::MAX);
        assert!(limit.is_near(&extreme) && limit.surplus(&extreme).is_some());
    }

    #[test]
    fn those_go_that_are_older_than_eight_tenths_of_the_age() {
        let limit = DeadLetterLimit::of_age(Duration::from_millis(1_000), Overflow::Stop);
        let level = |oldest| Level {
            oldest_ms: Some(oldest),
            now_ms: 10_000,
            ..of(5)
        };
        assert!(!limit.is_near(&level(9_101)));
        assert!(limit.is_near(&level(9_100)));
        let surplus = limit.surplus(&level(9_100)).unwrap();
        assert!(surplus.takes(0, 9_199) && !surplus.takes(0, 9_200));
        assert_eq!(limit.surplus(&level(9_200)), None);
    }
}
