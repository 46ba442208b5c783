//! `redrive trim`: remove from a stream what every group has done with.

use std::fmt;

use clap::Args as ClapArgs;
use redrive::{Broker, EntryId, GroupName, StreamKey, TrimReport};

use crate::confirm::{self, Consent};
use crate::dlq::bulk::{self, Ended};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::note;

/// Remove from a stream what every group has acknowledged
///
/// The oldest go first, up to the first entry that some group has not acknowledged: what is pending,
/// waits for a retry or was not read stays. A stream without a group keeps everything. Looks at all
/// keys first, for what redrive keeps of groups that have vanished.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive trim orders --dry-run\n  \
    redrive trim orders --yes -o json")]
pub(crate) struct Args {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: StreamKey,
    /// Say what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let broker = session.broker().await?;
    let mut trimming = broker.trimming(&args.stream).await?;
    if args.dry_run {
        if !session.globals.quiet {
            note("a dry run: nothing was changed");
        }
        let report = trimming.preview().await?;
        let holder = holder(&broker, &report).await;
        return told(&report, holder.as_ref(), session);
    }
    if session.consent() == Consent::Asked {
        let would = trimming.preview().await?;
        let holder = holder(&broker, &would).await;
        if would.removed == 0 {
            return told(&would, holder.as_ref(), session);
        }
        ask(&would, holder.as_ref())?;
    }
    // Only now: at the question Ctrl-C ends it as it ends any program.
    let mut signals = Signals::listen()?;
    let start = trimming.progress();
    let step = async || trimming.step().await;
    let ended = bulk::work("trimming", start, session.quiet(), &mut signals, step).await;
    let report = trimming.into_report();
    let nothing_known = matches!(ended, Ended::Failed(_)) && report.removed == 0;
    let judged = bulk::judge(ended, report.removed, 0, "removed");
    let printed = match nothing_known || (session.is_silent() && judged.is_ok()) {
        // No zeros.
        true => Ok(()),
        false => told(&report, holder(&broker, &report).await.as_ref(), session),
    };
    judged.and(printed)
}

fn ask(would: &TrimReport, holder: Option<&Holder>) -> Result<(), Failure> {
    let entries = if would.removed == 1 {
        "entry"
    } else {
        "entries"
    };
    let what = format!(
        "remove {} {entries} of {}, which every group has acknowledged",
        would.removed, would.stream
    );
    let mut more = vec![format!("{} stay", would.left)];
    more.extend(holder.map(Holder::to_string));
    confirm::confirm_or(
        &what,
        &more,
        0,
        "look first, with --dry-run, then say --yes",
    )
}

fn told(
    report: &TrimReport,
    holder: Option<&Holder>,
    session: &mut Session,
) -> Result<(), Failure> {
    if report.removed == 0 && report.left > 0 && !session.globals.quiet {
        match holder {
            Some(held) => note(&format!("there is nothing to remove: {held}")),
            None => {
                note("there is nothing to remove: without a group nobody has said what is done");
            }
        }
    }
    print(report, &mut session.out)
}

/// Who holds the most back.
struct Holder {
    group: GroupName,
    from: EntryId,
    is_there: bool,
}

async fn holder(broker: &Broker, report: &TrimReport) -> Option<Holder> {
    let (group, from) = (report.held_by_group.clone()?, report.held_by_id?);
    // Where this cannot be told now, it was there a moment ago or is kept for.
    let groups = broker.groups(&report.stream).await;
    let is_there = groups.map_or(true, |groups| groups.names.contains(&group));
    Some(Holder {
        group,
        from,
        is_there,
    })
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, from, .. } = self;
        if self.is_there {
            return write!(f, "the group {group} has not acknowledged {from}");
        }
        write!(
            f,
            "the group {group} has vanished, and is not known to have done {from}, where a worker creates it \
             again; who knows that it will not come back forgets it with `redrive group delete`"
        )
    }
}

fn print(report: &TrimReport, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(report);
    }
    let or_none = |known: Option<String>| known.unwrap_or_else(|| "-".to_owned());
    let id = report.held_by_id.map(|id| id.to_string());
    let group = report.held_by_group.as_ref().map(ToString::to_string);
    let first = report.first_id.map(|id| id.to_string());
    out.line(&format!("removed        {}", report.removed))?;
    out.line(&format!("left           {}", report.left))?;
    out.line(&format!("first          {}", or_none(first)))?;
    out.line(&format!("held by group  {}", or_none(group)))?;
    out.line(&format!("from           {}", or_none(id)))?;
    out.flush()
}
