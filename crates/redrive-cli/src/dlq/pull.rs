//! `redrive dlq pull`: a dead letter as a file, to test a handler with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use redrive::{DeadLetter, DeadLetterQueue, Decode, EntryId};
use serde::Serialize;

use super::Where;
use super::body::{body, to_stdout, trimmed};
use super::letter::Letter;
use super::show::Place;
use crate::failure::Failure;
use crate::output::json::{self, Bytes};
use crate::run::Bodies;
use crate::session::Session;
use crate::terminal::shown_bytes;

/// Write a dead letter into a file, to test a handler with
///
/// The file is the JSON of `redrive dlq list`, which redrive::Fields::from_json reads in a test. With
/// --payload it is what `redrive run` gives a handler: `./handler < FILE` runs one. Nobody but you may
/// read the file; the message may hold what others must not see.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    redrive dlq pull 1795324222405-0 orders --to tests/fixtures/no-currency.json\n  \
    redrive dlq pull 1795324222405-0 orders --payload --field data --to - | ./handler")]
pub(crate) struct Args {
    /// The id of the dead letter
    #[arg(value_name = "ID")]
    id: EntryId,
    #[command(flatten)]
    place: Where,
    /// The file, - for stdout [default: ID.json; ID.payload with --field, ID.payload.json without]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// What a handler gets on stdin: all fields as JSON, or the bytes of --field
    #[arg(long)]
    payload: bool,
    /// With --payload: the bytes of this field, as `redrive run --field` gives them
    #[arg(long, value_name = "NAME", requires = "payload")]
    field: Option<String>,
    /// Put it in the place of a file that is there
    #[arg(long)]
    force: bool,
}

/// What was written where.
#[derive(Serialize)]
struct Pulled<'a> {
    id: EntryId,
    file: Bytes<'a>,
    bytes: u64,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let (queue, only_from) = args.place.names()?;
    let queue = session.broker().await?.dead_letters(queue);
    let place = Place {
        queue: &queue,
        only_from,
    };
    let letter = place.letter(args.id).await?;
    let what = What::of(&args, &letter)?;
    let path = match args.to {
        Some(path) if path.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            what.write(&queue, &letter, &mut bytes)?;
            return to_stdout(&bytes, &mut session.out);
        }
        Some(path) => path,
        None => PathBuf::from(format!("{}{}", args.id, what.ending())),
    };
    let existing = if args.force {
        Existing::Replaced
    } else {
        Existing::Kept
    };
    let written = save(&path, existing, |file| what.write(&queue, &letter, file));
    let bytes = written.map_err(|error| unwritten(&path, &error))?;
    let name = path.as_os_str().as_encoded_bytes();
    if session.out.is_table() {
        session.out.line(&shown_bytes(name))?;
        return session.out.flush();
    }
    session.out.document(&Pulled {
        id: args.id,
        file: Bytes(name),
        bytes,
    })
}

/// What goes into the file.
enum What<'a> {
    DeadLetter,
    /// All fields, as a handler gets them.
    AllFields(bytes::Bytes),
    OneField(&'a [u8]),
}

impl<'a> What<'a> {
    fn of(args: &Args, letter: &'a DeadLetter) -> Result<Self, Failure> {
        if letter.is_tombstone() {
            return Err(trimmed(letter));
        }
        Ok(match (args.payload, &args.field) {
            (false, _) => Self::DeadLetter,
            (true, Some(name)) => Self::OneField(body(letter, Some(name))?),
            (true, None) => {
                let all = Bodies::All.decode(&letter.fields);
                let all = all.map_err(|error| Failure::new(error.to_string()))?;
                Self::AllFields(all.bytes)
            }
        })
    }

    fn ending(&self) -> &'static str {
        match self {
            Self::DeadLetter => ".json",
            Self::AllFields(_) => ".payload.json",
            Self::OneField(_) => ".payload",
        }
    }

    fn write(
        &self,
        queue: &DeadLetterQueue,
        letter: &DeadLetter,
        to: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::DeadLetter => {
                json::write(&Letter::new(queue, letter), json::Layout::Pretty, to)?;
                to.write_all(b"\n")
            }
            // Not a byte more than a handler would get.
            Self::AllFields(bytes) => to.write_all(bytes),
            Self::OneField(bytes) => to.write_all(bytes),
        }
    }
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Kept,
    Replaced,
}

/// Writes a file that only its owner may read, and answers its length. One that is there stays as
/// it is, also a link, unless it is to be replaced; and then until all is written.
fn save(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<u64> {
    let mut at = path.to_owned();
    if existing == Existing::Replaced {
        if path.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        at.set_file_name(name);
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&at)?;
    let filled = fill(file, write).and_then(|length| {
        if at != path {
            fs::rename(&at, path)?;
        }
        Ok(length)
    });
    if filled.is_err() {
        // Half a file must not look like one.
        let _ = fs::remove_file(&at);
    }
    filled
}

fn fill(file: File, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<u64> {
    let mut to = BufWriter::new(file);
    write(&mut to)?;
    let file = to.into_inner()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let hint = match error.kind() {
        ErrorKind::AlreadyExists => "--force replaces it, --to names another file",
        _ => "--to names another file, - stdout",
    };
    Failure::new(format!("writing {path}: {error}")).hint(hint)
}
