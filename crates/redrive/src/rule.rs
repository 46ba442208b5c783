//! Rules that end something: `NAME OP VALUE`, such as `dead-again>5%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// When something is too much: a name, a comparison and a value, with spaces between or not.
///
/// The value is a number (`20`, `0.5`), a share (`5%`), a duration (`10m`, `1h30m`) or a size
/// (`64KiB`). What a name means is up to who asks [`holds`](Self::holds).
///
/// ```
/// use redrive::{Rule, RuleValue};
/// let rule: Rule = "dead-again > 5%".parse()?;
/// assert_eq!((rule.name(), rule.value()), ("dead-again", RuleValue::Percent(5.0)));
/// assert!(rule.holds(5.1) && !rule.holds(5.0));
/// assert_eq!(rule.to_string(), "dead-again>5%");
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    name: String,
    sign: Sign,
    value: RuleValue,
    /// The value as it was written.
    written: String,
}

/// What something is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RuleValue {
    /// So many.
    Number(f64),
    /// So many of a hundred.
    Percent(f64),
    /// So long.
    Duration(Duration),
    /// So many bytes.
    Size(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    More,
    AtLeast,
    Less,
    AtMost,
    Equal,
}

impl Sign {
    /// The longer ones first: `>=` begins with `>`.
    const ALL: [(&'static str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    fn text(self) -> &'static str {
        match self {
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
        }
    }
}

impl Rule {
    /// What is compared.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is compared with.
    #[must_use]
    pub fn value(&self) -> RuleValue {
        self.value
    }

    /// Whether it is about too much, by `>` or `>=`.
    pub(crate) fn is_of_too_much(&self) -> bool {
        matches!(self.sign, Sign::More | Sign::AtLeast)
    }

    /// Whether this is so for what was found, in the unit of the value: a number, so many of a
    /// hundred, seconds, or bytes.
    #[must_use]
    pub fn holds(&self, found: f64) -> bool {
        let value = match self.value {
            RuleValue::Number(number) | RuleValue::Percent(number) => number,
            RuleValue::Duration(duration) => duration.as_secs_f64(),
            RuleValue::Size(bytes) => bytes as f64,
        };
        match self.sign {
            Sign::More => found > value,
            Sign::AtLeast => found >= value,
            Sign::Less => found < value,
            Sign::AtMost => found <= value,
            Sign::Equal => (found - value).abs() < f64::EPSILON,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.sign.text(), self.written)
    }
}

impl FromStr for Rule {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what is not of this form.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| {
            let doing = format!("reading the rule {text:?}, {what}");
            Error::new(ErrorKind::Invalid, doing)
                .hint("a rule is a name, a comparison and a value, such as dead-again>5%")
        };
        let at = text.find(['<', '>', '=']);
        let at = at.ok_or_else(|| wrong("in which nothing is compared"))?;
        let (name, rest) = text.split_at(at);
        let signs = Sign::ALL.iter();
        let mut signs = signs.filter_map(|(sign, is)| Some((rest.strip_prefix(sign)?, *is)));
        let (written, sign) = signs
            .next()
            .ok_or_else(|| wrong("in which nothing is compared"))?;
        let (name, written) = (name.trim(), written.trim());
        let proper = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(proper) {
            return Err(wrong("which begins with no name"));
        }
        let value = value(written).ok_or_else(|| {
            wrong("whose value is no number, share (5%), duration (10m) or size (64KiB)")
        })?;
        Ok(Self {
            name: name.to_owned(),
            sign,
            value,
            written: written.to_owned(),
        })
    }
}

const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
const SIZES: [(&str, u32); 5] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

fn value(text: &str) -> Option<RuleValue> {
    if let Some(share) = text.strip_suffix('%') {
        return number(share.trim_end()).map(RuleValue::Percent);
    }
    number(text)
        .map(RuleValue::Number)
        .or_else(|| size(text).map(RuleValue::Size))
        .or_else(|| duration(text).map(RuleValue::Duration))
}

/// Digits, and a point between two of them.
fn number(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(part) && text.len() <= 18)
        .then(|| text.parse().ok())
        .flatten()
}

fn size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let (_, power) = SIZES.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(1 << power)
}

/// Parts of falling units: `1h30m`.
fn duration(text: &str) -> Option<Duration> {
    let (mut rest, mut total, mut units) = (text, 0_u64, DURATIONS.iter());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (count, after) = rest.split_at(digits);
        let letters = after.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let (unit, after) = after.split_at(after.len() - letters.len());
        let (_, ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_with_spaces_and_without() {
        for (text, name, value, shown) in [
            (
                "dead-again>5%",
                "dead-again",
                RuleValue::Percent(5.0),
                "dead-again>5%",
            ),
            (
                " dead-again >= 0.5 % ",
                "dead-again",
                RuleValue::Percent(0.5),
                "dead-again>=0.5 %",
            ),
            ("pending=3", "pending", RuleValue::Number(3.0), "pending=3"),
            ("a == 3", "a", RuleValue::Number(3.0), "a=3"),
            (
                "oldest_pending>1h30m",
                "oldest_pending",
                RuleValue::Duration(Duration::from_secs(5_400)),
                "oldest_pending>1h30m",
            ),
            (
                "bytes<64KiB",
                "bytes",
                RuleValue::Size(65_536),
                "bytes<64KiB",
            ),
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!((rule.name(), rule.value()), (name, value), "{text}");
            assert_eq!(rule.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_and_says_why() {
        for text in [
            "",
            "dead-again",
            ">5%",
            "dead again>5%",
            "dead-again>",
            "dead-again>x",
            "a>5x",
            "a>-1",
            "a>5%%",
            "a>.5",
            "a>1m1h",
            "a>1e3",
            "a=>3",
            "a>99999999999999999999",
            "a>18446744073709551615TiB",
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert!(error.cure().unwrap().contains("dead-again>5%"));
        }
    }

    #[test]
    fn each_comparison_is_that_of_its_sign() {
        for (text, holds) in [
            ("a>3", [false, false, true]),
            ("a>=3", [false, true, true]),
            ("a<3", [true, false, false]),
            ("a<=3", [true, true, false]),
            ("a=3", [false, true, false]),
            ("a>3s", [false, false, true]),
            ("a>=3B", [false, true, true]),
        ] {
            let rule: Rule = text.parse().unwrap();
            assert_eq!(
                [2.0, 3.0, 4.0].map(|found| rule.holds(found)),
                holds,
                "{text}"
            );
        }
    }

    /// Whatever is taken for a rule: nothing panics, what is one is shown as one that is the same, and
    /// what is none says how one is written.
    #[test]
    fn fuzz_of_rules_panics_0() {
        let nearly = "[a-z -]{0,6} ?[<>=]{0,2} ?[0-9]{0,22}[.%]{0,2}(ms|[smhdB]|KiB|TiB|.){0,3}";
        redrive_testkit::fuzz("rules", &nearly, |text| {
            match text.parse::<Rule>() {
                Ok(rule) => {
                    let again: Rule = rule.to_string().parse().map_err(|error| {
                        proptest::test_runner::TestCaseError::fail(format!("{rule}: {error}"))
                    })?;
                    proptest::prop_assert_eq!(again, rule);
                }
                Err(error) => proptest::prop_assert!(error.cure().is_some()),
            }
            Ok(())
        });
    }
}
