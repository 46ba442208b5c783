//! Points in time on the command line: RFC 3339, or how long ago.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Shown, duration};

/// A point in time: `2026-11-22T05:10:22Z`, or how long ago it was: `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instant {
    /// In Unix ms; what was before 1970 is 0.
    At(u64),
    Ago(Duration),
}

const INSTANTS: &str =
    "a time is written like 2026-11-22T05:10:22Z (RFC 3339), or as how long ago: 90m, 2h, 1d";

impl Instant {
    /// In Unix ms, seen from now.
    pub(crate) fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ago) => {
                now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{INSTANTS}; {why}");
        let dated = text.as_bytes().get(4) == Some(&b'-');
        if !dated {
            let ago = duration(text).map_err(|_| wrong("this is neither"))?;
            return Ok(Self::Ago(ago));
        }
        let (date, time) = text
            .split_once(['T', 't', ' '])
            .ok_or_else(|| wrong("the time of day is missing: T00:00:00Z"))?;
        let plain = |text: &str| {
            let known = |byte: u8| byte.is_ascii_digit() || b"-+:.Zz".contains(&byte);
            text.bytes().all(known)
        };
        let separated = [(date, 7, b'-'), (time, 2, b':'), (time, 5, b':')]
            .iter()
            .all(|(text, at, byte)| text.as_bytes().get(*at) == Some(byte));
        if !plain(date) || !plain(time) || !separated {
            return Err(wrong("this is no such date and time"));
        }
        if !time.contains(['Z', 'z', '+', '-']) {
            return Err(wrong(
                "Z, or an offset such as +01:00, is missing at the end",
            ));
        }
        let instant: jiff::Timestamp = text
            .parse()
            .map_err(|_| wrong("there is no such date and time"))?;
        // What died within this millisecond died at it, or later: the next one counts.
        let below = instant.subsec_nanosecond() % 1_000_000 > 0;
        let ms = instant.as_millisecond() + i64::from(below && instant.as_millisecond() >= 0);
        Ok(Self::At(u64::try_from(ms).unwrap_or(0)))
    }
}

/// As it is parsed again.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ago(ago) => Shown(ago).fmt(f),
            Self::At(ms) => {
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                match jiff::Timestamp::from_millisecond(ms) {
                    Ok(instant) => write!(f, "{instant:.3}"),
                    Err(_) => write!(f, "{ms} ms after 1970"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Instant, String> {
        text.parse()
    }

    #[test]
    fn instants_are_dates_with_an_offset_or_spans_back_from_now() {
        for (text, ms) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01t01:00:01+01:00", 1_000),
            ("1970-01-01 00:00:01.25z", 1_250),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1969-12-31T23:59:59.999Z", 0),
            ("2026-11-22T05:10:22.404Z", 1_795_324_222_404),
        ] {
            let instant = read(text).unwrap();
            assert_eq!(instant, Instant::At(ms), "{text}");
            assert_eq!(read(&instant.to_string()), Ok(instant), "{text}");
        }
        let ago = read("1h30m").unwrap();
        assert_eq!(ago, Instant::Ago(Duration::from_secs(5_400)));
        assert_eq!((ago.ms(6_000_000), ago.ms(1)), (600_000, 0));
        assert_eq!(ago.to_string(), "1h30m");
    }

    #[test]
    fn what_is_no_instant_is_refused_with_what_is_missing() {
        for (text, why) in [
            ("", "neither"),
            ("yesterday", "neither"),
            ("-1h", "neither"),
            ("5", "neither"),
            ("2026-11-22", "the time of day"),
            ("2026-11-22T05:10:22", "offset"),
            ("2026-11-22T05:10Z", "no such"),
            ("2026-13-01T00:00:00Z", "no such"),
            ("2026-11-22T05:10:22+99:00", "no such"),
            ("2026-11-22T05:10:22Z[UTC]", "no such"),
            ("2026-11-22Tnoon", "no such"),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.starts_with(INSTANTS), "{wrong}");
            assert!(
                wrong.ends_with(why) || wrong.contains(why),
                "{text}: {wrong}"
            );
        }
    }
}
