//! `redrive stats`: the health of streams, groups and dead-letter queues.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args as ClapArgs;
use redrive::{Broker, ErrorKind, GroupName, GroupState, Source, Stats, StreamKey};

use crate::alerts::{Alerts, Broken, FailIf, Watches};
use crate::failure::Failure;
use crate::literals::{Instant, duration};
use crate::output::{Output, Table};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::note;
use crate::when::span;

/// The health of a stream and group: length, pending, waiting, lag, consumers, dead letters
///
/// Without a group: of all groups of the stream. Without a stream: of all streams of the database.
/// A server that cannot be reached is an error, never zeros; a missing stream is missing, not empty.
/// With --fail-if it says on stderr which rules are broken, and ends with 5; see docs/alerts.md.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive stats orders -g billing\n  \
    redrive stats --watch\n  \
    redrive stats orders --fail-if 'oldest_pending>10m' --fail-if new_fingerprint")]
pub(crate) struct Args {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: Option<StreamKey>,
    /// The group
    #[arg(short, long, value_name = "GROUP", requires = "stream")]
    group: Option<GroupName>,
    /// The dead-letter queue, where it is not STREAM:dlq
    #[arg(long, value_name = "NAME", requires = "stream")]
    dlq: Option<StreamKey>,
    /// Look again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How long to wait between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    every: Duration,
    /// End with 5 where this is so: 'oldest_pending>10m', 'pending>1000', or new_fingerprint, an error
    /// that was not there before; may be repeated
    #[arg(long, value_name = "RULE")]
    fail_if: Vec<FailIf>,
    /// Of new_fingerprint: an error is new that first died at this time or later, of all in the queue; the
    /// default is 1h. With --watch it is new if it was not in the queue when that began
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    since: Option<Instant>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let watches = if args.watch {
        Watches::On
    } else {
        Watches::Once
    };
    let mut alerts = Alerts::new(args.fail_if.clone(), watches, args.since)?;
    if !args.watch {
        let broker = session.broker().await?;
        let all = look(&broker, &args).await?;
        print(&all, &args, &mut session.out)?;
        found(&all, &args)?;
        return match alerts.judge(&broker, &all).await? {
            Some(broken) => Err(broken.told()),
            None => Ok(()),
        };
    }
    let mut signals = Signals::listen()?;
    let mut connected = None;
    loop {
        let looked = tokio::select! {
            biased;
            _ = signals.recv() => return Ok(()),
            looked = watched(&mut connected, &mut alerts, &args, session) => looked,
        };
        // An outage is what a watch is for: said, and looked at again.
        match looked {
            Ok((all, broken)) => {
                clear(&mut session.out)?;
                print(&all, &args, &mut session.out)?;
                if let Some(broken) = broken {
                    return Err(broken.told());
                }
            }
            // No server that comes back cures a URL or a password.
            Err(failure) if connected.is_none() && !failure.may_pass() => return Err(failure),
            Err(failure) => drop(failure.report()),
        }
        if session.out.is_gone() {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = signals.recv() => return Ok(()),
            () = tokio::time::sleep(args.every) => {}
        }
    }
}

/// One look of a watch, which connects where it has not yet: the server need not be there at its
/// start.
async fn watched(
    connected: &mut Option<Broker>,
    alerts: &mut Alerts,
    args: &Args,
    session: &Session,
) -> Result<(Vec<Stats>, Option<Broken>), Failure> {
    let broker = match connected {
        Some(broker) => broker,
        None => connected.insert(session.broker().await?),
    };
    let all = look(broker, args).await?;
    let broken = alerts.judge(broker, &all).await?;
    Ok((all, broken))
}

fn clear(out: &mut Output) -> Result<(), Failure> {
    if out.is_table() && std::io::stdout().is_terminal() {
        out.write(b"\x1b[H\x1b[2J")?;
    }
    Ok(())
}

