//! `redrive pending`: what was delivered and is not done.

use clap::{Args as ClapArgs, Subcommand};
use redrive::{EntryId, GroupName, Pending, Source, StreamKey};
use serde::Serialize;

use crate::failure::Failure;
use crate::literals::parsed;
use crate::output::Table;
use crate::output::json::instant;
use crate::session::Session;
use crate::when::span;

/// How many one look at the server takes.
const PAGE: usize = 1_000;
/// How many are listed unless said otherwise.
const USUAL: usize = 50;

/// See what was delivered to a group and is not done
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Command {
    List(Args),
}

/// List the pending entries of a group: who has them, how often they failed, when they are due
///
/// The oldest first. Works on any group; what redrive keeps of a message is there only where
/// redrive has worked on it.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive pending list orders -g billing\n  \
    redrive pending list orders -g billing --all -o jsonl")]
pub(crate) struct Args {
    /// The stream
    #[arg(value_name = "STREAM", value_parser = parsed::<StreamKey>)]
    stream: StreamKey,
    /// The group
    #[arg(short, long, value_name = "GROUP", value_parser = parsed::<GroupName>)]
    group: GroupName,
    /// No more than so many; the default is 50
    #[arg(long, value_name = "N", conflicts_with = "all")]
    limit: Option<usize>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// One, with instants as they are written.
#[derive(Serialize)]
struct Row<'a> {
    id: EntryId,
    consumer: &'a str,
    own: bool,
    idle_ms: u64,
    deliveries: u64,
    failures: Option<u32>,
    crashes: Option<u32>,
    due_in_ms: Option<u64>,
    first_failed_at: Option<String>,
    error: Option<&'a str>,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<(), Failure> {
    let Command::List(args) = command;
    let broker = session.broker().await?;
    let source = Source {
        stream: args.stream,
        group: args.group,
    };
    let mut left = match (args.limit, args.all) {
        (Some(limit), _) => limit,
        (None, true) => usize::MAX,
        (None, false) => USUAL,
    };
    let mut from = EntryId::MIN;
    let mut listed = 0_u64;
    // Whether the group exists is known from the first page, before anything is written.
    let mut page = broker.pending(&source, from, PAGE.min(left.max(1))).await?;
    let table = session.out.is_table();
    let mut documents = (!table).then(|| session.out.documents());
    let mut tables = Vec::new();
    while !page.is_empty() && left > 0 {
        page.truncate(left);
        left -= page.len();
        listed += page.len() as u64;
        if let Some(last) = page.last() {
            from = last.id.successor();
        }
        match &mut documents {
            Some(documents) => {
                for one in &page {
                    documents.add(&row(one))?;
                }
                if documents.is_gone() {
                    break;
                }
            }
            None => tables.push(as_table(&page)),
        }
        page = if left == 0 {
            Vec::new()
        } else {
            broker.pending(&source, from, PAGE.min(left)).await?
        };
    }
    if let Some(documents) = documents {
        documents.end()?;
    }
    for table in tables {
        session.out.table(table)?;
    }
    let pending = broker.stats(&source).await?.pending_messages;
    if table && !session.globals.quiet && !session.out.is_gone() {
        use std::io::Write;
        let of = pending.map_or_else(|| "?".to_owned(), |pending| pending.to_string());
        let _ = writeln!(std::io::stderr(), "{listed} of {of} pending");
    }
    Ok(())
}

fn row(one: &Pending) -> Row<'_> {
    Row {
        id: one.id,
        consumer: &one.consumer,
        own: one.own,
        idle_ms: one.idle_ms,
        deliveries: one.deliveries,
        failures: one.failures,
        crashes: one.crashes,
        due_in_ms: one.due_in_ms,
        first_failed_at: one.first_failed_at_ms.and_then(instant),
        error: one.error.as_deref(),
    }
}

fn as_table(page: &[Pending]) -> Table {
    let mut table = Table::new([
        "id",
        "consumer",
        "idle",
        "deliveries",
        "failures",
        "crashes",
        "due in",
        "error",
    ]);
    let number = |known: Option<u32>| known.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for one in page {
        table.row([
            one.id.to_string(),
            one.consumer.clone(),
            span(one.idle_ms),
            one.deliveries.to_string(),
            number(one.failures),
            number(one.crashes),
            one.due_in_ms.map_or_else(|| "-".to_owned(), span),
            one.error
                .as_deref()
                .and_then(|error| error.lines().next())
                .unwrap_or("-")
                .to_owned(),
        ]);
    }
    table
}
