//! `redrive dlq pull`: a dead letter as a file, to test a handler with.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use redrive::{DeadLetter, DeadLetterQueue, Decode, EntryId};
use serde::Serialize;

use super::Where;
use super::body::{body, to_stdout, trimmed};
use super::letter::Letter;
use super::show::Place;
use crate::archive::{Existing, Target};
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
    let target = Target::create(&path, existing)?;
    let written = {
        let mut file = BufWriter::new(target.file());
        what.write(&queue, &letter, &mut file)
            .and_then(|()| file.flush())
    };
    written.map_err(|error| unwritten(&path, &error))?;
    let bytes = target.publish()?;
    if session.is_silent() {
        return Ok(());
    }
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

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("writing {}: {error}", path.display()))
        .hint("no file was left behind; is the disk full?")
}
