//! `redrive dlq import`: dead letters back out of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use clap::builder::NonEmptyStringValueParser;
use indicatif::BinaryBytes;
use redrive::{
    Archive, ArchiveReader, ArchivedDeadLetter, AuditOutcome, ImportOptions, ImportOutcome,
    ImportReport, StreamKey,
};
use serde::Serialize;

use super::audited::{self, Audited};
use super::bulk::{self, Ended};
use super::letter::line;
use crate::archive::{Lines, Source};
use crate::confirm::{self, Consent};
use crate::failure::{Code, Failure};
use crate::literals;
use crate::output::json::instant;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::signals::Signals;
use crate::terminal::{note, shown};

/// How many are shown before asking.
const FIRST: usize = 5;

/// How many lines that cannot be used are told.
const TOLD: u64 = 10;

/// Bring the dead letters of an export back, with new ids and otherwise byte for byte
///
/// The whole file is read and checked before anything is changed: one that is cut or damaged is
/// refused. Each is imported once, however often it is asked for: a receipt remembers it for two days
/// and more. It can be interrupted and run again. The limit of a queue does not apply.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq import orders.jsonl.zst\n  \
    redrive dlq import orders.jsonl --dlq orders:archive --dry-run")]
pub(crate) struct Args {
    /// A file that `redrive dlq export` wrote, packed or not; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Into this queue; the default is the one that each came from
    #[arg(long, value_name = "NAME")]
    dlq: Option<StreamKey>,
    /// Check the file and say what would happen; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Once more, although they were imported in the last days: purged since, or wanted twice. WORD
    /// tells this import from others; with the same one it goes on where it ended
    #[arg(long, value_name = "WORD", value_parser = NonEmptyStringValueParser::new())]
    again: Option<String>,
    /// Of a file that is cut or damaged, import what is whole, and say what is not
    #[arg(long)]
    salvage: bool,
    /// How long a line may be: what a dead letter may take of memory
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = literals::size)]
    max_line: usize,
    #[command(flatten)]
    audited: Audited,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let asks = session.consent() == Consent::Asked && !args.dry_run;
    if asks && args.file == Path::new("-") {
        return Err(Failure::usage(
            "the file comes on stdin, so nobody can be asked whether to import it",
        )
        .hint("look first, with --dry-run, then say --yes; or import from a file"));
    }
    let audit = args.audited.audit()?;
    let mut source = Source::open(&args.file)?;
    let checked = Checked::read(&mut source, &args)?;
    if args.dry_run {
        checked.tell(&source, &mut session.out)?;
        return checked.left_out(false);
    }
    if checked.archive.dead_letters == 0 {
        checked.left_out(true)?;
        return Err(
            Failure::nothing(format!("no dead letters in {}", source.name()))
                .hint("it is an export of nothing"),
        );
    }
    if asks {
        let more = checked.archive.dead_letters - checked.first.len() as u64;
        confirm::confirm_or(
            &checked.what(),
            &checked.first,
            more,
            "look first, with --dry-run, then say --yes",
        )?;
    }
    let broker = session.broker().await?;
    let mut options = ImportOptions::default()
        .audited(audit)
        .source(source.name());
    if let Some(queue) = &args.dlq {
        options = options.into_queue(queue.clone());
    }
    if let Some(word) = &args.again {
        options = options.again(word.clone());
    }
    let mut signals = Signals::listen()?;
    let mut importing = broker.importing(&checked.archive, &options);
    let mut again = Reading::of(&mut source, &args)?;
    let start = importing.progress();
    let (quiet, silent) = (session.quiet(), session.is_silent());
    let out = &mut session.out;
    // What was done is done: it goes on when what it says of it cannot be written.
    let mut told = Ok(());
    let mut read = Ok(());
    let step = async || {
        while !importing.is_full() {
            match again.next() {
                Ok(Some(one)) => importing.add(one),
                Ok(None) => break,
                Err(failure) => {
                    read = Err(failure);
                    return Ok(None);
                }
            }
        }
        let stepped = importing.step().await?;
        if out.format == Format::Jsonl && told.is_ok() {
            told = importing
                .last()
                .iter()
                .try_for_each(|one| out.document(one));
        }
        Ok(stepped)
    };
    let ended = bulk::work("importing", start, quiet, &mut signals, step).await;
    if let Some(outcome) = audited::outcome(&ended) {
        importing
            .end(match &read {
                Ok(()) => outcome,
                Err(_) => AuditOutcome::Failed,
            })
            .await;
    }
    let report = importing.into_report();
    let done = report.imported + report.already;
    let nothing_known = matches!(ended, Ended::Failed(_)) && done == 0;
    let judged = judged(ended, read, again, &report, &checked, &source);
    let told = match nothing_known || (silent && judged.is_ok()) {
        // No zeros.
        true => told,
        false => told.and_then(|()| print(&report, out)),
    };
    judged.and(told)
}

