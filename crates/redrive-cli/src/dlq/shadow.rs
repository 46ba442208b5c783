//! `redrive dlq shadow`: dead letters through a handler, with nothing settled.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args as ClapArgs;
use redrive::{
    DeadLetterGroup, DeadLetterGroups, DeadLetterQueue, EntryId, Order, Progress, Reason,
    ShadowOptions, ShadowReport, Shadowing,
};
use serde::Serialize;

use super::bulk::{self, Ended, Steps};
use super::groups;
use super::{Select, Where, nothing_in};
use crate::failure::{Code, Failure};
use crate::literals::{self, DurationOrNone};
use crate::output::{Output, json};
use crate::run::{Bodies, Shadow};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::{note, shown};

const SHORTEST: Duration = Duration::from_millis(1);
/// How many runs there may be at once.
const MOST: usize = 10_000;
/// How many of those that cannot be replayed stand in a table.
const FIRST: usize = 5;

/// Run dead letters through a handler without settling anything: how many would pass now
///
/// The handler gets what `redrive run` would give it after a replay: the body, and beside it the stream
/// and the id that the message had at first, the group where the dead letter names it, and attempt 1. That
/// it is a shadow run it sees by REDRIVE_DEAD_LETTER, or the header redrive-dead-letter: the id of the
/// dead letter. Nothing is written to the server; what the handler itself does is done.
///
/// Without a selection all dead letters are meant, the oldest first. Of those that would not pass the
/// errors are told in groups. Exit code 4 where some would not pass.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq shadow orders --reason rejected -- ./bill-fixed.sh\n  \
    redrive dlq shadow orders --limit 100 --http http://127.0.0.1:8080/orders")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
    /// The program that handles a message, and its arguments
    #[arg(last = true, value_name = "CMD", conflicts_with = "http")]
    command: Vec<OsString>,
    /// Post each message to this URL instead of starting a command
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// Give the handler the bytes of this field instead of all fields as JSON; none where an entry
    /// does not have it
    #[arg(long = "field", id = "body", value_name = "NAME")]
    field: Option<String>,
    /// How many run at once, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = literals::count_in(1..=MOST))]
    concurrency: usize,
    /// How long a handler may run, 1ms to 365d, or none; then its process group is ended, which is a
    /// failure
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = literals::duration_or_none_from(SHORTEST))]
    timeout: DurationOrNone,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let limit = args.timeout.0;
    let handler = Shadow::new(&args.command, args.http.as_deref(), limit)?;
    // The handler has a time-out of its own: it is over only when its processes are gone.
    let options = ShadowOptions::default()
        .concurrency(args.concurrency)
        .timeout(None);
    let bodies = args.field.map_or(Bodies::All, Bodies::Field);
    let queue = session.broker().await?.dead_letters(queue);
    let mut signals = Signals::listen()?;
    let mut running = Running {
        shadowing: queue
            .shadowing(&selection, &options, bodies, handler)
            .await?,
    };
    let (start, quiet) = (running.shadowing.progress(), session.quiet());
    let ended = bulk::work("running", start, quiet, &mut signals, &mut running).await;
    let mut shadowing = running.shadowing;
    if let Ended::Stopped(_) = ended {
        tokio::select! {
            biased;
            signal = signals.recv() => return Err(Failure::silent(signal.code())),
            () = shadowing.stop() => {}
        }
    }
    let (report, causes) = (shadowing.report(), shadowing.causes());
    let judged = judged(report, ended, &queue, narrowed);
    let nothing_known = report.selected == 0;
    let printed = match nothing_known || (session.is_silent() && judged.is_ok()) {
        // No zeros.
        true => Ok(()),
        false => print(report, &causes, &mut session.out),
    };
    if !nothing_known && !session.globals.quiet {
        tell(report, &causes, &args.place);
    }
    judged.and(printed)
}

/// A shadow run: what it waits for need not be waited for by who wants to end it.
struct Running {
    shadowing: Shadowing,
}

impl Steps for &mut Running {
    async fn turn(&mut self) {
        self.shadowing.turn().await;
    }

    async fn step(&mut self) -> Result<Option<Progress>, redrive::Error> {
        self.shadowing.step().await
    }
}

fn judged(
    report: &ShadowReport,
    ended: Ended,
    queue: &DeadLetterQueue,
    narrowed: bool,
) -> Result<(), Failure> {
    match ended {
        Ended::Failed(error) => return Err(error.into()),
        Ended::Stopped(signal) | Ended::Insisted(signal) => {
            let text = format!("stopped: {} dead letters were run so far", report.selected);
            return Err(Failure::with(signal.code(), text).hint("nothing was changed"));
        }
        Ended::Whole => {}
    }
    if let Some(reason) = &report.unavailable {
        let text = format!("the handler cannot run: {reason}");
        return Err(Failure::new(text)
            .hint("start what it needs, and give the command again: nothing was changed"));
    }
    match report.would_not_pass() {
        _ if report.selected == 0 || report.selected == report.missing => {
            Err(nothing_in(queue, narrowed))
        }
        0 => Ok(()),
        some => Err(Failure::with(
            Code::Partly,
            format!("{some} of {} would not pass", report.selected),
        )),
    }
}

/// What there is to do about them.
fn tell(report: &ShadowReport, causes: &DeadLetterGroups, place: &Where) {
    note("nothing was changed");
    if report.unreplayable > 0 {
        note(&format!(
            "{} cannot be replayed: nothing of their payload is left, or it does not unpack",
            report.unreplayable
        ));
    }
    if let Some(cause) = causes.groups.first() {
        let sample = cause.sample_id;
        note(&format!(
            "next: redrive dlq show {sample} {}",
            place.typed()
        ));
    }
}

/// Those that would not pass and say the same.
#[derive(Serialize)]
struct Cause<'a> {
    fingerprint: Option<&'a str>,
    count: u64,
    reason: Option<Reason>,
    error: Option<&'a str>,
    sample_id: EntryId,
    first_at: Option<String>,
    last_at: Option<String>,
}

impl<'a> Cause<'a> {
    fn of(group: &'a DeadLetterGroup) -> Self {
        Self {
            fingerprint: group.fingerprint.as_deref(),
            count: group.count,
            reason: group.reason,
            error: group.error.as_deref(),
            sample_id: group.sample_id,
            first_at: json::instant(group.first_at_ms),
            last_at: json::instant(group.last_at_ms),
        }
    }
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a ShadowReport,
    causes: Vec<Cause<'a>>,
    /// How many have causes that are not among these.
    other_causes: u64,
}

fn print(
    report: &ShadowReport,
    causes: &DeadLetterGroups,
    out: &mut Output,
) -> Result<(), Failure> {
    if !out.is_table() {
        return out.document(&Told {
            report,
            causes: causes.groups.iter().map(Cause::of).collect(),
            other_causes: causes.other,
        });
    }
    out.line(&format!("selected     {}", report.selected))?;
    out.line(&format!("would pass   {}", report.passed))?;
    for (what, count) in [
        ("would fail ", report.failed),
        ("refused    ", report.refused),
        ("undecodable", report.undecodable),
        ("put off    ", report.deferred),
        ("no payload ", report.unreplayable),
        ("not found  ", report.missing),
    ] {
        if count > 0 {
            out.line(&format!("{what}  {count}"))?;
        }
    }
    for one in report.failures.iter().take(FIRST) {
        out.line(&format!("  {}  {}", one.id, shown(&one.error)))?;
    }
    if !causes.groups.is_empty() {
        out.line("")?;
        groups::show(causes, out)?;
    }
    out.flush()
}
