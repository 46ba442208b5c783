//! `redrive dlq replay`: put dead letters back.

use std::sync::Arc;

use clap::Args as ClapArgs;
use redrive::{
    DeadLetterQueue, ErrorKind, Keep, Order, ReplayFailure, ReplayOptions, ReplayReport,
    ReplaySample, Selection, StreamKey,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::bulk::{self, Ended};
use super::migration::Migration;
use super::{Select, Where, nothing_in, unknown};
use crate::failure::{Code, Failure};
use crate::output::json::Pairs;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::{shown, shown_bytes};

/// Put dead letters back on the stream that they came from, or on another
///
/// Each is put back once, however often it is asked for: a receipt remembers it for two days and
/// more. It can be interrupted and run again. Works on what is there when it starts, the oldest
/// first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq replay orders --id 1795324222405-0\n  \
    redrive dlq replay orders --all --migrate 'jq -c \".v = 2\"' --dry-run")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
    /// Put them on this stream; the default is the one that each came from
    #[arg(long, value_name = "STREAM")]
    target: Option<StreamKey>,
    /// Leave them in the queue too: put a copy back
    #[arg(long)]
    keep: bool,
    /// Say what would happen, with samples; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out what has been replayed so often already; only the native layout counts replays
    #[arg(long, value_name = "N", default_value_t = 5)]
    max_replays: u32,
    /// Send the payloads through this shell command: a line of JSON in, a line of JSON out, and
    /// nothing else on its stdout. What it does not answer stays where it is
    #[arg(long, value_name = "COMMAND")]
    migrate: Option<String>,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    args.select.must_say_which("replay")?;
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let queue = session.broker().await?.dead_letters(queue);
    let options = options(&args);
    if args.dry_run {
        return dry_run(&queue, &selection, &options, narrowed, session).await;
    }
    let mut signals = Signals::listen()?;
    if args.select.single().is_none() {
        let verb = match &args.target {
            Some(target) => format!("replay, to {target},"),
            None => "replay".to_owned(),
        };
        bulk::ask(
            session.consent(),
            &queue,
            &selection,
            args.select.limit,
            &verb,
            session.quiet(),
            &mut signals,
        )
        .await?;
    }
    let mut replaying = queue.replaying(&selection, &options).await?;
    let start = replaying.progress();
    let quiet = session.quiet();
    let out = &mut session.out;
    // What was done is done: it goes on when what it says of it cannot be written.
    let mut told = Ok(());
    let step = async || {
        let stepped = replaying.step().await?;
        if out.format == Format::Jsonl && stepped.is_some() && told.is_ok() {
            told = replaying
                .last()
                .iter()
                .try_for_each(|one| out.document(one));
        }
        Ok(stepped)
    };
    let ended = bulk::work("replaying", start, quiet, &mut signals, step).await;
    let report = replaying.into_report();
    let told = told.and_then(|()| match ended {
        // Nothing is known: no zeros.
        Ended::Failed(_) if report.selected == 0 => Ok(()),
        _ => print(&report, &[], out),
    });
    judged(&report, ended, &queue, narrowed).and(told)
}

fn options(args: &Args) -> ReplayOptions {
    let keep = if args.keep { Keep::Copy } else { Keep::Remove };
    let mut options = ReplayOptions::default()
        .keep(keep)
        .max_replays(args.max_replays);
    if let Some(target) = &args.target {
        options = options.target(target.clone());
    }
    if let Some(command) = &args.migrate {
        let migration = Arc::new(Migration::new(command.clone()));
        options = options.migrate_payload(move |_, payload| {
            let migration = Arc::clone(&migration);
            async move { migration.migrate(payload).await }
        });
    }
    options
}

fn judged(
    report: &ReplayReport,
    ended: Ended,
    queue: &DeadLetterQueue,
    narrowed: bool,
) -> Result<(), Failure> {
    let done = report.replayed + report.already;
    if let (Ended::Whole, 0) = (&ended, done) {
        let missing = |failure: &ReplayFailure| failure.kind == ErrorKind::NotFound;
        let none_there = report.skipped == 0 && report.failures.iter().all(missing);
        match report.failures.as_slice() {
            _ if report.selected == 0 => return Err(nothing_in(queue, narrowed)),
            [one] if none_there => return Err(unknown(&one.error)),
            _ if none_there => {
                let selected = report.selected;
                return Err(unknown(&format!("none of {selected} dead letters found")));
            }
            _ => {}
        }
    }
    bulk::judge(ended, done, report.failed + report.skipped, "replayed")
}

