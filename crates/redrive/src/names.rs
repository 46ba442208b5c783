//! Names of things in Redis: entries, streams, groups, consumers; parsed once, at the boundary.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};

/// Something for each of some entries. Ids are hashed with a seed of the process, and quickly: a message
/// is looked up a dozen times on its way.
pub(crate) type IdMap<T> = HashMap<EntryId, T, foldhash::fast::RandomState>;

/// The id of a stream entry: milliseconds and a sequence number, as Redis orders them.
///
/// Displayed and parsed as `1712-0`; a bare `1712` parses as `1712-0`.
///
/// ```
/// use redrive::EntryId;
/// let id: EntryId = "1712-3".parse()?;
/// assert_eq!(id.to_string(), "1712-3");
/// assert!(id > "1712".parse()?);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    millis: u64,
    seq: u64,
}

impl EntryId {
    /// The id below every entry: `0-0`.
    pub const MIN: Self = Self { millis: 0, seq: 0 };
    /// The id above every entry.
    pub const MAX: Self = Self {
        millis: u64::MAX,
        seq: u64::MAX,
    };

    /// An id from its two parts.
    #[must_use]
    pub const fn new(millis: u64, seq: u64) -> Self {
        Self { millis, seq }
    }

    /// The first part: Unix time in milliseconds, unless the producer chose its own ids.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.millis
    }

    /// The second part: the sequence number within the millisecond.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.seq
    }

    /// The id just below this one; `0-0` has none and stays.
    ///
    /// Computed here and not in a script: Lua numbers are doubles.
    pub(crate) const fn predecessor(self) -> Self {
        match (self.millis, self.seq) {
            (0, 0) => self,
            (millis, 0) => Self::new(millis - 1, u64::MAX),
            (millis, seq) => Self::new(millis, seq - 1),
        }
    }

    /// The id just above this one: where a page that follows begins. The highest has none and
    /// stays.
    #[must_use]
    pub const fn successor(self) -> Self {
        match (self.millis, self.seq) {
            (u64::MAX, u64::MAX) => self,
            (millis, u64::MAX) => Self::new(millis + 1, 0),
            (millis, seq) => Self::new(millis, seq + 1),
        }
    }

    /// Parses the bytes of an id as a server sends them.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (millis, behind) = leading_number(bytes)?;
        let seq = match behind {
            [] => 0,
            [b'-', seq @ ..] => {
                let (seq, behind) = leading_number(seq)?;
                behind.is_empty().then_some(seq)?
            }
            _ => return None,
        };
        Some(Self { millis, seq })
    }

    /// The id as text, written into `room`: of each message that is acknowledged, so without memory of its own.
    pub(crate) fn write(self, room: &mut IdRoom) -> &[u8] {
        let mut at = write_number(room, room.len(), self.seq) - 1;
        room[at] = b'-';
        at = write_number(room, at, self.millis);
        &room[at..]
    }
}

/// Room for the text of any id.
pub(crate) type IdRoom = [u8; 41];

/// The number that bytes begin with, and what stands behind it. Digits alone: no sign, no space.
fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    /// So many digits are below the largest number, whatever they are.
    const SAFE: usize = 19;
    let digit = |byte: &u8| Some(u64::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit < 10);
    let (mut number, mut many) = (0_u64, 0);
    for next in bytes.iter().take(SAFE).map_while(digit) {
        number = number * 10 + next;
        many += 1;
    }
    if many == SAFE {
        for next in bytes.iter().skip(SAFE).map_while(digit) {
            number = number.checked_mul(10)?.checked_add(next)?;
            many += 1;
        }
    }
    let behind = bytes.get(many..)?;
    (many > 0).then_some((number, behind))
}

/// Writes a number in front of `end`, and answers where it begins.
fn write_number(room: &mut IdRoom, end: usize, mut number: u64) -> usize {
    /// All that two digits can be: dividing is what takes long.
    const TWO: [[u8; 2]; 100] = {
        let mut two = [[0; 2]; 100];
        let mut number = 0;
        while number < 100 {
            two[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
            number += 1;
        }
        two
    };
    let mut at = end;
    while number >= 10 {
        let two = TWO[(number % 100) as usize];
        number /= 100;
        at -= 2;
        room[at..at + 2].copy_from_slice(&two);
    }
    if number > 0 || at == end {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
    }
    at
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = [0; 41];
        f.write_str(std::str::from_utf8(self.write(&mut room)).unwrap_or_default())
    }
}

impl FromStr for EntryId {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything but `MILLIS-SEQ` or `MILLIS` in decimal digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::from_bytes(text.as_bytes()).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("reading the entry id {text:?}"))
                .hint("an entry id is two numbers, such as 1712-0, or the first alone")
        })
    }
}

