//! The limit of a queue of dead letters, as it is typed: `1000,bytes=64MiB,age=7d`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use redrive::{DeadLetterLimit, Overflow};

use crate::archive::SpillFile;
use crate::failure::Failure;
use crate::literals;
use crate::terminal::shown;

/// The limit that was typed, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit(pub(super) Option<Most>);

/// What a queue may hold at most; at least one of these is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Most {
    count: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl Most {
    pub(super) fn with(self, overflow: Overflow) -> DeadLetterLimit {
        let mut limit = match (self.count, self.bytes, self.age) {
            (None, None, Some(age)) => return DeadLetterLimit::of_age(age, overflow),
            (None, bytes, _) => DeadLetterLimit::of_bytes(bytes.unwrap_or_default(), overflow),
            (Some(count), ..) => DeadLetterLimit::new(count, overflow),
        };
        if let Some(bytes) = self.bytes {
            limit = limit.and_bytes(bytes);
        }
        if let Some(age) = self.age {
            limit = limit.and_age(age);
        }
        limit
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let mut most = Most::default();
        for part in text.split(',') {
            let twice = match part.split_once('=') {
                Some(("bytes", size)) => {
                    let size = literals::size(size)?;
                    let bytes = u64::try_from(size).ok().filter(|bytes| *bytes > 0);
                    let bytes = bytes.ok_or_else(|| "bytes must be at least 1".to_owned())?;
                    most.bytes.replace(bytes).is_some()
                }
                Some(("age", age)) => {
                    let age = literals::duration(age)?;
                    if age.is_zero() {
                        return Err("age must be at least 1ms".to_owned());
                    }
                    most.age.replace(age).is_some()
                }
                _ => {
                    let count = part.parse().ok().filter(|count| *count > 0);
                    let count = count.ok_or_else(|| {
                        format!(
                            "a limit is a number from 1 on, bytes=SIZE, age=DURATION, some of these with \
                             commas between, or none; {part:?} is none of these"
                        )
                    })?;
                    most.count.replace(count).is_some()
                }
            };
            if twice {
                return Err(format!("{text:?} says the same thing twice"));
            }
        }
        Ok(Self(Some(most)))
    }
}

/// What happens at the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Stop,
    DropOldest,
    Spill(PathBuf),
}

impl FromStr for Full {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "stop" => Ok(Self::Stop),
            None if text == "drop-oldest" => Ok(Self::DropOldest),
            Some(("spill", file)) if !file.is_empty() => Ok(Self::Spill(file.into())),
            _ => Err(format!(
                "it is stop, spill=FILE or drop-oldest, not {text:?}"
            )),
        }
    }
}

impl Full {
    /// The same for the library. A file is opened here, before anything is read.
    pub(super) fn overflow(&self) -> Result<Overflow, Failure> {
        match self {
            Self::Stop => Ok(Overflow::Stop),
            Self::DropOldest => Ok(Overflow::DropOldest),
            Self::Spill(path) => match SpillFile::open(path) {
                Ok(file) => Ok(Overflow::spill(file)),
                Err(error) => Err(Failure::usage(format!(
                    "--dlq-overflow cannot spill to {}: {error}",
                    shown(&path.display().to_string())
                ))
                .hint("name a file that this user may make or write, in a folder that is there")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_any_of_count_bytes_and_age() {
        let limit = |text: &str| {
            let limit: Limit = text.parse().unwrap();
            let limit = limit.0.unwrap().with(Overflow::Stop);
            (limit.most(), limit.bytes(), limit.age())
        };
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(limit("5"), (Some(5), None, None));
        assert_eq!(limit("bytes=64MiB"), (None, Some(64 << 20), None));
        assert_eq!(limit("age=7d"), (None, None, Some(week)));
        assert_eq!(limit("age=7d,bytes=1KiB"), (None, Some(1024), Some(week)));
        assert_eq!(limit("5,age=7d"), (Some(5), None, Some(week)));
        assert_eq!(limit("5,bytes=9,age=7d"), (Some(5), Some(9), Some(week)));
        assert_eq!("none".parse(), Ok(Limit(None)));
        for wrong in [
            "",
            ",",
            "0",
            "5,",
            "5,6",
            "bytes=0",
            "age=0s",
            "bytes=",
            "size=5",
            "none,5",
            "-1",
            "bytes=1,bytes=2",
            "age=soon",
        ] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }
}
