//! `redrive dlq groups`: what happened, in a queue that is too long to read.

use clap::{Args as ClapArgs, ValueEnum};
use redrive::{DeadLetterGroup, DeadLetterGroups, EntryId, GroupBy, Order, Reason};
use serde::Serialize;

use super::bulk::{self, Ended};
use super::{Select, Where, nothing_in};
use crate::failure::Failure;
use crate::output::{Output, Table, json};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::{note, typed};
use crate::when::ago;

/// How many groups a table has.
const USUAL: usize = 50;

/// Count dead letters in groups: which causes there are, and how many died of each
///
/// A group shares the fingerprint of its error: the error without ids, numbers, quoted strings,
/// paths and URL queries. The busiest stand first: 50 in a table unless --all is said, 10,000 in
/// JSON. The rest is counted together. --limit N is about dead letters, as everywhere: it counts
/// the newest N that match.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq groups orders\n  \
    redrive dlq groups orders --group-by consumer --reason crash_loop -o json")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
    /// What the dead letters of a group share
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        hide_possible_values = true,
        help = "What the dead letters of a group share: fingerprint, reason, stream, error-kind, consumer"
    )]
    group_by: By,
}

/// What the dead letters of a group share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    #[default]
    Fingerprint,
    Reason,
    Stream,
    ErrorKind,
    Consumer,
}

impl By {
    fn library(self) -> GroupBy {
        match self {
            Self::Fingerprint => GroupBy::Fingerprint,
            Self::Reason => GroupBy::Reason,
            Self::Stream => GroupBy::Stream,
            Self::ErrorKind => GroupBy::ErrorKind,
            Self::Consumer => GroupBy::Consumer,
        }
    }

    /// As a heading of a table, and as words for its groups.
    fn name(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Reason => "reason",
            Self::Stream => "stream",
            Self::ErrorKind => "error kind",
            Self::Consumer => "consumer",
        }
    }

    /// The flag that selects a group.
    fn flag(self) -> Option<&'static str> {
        match self {
            Self::Fingerprint => Some("--fingerprint"),
            Self::Reason => Some("--reason"),
            Self::Stream => Some("--stream"),
            Self::ErrorKind | Self::Consumer => None,
        }
    }
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Newest)?;
    let queue = session.broker().await?.dead_letters(queue);
    let mut signals = Signals::listen()?;
    let mut grouping = queue.grouping(&selection, args.group_by.library()).await?;
    let start = grouping.progress();
    let step = async || grouping.step().await;
    let ended = bulk::work("counting", start, session.quiet(), &mut signals, step).await;
    let stopped = match ended {
        // What was counted by then would look like an answer.
        Ended::Failed(error) => return Err(error.into()),
        Ended::Stopped(signal) | Ended::Insisted(signal) => Some(signal),
        Ended::Whole => None,
    };
    let (groups, progress) = (grouping.groups(), grouping.progress());
    if session.out.is_table() {
        let most = if args.select.all { usize::MAX } else { USUAL };
        table(&groups, args.group_by, most, &mut session.out)?;
    } else {
        documents(&groups, &mut session.out)?;
    }
    if let Some(signal) = stopped {
        let text = format!(
            "stopped: {} of {} dead letters looked at; the groups are of these alone",
            progress.examined, progress.total
        );
        let hint = "the same command counts from the beginning; --limit N counts the newest N";
        return Err(Failure::with(signal.code(), text).hint(hint));
    }
    let Some(busiest) = groups.groups.first() else {
        return Err(nothing_in(&queue, narrowed));
    };
    if !session.globals.quiet && !session.out.is_gone() {
        tell(&groups, &args, narrowed);
        note(&format!("next: {}", next(busiest, &args)));
    }
    Ok(())
}

/// How many there are, and what is not shown of them.
fn tell(groups: &DeadLetterGroups, args: &Args, narrowed: bool) {
    let plural = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let kept = groups.groups.len() as u64;
    let mut text = plural(groups.counted, "dead letter");
    text.push_str(if narrowed { " that match, " } else { ", " });
    if groups.other > 0 {
        text.push_str(&format!(
            "more than {kept} groups: {} are in none of those, and small groups may have more than is said",
            groups.other
        ));
    } else {
        text.push_str(&plural(kept, "group"));
    }
    note(&text);
    if !args.select.all && groups.groups.len() > USUAL {
        note("the busiest groups are shown; --all shows the others in a table, -o json always");
    }
}

