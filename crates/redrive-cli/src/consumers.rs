//! `redrive consumer`: who is in a group, and clearing away who is dead.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use redrive::{Consumer, PruneReport, Source, WhyKept};

use crate::confirm::{self, Consent};
use crate::failure::Failure;
use crate::groups::{Which, many};
use crate::literals::duration_from;
use crate::output::{Output, Table};
use crate::session::Session;
use crate::terminal::{note, shown};
use crate::when::span;

/// See who is in a group, and clear away who is dead
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Command {
    List(ListArgs),
    Prune(PruneArgs),
}

/// List the consumers of a group: what each holds, how long it has been silent, whether it is a worker that lives
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive consumer list orders -g billing\n  \
    redrive consumer list orders -g billing -o json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    which: Which,
}

/// Remove the consumers of a group that hold nothing, have long been silent, and do not live
///
/// Says first who that is, and asks. Each is checked and removed in one step on the server: with a consumer,
/// Redis destroys what is pending on it. Who holds something stays, and is named with what takes that over. A worker of another kind that
/// waits for entries looks silent before Redis 7.2; removed, it is back with its next read, and loses
/// nothing.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive consumer prune orders -g billing --dry-run\n  \
    redrive consumer prune orders -g billing --idle 1d --yes")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    which: Which,
    /// How long a consumer has to have been silent, up to 365d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration_from(Duration::ZERO))]
    idle: Duration,
    /// Say who would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args, session).await,
        Command::Prune(args) => prune(args, session).await,
    }
}

async fn list(args: ListArgs, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let all = broker.consumers(&source).await?;
    if !session.out.is_table() {
        let mut documents = session.out.documents();
        for one in &all {
            documents.add(one)?;
        }
        return documents.end();
    }
    if all.is_empty() {
        if !session.globals.quiet {
            note(&format!("nobody is in the group {}", source.group));
        }
        return Ok(());
    }
    session.out.table(table(&all))
}

/// Who it is, in a word.
fn worker(one: &Consumer) -> &'static str {
    match one.alive {
        Some(true) => "alive",
        Some(false) => "dead",
        None => "not redrive's",
    }
}

pub(crate) fn table(all: &[Consumer]) -> Table {
    let mut table = Table::new(["consumer", "pending", "idle", "lease", "worker"]);
    for one in all {
        table.row([
            one.name.clone(),
            one.pending.to_string(),
            span(one.idle_ms),
            one.lease_ms.map_or_else(|| "-".to_owned(), span),
            worker(one).to_owned(),
        ]);
    }
    table
}

async fn prune(args: PruneArgs, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let source = args.which.source();
    let asks = !args.dry_run && session.consent() == Consent::Asked;
    let mut report = match args.dry_run || asks {
        true => broker.prunable_consumers(&source, args.idle).await?,
        false => broker.prune_consumers(&source, args.idle).await?,
    };
    if asks && !report.removed.is_empty() {
        ask(&report)?;
        report = broker.prune_consumers(&source, args.idle).await?;
    }
    if !session.globals.quiet {
        if args.dry_run {
            note("a dry run: nothing was changed");
        }
        tell(&report, &source);
    }
    if session.is_silent() && !args.dry_run {
        return Ok(());
    }
    print(&report, &mut session.out)
}

/// How many stand in the question.
const FIRST: usize = 5;

fn ask(would: &PruneReport) -> Result<(), Failure> {
    let PruneReport {
        stream,
        group,
        removed,
        ..
    } = would;
    let consumers = many(removed.len() as u64, "consumer", "consumers");
    let what =
        format!("remove {consumers} of the group {group} of {stream}, on which nothing is pending");
    let first = removed.iter().take(FIRST);
    let first: Vec<String> = first.map(line).collect();
    let more = removed.len().saturating_sub(FIRST) as u64;
    let cure = "look first, with --dry-run, then say --yes";
    confirm::confirm_or(&what, &first, more, cure)
}

fn line(one: &Consumer) -> String {
    format!("{}  silent for {}", shown(&one.name), span(one.idle_ms))
}

/// Who holds something, and what takes it over.
fn tell(report: &PruneReport, source: &Source) {
    let holding = || {
        let kept = report.kept.iter();
        kept.filter(|kept| kept.why == WhyKept::Holds)
            .map(|kept| &kept.consumer)
    };
    for one in holding() {
        let holds = many(one.pending, "entry", "entries");
        note(&format!("{} holds {holds}: {}", one.name, taken_over(one)));
    }
    let alive = |one: &Consumer| one.alive == Some(true);
    let lives = report.kept.iter().any(|kept| alive(&kept.consumer));
    if holding().any(|one| !alive(one)) && !lives {
        note(&format!(
            "no redrive worker lives in the group {}: nothing is taken over until one runs",
            source.group
        ));
    }
}

fn taken_over(one: &Consumer) -> String {
    match (one.alive, one.lease_ms) {
        (Some(true), _) => "it lives, and works on them".to_owned(),
        (Some(false), Some(lease)) => format!(
            "a redrive worker of the group takes them over once they have been idle for {}, its lease",
            span(lease)
        ),
        (Some(false), None) => "a redrive worker of the group takes them over".to_owned(),
        (None, _) => {
            "it is not redrive's; a redrive worker of the group takes them over once they have \
                      been idle for its --foreign-lease, 5m by default"
                .to_owned()
        }
    }
}

fn print(report: &PruneReport, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(report);
    }
    let count = |why: WhyKept| report.kept.iter().filter(|kept| kept.why == why).count();
    out.line(&format!("removed      {}", report.removed.len()))?;
    for one in &report.removed {
        out.line(&format!("  {}", line(one)))?;
    }
    out.line(&format!("hold work    {}", count(WhyKept::Holds)))?;
    out.line(&format!("alive        {}", count(WhyKept::Alive)))?;
    out.line(&format!("seen lately  {}", count(WhyKept::Recent)))?;
    out.flush()
}