async fn look(broker: &Broker, args: &Args) -> Result<Vec<Stats>, Failure> {
    let Some(stream) = &args.stream else {
        return over_all(broker).await;
    };
    let dlq = args
        .dlq
        .clone()
        .unwrap_or_else(|| stream.default_dead_letters());
    Ok(match &args.group {
        Some(group) => {
            let source = Source {
                stream: stream.clone(),
                group: group.clone(),
            };
            vec![broker.stats_with(&source, &dlq).await?]
        }
        None => broker.stream_stats_with(stream, &dlq).await?,
    })
}

/// All streams, but for the dead-letter queues of those that are listed: they stand beside these.
async fn over_all(broker: &Broker) -> Result<Vec<Stats>, Failure> {
    let streams = broker.streams().await?;
    if streams.skipped > 0 {
        note(&format!(
            "{} streams are left out: their names are not UTF-8",
            streams.skipped
        ));
    }
    // The dead-letter queue of a stream stands beside it, unless somebody reads it as well.
    let beside: BTreeSet<StreamKey> = streams
        .names
        .iter()
        .map(StreamKey::default_dead_letters)
        .collect();
    let mut all = Vec::new();
    let mut denied = Vec::new();
    for stream in &streams.names {
        let looked = if beside.contains(stream) {
            if_read(broker, stream).await
        } else {
            broker.stream_stats(stream).await
        };
        match looked {
            Ok(stats) => all.extend(stats),
            // Who may look at some sees these.
            Err(error) if error.kind() == ErrorKind::Denied => denied.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    match denied.pop() {
        Some(error) if all.is_empty() => return Err(error.into()),
        Some(_) => note(&format!(
            "{} streams are left out: this user may not look at them",
            denied.len() + 1
        )),
        None => {}
    }
    // Those that vanished while they were looked at.
    all.retain(|stats| stats.state != GroupState::Missing);
    Ok(all)
}

/// The health of a stream as each of its groups sees it; nothing where it has none.
async fn if_read(broker: &Broker, stream: &StreamKey) -> Result<Vec<Stats>, redrive::Error> {
    match broker.groups(stream).await {
        Ok(groups) if groups.names.is_empty() => Ok(Vec::new()),
        Ok(_) => broker.stream_stats(stream).await,
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn found(all: &[Stats], args: &Args) -> Result<(), Failure> {
    let (Some(stream), [first, ..]) = (&args.stream, all) else {
        return match all {
            [] => Err(Failure::nothing("there is no stream in this database")
                .hint("check the server and the number of the database in --url")),
            _ => Ok(()),
        };
    };
    match (first.state, &args.group) {
        (GroupState::Missing, _) => Err(Failure::nothing(format!("stream not found: {stream}"))
            .hint("check its name, and the server and the number of the database in --url")),
        (GroupState::NoGroup, Some(group)) => Err(Failure::nothing(format!(
            "group not found: {group} of the stream {stream}"
        ))
        .hint(
            "`redrive stats STREAM` lists its groups; a worker creates the one it is started with",
        )),
        _ => Ok(()),
    }
}

fn print(all: &[Stats], args: &Args, out: &mut Output) -> Result<(), Failure> {
    match (out.is_table(), &args.group, all) {
        (false, Some(_), [one]) => out.document(one),
        (false, ..) => {
            let mut documents = out.documents();
            for stats in all {
                documents.add(stats)?;
            }
            documents.end()
        }
        (true, Some(_), [one]) => in_full(one, out),
        (true, ..) => overview(all, out),
    }
}

/// What is not known, or not there.
const NONE: &str = "-";
/// The same dead letters as in the row before.
const AS_ABOVE: &str = "as above";

pub(crate) fn number(known: Option<u64>) -> String {
    known.map_or_else(|| NONE.to_owned(), |number| number.to_string())
}

pub(crate) fn lag(stats: &Stats) -> String {
    match (stats.lag, stats.lag_exact) {
        (Some(lag), true) => lag.to_string(),
        (Some(lag), false) => format!("~{lag}"),
        (None, _) => "-".to_owned(),
    }
}

/// How long the oldest pending entry has been idle.
pub(crate) fn waited(stats: &Stats) -> String {
    stats
        .oldest_pending_ms
        .map_or_else(|| NONE.to_owned(), span)
}

fn state(stats: &Stats) -> &'static str {
    match stats.state {
        GroupState::Ok => "ok",
        GroupState::Missing => "missing",
        GroupState::NoGroup => "no group",
        _ => "?",
    }
}

/// Whether it is a dead-letter queue that nobody reads, by its name: it has no group, and counts for
/// itself.
fn is_dead_letters(stats: &Stats) -> bool {
    stats.state == GroupState::NoGroup
        && stats.group.is_none()
        && stats.stream.as_str().ends_with(":dlq")
}

/// What an overview says of a row: its state, and how many dead letters there are.
fn state_and_dead(stats: &Stats) -> (&'static str, String) {
    if is_dead_letters(stats) {
        return ("dead letters", number(stats.stream_length));
    }
    let ever = stats.dlq_length > 0 || stats.dlq_arrivals > 0;
    (state(stats), number(ever.then_some(stats.dlq_length)))
}

fn overview(all: &[Stats], out: &mut Output) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        "stream",
        "group",
        "state",
        "length",
        "pending",
        "waiting",
        "lag",
        "oldest",
        "consumers",
        "dead",
    ]);
    let mut told: Option<&StreamKey> = None;
    for stats in all {
        let (state, mut dead) = state_and_dead(stats);
        // Groups share a queue, and it is counted once: nobody is to add it up.
        if dead != NONE && told.replace(&stats.dlq) == Some(&stats.dlq) {
            AS_ABOVE.clone_into(&mut dead);
        }
        table.row([
            stats.stream.to_string(),
            stats
                .group
                .as_ref()
                .map_or_else(|| "-".to_owned(), GroupName::to_string),
            state.to_owned(),
            number(stats.stream_length),
            number(stats.pending_messages),
            number(stats.waiting),
            lag(stats),
            waited(stats),
            number(stats.consumers),
            dead,
        ]);
    }
    out.table(table)
}

