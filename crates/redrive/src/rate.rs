//! How fast something may go, and who keeps to it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// So many in a second or in a minute: `200/s`, `12/m`.
///
/// ```
/// use redrive::Rate;
/// let rate: Rate = "200/s".parse()?;
/// assert_eq!((rate, rate.to_string()), (Rate::per_second(200)?, "200/s".to_owned()));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
}

/// More than anything does.
const MOST: u32 = 1_000_000;

impl Rate {
    /// So many in a second.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for 0 and for more than a million.
    pub fn per_second(count: u32) -> Result<Self, Error> {
        Self::new(count, Per::Second)
    }

    /// So many in a minute.
    ///
    /// # Errors
    ///
    /// As [`per_second`](Self::per_second).
    pub fn per_minute(count: u32) -> Result<Self, Error> {
        Self::new(count, Per::Minute)
    }

    fn new(count: u32, per: Per) -> Result<Self, Error> {
        match NonZeroU32::new(count) {
            Some(count) if count.get() <= MOST => Ok(Self { count, per }),
            _ => Err(wrong(
                &count.to_string(),
                "which is not between 1 and 1000000",
            )),
        }
    }

    /// How long so many take.
    #[must_use]
    pub fn time_for(self, many: u64) -> Duration {
        let per = match self.per {
            Per::Second => 1.0,
            Per::Minute => 60.0,
        };
        let seconds = many as f64 * per / f64::from(self.count.get());
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// From one to the next.
    fn interval(self) -> Duration {
        let per = match self.per {
            Per::Second => Duration::from_secs(1),
            Per::Minute => Duration::from_secs(60),
        };
        per / self.count.get()
    }
}

impl FromStr for Rate {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (count, per) = match text.split_once('/') {
            Some((count, "s")) => (count, Per::Second),
            Some((count, "m")) => (count, Per::Minute),
            _ => return Err(wrong(text, "which is not so many in a second or a minute")),
        };
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        match count.parse() {
            Ok(count) if digits => Self::new(count, per),
            _ => Err(wrong(
                text,
                "which does not begin with a whole number up to 1000000",
            )),
        }
    }
}

fn wrong(text: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("reading the rate {text:?}, {what}"),
    )
    .hint("a rate is written like 200/s, or 12/m for so many in a minute")
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "s",
            Per::Minute => "m",
        };
        f.pad(&format!("{}/{per}", self.count))
    }
}

/// What may go at once: a tenth of a second's worth, and one at least.
const BURST: Duration = Duration::from_millis(100);

/// Keeps to a rate: each that goes has its time, an interval after the one before. Who comes late
/// makes good a tenth of a second, no more: what a stall has held up does not come as a flood.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    interval: Duration,
    /// When the next one has its time, since the start.
    next: Duration,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            interval: rate.interval(),
            next: Duration::ZERO,
        }
    }

    /// How long to wait from now on until some of so many may go: half of a burst, so that not each
    /// goes alone.
    pub(crate) fn wait(&self, now: Duration, wanted: usize) -> Duration {
        let together = self.burst().div_ceil(2).min(wanted.max(1));
        let others = self.interval * u32::try_from(together - 1).unwrap_or(u32::MAX);
        // The last of them has its time then.
        (self.next + others).saturating_sub(now)
    }

    /// Lets as many go now as may, of so many.
    pub(crate) fn take(&mut self, now: Duration, wanted: usize) -> usize {
        let most = self.burst();
        let behind = self.interval * u32::try_from(most - 1).unwrap_or(u32::MAX);
        self.next = self.next.max(now.saturating_sub(behind));
        let mut taken = 0;
        while taken < wanted.min(most) && self.next <= now {
            self.next += self.interval;
            taken += 1;
        }
        taken
    }

    fn burst(&self) -> usize {
        let most = BURST.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(rate: &str) -> Pace {
        Pace::new(rate.parse().unwrap())
    }

    /// How many go in so many ms, asked for whenever it says that some may.
    fn gone(pace: &mut Pace, from: Duration, ms: u32) -> usize {
        let (mut now, mut gone) = (from, 0);
        loop {
            now += pace.wait(now, 100);
            if now >= from + ms * MS {
                return gone;
            }
            gone += pace.take(now, 100);
        }
    }

    #[test]
    fn a_rate_is_kept_without_drift() {
        for (rate, seconds, expected) in [
            ("200/s", 20, 4_000),
            ("7/s", 20, 140),
            ("3/s", 20, 60),
            ("12/m", 20, 4),
            ("1000/s", 20, 20_000),
            ("1/m", 600, 10),
        ] {
            let went = gone(&mut pace(rate), Duration::ZERO, seconds * 1_000);
            let burst = pace(rate).burst();
            assert!(
                (expected - burst..=expected + 1).contains(&went),
                "{rate}: {went}"
            );
        }
    }

    #[test]
    fn what_a_stall_held_up_does_not_come_as_a_flood() {
        for (rate, burst) in [("200/s", 20), ("5/s", 1), ("11/s", 1), ("12/m", 1)] {
            let mut pace = pace(rate);
            assert_eq!(pace.take(Duration::ZERO, 100), 1, "{rate}");
            let late = Duration::from_secs(3_600);
            assert_eq!(pace.wait(late, 100), Duration::ZERO);
            assert_eq!(pace.take(late, 100), burst, "{rate}");
            assert_eq!(pace.take(late, 100), 0, "{rate}");
            assert!(pace.wait(late, 1) > Duration::ZERO);
        }
    }

    #[test]
    fn no_more_than_is_wanted_is_waited_for_or_taken() {
        let mut pace = pace("200/s");
        assert_eq!(pace.take(Duration::ZERO, 1), 1);
        assert_eq!(pace.wait(Duration::ZERO, 1), 5 * MS);
        assert_eq!(pace.wait(Duration::ZERO, 3), 15 * MS);
        assert_eq!(pace.wait(Duration::ZERO, 100), 50 * MS);
        assert_eq!(pace.take(30 * MS, 2), 2);
        assert_eq!(pace.take(30 * MS, 100), 4);
    }

    #[test]
    fn a_rate_is_a_number_in_a_second_or_a_minute() {
        for text in ["1/s", "200/s", "12/m", "1000000/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "200",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "200/h",
            "200/S",
            "200 /s",
            "1000001/s",
            "99999999999999/s",
            "٣/s",
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.cure().is_some(), "{text}");
        }
    }
}
