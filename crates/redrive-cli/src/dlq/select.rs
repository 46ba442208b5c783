//! The flags that select dead letters: the same for every command that takes some of them.

use clap::Args as ClapArgs;
use redrive::{
    ConsumerName, CountFilter, EntryId, ErrorRegex, ErrorText, FieldFilter, FingerprintPrefix,
    GroupName, Order, Reason, Selection, StreamKey,
};

use crate::failure::Failure;
use crate::literals::{Instant, at_least_one, some_text};
use crate::when::now_ms;

/// Which dead letters. All kinds of filter have to match; of one that is repeated, any.
#[derive(ClapArgs, Debug)]
pub(crate) struct Select {
    /// The dead letter of this id; may be repeated
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "ID",
        help_heading = "Selection"
    )]
    pub(super) id: Vec<EntryId>,
    /// Given up for this reason: attempts_exhausted, crash_loop, rejected, undecodable or trimmed;
    /// may be repeated
    #[arg(long, value_name = "REASON", help_heading = "Selection")]
    pub(super) reason: Vec<Reason>,
    /// With this text in its error; may be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Selection")]
    pub(super) error: Vec<ErrorText>,
    /// With an error into which this regular expression fits, such as '(?i)time-?out'; may be
    /// repeated
    #[arg(long, value_name = "REGEX", help_heading = "Selection")]
    pub(super) error_regex: Vec<ErrorRegex>,
    /// With an error of this type or code; may be repeated. Native layout only
    #[arg(long, value_name = "KIND", value_parser = some_text, help_heading = "Selection")]
    pub(super) error_kind: Vec<String>,
    /// With this fingerprint, or one that begins with these digits, 4 at least; may be repeated
    #[arg(long, value_name = "HEX", help_heading = "Selection")]
    pub(super) fingerprint: Vec<FingerprintPrefix>,
    /// From this stream; may be repeated
    #[arg(
        long = "stream",
        id = "from_stream",
        value_name = "STREAM",
        help_heading = "Selection"
    )]
    pub(super) from_stream: Vec<StreamKey>,
    /// Given up by this group; may be repeated. Only dead letters of the native layout name theirs
    #[arg(long, value_name = "GROUP", help_heading = "Selection")]
    pub(super) group: Vec<GroupName>,
    /// Last held by this consumer; may be repeated. Native layout only
    #[arg(long, value_name = "NAME", help_heading = "Selection")]
    pub(super) consumer: Vec<ConsumerName>,
    /// Died at this time or later: 2026-11-22T05:10:22Z, or as long ago as 2h. Where a dead letter
    /// does not say when, it was added then
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "TIME",
        help_heading = "Selection"
    )]
    pub(super) since: Vec<Instant>,
    /// Died before this time, written like that of --since
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "TIME",
        help_heading = "Selection"
    )]
    pub(super) before: Vec<Instant>,
    /// Attempted so often: 3, or '>=3', '>3', '<=3', '<3'; may be repeated
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "N",
        help_heading = "Selection"
    )]
    pub(super) attempts: Vec<CountFilter>,
    /// Replayed so often before it died, written like --attempts; may be repeated. Native layout
    /// only
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "N",
        help_heading = "Selection"
    )]
    pub(super) replays: Vec<CountFilter>,
    /// With this in a field of the message, or in a part of its decoded value: data.customer.id=7;
    /// see docs/selection.md. May be repeated
    #[arg(
        long = "where",
        id = "field",
        value_name = "PATH=VALUE",
        help_heading = "Selection"
    )]
    pub(super) field: Vec<FieldFilter>,
    /// No more than so many. Alone, --limit, --oldest and --newest select nothing to replay or purge
    #[arg(long, allow_hyphen_values = true, value_name = "N", value_parser = at_least_one, help_heading = "Selection")]
    pub(super) limit: Option<usize>,
    /// The oldest first
    #[arg(long, conflicts_with = "newest", help_heading = "Selection")]
    pub(super) oldest: bool,
    /// The newest first
    #[arg(long, help_heading = "Selection")]
    pub(super) newest: bool,
    /// All of them
    #[arg(long, conflicts_with = "id", help_heading = "Selection")]
    pub(super) all: bool,
}

