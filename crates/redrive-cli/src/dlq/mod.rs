//! `redrive dlq`: find dead letters, count them, look into them, put them back, remove them.

pub(crate) mod bulk;
#[cfg(test)]
mod fuzz;
pub(crate) mod groups;
mod letter;
mod list;
mod migration;
mod purge;
mod replay;
mod show;

use clap::{Args as ClapArgs, Subcommand};
use redrive::{DeadLetterQueue, EntryId, GroupName, Order, Reason, Selection, StreamKey};

use crate::failure::Failure;
use crate::literals::at_least_one;
use crate::session::Session;
use crate::terminal::typed;

/// Find, count, show, replay and purge dead letters
///
/// The dead-letter queue is the one of STREAM (STREAM:dlq), or the one that --dlq names; STREAM
/// then narrows it to what came from that stream.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Dlq {
    List(list::Args),
    Groups(groups::Args),
    Show(show::Args),
    Replay(replay::Args),
    Purge(purge::Args),
}

/// Does it.
pub(crate) async fn run(command: Dlq, session: &mut Session) -> Result<(), Failure> {
    match command {
        Dlq::List(args) => list::run(args, session).await,
        Dlq::Groups(args) => groups::run(args, session).await,
        Dlq::Show(args) => show::run(args, session).await,
        Dlq::Replay(args) => replay::run(args, session).await,
        Dlq::Purge(args) => purge::run(args, session).await,
    }
}

/// Which queue.
#[derive(ClapArgs, Debug)]
pub(crate) struct Where {
    /// The stream whose dead letters are meant
    #[arg(value_name = "STREAM")]
    stream: Option<StreamKey>,
    /// The dead-letter queue, where it is not STREAM:dlq
    #[arg(long, value_name = "NAME")]
    dlq: Option<StreamKey>,
}

impl Where {
    /// The name of the queue, and the source stream that it is narrowed to.
    fn names(&self) -> Result<(StreamKey, Option<StreamKey>), Failure> {
        match (&self.dlq, &self.stream) {
            (Some(dlq), stream) => Ok((dlq.clone(), stream.clone())),
            (None, Some(stream)) => Ok((stream.default_dead_letters(), None)),
            (None, None) => Err(Failure::usage("which dead-letter queue?")
                .hint("name the stream, or the queue itself with --dlq")),
        }
    }

    /// As it was typed, for a command that goes on from here.
    fn typed(&self) -> String {
        let stream = self.stream.as_ref().map(|stream| typed(stream.as_str()));
        let dlq = self.dlq.as_ref().map(|dlq| typed(dlq.as_str()));
        let unsayable = || "…".to_owned();
        let words = [
            stream.map(|stream| stream.unwrap_or_else(unsayable)),
            dlq.map(|dlq| format!("--dlq {}", dlq.unwrap_or_else(unsayable))),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Which dead letters. All kinds of filter have to match; of one that is repeated, any.
#[derive(ClapArgs, Debug)]
pub(crate) struct Select {
    /// The dead letter of this id; may be repeated
    #[arg(long, value_name = "ID", help_heading = "Selection")]
    id: Vec<EntryId>,
    /// Given up for this reason: attempts_exhausted, crash_loop, rejected, undecodable or trimmed;
    /// may be repeated
    #[arg(long, value_name = "REASON", help_heading = "Selection")]
    reason: Vec<Reason>,
    /// From this stream; may be repeated
    #[arg(
        long = "stream",
        id = "from_stream",
        value_name = "STREAM",
        help_heading = "Selection"
    )]
    from_stream: Vec<StreamKey>,
    /// Given up by this group; may be repeated. Only dead letters of the native layout name theirs
    #[arg(long, value_name = "GROUP", help_heading = "Selection")]
    group: Vec<GroupName>,
    /// Whose error has this fingerprint, as `dlq groups` shows it; may be repeated
    #[arg(long, value_name = "HEX", help_heading = "Selection")]
    fingerprint: Vec<String>,
    /// No more than so many. Alone, --limit, --oldest and --newest select nothing to replay or purge
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Selection")]
    limit: Option<usize>,
    /// The oldest first
    #[arg(long, conflicts_with = "newest", help_heading = "Selection")]
    oldest: bool,
    /// The newest first
    #[arg(long, help_heading = "Selection")]
    newest: bool,
    /// All of them
    #[arg(long, conflicts_with = "id", help_heading = "Selection")]
    all: bool,
}

impl Select {
    /// Whether anything is said of which ones.
    fn is_narrowed(&self) -> bool {
        !(self.id.is_empty()
            && self.reason.is_empty()
            && self.from_stream.is_empty()
            && self.group.is_empty()
            && self.fingerprint.is_empty())
    }

    /// The only id that is named, where nothing else is.
    fn single(&self) -> Option<EntryId> {
        match (
            self.id.as_slice(),
            &self.reason,
            &self.from_stream,
            &self.group,
            &self.fingerprint,
        ) {
            ([id], reasons, streams, groups, fingerprints)
                if reasons.is_empty()
                    && streams.is_empty()
                    && groups.is_empty()
                    && fingerprints.is_empty() =>
            {
                Some(*id)
            }
            _ => None,
        }
    }

    fn selection(&self, only_from: Option<StreamKey>, usual: Order) -> Result<Selection, Failure> {
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
        for fingerprint in &self.fingerprint {
            selection = selection.fingerprint(fingerprint.clone());
        }
        if let Some(limit) = self.limit {
            selection = selection.limit(limit);
        }
        Ok(selection)
    }

    /// For what changes something: it must be said which ones.
    fn must_say_which(&self, verb: &str) -> Result<(), Failure> {
        if self.all || self.is_narrowed() {
            return Ok(());
        }
        let mut hint =
            "name them with --id, narrow them with --reason, --stream or --group, or say --all"
                .to_owned();
        if self.limit.is_some() || self.oldest || self.newest {
            hint.push_str("; --limit, --oldest and --newest alone select nothing");
        }
        Err(Failure::usage(format!("which dead letters to {verb}?")).hint(hint))
    }
}

/// That nothing was found, where.
fn nothing_in(queue: &DeadLetterQueue, narrowed: bool) -> Failure {
    let name = queue.stream();
    if narrowed {
        Failure::nothing(format!("no dead letter in {name} matches"))
            .hint("`redrive dlq list` without filters shows what is there")
    } else {
        Failure::nothing(format!("no dead letters in {name}"))
            .hint("if that is not the queue that you mean, name it with --dlq; on another server or database, with --url")
    }
}

/// That what was named is not there.
fn unknown(what: &str) -> Failure {
    Failure::nothing(what).hint("it was replayed or purged, or its id is of another queue")
}
