//! `redrive pending`: what was delivered and is not done.

use clap::{Args as ClapArgs, Subcommand};
use redrive::{Broker, EntryId, GroupName, Pending, Source, StreamKey};
use serde::Serialize;

use crate::failure::Failure;
use crate::literals::at_least_one;
use crate::output::json::instant;
use crate::output::{Output, Table};
use crate::session::Session;
use crate::terminal::note;
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
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
    /// The group
    #[arg(short, long, value_name = "GROUP")]
    group: GroupName,
    /// No more than so many; the default is 50
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "all")]
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
    let left = match (args.limit, args.all) {
        (Some(limit), _) => limit,
        (None, true) => usize::MAX,
        (None, false) => USUAL,
    };
    let mut pages = Pages {
        broker: &broker,
        source: &source,
        from: EntryId::MIN,
        left,
    };
    if !session.out.is_table() {
        return as_documents(&mut pages, &mut session.out).await;
    }
    let listed = as_tables(&mut pages, &mut session.out).await?;
    if !session.globals.quiet && !session.out.is_gone() {
        // What was asked for has been listed: no reason to fail.
        let stats = broker.stats(&source).await.ok();
        let pending = stats.and_then(|stats| stats.pending_messages);
        let of = pending.map_or_else(|| "?".to_owned(), |pending| pending.to_string());
        note(&format!("{listed} of {of} pending"));
    }
    Ok(())
}

/// What is pending, a page at a time.
struct Pages<'a> {
    broker: &'a Broker,
    source: &'a Source,
    from: EntryId,
    /// How many more are wanted.
    left: usize,
}

impl Pages<'_> {
    /// The next ones; empty at the end.
    async fn next(&mut self) -> Result<Vec<Pending>, Failure> {
        let wanted = PAGE.min(self.left);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let page = self.broker.pending(self.source, self.from, wanted).await?;
        self.left -= page.len();
        if let Some(last) = page.last() {
            self.from = last.id.successor();
        }
        Ok(page)
    }
}

async fn as_documents(pages: &mut Pages<'_>, out: &mut Output) -> Result<(), Failure> {
    let mut documents = out.documents();
    loop {
        let page = pages.next().await?;
        if page.is_empty() || documents.is_gone() {
            return documents.end();
        }
        for one in &page {
            documents.add(&row(one))?;
        }
    }
}

async fn as_tables(pages: &mut Pages<'_>, out: &mut Output) -> Result<usize, Failure> {
    let mut listed = 0;
    loop {
        let page = pages.next().await?;
        if page.is_empty() || out.is_gone() {
            return Ok(listed);
        }
        listed += page.len();
        out.table(as_table(&page))?;
    }
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
