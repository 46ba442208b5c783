//! `redrive dlq purge`: remove dead letters for good.

use clap::Args as ClapArgs;
use redrive::{DeadLetterQueue, Order, PurgeReport};

use super::bulk::{self, Ended};
use super::{Select, Where, nothing_in, unknown};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;

/// Remove dead letters for good
///
/// Nothing of a purged dead letter can be had back. The oldest go first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq purge orders --id 1795324222405-0\n  \
    redrive dlq purge orders --reason undecodable --limit 1000 --yes")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    args.select.must_say_which("purge")?;
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let queue = session.broker().await?.dead_letters(queue);
    let mut signals = Signals::listen()?;
    if args.select.single().is_none() {
        bulk::ask(
            session.consent(),
            &queue,
            &selection,
            args.select.limit,
            "purge",
            session.quiet(),
            &mut signals,
        )
        .await?;
    }
    let mut purging = queue.purging(&selection).await?;
    let start = purging.progress();
    let step = async || purging.step().await;
    let ended = bulk::work("purging", start, session.quiet(), &mut signals, step).await;
    let report = purging.into_report();
    let printed = match ended {
        // Nothing is known: no zeros.
        Ended::Failed(_) if report.selected == 0 => Ok(()),
        _ => print(&report, &mut session.out),
    };
    judged(&report, ended, &queue, narrowed).and(printed)
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