/// The command that goes on from the busiest group.
fn next(busiest: &DeadLetterGroup, args: &Args) -> String {
    let place = args.place.typed();
    // Without a flag for it, or a value that can be typed: a dead letter of it.
    let sample = || format!("redrive dlq show {} {place}", busiest.sample_id);
    let (Some(flag), Some(key)) = (args.group_by.flag(), &busiest.key) else {
        return sample();
    };
    match typed(key) {
        Some(key) => format!("redrive dlq list {place} {flag} {key}"),
        None => sample(),
    }
}

/// Unknown, or not the same of all in it, is `null`.
#[derive(Serialize)]
struct Group<'a> {
    key: Option<&'a str>,
    fingerprint: Option<&'a str>,
    count: u64,
    share: f64,
    reason: Option<Reason>,
    error: Option<&'a str>,
    sample_id: Option<EntryId>,
    first_at: Option<String>,
    last_at: Option<String>,
}

fn documents(groups: &DeadLetterGroups, out: &mut Output) -> Result<(), Failure> {
    let mut documents = out.documents();
    for group in &groups.groups {
        documents.add(&Group {
            key: group.key.as_deref(),
            fingerprint: group.fingerprint.as_deref(),
            count: group.count,
            share: groups.share(group.count),
            reason: group.reason,
            error: group.error.as_deref(),
            sample_id: Some(group.sample_id),
            first_at: json::instant(group.first_at_ms),
            last_at: json::instant(group.last_at_ms),
        })?;
        if documents.is_gone() {
            break;
        }
    }
    if groups.other > 0 {
        documents.add(&Group {
            key: None,
            fingerprint: None,
            count: groups.other,
            share: groups.share(groups.other),
            reason: None,
            error: None,
            sample_id: None,
            first_at: None,
            last_at: None,
        })?;
    }
    documents.end()
}

/// The busiest by their fingerprints, as a table, whatever the form of other answers.
pub(crate) fn show(groups: &DeadLetterGroups, out: &mut Output) -> Result<(), Failure> {
    table(groups, By::Fingerprint, USUAL, out)
}

fn table(groups: &DeadLetterGroups, by: By, most: usize, out: &mut Output) -> Result<(), Failure> {
    if groups.groups.is_empty() {
        return Ok(());
    }
    // What the key says is not said twice.
    let reason = (by != By::Reason).then_some("reason");
    let headings = [by.name(), "count", "share", "first", "last"];
    let mut table = Table::new(
        headings
            .into_iter()
            .chain(reason)
            .chain(["sample", "error"]),
    );
    let mut row = |key: &str, count: u64, told: [String; 5]| {
        let [first, last, why, sample, error] = told;
        let counts = [count.to_string(), percent(groups.share(count))];
        let reason = reason.map(|_| why);
        let cells = [key.to_owned()].into_iter().chain(counts);
        table.row(
            cells
                .chain([first, last])
                .chain(reason)
                .chain([sample, error]),
        );
    };
    let mut rest = groups.other;
    for (at, group) in groups.groups.iter().enumerate() {
        if at >= most {
            rest += group.count;
            continue;
        }
        let error = group.error.as_deref();
        let line = error.and_then(|error| error.trim_start().lines().next());
        let told = [
            format!("{} ago", ago(group.first_at_ms)),
            format!("{} ago", ago(group.last_at_ms)),
            group.reason.map_or("-", Reason::as_str).to_owned(),
            group.sample_id.to_string(),
            line.unwrap_or("-").to_owned(),
        ];
        row(group.key.as_deref().unwrap_or("-"), group.count, told);
    }
    if rest > 0 {
        row("(others)", rest, std::array::from_fn(|_| "-".to_owned()));
    }
    out.table(table)
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    // Not rounded to what it is not.
    if percent < 0.1 {
        "<0.1%".to_owned()
    } else if percent < 100.0 {
        format!("{:.1}%", percent.min(99.9))
    } else {
        "100%".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_not_rounded_to_all_or_nothing() {
        let shares = [1.0, 0.99999, 0.975, 0.0014, 0.000_01];
        let told = shares.map(percent);
        assert_eq!(told, ["100%", "99.9%", "97.5%", "0.1%", "<0.1%"]);
    }
}
