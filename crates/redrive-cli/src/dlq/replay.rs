//! `redrive dlq replay`: put dead letters back.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args as ClapArgs;
use redrive::{
    Assignment, DeadLetterQueue, DryRun, ErrorKind, Keep, MergePatch, Order, Progress, Rate,
    ReplayFailure, ReplayOptions, ReplayReport, Replaying, Selection, StreamKey,
};
use tokio::time::Instant;

use super::audited::{self, Audited};
use super::bulk::{self, Ended, News, Steps};
use super::campaign::{self, Course};
use super::migration::Migration;
use super::replayed::{self, Told};
use super::{Select, Where, nothing_in, unknown};
use crate::failure::{Code, Failure};
use crate::output::{Format, Output};
use crate::session::Session;
use crate::signals::Signals;

/// Put dead letters back on the stream that they came from, or on another
///
/// Each is put back once, however often it is asked for: a receipt remembers it for two days and
/// more. It can be interrupted and run again. Works on what is there when it starts, the oldest
/// first.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq replay orders --id 1795324222405-0\n  \
    redrive dlq replay orders --reason rejected --set data.currency=EUR --rate 200/s\n  \
    redrive dlq replay orders --all --campaign after-the-fix --canary 20 --abort-if 'dead-again>5%'\n  \
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
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "N",
        default_value_t = 5
    )]
    max_replays: u32,
    /// Put back no more than so many in a second or a minute: 200/s, 12/m; the default is as fast as
    /// it can
    #[arg(long, allow_hyphen_values = true, value_name = "RATE")]
    rate: Option<Rate>,
    /// Change the payloads by the merge patch (RFC 7396) in this file, or on stdin with -
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// Set a value in a field, after --patch and before --migrate: data.customer.id=7. PATH is that of
    /// --where. VALUE is JSON where it is JSON, else text; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// Send the payloads through this shell command: a line of JSON in, a line of JSON out, and
    /// nothing else on its stdout. What it does not answer stays where it is
    #[arg(long, value_name = "COMMAND")]
    migrate: Option<String>,
    #[command(flatten)]
    campaign: campaign::InCampaign,
    #[command(flatten)]
    audited: Audited,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    args.select.must_say_which("replay")?;
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    args.campaign.check()?;
    let options = options(&args)?;
    let audit = args.audited.audit()?;
    let queue = session.broker().await?.dead_letters(queue).audited(audit);
    if args.dry_run {
        return dry_run(&queue, &selection, &options, &args, narrowed, session).await;
    }
    let mut signals = Signals::listen()?;
    if args.select.single().is_none() {
        let verb = match &args.target {
            Some(target) => format!("replay, to {target},"),
            None => "replay".to_owned(),
        };
        bulk::ask(
            session,
            &queue,
            &selection,
            args.select.limit,
            narrowed,
            &verb,
            &mut signals,
        )
        .await?;
    }
    let began = Instant::now();
    let single = args.select.single().is_some();
    let options = args.campaign.named(options, single)?;
    let replaying = queue.replaying(&selection, &options).await?;
    let (start, quiet) = (replaying.progress(), session.quiet());
    let silent = session.is_silent();
    let course = replaying.campaign();
    let course = course.map(|watch| Course::new(watch, args.place.typed()));
    let mut going = Going {
        replaying,
        course: course.clone(),
        out: &mut session.out,
        told: Ok(()),
    };
    let mut ended = bulk::work("replaying", start, quiet, &mut signals, &mut going).await;
    let Going {
        mut replaying,
        out,
        told,
        ..
    } = going;
    // Who asked for an end in the last step of all is told that it is over: so is the campaign.
    if let (Ended::Whole, Some(course)) = (&ended, &course)
        && !course.is_over()
        && let Err(error) = replaying.step().await
    {
        ended = Ended::Failed(error);
    }
    if let Some(outcome) = audited::outcome(&ended) {
        replaying.end(outcome).await;
    }
    let report = replaying.into_report();
    let nothing_known = matches!(ended, Ended::Failed(_)) && report.selected == 0;
    let judged = match &course {
        Some(course) => course.judged(&report, ended, |ended| {
            judged(&report, ended, &queue, narrowed, args.max_replays)
        }),
        None => judged(&report, ended, &queue, narrowed, args.max_replays),
    };
    let told = match nothing_known || (silent && judged.is_ok()) {
        // No zeros.
        true => told,
        false => told
            .and_then(|()| replayed::print(&Told::new(&report, began.elapsed(), args.rate), out)),
    };
    judged.and(told)
}

/// A replay, and what is told of each of its steps.
struct Going<'a> {
    replaying: Replaying,
    /// The campaign that it is.
    course: Option<Course>,
    out: &'a mut Output,
    /// What was done is done: it goes on when what it says of it cannot be written.
    told: Result<(), Failure>,
}