impl Select {
    /// Whether anything is said of which ones.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.id.is_empty() || self.is_filtered()
    }

    /// Whether anything is said of what they are like, besides their ids.
    fn is_filtered(&self) -> bool {
        // All of them, so that none that is added is forgotten here.
        let Self {
            id: _,
            reason,
            error,
            error_regex,
            error_kind,
            fingerprint,
            from_stream,
            group,
            consumer,
            since,
            before,
            attempts,
            replays,
            field,
            limit: _,
            oldest: _,
            newest: _,
            all: _,
        } = self;
        !(reason.is_empty()
            && error.is_empty()
            && error_regex.is_empty()
            && error_kind.is_empty()
            && fingerprint.is_empty()
            && from_stream.is_empty()
            && group.is_empty()
            && consumer.is_empty()
            && since.is_empty()
            && before.is_empty()
            && attempts.is_empty()
            && replays.is_empty()
            && field.is_empty())
    }

    /// The only id that is named, where nothing else is.
    pub(super) fn single(&self) -> Option<EntryId> {
        match self.id.as_slice() {
            [id] if !self.is_filtered() => Some(*id),
            _ => None,
        }
    }

    /// A field that has to be a number or the like, and not the string that is written alike.
    pub(super) fn no_string(&self) -> Option<&FieldFilter> {
        self.field.iter().find(|field| field.is_no_string())
    }

    pub(super) fn selection(
        &self,
        only_from: Option<StreamKey>,
        usual: Order,
    ) -> Result<Selection, Failure> {
        let order = match (self.oldest, self.newest) {
            (true, _) => Order::Oldest,
            (_, true) => Order::Newest,
            (false, false) => usual,
        };
        let mut selection = Selection::all().order(order);
        for id in &self.id {
            selection = selection.id(*id);
        }
        for reason in &self.reason {
            selection = selection.reason(*reason);
        }
        match only_from {
            Some(stream) if !self.from_stream.is_empty() && !self.from_stream.contains(&stream) => {
                return Err(Failure::usage(format!(
                    "the stream is {stream} and, by --stream, another one: nothing can match"
                ))
                .hint("name it once"));
            }
            Some(stream) => selection = selection.stream(stream),
            None => {
                for stream in &self.from_stream {
                    selection = selection.stream(stream.clone());
                }
            }
        }
        for group in &self.group {
            selection = selection.group(group.clone());
        }
        selection = self.of_error(selection);
        for consumer in &self.consumer {
            selection = selection.consumer(consumer.clone());
        }
        for attempts in &self.attempts {
            selection = selection.attempts(*attempts);
        }
        for replays in &self.replays {
            selection = selection.replays(*replays);
        }
        for field in &self.field {
            selection = selection.field(field.clone());
        }
        if let Some(limit) = self.limit {
            selection = selection.limit(limit);
        }
        self.of_time(selection, now_ms())
    }

    fn of_error(&self, mut selection: Selection) -> Selection {
        for text in &self.error {
            selection = selection.error(text.clone());
        }
        for regex in &self.error_regex {
            selection = selection.error_regex(regex.clone());
        }
        for kind in &self.error_kind {
            selection = selection.error_kind(kind);
        }
        for fingerprint in &self.fingerprint {
            selection = selection.fingerprint(fingerprint.clone());
        }
        selection
    }

    fn of_time(&self, mut selection: Selection, now_ms: u64) -> Result<Selection, Failure> {
        let since_ms = self.since.iter().map(|since| since.ms(now_ms)).min();
        let before_ms = self.before.iter().map(|before| before.ms(now_ms)).max();
        if let Some(since_ms) = since_ms {
            selection = selection.since_ms(since_ms);
        }
        if let Some(before_ms) = before_ms {
            selection = selection.before_ms(before_ms);
        }
        match (since_ms, before_ms) {
            (Some(since_ms), Some(before_ms)) if since_ms >= before_ms => Err(Failure::usage(
                "the time of --since is not before that of --before: nothing can match",
            )
            .hint("of two spans the longer one is --since: --since 2h --before 1h")),
            _ => Ok(selection),
        }
    }

    /// For what changes something: it must be said which ones.
    pub(super) fn must_say_which(&self, verb: &str) -> Result<(), Failure> {
        if self.all || self.is_narrowed() {
            return Ok(());
        }
        let mut hint =
            "name them with --id, narrow them with a filter such as --reason or --where, or say --all"
                .to_owned();
        if self.limit.is_some() || self.oldest || self.newest {
            hint.push_str("; --limit, --oldest and --newest alone select nothing");
        }
        Err(Failure::usage(format!("which dead letters to {verb}?")).hint(hint))
    }
}
