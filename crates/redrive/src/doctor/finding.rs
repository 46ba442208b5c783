//! A finding: what is wrong, where, how bad, what it means, and the command that cures it.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::names::{GroupName, Source, StreamKey};

/// How bad a finding is, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Work waits, is done twice, or is about to be lost.
    Warning,
    /// Messages are lost, or nothing goes on.
    Critical,
}

impl Severity {
    /// As it is written: `note`, `warning`, `critical`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of a finding it is. Codes stay as they are; there may be more of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingCode {
            $($(#[$doc])* $name,)*
        }

        impl FindingCode {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is written: `eviction-policy`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The server removes keys when its memory is used up.
    EvictionPolicy = "eviction-policy",
    /// What was acknowledged is not, or not at once, on the disk.
    AppendOnlyFile = "append-only-file",
    /// The server closes connections that are silent for a moment.
    ClientTimeout = "client-timeout",
    /// The clocks of primary and replicas differ.
    ReplicaClock = "replica-clock",
    /// The user lacks rights that its work needs.
    MissingRights = "missing-rights",
    /// It could not be looked at.
    NotChecked = "not-checked",
    /// Nobody consumes the stream, or a group that did is gone.
    MissingGroup = "missing-group",
    /// The group stands behind ids that are still to come, and will skip them.
    GroupAhead = "group-ahead",
    /// Entries that are neither pending nor were ended by redrive, which had them.
    UnsettledEntries = "unsettled-entries",
    /// Entries that the group may never have been given.
    UnreadEntries = "unread-entries",
    /// Pending entries that are not in the stream any more.
    Ghosts = "ghosts",
    /// Pending entries that whoever takes over never gets to.
    UnreachableTail = "unreachable-tail",
    /// A consumer that is no more, and holds work.
    DeadConsumer = "dead-consumer",
    /// Entries that a living consumer does not come back to.
    StuckEntries = "stuck-entries",
    /// Consumers that are no more, and hold nothing.
    LeakedConsumers = "leaked-consumers",
    /// A group that nobody reads, and that keeps the stream from being trimmed.
    LeakedGroup = "leaked-group",
    /// Work takes longer than it is kept for who does it.
    ShortLease = "short-lease",
    /// Workers of one group that do not agree.
    ClashingLimits = "clashing-limits",
    /// Consumers of another kind beside redrive's.
    ForeignConsumers = "foreign-consumers",
    /// The stream grows, and nothing is removed.
    Untrimmed = "untrimmed",
    /// Trimming removes whole nodes, and these are large.
    CoarseTrimming = "coarse-trimming",
    /// What the server says is not delivered yet is wrong or unknown.
    Lag = "lag",
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for FindingCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// One thing that is wrong, or good to know. Serialises to a JSON object with these names, and
/// `fixable`.
///
/// Names in it were written by others: make them safe before they reach a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What kind it is.
    pub code: FindingCode,
    /// How bad it is.
    pub severity: Severity,
    /// The stream that it is about; `None` where it is about the server.
    pub stream: Option<StreamKey>,
    /// The group, where it is about one.
    pub group: Option<GroupName>,
    /// The consumer, made valid UTF-8, where it is about one.
    pub consumer: Option<String>,
    /// What it means, in one or two sentences.
    pub meaning: String,
    /// The command that cures it, word for word, without a shell's quotes: an upper-case word such as
    /// `COMMAND` stands for yours. `None` where no command does.
    pub cure: Option<Vec<String>>,
    #[serde(rename = "fixable", serialize_with = "is_some")]
    pub(crate) fix: Option<Fix>,
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn is_some<S: Serializer>(fix: &Option<Fix>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bool(fix.is_some())
}

/// What mends a finding without losing a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    CreateGroup(Source),
    RemoveConsumers {
        source: Source,
        names: Vec<String>,
        silent: Duration,
    },
}

/// Where something is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    stream: Option<StreamKey>,
    group: Option<GroupName>,
    consumer: Option<String>,
}

impl Place {
    pub(crate) fn server() -> Self {
        Self::default()
    }

    pub(crate) fn stream(stream: &StreamKey) -> Self {
        Self {
            stream: Some(stream.clone()),
            ..Self::default()
        }
    }

    pub(crate) fn group(stream: &StreamKey, group: &GroupName) -> Self {
        Self {
            group: Some(group.clone()),
            ..Self::stream(stream)
        }
    }

    pub(crate) fn consumer(self, name: &str) -> Self {
        Self {
            consumer: Some(name.to_owned()),
            ..self
        }
    }
}

impl Finding {
    pub(crate) fn new(
        code: FindingCode,
        severity: Severity,
        place: Place,
        meaning: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            stream: place.stream,
            group: place.group,
            consumer: place.consumer,
            meaning: meaning.into(),
            cure: None,
            fix: None,
        }
    }

    /// Something that could not be looked at: never an error, and never silence.
    pub(crate) fn not_checked(place: Place, what: &str, why: &str) -> Self {
        let meaning = format!("{what} could not be checked: {why}");
        Self::new(FindingCode::NotChecked, Severity::Note, place, meaning)
    }

    pub(crate) fn cure<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.cure = Some(words.collect());
        self
    }

    pub(crate) fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    /// Whether [`Broker::fix`](crate::Broker::fix) can mend it without losing a message.
    #[must_use]
    pub fn fixable(&self) -> bool {
        self.fix.is_some()
    }
}

/// A count and its word: `1 entry`, `12 entries`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) fn entries(count: u64) -> String {
    counted(count, "entry", "entries")
}

/// A duration as people say it, in its largest unit.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_serialises_with_every_key_and_says_whether_it_can_be_fixed() {
        let source = Source::new("orders", "billing").unwrap();
        let place = Place::group(&source.stream, &source.group);
        let finding = Finding::new(FindingCode::MissingGroup, Severity::Critical, place, "gone")
            .cure(["redrive", "doctor"])
            .fix(Fix::CreateGroup(source));
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            "{\"code\":\"missing-group\",\"severity\":\"critical\",\"stream\":\"orders\",\
             \"group\":\"billing\",\"consumer\":null,\"meaning\":\"gone\",\
             \"cure\":[\"redrive\",\"doctor\"],\"fixable\":true}"
        );
        let note = Finding::not_checked(Place::server(), "the clock", "nobody knows");
        assert!(!note.fixable());
        assert_eq!(note.severity, Severity::Note);
        assert!(Severity::Note < Severity::Warning && Severity::Warning < Severity::Critical);
    }

    #[test]
    fn codes_are_all_different() {
        let mut codes: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FindingCode::ALL.len());
    }
}