impl Steps for &mut Going<'_> {
    async fn turn(&mut self) {
        self.replaying.turn().await;
    }

    fn news(&self) -> Option<News> {
        self.course.as_ref().map(Course::news)
    }

    async fn step(&mut self) -> Result<Option<Progress>, redrive::Error> {
        let stepped = self.replaying.step().await?;
        if self.out.format == Format::Jsonl && stepped.is_some() && self.told.is_ok() {
            let last = self.replaying.last();
            self.told = last.iter().try_for_each(|one| self.out.document(one));
        }
        Ok(stepped)
    }
}

/// A dry run: nothing of it has to be waited for.
struct Looking {
    dry: DryRun,
    stepped: Option<Result<Option<Progress>, redrive::Error>>,
}

impl Steps for &mut Looking {
    async fn turn(&mut self) {
        self.stepped = Some(self.dry.step().await);
    }

    async fn step(&mut self) -> Result<Option<Progress>, redrive::Error> {
        self.stepped.take().unwrap_or(Ok(None))
    }
}

fn options(args: &Args) -> Result<ReplayOptions, Failure> {
    let keep = if args.keep { Keep::Copy } else { Keep::Remove };
    let mut options = ReplayOptions::default()
        .keep(keep)
        .max_replays(args.max_replays);
    if let Some(target) = &args.target {
        options = options.target(target.clone());
    }
    if let Some(rate) = args.rate {
        options = options.rate(rate);
    }
    if let Some(file) = &args.patch {
        options = options.patch(patch(file)?);
    }
    for assignment in &args.set {
        options = options.set(assignment.clone());
    }
    if let Some(command) = &args.migrate {
        let migration = Arc::new(Migration::new(command.clone()));
        options = options.migrate_payload(move |_, payload| {
            let migration = Arc::clone(&migration);
            async move { migration.migrate(payload).await }
        });
    }
    Ok(options)
}

/// More than a payload may be is no patch for one.
const LARGEST_PATCH: u64 = 64 * 1024 * 1024;

fn patch(file: &Path) -> Result<MergePatch, Failure> {
    let name = match file.as_os_str() {
        dash if dash == "-" => "stdin".to_owned(),
        name => format!("{name:?}"),
    };
    let failed = |why: String| {
        Failure::usage(format!("--patch: {name} {why}"))
            .hint("it holds a JSON object: members to change or add, and null for what is to go")
    };
    let unreadable = |error| {
        Failure::usage(format!("--patch: {name} cannot be read: {error}"))
            .hint("name a file that holds a JSON object, or - for stdin")
    };
    let from: Box<dyn Read> = match file.as_os_str() {
        dash if dash == "-" => Box::new(std::io::stdin()),
        name => Box::new(std::fs::File::open(name).map_err(unreadable)?),
    };
    let mut text = String::new();
    from.take(LARGEST_PATCH + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > LARGEST_PATCH {
        return Err(failed("is larger than 64 MiB".to_owned()));
    }
    if !text.trim_start().starts_with('{') {
        // RFC 7396 allows it: it would take the place of every payload as a whole.
        return Err(failed("is no JSON object".to_owned()));
    }
    text.parse()
        .map_err(|error: redrive::Error| failed(format!("is no merge patch: {error}")))
}

fn judged(
    report: &ReplayReport,
    ended: Ended,
    queue: &DeadLetterQueue,
    narrowed: bool,
    max_replays: u32,
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
    let is_whole = matches!(ended, Ended::Whole);
    let judged = bulk::judge(ended, done, report.failed + report.skipped, "replayed");
    match report.skipped {
        skipped if is_whole && skipped > 0 => {
            judged.map_err(|failure| failure.hint(cure_of_skipped(skipped, max_replays)))
        }
        _ => judged,
    }
}

fn cure_of_skipped(skipped: u64, max_replays: u32) -> String {
    let (these, them) = match skipped {
        1 => ("1 was".to_owned(), "it"),
        many => (format!("{many} were"), "them"),
    };
    format!(
        "{these} left out: replayed {max_replays} times before, or more; --replays '>={max_replays}' lists {them}, a \
         higher --max-replays takes {them}"
    )
}

async fn dry_run(
    queue: &DeadLetterQueue,
    selection: &Selection,
    options: &ReplayOptions,
    args: &Args,
    narrowed: bool,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut looking = Looking {
        dry: queue.dry_run(selection, options).await?,
        stepped: None,
    };
    let (start, quiet) = (looking.dry.progress(), session.quiet());
    match bulk::work("looking", start, quiet, &mut signals, &mut looking).await {
        Ended::Whole => {}
        Ended::Failed(error) => return Err(error.into()),
        Ended::Stopped(signal) | Ended::Insisted(signal) => {
            let text = "stopped looking; nothing was changed";
            return Err(Failure::with(signal.code(), text));
        }
    }
    let report = looking.dry.report();
    replayed::print_dry(report, looking.dry.samples(), args.rate, &mut session.out)?;
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
        ))
        .map_err(|failure| match report.skipped {
            0 => failure,
            skipped => failure.hint(cure_of_skipped(skipped, args.max_replays)),
        }),
    }
}
