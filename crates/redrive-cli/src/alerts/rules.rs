//! When numbers of `stats` are too much: rules, and what there is to say of those that are broken.

use std::str::FromStr;
use std::time::Duration;

use redrive::{GroupState, Rule, RuleValue, Stats};

use crate::when::span;

/// A rule of `--fail-if`.
#[derive(Clone, Debug)]
pub(crate) enum FailIf {
    Number(Number, Rule),
    /// An error that was not among those of the dead letters before.
    NewFingerprint,
}

const NEW_FINGERPRINT: &str = "new_fingerprint";

/// A number that a rule may be about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    name: &'static str,
    /// As it is called in the JSON, where that differs.
    also: &'static str,
    of: Of,
    known: fn(&Stats) -> Option<u64>,
    is_span: bool,
}

/// What a number is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Group,
    Stream,
    Queue,
}

/// All of them.
const NUMBERS: [Number; 9] = [
    Number {
        name: "oldest_pending",
        also: "oldest_pending_ms",
        of: Of::Group,
        // Where nothing is pending nothing is old.
        known: |stats| match stats.pending_messages {
            Some(0) => Some(0),
            _ => stats.oldest_pending_ms,
        },
        is_span: true,
    },
    Number {
        also: "pending_messages",
        ..group("pending", |stats| stats.pending_messages)
    },
    group("waiting", |stats| stats.waiting),
    group("lag", |stats| stats.lag),
    group("consumers", |stats| stats.consumers),
    Number {
        also: "length",
        of: Of::Stream,
        ..group("stream_length", |stats| stats.stream_length)
    },
    queue("dlq_length", |stats| Some(stats.dlq_length)),
    queue("dlq_arrivals", |stats| Some(stats.dlq_arrivals)),
    queue("dlq_dropped", |stats| Some(stats.dlq_dropped)),
];

const fn group(name: &'static str, known: fn(&Stats) -> Option<u64>) -> Number {
    Number {
        name,
        also: name,
        of: Of::Group,
        known,
        is_span: false,
    }
}

const fn queue(name: &'static str, known: fn(&Stats) -> Option<u64>) -> Number {
    Number {
        of: Of::Queue,
        ..group(name, known)
    }
}

impl FromStr for FailIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim();
        if bare == NEW_FINGERPRINT {
            return Ok(Self::NewFingerprint);
        }
        let rule: Rule = match bare.parse() {
            Ok(rule) => rule,
            Err(_) if number(bare).is_some() => {
                return Err(format!(
                    "{bare} is compared with something: {}",
                    example(bare)
                ));
            }
            Err(_) => {
                return Err(format!(
                    "a rule is a name, a comparison and a value, such as oldest_pending>10m; {}",
                    names()
                ));
            }
        };
        if rule.name() == NEW_FINGERPRINT {
            return Err("new_fingerprint stands alone: it is compared with nothing".to_owned());
        }
        let number = number(rule.name())
            .ok_or_else(|| format!("there is no number {:?}; {}", rule.name(), names()))?;
        let fits = match rule.value() {
            RuleValue::Duration(_) => number.is_span,
            RuleValue::Number(_) => !number.is_span,
            _ => false,
        };
        if !fits {
            let what = if number.is_span {
                "a duration"
            } else {
                "a number"
            };
            let example = example(number.name);
            return Err(format!("{} is {what}: {example}", number.name));
        }
        Ok(Self::Number(number, rule))
    }
}

fn number(name: &str) -> Option<Number> {
    let mut all = NUMBERS.into_iter();
    all.find(|number| number.name == name || number.also == name)
}

fn example(name: &str) -> String {
    let value = if number(name).is_some_and(|number| number.is_span) {
        "10m"
    } else {
        "100"
    };
    format!("{name}>{value}")
}

fn names() -> String {
    let names: Vec<&str> = NUMBERS.iter().map(|number| number.name).collect();
    format!("the names are {} and {NEW_FINGERPRINT}", names.join(", "))
}

/// What a rule says of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Nobody has to act.
    Holds,
    Broken(String),
    /// There is no number to judge.
    Unknown(String, Unknown),
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unknown {
    NotCounted,
    NoGroup,
    NoStream,
    TooMany,
}

impl Unknown {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::NotCounted => "the server does not know it",
            Self::NoGroup => "there is no group",
            Self::NoStream => "there is no such stream",
            Self::TooMany => "it has more than 10,000 fingerprints",
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::NotCounted => {
                "servers lose count of the lag after trimming and failovers; a rule on pending or oldest_pending is always known"
            }
            Self::NoGroup => {
                "a worker creates the group it is started with; a rule on stream_length or dlq_length needs none"
            }
            Self::NoStream => {
                "check its name, and the server and the number of the database in --url"
            }
            Self::TooMany => "--watch knows them all, of those that come after its beginning",
        }
    }
}

/// Judges one rule by one row. Where there is no group it is not known what its numbers are: no zeros.
pub(crate) fn judge(number: Number, rule: &Rule, stats: &Stats) -> Judged {
    let place = place(number.of, stats);
    let known = (number.known)(stats);
    match known.filter(|_| number.of != Of::Group || stats.group.is_some()) {
        None => {
            let why = match stats.state {
                GroupState::Missing => Unknown::NoStream,
                GroupState::NoGroup if number.of == Of::Group => Unknown::NoGroup,
                _ => Unknown::NotCounted,
            };
            Judged::Unknown(format!("{rule} of {place}"), why)
        }
        Some(found) => {
            // A u64 that an f64 does not hold is far beyond any rule.
            let of_rule = match rule.value() {
                RuleValue::Duration(_) => Duration::from_millis(found).as_secs_f64(),
                _ => found as f64,
            };
            if !rule.holds(of_rule) {
                return Judged::Holds;
            }
            let found = if number.is_span {
                span(found)
            } else {
                found.to_string()
            };
            Judged::Broken(format!("{rule} in {place}: it is {found}"))
        }
    }
}

/// What a number is about, so that what many rows share is told once.
fn place(of: Of, stats: &Stats) -> String {
    match (of, &stats.group) {
        (Of::Queue, _) => stats.dlq.to_string(),
        (Of::Group, Some(group)) => format!("{} {group}", stats.stream),
        (Of::Stream | Of::Group, _) => stats.stream.to_string(),
    }
}

/// An error that is new, how often it came, and one text of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewCause {
    pub(crate) fingerprint: String,
    pub(crate) count: u64,
    pub(crate) error: Option<String>,
}

/// How many errors are named of a queue at most.
const NAMED: usize = 20;
/// How much of an error is said, in bytes.
const BRIEF: usize = 200;

/// One line for each new error, the most frequent first, and one for all beyond.
pub(crate) fn lines(queue: &str, mut causes: Vec<NewCause>) -> Vec<String> {
    causes.sort_by(|one, other| {
        let most = other.count.cmp(&one.count);
        most.then_with(|| one.fingerprint.cmp(&other.fingerprint))
    });
    let more = causes.len().saturating_sub(NAMED);
    let named = causes.iter().take(NAMED).map(|cause| {
        let error = cause.error.as_deref().unwrap_or("no error is told");
        let error = crate::terminal::clipped(error, BRIEF);
        let fingerprint = crate::terminal::clipped(&cause.fingerprint, BRIEF);
        format!(
            "{NEW_FINGERPRINT} in {queue}: {} of {fingerprint}: {error}",
            cause.count
        )
    });
    let mut lines: Vec<String> = named.collect();
    if more > 0 {
        lines.push(format!("{NEW_FINGERPRINT} in {queue}: and {more} more"));
    }
    lines
}