async fn dry_run(
    queue: &DeadLetterQueue,
    selection: &Selection,
    options: &ReplayOptions,
    narrowed: bool,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut dry = queue.dry_run(selection, options).await?;
    let start = dry.progress();
    let step = async || dry.step().await;
    match bulk::work("looking", start, session.quiet(), &mut signals, step).await {
        Ended::Whole => {}
        Ended::Failed(error) => return Err(error.into()),
        Ended::Stopped(signal) | Ended::Insisted(signal) => {
            let text = "stopped looking; nothing was changed";
            return Err(Failure::with(signal.code(), text));
        }
    }
    let report = dry.report();
    print_dry(report, dry.samples(), &mut session.out)?;
    if report.selected == 0 {
        return Err(nothing_in(queue, narrowed));
    }
    match report.failed + report.skipped {
        0 => Ok(()),
        undone => Err(Failure::with(
            if undone == report.selected {
                Code::Failed
            } else {
                Code::Partly
            },
            format!("{undone} of {} would not be replayed", report.selected),
        )),
    }
}

/// The report of a dry run: as of a run, with samples.
#[derive(Serialize)]
struct Dry<'a> {
    #[serde(flatten)]
    report: &'a ReplayReport,
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Sample<'a> {
    id: String,
    target: &'a StreamKey,
    before: Pairs<'a>,
    after: Pairs<'a>,
    payload_before: Option<&'a RawValue>,
    payload_after: Option<&'a RawValue>,
}

fn print_dry(
    report: &ReplayReport,
    samples: &[ReplaySample],
    out: &mut Output,
) -> Result<(), Failure> {
    if out.is_table() {
        out.line("a dry run: nothing was changed\n")?;
        return print(report, samples, out);
    }
    let samples = samples.iter().map(|sample| Sample {
        id: sample.id.to_string(),
        target: &sample.target,
        before: Pairs(&sample.before),
        after: Pairs(&sample.after),
        payload_before: sample.payload_before.as_deref(),
        payload_after: sample.payload_after.as_deref(),
    });
    out.document(&Dry {
        report,
        samples: samples.collect(),
    })
}

fn print(report: &ReplayReport, samples: &[ReplaySample], out: &mut Output) -> Result<(), Failure> {
    match out.format {
        Format::Json => return out.document(report),
        Format::Jsonl => return counts(report, out),
        Format::Table => {}
    }
    for (name, count) in [
        ("selected", report.selected),
        ("replayed", report.replayed),
        ("already", report.already),
        ("skipped", report.skipped),
        ("failed", report.failed),
    ] {
        out.line(&format!("{name:<9} {count}"))?;
    }
    const SHOWN: usize = 10;
    for failure in report.failures.iter().take(SHOWN) {
        out.line(&format!("  {}  {}", failure.id, shown(&failure.error)))?;
    }
    if report.failures.len() > SHOWN {
        let more = report.failed - SHOWN as u64;
        out.line(&format!("  and {more} more; -o json lists them"))?;
    }
    for sample in samples {
        out.line("")?;
        out.line(&format!(
            "{} to {}",
            sample.id,
            shown(sample.target.as_str())
        ))?;
        for (sign, fields, payload) in [
            ("-", &sample.before, &sample.payload_before),
            ("+", &sample.after, &sample.payload_after),
        ] {
            if let Some(payload) = payload {
                out.line(&format!("  {sign} {}", shown(payload.get())))?;
                continue;
            }
            for (name, value) in fields.iter() {
                out.line(&format!(
                    "  {sign} {}  {}",
                    shown_bytes(name),
                    shown_bytes(value)
                ))?;
            }
        }
    }
    out.flush()
}

/// The counts, after a line for each dead letter.
fn counts(report: &ReplayReport, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Counts {
        selected: u64,
        replayed: u64,
        already: u64,
        skipped: u64,
        failed: u64,
    }
    out.document(&Counts {
        selected: report.selected,
        replayed: report.replayed,
        already: report.already,
        skipped: report.skipped,
        failed: report.failed,
    })
}
