//! `redrive dlq purge`: remove dead letters for good.

use clap::Args as ClapArgs;
use redrive::{DeadLetterQueue, Order, PurgeReport};
use serde::Serialize;

use super::audited::{self, Audited};
use super::bulk::{self, Counted, Ended};
use super::letter::{Letter, line};
use super::{Select, Where, nothing_in, unknown};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::shown;

/// Remove dead letters for good
///
/// Nothing of a purged dead letter can be had back. The oldest go first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq purge orders --id 1795324222405-0\n  \
    redrive dlq purge orders --reason undecodable --limit 1000 --dry-run")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
    /// Say what would be removed, with the first five; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    audited: Audited,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    args.select.must_say_which("purge")?;
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let audit = args.audited.audit()?;
    let queue = session.broker().await?.dead_letters(queue).audited(audit);
    let mut signals = Signals::listen()?;
    if args.dry_run {
        let limit = args.select.limit;
        let counted = bulk::count(&queue, &selection, limit, session.quiet(), &mut signals).await?;
        tell(&counted, &queue, &mut session.out)?;
        return match counted.count {
            0 => Err(nothing_in(&queue, narrowed)),
            _ => Ok(()),
        };
    }
    if args.select.single().is_none() {
        bulk::ask(
            session,
            &queue,
            &selection,
            args.select.limit,
            narrowed,
            "purge",
            &mut signals,
        )
        .await?;
    }
    let mut purging = queue.purging(&selection).await?;
    let start = purging.progress();
    let step = async || purging.step().await;
    let ended = bulk::work("purging", start, session.quiet(), &mut signals, step).await;
    if let Some(outcome) = audited::outcome(&ended) {
        purging.end(outcome).await;
    }
    let report = purging.into_report();
    let nothing_known = matches!(ended, Ended::Failed(_)) && report.selected == 0;
    let judged = judged(&report, ended, &queue, narrowed);
    let printed = match nothing_known || (session.is_silent() && judged.is_ok()) {
        // No zeros.
        true => Ok(()),
        false => print(&report, &mut session.out),
    };
    judged.and(printed)
}

/// What a dry run found: a report as of a run, with samples.
fn tell(counted: &Counted, queue: &DeadLetterQueue, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Dry<'a> {
        selected: u64,
        purged: u64,
        missing: [(); 0],
        samples: Vec<Letter<'a>>,
    }
    if !out.is_table() {
        let samples = counted.first.iter().map(|one| Letter::new(queue, one));
        return out.document(&Dry {
            selected: counted.count,
            purged: counted.count,
            missing: [],
            samples: samples.collect(),
        });
    }
    out.line("a dry run: nothing was changed\n")?;
    out.line(&format!(
        "this would {}:",
        shown(&counted.what("purge", queue))
    ))?;
    for one in &counted.first {
        out.line(&format!("  {}", shown(&line(one))))?;
    }
    if counted.beyond() > 0 {
        out.line(&format!("  and {} more", counted.beyond()))?;
    }
    out.flush()
}

fn judged(
    report: &PurgeReport,
    ended: Ended,
    queue: &DeadLetterQueue,
    narrowed: bool,
) -> Result<(), Failure> {
    if let (Ended::Whole, 0) = (&ended, report.purged) {
        return Err(match (report.selected, report.missing.as_slice()) {
            (0, _) => nothing_in(queue, narrowed),
            (_, [id]) => unknown(&format!(
                "dead letter not found: {id} in {}",
                queue.stream()
            )),
            (selected, _) => unknown(&format!(
                "none of {selected} dead letters found in {}",
                queue.stream()
            )),
        });
    }
    let undone = report.selected - report.purged;
    bulk::judge(ended, report.purged, undone, "purged")
}

fn print(report: &PurgeReport, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(report);
    }
    out.line(&format!("selected  {}", report.selected))?;
    out.line(&format!("purged    {}", report.purged))?;
    for id in report.missing.iter().take(10) {
        out.line(&format!("  {id}  not found"))?;
    }
    out.flush()
}