/// All of it but the consumers.
pub(crate) fn in_numbers(stats: &Stats, out: &mut Output) -> Result<(), Failure> {
    let id = |id: Option<redrive::EntryId>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let group = stats.group.as_ref().map_or("-", GroupName::as_str);
    let mut table = Table::plain();
    for (name, value) in [
        ("stream", stats.stream.to_string()),
        ("group", group.to_owned()),
        ("state", state(stats).to_owned()),
        ("length", number(stats.stream_length)),
        ("pending", number(stats.pending_messages)),
        ("waiting for a retry", number(stats.waiting)),
        ("lag", lag(stats)),
        ("oldest pending idle", waited(stats)),
        ("last delivered", id(stats.last_delivered_id)),
        ("last entry", id(stats.last_entry_id)),
        ("dead-letter queue", stats.dlq.to_string()),
        ("dead letters", stats.dlq_length.to_string()),
        ("added by redrive", stats.dlq_arrivals.to_string()),
        ("dropped by a limit", stats.dlq_dropped.to_string()),
        ("consumers", number(stats.consumers)),
    ] {
        table.row([name.to_owned(), value]);
    }
    out.table(table)
}

fn in_full(stats: &Stats, out: &mut Output) -> Result<(), Failure> {
    in_numbers(stats, out)?;
    if stats.consumer_list.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let mut table = Table::new(["consumer", "pending", "idle"]);
    for consumer in &stats.consumer_list {
        table.row([
            consumer.name.clone(),
            consumer.pending.to_string(),
            span(consumer.idle_ms),
        ]);
    }
    out.table(table)
}