fn judged(
    ended: Ended,
    read: Result<(), Failure>,
    again: Reading,
    report: &ImportReport,
    checked: &Checked,
    source: &Source,
) -> Result<(), Failure> {
    let done = report.imported + report.already;
    let whole = matches!(ended, Ended::Whole) && read.is_ok();
    let same = again.into_archive() == checked.archive;
    let undone = report.dead_letters - done.min(report.dead_letters);
    read.map_err(|failure| failure.code(Code::Partly))?;
    if whole && !same {
        let text = format!("{} was changed while it was imported", source.name());
        return Err(Failure::with(Code::Partly, text).hint("import it again: nothing is doubled"));
    }
    bulk::judge(ended, done, undone, "imported")?;
    checked.left_out(true)?;
    came_back(report)
}

/// That what was imported before is there no more.
fn came_back(report: &ImportReport) -> Result<(), Failure> {
    if report.gone == 0 {
        return Ok(());
    }
    let text = format!(
        "{} were imported before and are in no queue any more: replayed or purged since",
        report.gone
    );
    let hint = "--again WORD, a word of yours, imports them once more";
    Err(Failure::with(Code::Partly, text).hint(hint))
}

/// What a first reading of the file came to.
struct Checked {
    archive: Archive,
    /// The first ones, a line each, for a person.
    first: Vec<String>,
    /// Where they go.
    queues: BTreeMap<StreamKey, u64>,
    /// How many lines cannot be used, or what stands behind one cannot.
    bad: u64,
    /// Why it is no whole export.
    flaw: Option<String>,
}

impl Checked {
    fn read(source: &mut Source, args: &Args) -> Result<Self, Failure> {
        let mut reading = Reading::of(source, args)?;
        reading.tells = true;
        let mut first = Vec::new();
        while let Some(one) = reading.next()? {
            if first.len() < FIRST {
                first.push(line(&one.dead_letter));
            }
        }
        let bad = reading.bad;
        let (archive, flaw) = reading.finish()?;
        let queues = match &args.dlq {
            None => archive.queues.clone(),
            Some(queue) => [(queue.clone(), archive.dead_letters)].into(),
        };
        Ok(Self {
            archive,
            first,
            queues,
            bad,
            flaw,
        })
    }

    /// What would be done, in a line.
    fn what(&self) -> String {
        let Archive {
            dead_letters,
            size,
            oldest_ms,
            newest_ms,
            ..
        } = &self.archive;
        let queues: Vec<&str> = self.queues.keys().take(3).map(StreamKey::as_str).collect();
        let queues = match self.queues.len() - queues.len() {
            0 => queues.join(", "),
            more => format!("{} and {more} more queues", queues.join(", ")),
        };
        let letters = if *dead_letters == 1 {
            "dead letter"
        } else {
            "dead letters"
        };
        let at = |ms: &Option<u64>| ms.and_then(instant).unwrap_or_else(|| "?".to_owned());
        format!(
            "import {dead_letters} {letters} into {queues}: {}, died from {} to {}",
            BinaryBytes(*size),
            at(oldest_ms),
            at(newest_ms)
        )
    }

