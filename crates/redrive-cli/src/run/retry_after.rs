//! `Retry-After`: when a server wants to be asked again (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// No server puts a message off for longer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How long to wait, from its value: a number of seconds, or a date. `None` for what is neither.
pub(super) fn delay(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let delay = if digits {
        // More digits than a number holds are too long in any case.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let then: Timestamp = DateTimeParser::new().parse_timestamp(value).ok()?;
        // A date that is over: at once.
        SystemTime::from(then)
            .duration_since(now)
            .unwrap_or_default()
    };
    Some(delay.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_nothing_is_put_off_for_ever() {
        let seconds = Duration::from_secs;
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + seconds(784_111_777);
        for (value, expected) in [
            ("0", Some(seconds(0))),
            (" 120 ", Some(seconds(120))),
            ("31536000", Some(LONGEST)),
            ("99999999999999999999999", Some(LONGEST)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(seconds(10))),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(seconds(0))),
            ("Wed, 06 Nov 2024 08:49:37 GMT", Some(LONGEST)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(delay(value, now), expected, "{value:?}");
        }
    }
}
