//! What the error of a dead letter has to be like: a text in it, a pattern, a fingerprint.

use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, ErrorKind};

/// A text that stands somewhere in an error, byte for byte. Never empty: that stands in every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText(String);

impl ErrorText {
    /// Whether it stands in this error.
    #[must_use]
    pub fn matches(&self, error: &str) -> bool {
        error.contains(&self.0)
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ErrorText {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is empty.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "" => Err(Error::new(ErrorKind::Invalid, "reading a part of an error")
                .hint("it is empty, and an empty text stands in every error; give a part of the error's text")),
            text => Ok(Self(text.to_owned())),
        }
    }
}

/// How much memory the program of a pattern may take, and how deep it may be nested: what is
/// beyond it takes no time worth the name to refuse.
const MOST_PROGRAM: usize = 1 << 20;
const MOST_NESTED: u32 = 100;

/// A regular expression that fits somewhere into an error, in the syntax of the crate `regex`:
/// matching takes time in proportion to the length of the error, whatever the expression.
///
/// ```
/// use redrive::ErrorRegex;
/// let regex: ErrorRegex = "(?i)^timeout after [0-9]+ms".parse()?;
/// assert!(regex.matches("Timeout after 250ms"));
/// let refused = "a(b".parse::<ErrorRegex>().unwrap_err();
/// assert!(refused.cure().unwrap().contains("character 2"));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ErrorRegex(Regex);

impl ErrorRegex {
    /// Whether it fits somewhere into this error.
    #[must_use]
    pub fn matches(&self, error: &str) -> bool {
        self.0.is_match(error)
    }
}

impl PartialEq for ErrorRegex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for ErrorRegex {}

impl fmt::Display for ErrorRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for ErrorRegex {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is no regular expression, is empty, or would take more than
    /// 1 MiB.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |hint: String| {
            Error::new(ErrorKind::Invalid, "reading a regular expression").hint(hint)
        };
        if text.is_empty() {
            let hint = "it is empty, and an empty one fits every error; give an expression";
            return Err(wrong(hint.to_owned()));
        }
        let built = RegexBuilder::new(text)
            .size_limit(MOST_PROGRAM)
            .dfa_size_limit(MOST_PROGRAM)
            .nest_limit(MOST_NESTED)
            .build();
        built.map(Self).map_err(|error| {
            wrong(match error {
                regex::Error::Syntax(told) => syntax(&told),
                regex::Error::CompiledTooBig(_) => {
                    "it would take more than 1 MiB; repeat less, or look for a shorter part"
                        .to_owned()
                }
                _ => {
                    "it cannot be used; look for a part of the error with a simpler one".to_owned()
                }
            })
        })
    }
}

/// What is wrong and where, of a text that shows the expression over several lines with a mark
/// below the place.
fn syntax(told: &str) -> String {
    const CURE: &str = "write \\ before what is meant as it is, such as \\( or \\[";
    let why = told.rsplit("error: ").next().unwrap_or("no expression");
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    // The expression is indented by four; one of several lines has its places told in words.
    let mark = told
        .lines()
        .find(|line| line.trim_start().starts_with('^'))
        .and_then(|line| line.find('^')?.checked_sub(3));
    match mark.filter(|_| told.lines().count() == 4) {
        Some(place) => format!("{why} at character {place}; {CURE}"),
        None => format!("{why}; {CURE}"),
    }
}

/// The fewest hex digits that a fingerprint is told by.
const SHORTEST: usize = 4;
/// How many a whole one has.
const WHOLE: usize = 16;

/// A fingerprint, or its first digits: 4 to 16 hex digits.
///
/// ```
/// use redrive::FingerprintPrefix;
/// let prefix: FingerprintPrefix = "0123AB".parse()?;
/// assert!(prefix.matches("0123ab0000000000"));
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FingerprintPrefix(String);

impl FingerprintPrefix {
    /// Whether this fingerprint begins like that.
    #[must_use]
    pub fn matches(&self, fingerprint: &str) -> bool {
        let begin = fingerprint.get(..self.0.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(&self.0))
    }
}

impl fmt::Display for FingerprintPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FingerprintPrefix {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for anything but 4 to 16 hex digits.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits && (SHORTEST..=WHOLE).contains(&text.len()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let doing = format!("reading the fingerprint {text:?}");
        Err(Error::new(ErrorKind::Invalid, doing)
            .hint("a fingerprint has 16 hex digits; give all of them, or at least the first 4"))
    }
}