impl serde::Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the name and keeps it.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::Invalid`] when the name is empty.
            pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
                match name.as_ref() {
                    "" => Err(Error::new(
                        ErrorKind::Invalid,
                        concat!("reading the name of a ", $what),
                    )
                    .hint(concat!("a ", $what, " needs a name of at least one character"))),
                    name => Ok(Self(name.into())),
                }
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self, Error> {
                Self::new(name)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
    };
}

name! {
    /// The key of a stream, a source of messages or a dead-letter queue.
    StreamKey, "stream"
}
name! {
    /// The name of a consumer group.
    GroupName, "group"
}
name! {
    /// The name of a consumer in a group; one per running processor.
    ConsumerName, "consumer"
}

impl StreamKey {
    /// The dead-letter stream of this stream, unless another one is named: `STREAM:dlq`.
    #[must_use]
    pub fn default_dead_letters(&self) -> Self {
        Self(format!("{self}:dlq").into())
    }

    /// The dead-letter stream that all streams share whose dead letters are envelopes:
    /// `sg:stream:dlq`.
    pub(crate) fn envelope_dead_letters() -> Self {
        Self("sg:stream:dlq".into())
    }
}

impl ConsumerName {
    /// `consumer_` and 8 random hex digits: two processes never share one by accident.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("consumer_{:08x}", fastrand::u32(..)).into())
    }
}

/// Where messages come from: a stream, seen through one of its consumer groups.
///
/// ```
/// use redrive::Source;
/// let source = Source::new("orders", "billing")?;
/// assert_eq!(source.to_string(), "orders/billing");
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The stream's key.
    pub stream: StreamKey,
    /// The consumer group.
    pub group: GroupName,
}

impl Source {
    /// A source from the names of its stream and its group.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when one of the names is empty.
    pub fn new(stream: impl AsRef<str>, group: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self {
            stream: StreamKey::new(stream)?,
            group: GroupName::new(group)?,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.group)
    }
}

/// What tells two processes apart that run under the same consumer name. Drawn when a processor is
/// built, so that a run which follows another one of the same processor is no stranger to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessToken(String);

impl ProcessToken {
    pub(crate) fn random() -> Self {
        Self(format!("{:016x}", fastrand::u64(..)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names that were found on a broker, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Names<T> {
    /// Those that redrive can use.
    pub names: Vec<T>,
    /// How many were left out, for they are empty or not UTF-8.
    pub skipped: u64,
}

impl<T: Ord> Names<T> {
    /// Takes names as they are stored; one that is met twice counts once.
    pub(crate) fn read(stored: BTreeSet<Bytes>, name: impl Fn(&str) -> Result<T, Error>) -> Self {
        let all = stored.len();
        let read = |stored: Bytes| std::str::from_utf8(&stored).ok().and_then(|n| name(n).ok());
        let names: Vec<T> = stored.into_iter().filter_map(read).collect();
        Self {
            skipped: (all - names.len()) as u64,
            names,
        }
    }
}

/// Where a group begins when it has to be created. Default: with the first entry.
///
/// Used only when a processor starts and finds neither the group nor what an earlier one left
/// behind about it; an existing group is taken as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupStart {
    /// With the first entry of the stream (`0`).
    #[default]
    First,
    /// With what is added from now on (`$`).
    New,
    /// With the first entry above this id.
    After(EntryId),
}

impl GroupName {
    /// What stands for a group that nobody has named.
    pub(crate) fn unnamed() -> Self {
        Self("-".into())
    }
}

impl FromStr for GroupStart {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything but `0`, `$` or an entry id.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "0" => Ok(Self::First),
            "$" => Ok(Self::New),
            id => Ok(Self::After(id.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_as_redis_writes_them_and_nothing_else() {
        for (text, millis, seq) in [
            ("1712-0", 1712, 0),
            ("1712", 1712, 0),
            ("0-1", 0, 1),
            ("000000000000000000000001-01", 1, 1),
            (
                "18446744073709551615-9999999999999999999",
                u64::MAX,
                9_999_999_999_999_999_999,
            ),
        ] {
            assert_eq!(text.parse::<EntryId>().unwrap(), EntryId::new(millis, seq));
        }
        for text in [
            "",
            "-",
            "1-",
            "-1",
            "1-2-3",
            "+1-0",
            " 1-0",
            "18446744073709551616-0",
            "0-184467440737095516150",
            "a-b",
            "1-0\n",
            "1-0é",
        ] {
            let refused = text.parse::<EntryId>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{text:?}");
        }
    }

    #[test]
    fn ids_are_written_as_redis_writes_them() {
        for (millis, seq) in [(0, 0), (9, 10), (99, 100), (1_712, 3), (u64::MAX, u64::MAX)] {
            let id = EntryId::new(millis, seq);
            assert_eq!(id.to_string(), format!("{millis}-{seq}"));
            assert_eq!(id.write(&mut [0; 41]), format!("{millis}-{seq}").as_bytes());
        }
    }

    #[test]
    fn the_predecessor_of_an_id_is_exact_beyond_what_a_double_holds() {
        let id = EntryId::new(9_007_199_254_740_993, 0);
        assert_eq!(
            id.predecessor(),
            EntryId::new(9_007_199_254_740_992, u64::MAX)
        );
        assert_eq!(id.predecessor().successor(), id);
        assert_eq!(EntryId::MIN.predecessor(), EntryId::MIN);
        assert_eq!(EntryId::MAX.successor(), EntryId::MAX);
    }
}
