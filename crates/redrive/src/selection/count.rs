//! Which numbers are meant: one, or all on one side of one.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Which numbers of attempts or replays are meant: `3`, `>=3`, `>3`, `<=3` or `<3`.
///
/// ```
/// use redrive::CountFilter;
/// let many: CountFilter = ">=3".parse()?;
/// assert!(many.matches(3) && !many.matches(2));
/// assert_eq!(many.to_string(), ">=3");
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountFilter {
    side: Side,
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Exactly,
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Side {
    /// The longer signs first: they begin with the shorter ones.
    const ALL: [Self; 5] = [
        Self::AtLeast,
        Self::AtMost,
        Self::Above,
        Self::Below,
        Self::Exactly,
    ];

    fn sign(self) -> &'static str {
        match self {
            Self::Exactly => "",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }
}

impl CountFilter {
    /// Whether this number is one of those.
    #[must_use]
    pub fn matches(self, number: u64) -> bool {
        let order = number.cmp(&self.number);
        match self.side {
            Side::Exactly => order == Ordering::Equal,
            Side::AtLeast => order != Ordering::Less,
            Side::Above => order == Ordering::Greater,
            Side::AtMost => order != Ordering::Greater,
            Side::Below => order == Ordering::Less,
        }
    }
}

impl fmt::Display for CountFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.side.sign(), self.number)
    }
}

impl FromStr for CountFilter {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything but a whole number in decimal digits with one of the
    /// signs before it, or none.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = Side::ALL
            .into_iter()
            .find_map(|side| Some((side, text.strip_prefix(side.sign())?)));
        let parsed = parts.and_then(|(side, digits)| {
            // `u64::from_str` takes a leading `+`.
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = plain.then(|| digits.parse().ok()).flatten()?;
            Some(Self { side, number })
        });
        parsed.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("reading the number {text:?}"))
                .hint("a number is written like 3, '>=3', '>3', '<=3' or '<3', without spaces")
        })
    }
}
