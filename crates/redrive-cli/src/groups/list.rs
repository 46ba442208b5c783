//! `redrive group list`: the groups of a stream.

use clap::Args as ClapArgs;
use redrive::{EntryId, GroupName, Stats, StreamKey};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Output, Table};
use crate::session::Session;
use crate::stats::{lag, number, waited};

/// List the groups of a stream: what is pending in each, and what it has not read
///
/// A group that has vanished is not among them, also where redrive keeps how far it had come.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive group list orders\n  \
    redrive group list orders -o jsonl")]
pub(crate) struct Args {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
}

#[derive(Serialize)]
struct Row<'a> {
    stream: &'a StreamKey,
    group: &'a GroupName,
    consumers: Option<u64>,
    pending_messages: Option<u64>,
    waiting: Option<u64>,
    lag: Option<u64>,
    lag_exact: bool,
    oldest_pending_ms: Option<u64>,
    last_delivered_id: Option<EntryId>,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let names = broker.groups(&args.stream).await?;
    let all = match names.names.is_empty() {
        true => Vec::new(),
        false => broker.stream_stats(&args.stream).await?,
    };
    let rows: Vec<(&GroupName, &Stats)> = all
        .iter()
        .filter_map(|stats| Some((stats.group.as_ref()?, stats)))
        .collect();
    if session.out.is_table() {
        table(&rows, &mut session.out)?;
    } else {
        documents(&rows, &mut session.out)?;
    }
    if names.skipped > 0 && !session.globals.quiet {
        let left_out = super::many(names.skipped, "group is", "groups are");
        crate::terminal::note(&format!("{left_out} left out: the name is not UTF-8"));
    }
    match rows.is_empty() {
        true => Err(
            Failure::nothing(format!("the stream {} has no group", args.stream)).hint(
                "a worker creates the one it is started with, and so does `redrive group create`",
            ),
        ),
        false => Ok(()),
    }
}

fn documents(rows: &[(&GroupName, &Stats)], out: &mut Output) -> Result<(), Failure> {
    let mut documents = out.documents();
    for (group, stats) in rows {
        documents.add(&Row {
            stream: &stats.stream,
            group,
            consumers: stats.consumers,
            pending_messages: stats.pending_messages,
            waiting: stats.waiting,
            lag: stats.lag,
            lag_exact: stats.lag_exact,
            oldest_pending_ms: stats.oldest_pending_ms,
            last_delivered_id: stats.last_delivered_id,
        })?;
    }
    documents.end()
}

fn table(rows: &[(&GroupName, &Stats)], out: &mut Output) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        "group",
        "consumers",
        "pending",
        "waiting",
        "lag",
        "oldest",
        "last delivered",
    ]);
    for (group, stats) in rows {
        let last = stats.last_delivered_id;
        table.row([
            group.to_string(),
            number(stats.consumers),
            number(stats.pending_messages),
            number(stats.waiting),
            lag(stats),
            waited(stats),
            last.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        ]);
    }
    out.table(table)
}
