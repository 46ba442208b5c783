//! `redrive dlq export`: dead letters as lines of text, in a file or on stdout.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use redrive::{DeadLetterQueue, Order, Selection};
use serde::Serialize;

use super::bulk::{self, Ended};
use super::{Select, Where, nothing_in, unknown};
use crate::archive::{Existing, Packer, Packing, Target};
use crate::failure::{Code, Failure};
use crate::progress::{Progress, Quiet};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::shown;

const NOT_WHOLE: &str =
    "what was written lacks its last line, and an import refuses it: export again";

/// Write dead letters into a file, or to stdout: JSON, a line each, every byte of them
///
/// Nothing is removed. All that match, the oldest first; what dies meanwhile is not in it. The last
/// line says how many there are and a checksum of them: `redrive dlq import` brings them back, here
/// or on another server.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq export orders --to orders.jsonl.zst\n  \
    redrive dlq export orders --reason rejected | jq -r .error")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    select: Select,
    /// Make this file, packed by its name: .gz or .zst. It gets its name when it is whole. Without it,
    /// or with -, they go to stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace a file that is there, once the new one is whole
    #[arg(long, requires = "to")]
    force: bool,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let narrowed = args.select.is_narrowed() || only_from.is_some();
    let selection = args.select.selection(only_from, Order::Oldest)?;
    let existing = if args.force {
        Existing::Replaced
    } else {
        Existing::Kept
    };
    let to = args.to.as_deref().filter(|path| *path != Path::new("-"));
    if let Some(path) = to {
        // Before anything is asked of a server.
        Target::check(path, existing)?;
    }
    let queue = session.broker().await?.dead_letters(queue);
    let (exported, missing) = match to {
        Some(path) => to_file(path, existing, &queue, &selection, session).await?,
        None => to_stdout(&queue, &selection, session).await?,
    };
    match (exported, missing) {
        (1.., 0) => Ok(()),
        (1.., _) => Err(Failure::with(
            Code::Partly,
            format!("{missing} of {} dead letters not found", exported + missing),
        )),
        (0, 0) => Err(nothing_in(&queue, narrowed)),
        (0, _) => Err(unknown(&format!(
            "none of {missing} dead letters found in {}",
            queue.stream()
        ))),
    }
}

/// What is told of a file.
#[derive(Serialize)]
struct Made {
    file: String,
    dlq: String,
    dead_letters: u64,
    bytes: u64,
}

async fn to_file(
    path: &Path,
    existing: Existing,
    queue: &DeadLetterQueue,
    selection: &Selection,
    session: &mut Session,
) -> Result<(u64, u64), Failure> {
    let mut signals = Signals::listen()?;
    let mut exporting = queue.exporting(selection).await?;
    let target = Target::create(path, existing)?;
    let mut packer = Packer::new(Packing::of_name(path), target.file());
    let failed = |error: std::io::Error| {
        Failure::new(format!("writing {}: {error}", path.display()))
            .hint("no file was left behind; is the disk full?")
    };
    let mut written = Ok(());
    let start = exporting.progress();
    let step = async || {
        let Some(lines) = exporting.step().await? else {
            return Ok(None);
        };
        written = packer.add(lines.as_bytes());
        Ok(written.is_ok().then(|| exporting.progress()))
    };
    let ended = bulk::work("exporting", start, session.quiet(), &mut signals, step).await;
    written.map_err(failed)?;
    match ended {
        Ended::Whole => {}
        Ended::Failed(error) => return Err(error.into()),
        Ended::Stopped(signal) | Ended::Insisted(signal) => {
            return Err(Failure::with(signal.code(), "stopped: no file was made"));
        }
    }
    // Where a signal came with the last step, it is not known yet that there is nothing more.
    while let Some(lines) = exporting.step().await? {
        packer.add(lines.as_bytes()).map_err(failed)?;
    }
    let counts = (exporting.exported(), exporting.missing());
    if counts.0 == 0 {
        // A file of nothing would take the place of one with something.
        return Ok(counts);
    }
    let footer = exporting.footer()?;
    let ended = packer.add(footer.as_bytes()).and_then(|()| packer.end());
    ended.map_err(failed)?;
    let bytes = target.publish()?;
    let made = Made {
        file: path.display().to_string(),
        dlq: queue.stream().to_string(),
        dead_letters: counts.0,
        bytes,
    };
    if session.is_silent() && counts.1 == 0 {
        return Ok(counts);
    }
    let out = &mut session.out;
    if !out.is_table() {
        out.document(&made)?;
        return Ok(counts);
    }
    out.line(&format!("file          {}", shown(&made.file)))?;
    out.line(&format!("dead letters  {}", made.dead_letters))?;
    out.line(&format!("bytes         {}", made.bytes))?;
    out.flush()?;
    Ok(counts)
}

/// Lines, whatever the form of what is printed: they are the data. Signals end it as any program.
async fn to_stdout(
    queue: &DeadLetterQueue,
    selection: &Selection,
    session: &mut Session,
) -> Result<(u64, u64), Failure> {
    let mut exporting = queue.exporting(selection).await?;
    let quiet = if std::io::stdout().is_terminal() {
        Quiet::Yes
    } else {
        session.quiet()
    };
    let progress = Progress::new("exporting", exporting.progress().total, quiet);
    let out = &mut session.out;
    let mut say = |text: &str| {
        out.write(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|failure| failure.hint(NOT_WHOLE))?;
        if out.is_gone() {
            // Half of an archive is no success, whoever stopped reading it.
            return Err(Failure::new("writing to stdout: nobody reads it any more").hint(NOT_WHOLE));
        }
        Ok(())
    };
    while let Some(lines) = exporting.step().await? {
        say(&lines)?;
        progress.at(exporting.progress().examined);
    }
    let counts = (exporting.exported(), exporting.missing());
    if counts.0 > 0 {
        say(&exporting.footer()?)?;
    }
    Ok(counts)
}
