//! `redrive dlq undo`: park again what of a campaign has not started.

use clap::Args as ClapArgs;
use redrive::UndoReport;

use super::audited::{self, Audited};
use super::bulk::{self, Ended};
use super::steer::{self, Which};
use crate::confirm::Consent;
use crate::failure::{Code, Failure};
use crate::output::Output;
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::shown;

/// Park again what of a campaign has not started yet
///
/// Each dead letter comes back as it was, byte for byte, under a new id, and its message is removed from
/// the stream, if no group of that stream has been given it. The originals are kept for --undo-window
/// after the last replay.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq undo after-the-fix orders --dry-run\n  \
    redrive dlq undo after-the-fix orders --yes")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Say what would be parked again at this moment; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    audited: Audited,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let queue = steer::queue(&args.which, &args.audited, session).await?;
    let name = &args.which.name;
    let mut signals = Signals::listen()?;
    let quiet = session.quiet();
    if args.dry_run || session.consent() == Consent::Asked {
        let mut dry = queue.dry_undo(name).await?;
        let start = dry.progress();
        let step = async || dry.step().await;
        match bulk::work("looking", start, quiet, &mut signals, step).await {
            Ended::Whole => {}
            Ended::Failed(error) => return Err(error.into()),
            Ended::Stopped(signal) | Ended::Insisted(signal) => {
                let text = "stopped looking; nothing was changed";
                return Err(Failure::with(signal.code(), text));
            }
        }
        let report = dry.into_report();
        if args.dry_run {
            if session.out.is_table() {
                session.out.line("a dry run: nothing was changed\n")?;
            }
            print(&report, &mut session.out)?;
            return judged(&report, Ended::Whole);
        }
        let messages = if report.undone == 1 {
            "message"
        } else {
            "messages"
        };
        let what = format!(
            "park {} {messages} of the campaign {name} again, in {}",
            report.undone,
            queue.stream()
        );
        bulk::confirmed(what, Vec::new(), 0, &mut signals).await?;
    }
    let mut undoing = queue.undoing(name).await?;
    let start = undoing.progress();
    let step = async || undoing.step().await;
    let ended = bulk::work("undoing", start, quiet, &mut signals, step).await;
    if let Some(outcome) = audited::outcome(&ended) {
        undoing.end(outcome).await;
    }
    let report = undoing.into_report();
    let printed = match ended {
        // Nothing is known: no zeros.
        Ended::Failed(_) if report.selected == 0 => Ok(()),
        _ => print(&report, &mut session.out),
    };
    judged(&report, ended).and(printed)
}

fn judged(report: &UndoReport, ended: Ended) -> Result<(), Failure> {
    if let (Ended::Whole, 0) = (&ended, report.selected) {
        let text = format!(
            "nothing of the campaign {} is left to undo",
            report.campaign
        );
        return Err(Failure::nothing(text).hint("what died again is in the queue already"));
    }
    let done = report.undone + report.already;
    let undone = report.selected - done;
    bulk::judge(ended, done, undone, "undone").map_err(|failure| match why(report) {
        Some(why) if failure.is(Code::Partly) || failure.is(Code::Failed) => failure.hint(why),
        _ => failure,
    })
}

/// Why some are not undone; `None` where that is said of each.
fn why(report: &UndoReport) -> Option<String> {
    let reasons = [
        (
            report.started,
            "what a group was given may have run; `redrive dlq campaigns` tells how it ended",
        ),
        (
            report.gone,
            "what is gone is no longer on its stream: it was deleted or trimmed there",
        ),
        (
            report.not_kept,
            "of what is not kept there is no original: it was put back with --undo-window none, or that \
             window is over",
        ),
    ];
    let met = reasons.iter().filter(|(count, _)| *count > 0);
    let met: Vec<&str> = met.map(|(_, reason)| *reason).collect();
    (!met.is_empty()).then(|| met.join("; "))
}

fn print(report: &UndoReport, out: &mut Output) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(report);
    }
    for (name, count) in [
        ("selected", report.selected),
        ("undone", report.undone),
        ("already", report.already),
        ("started", report.started),
        ("gone", report.gone),
        ("not kept", report.not_kept),
        ("failed", report.failed),
    ] {
        out.line(&format!("{name:<9} {count}"))?;
    }
    for failure in report.failures.iter().take(10) {
        out.line(&format!("  {}  {}", failure.id, shown(&failure.error)))?;
    }
    out.flush()
}
