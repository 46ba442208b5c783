//! The literals of the command line and the configuration file: durations, sizes, backoff.

#[cfg(test)]
mod fuzz;
mod instant;

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use redrive::RetryPolicy;

pub(crate) use self::instant::Instant;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const DURATIONS: &str = "a duration is written like 250ms, 30s, 5m, 2h, 1d or 1h30m";
/// Beyond this nothing is meant: a hundred years.
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;

/// A duration: `250ms`, `30s`, `5m`, `2h`, `1d`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{DURATIONS}, not {text:?}");
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, after) = after.split_at(letters);
        let (_, ms) = *UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        // The larger unit first and each once: `30m1h` and `1s1s` are slips of the hand.
        if ms >= smaller_than {
            return Err(wrong());
        }
        smaller_than = ms;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(ms)
            .and_then(|ms| total.checked_add(ms))
            .filter(|total| *total <= LONGEST_MS)
            .ok_or_else(|| format!("{text:?} is longer than a hundred years"))?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_millis(total))
}

/// A text of at least one character.
pub(crate) fn some_text(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it must be at least one character".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// How many, where none makes no sense.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

/// How many, in a range.
pub(crate) fn count_in(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(_) => Err(format!(
            "it must be between {} and {}",
            range.start(),
            range.end()
        )),
        Err(_) => Err("it must be a whole number".to_owned()),
    }
}

/// The longest that a worker is told to wait for anything.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A duration from this one up to a year.
pub(crate) fn duration_from(
    least: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| within_a_year(least, duration(text)?)
}

/// As [`duration_from`], or `none`.
pub(crate) fn duration_or_none_from(
    least: Duration,
) -> impl Fn(&str) -> Result<DurationOrNone, String> + Clone + Send + Sync + 'static {
    move |text| {
        let parsed: DurationOrNone = text.parse()?;
        let Some(duration) = parsed.0 else {
            return Ok(parsed);
        };
        match within_a_year(least, duration) {
            Ok(duration) => Ok(DurationOrNone(Some(duration))),
            Err(error) => Err(format!("{error}; or none")),
        }
    }
}

fn within_a_year(least: Duration, duration: Duration) -> Result<Duration, String> {
    if (least..=YEAR).contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (Shown(least), Shown(YEAR));
    Err(format!("it must be between {least} and {most}"))
}

/// A duration, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DurationOrNone(pub(crate) Option<Duration>);

impl FromStr for DurationOrNone {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match duration(text) {
            Ok(duration) => Ok(Self(Some(duration))),
            Err(error) => Err(format!("{error}; or none")),
        }
    }
}

/// A number of bytes: `65536`, `64KiB`, `8MiB`, `1GiB`, or with decimal units `64kB`, `8MB`, `1GB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("a size is written like 512, 64KiB or 8MiB, not {text:?}");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let number: usize = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text:?} is larger than this machine can address"))
}

/// How long to wait before a retry: `none`, `10s` (fixed), `1s..5m` (exponential, full jitter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    None,
    Fixed(Duration),
    Exponential(Duration, Duration),
}

impl Wait {
    pub(crate) fn policy(self) -> RetryPolicy {
        match self {
            Self::None => RetryPolicy::immediate(),
            Self::Fixed(delay) => RetryPolicy::fixed(delay),
            Self::Exponential(first, most) => RetryPolicy::exponential(first, most),
        }
    }
}

impl FromStr for Wait {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: String| format!("a backoff is none, 10s (fixed) or 1s..5m (growing); {why}");
        if text == "none" {
            return Ok(Self::None);
        }
        match text.split_once("..") {
            None => duration(text).map(Self::Fixed).map_err(wrong),
            Some((first, most)) => {
                let (first, most) = (duration(first), duration(most));
                let (first, most) = (first.map_err(wrong)?, most.map_err(wrong)?);
                if first > most {
                    return Err(wrong(format!("{text:?} shrinks")));
                }
                Ok(Self::Exponential(first, most))
            }
        }
    }
}

/// A duration as it is written on the command line: `5m`, `1h30m`, `250ms`.
pub(crate) struct Shown(pub(crate) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, ms) in UNITS.iter().rev() {
            let whole = left / ms;
            left %= ms;
            if whole > 0 {
                write!(f, "{whole}{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(Shown(Duration::from_millis(ms)).to_string(), text);
        }
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "5sec",
            "1.5s",
            "30m1h",
            "1s1s",
            "5S",
            "99999999999999999999s",
            "1000000d",
            "none",
            "5m ",
            "٣s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!("none".parse(), Ok(DurationOrNone(None)));
    }

    #[test]
    fn ranges_hold_at_both_ends() {
        let count = count_in(1..=1_000);
        assert_eq!((count("1"), count("1000")), (Ok(1), Ok(1_000)));
        for wrong in ["0", "1001", "-1", "1.5", "", "99999999999999999999999"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        let lease = duration_from(Duration::from_millis(100));
        assert_eq!(lease("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(lease("365d"), Ok(YEAR));
        let range = Err("it must be between 100ms and 365d".to_owned());
        for wrong in ["99ms", "365d1ms", "0s"] {
            assert_eq!(lease(wrong), range, "{wrong}");
        }
        let timeout = duration_or_none_from(Duration::from_millis(1));
        assert_eq!(timeout("none"), Ok(DurationOrNone(None)));
        let shortest = DurationOrNone(Some(Duration::from_millis(1)));
        assert_eq!(timeout("1ms"), Ok(shortest));
        let range = "it must be between 1ms and 365d; or none".to_owned();
        assert_eq!(timeout("0s"), Err(range));
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("512", 512),
            ("64KiB", 65_536),
            ("8MiB", 8_388_608),
            ("1kB", 1_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KiB", "1.5MiB", "-1", "8 MiB", "8mib", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn backoffs_are_read() {
        let seconds = Duration::from_secs;
        assert_eq!("none".parse(), Ok(Wait::None));
        assert_eq!("10s".parse(), Ok(Wait::Fixed(seconds(10))));
        assert_eq!(
            "1s..5m".parse(),
            Ok(Wait::Exponential(seconds(1), seconds(300)))
        );
        for wrong in ["", "..", "1s..", "5m..1s", "1s..2s..3s", "1"] {
            assert!(wrong.parse::<Wait>().is_err(), "{wrong}");
        }
    }
}
