//! What a message tells its handler to do, written in its field `do`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One thing that a handler does before it succeeds, or instead. Written `ok`, `sleep:MS`, `block:MS`, `fail`,
/// `fail:TIMES`, `reject`, `abort`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    #[default]
    Succeed,
    /// Waits, and lets others run meanwhile.
    Sleep(Duration),
    /// Waits, and holds the thread of its runtime meanwhile.
    Block(Duration),
    /// Fails as long as fewer failures than this are recorded.
    Fail(u32),
    /// Asks for a dead letter.
    Reject,
    /// Ends its process on the spot.
    Abort,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeed => f.write_str("ok"),
            Self::Sleep(time) => write!(f, "sleep:{}", time.as_millis()),
            Self::Block(time) => write!(f, "block:{}", time.as_millis()),
            Self::Fail(u32::MAX) => f.write_str("fail"),
            Self::Fail(times) => write!(f, "fail:{times}"),
            Self::Reject => f.write_str("reject"),
            Self::Abort => f.write_str("abort"),
        }
    }
}

impl FromStr for Deed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such deed: {text:?}");
        let (word, number) = match text.split_once(':') {
            Some((word, number)) => (word, Some(number.parse::<u32>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let time = |ms: u32| Duration::from_millis(ms.into());
        match (word, number) {
            ("ok", None) => Ok(Self::Succeed),
            ("sleep", Some(ms)) => Ok(Self::Sleep(time(ms))),
            ("block", Some(ms)) => Ok(Self::Block(time(ms))),
            ("fail", times) => Ok(Self::Fail(times.unwrap_or(u32::MAX))),
            ("reject", None) => Ok(Self::Reject),
            ("abort", None) => Ok(Self::Abort),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let time = Duration::from_millis(70);
        for deed in [
            Deed::Succeed,
            Deed::Sleep(time),
            Deed::Block(time),
            Deed::Fail(2),
            Deed::Fail(u32::MAX),
            Deed::Reject,
            Deed::Abort,
        ] {
            assert_eq!(deed.to_string().parse(), Ok(deed));
        }
        for wrong in ["", "sleep", "ok:1", "abort:now", "sleep:-1"] {
            assert!(wrong.parse::<Deed>().is_err(), "{wrong}");
        }
    }
}