    fn tell(&self, source: &Source, out: &mut Output) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Queue<'a> {
            dlq: &'a StreamKey,
            dead_letters: u64,
        }
        #[derive(Serialize)]
        struct Would<'a> {
            file: &'a str,
            dead_letters: u64,
            size: u64,
            oldest: Option<String>,
            newest: Option<String>,
            queues: Vec<Queue<'a>>,
            damaged_lines: u64,
        }
        let archive = &self.archive;
        if !out.is_table() {
            let queues = self.queues.iter().map(|(dlq, count)| Queue {
                dlq,
                dead_letters: *count,
            });
            return out.document(&Would {
                file: source.name(),
                dead_letters: archive.dead_letters,
                size: archive.size,
                oldest: archive.oldest_ms.and_then(instant),
                newest: archive.newest_ms.and_then(instant),
                queues: queues.collect(),
                damaged_lines: self.bad,
            });
        }
        out.line("a dry run: nothing was changed\n")?;
        out.line(&format!("this would {}:", shown(&self.what())))?;
        for line in &self.first {
            out.line(&format!("  {}", shown(line)))?;
        }
        let more = archive.dead_letters - self.first.len() as u64;
        if more > 0 {
            out.line(&format!("  and {more} more"))?;
        }
        out.flush()
    }

    /// That not all of the file could be used.
    fn left_out(&self, was_done: bool) -> Result<(), Failure> {
        let hint = "export it again where the dead letters still are, and import that as well";
        if self.bad == 0 {
            return match &self.flaw {
                None => Ok(()),
                Some(flaw) => Err(Failure::with(Code::Partly, flaw.as_str()).hint(hint)),
            };
        }
        let verb = if was_done { "was" } else { "would be" };
        let text = format!("what is damaged {verb} left out: {} times", self.bad);
        Err(Failure::with(Code::Partly, text).hint(hint))
    }
}

/// One reading of the file.
struct Reading {
    lines: Lines,
    reader: ArchiveReader,
    salvage: bool,
    /// Whether it says what it passes over.
    tells: bool,
    bad: u64,
}

impl Reading {
    fn of(source: &mut Source, args: &Args) -> Result<Self, Failure> {
        Ok(Self {
            lines: source.lines(args.max_line)?,
            reader: ArchiveReader::new(),
            salvage: args.salvage,
            tells: false,
            bad: 0,
        })
    }

    /// The next dead letter.
    fn next(&mut self) -> Result<Option<ArchivedDeadLetter>, Failure> {
        loop {
            let line = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                // Behind this nothing can be read.
                Err(failure) if self.salvage => {
                    self.pass_over(&failure);
                    return Ok(None);
                }
                Err(failure) => return Err(failure),
            };
            match self.reader.line(line) {
                Ok(Some(one)) => return Ok(Some(one)),
                Ok(None) => {}
                Err(error) => {
                    let failure = Failure::from(error).code(Code::Failed);
                    if !self.salvage {
                        let text = "nothing was imported; --salvage imports what is whole of it";
                        return Err(failure.also(text));
                    }
                    self.pass_over(&failure);
                }
            }
        }
    }

    fn pass_over(&mut self, failure: &Failure) {
        self.bad += 1;
        if self.tells && self.bad <= TOLD {
            note(&format!("left out: {}", failure.text()));
        }
    }

    /// What there was in it, and what is wrong with the whole of it where that is passed over.
    fn finish(mut self) -> Result<(Archive, Option<String>), Failure> {
        if !self.salvage {
            let failed = |error| Failure::from(error).code(Code::Failed);
            let archive = self.reader.finish().map_err(failed)?;
            return Ok((archive, None));
        }
        let salvaged = self.reader.clone().salvage();
        let flaw = std::mem::take(&mut self.reader).finish().err();
        Ok((salvaged, flaw.map(|error| format!("not whole: {error}"))))
    }

    /// What there was in it, to be compared.
    fn into_archive(self) -> Archive {
        if self.salvage {
            return self.reader.salvage();
        }
        self.reader.finish().unwrap_or_default()
    }
}

fn print(report: &ImportReport, out: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Counts {
        dead_letters: u64,
        imported: u64,
        already: u64,
        gone: u64,
    }
    match out.format {
        Format::Json => return out.document(report),
        Format::Jsonl => {
            return out.document(&Counts {
                dead_letters: report.dead_letters,
                imported: report.imported,
                already: report.already,
                gone: report.gone,
            });
        }
        Format::Table => {}
    }
    out.line(&format!("dead letters  {}", report.dead_letters))?;
    out.line(&format!("imported      {}", report.imported))?;
    out.line(&format!("already       {}", report.already))?;
    const SHOWN: usize = 10;
    for one in report.new_ids.iter().take(SHOWN) {
        let is = match one.outcome {
            ImportOutcome::Gone => "was",
            _ => "is",
        };
        out.line(&format!(
            "  {} {is} {} in {}",
            one.id,
            one.new_id,
            shown(one.dlq.as_str())
        ))?;
    }
    let all = report.imported + report.already;
    if all > SHOWN as u64 {
        let more = all - SHOWN as u64;
        out.line(&format!("  and {more} more; -o jsonl tells all new ids"))?;
    }
    out.flush()
}
