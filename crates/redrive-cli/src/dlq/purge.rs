//! `redrive dlq purge`: remove dead letters for good.

use clap::Args as ClapArgs;
use redrive::{Order, PurgeReport};

use super::bulk::{self, Next};
use super::{Select, Where, nothing_in};
use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::progress::Progress;
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
    let broker = session.broker().await?;
    let (queue, only_from) = args.place.queue(&broker)?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let mut signals = Signals::listen()?;
    if args.select.single().is_none() {
        bulk::ask(
            session.consent(),
            &queue,
            &selection,
            args.select.limit,
            "purge",
        )
        .await?;
    }
    let mut purging = queue.purging(&selection).await?;
    let progress = Progress::new("purging", Some(purging.progress().total), session.quiet());
    let mut next = Next::GoOn;
    let ended = loop {
        let (stepped, wish) = match bulk::step(&mut signals, purging.step()).await {
            Ok(stepped) => stepped,
            Err(insisted) => break Err(insisted),
        };
        next = wish;
        match stepped {
            Ok(Some(done)) => progress.at(done.examined),
            Ok(None) => {
                next = Next::GoOn;
                break Ok(());
            }
            Err(error) => break Err(Failure::from(error)),
        }
        if next == Next::Stop {
            break Ok(());
        }
    };
    drop(progress);
    let report = purging.into_report();
    let printed = print(&report, &mut session.out);
    if let Err(failure) = ended {
        return Err(if report.purged > 0 {
            failure.code(Code::Partly)
        } else {
            failure
        });
    }
    printed?;
    if report.selected == 0 && next == Next::GoOn {
        return Err(nothing_in(&queue, narrowed));
    }
    if report.purged == 0 && next == Next::GoOn {
        let text = match report.missing.as_slice() {
            [id] => format!("dead letter not found: {id} in {}", queue.stream()),
            _ => format!(
                "none of {} dead letters found in {}",
                report.selected,
                queue.stream()
            ),
        };
        return Err(
            Failure::nothing(text).hint("it was replayed or purged, or its id is of another queue")
        );
    }
    bulk::ending(
        report.purged,
        report.selected - report.purged,
        next,
        "purged",
    )
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
