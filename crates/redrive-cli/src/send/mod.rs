//! `redrive send`: messages from the command line or from stdin, in their order, each once.

mod interrupt;
mod lines;
mod object;
mod reading;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args as ClapArgs};
use redrive::{EntryId, ErrorKind, Fields, Producer, StreamKey};

use self::interrupt::Interrupt;
use self::reading::{Bad, Batch, Piece, Shape};
use crate::failure::{Code, Failure};
use crate::literals;
use crate::output::{Documents, Output};
use crate::session::Session;

/// Add messages to a stream, and print their ids
///
/// One message is given by its fields (-f) or as a JSON object (--json); many come from stdin (-),
/// one JSON object a line. A member of an object becomes a field: a string as it is, anything else
/// as compact JSON. With --field the whole text goes into that one field instead; from stdin that
/// is each line as it is, JSON or not. Blank lines are skipped.
///
/// Messages are added in their order, and none is ever sent twice. At a bad line it stops: what
/// comes before is added, the error names the line and says how to go on. It ends with 0 when all
/// is added, 4 when a part is, 2 when nothing is because of what was given, 1 when nothing is for
/// another reason.
#[derive(ClapArgs)]
#[command(
    override_usage = "redrive send [OPTIONS] <STREAM> <-f <NAME=VALUE>...|--json <OBJECT>|->",
    group = ArgGroup::new("message").required(true).args(["fields", "json", "stdin"]),
    after_help = "Examples:\n  \
    redrive send orders -f number=17 -f total=12.50\n  \
    redrive send orders - < orders.jsonl"
)]
pub(crate) struct Args {
    /// The stream, which is created if it is missing
    stream: StreamKey,
    /// A field of the message; once for each
    #[arg(
        short = 'f',
        value_name = "NAME=VALUE",
        value_parser = OsStringValueParser::new().try_map(pair),
        conflicts_with = "field"
    )]
    fields: Vec<Pair>,
    /// The message as a JSON object; with --field any JSON
    #[arg(long, value_name = "OBJECT")]
    json: Option<String>,
    /// Read messages from stdin, one JSON object a line
    #[arg(value_name = "-", value_parser = dash)]
    stdin: Option<Stdin>,
    /// Put the whole text into this one field
    #[arg(long, value_name = "NAME", value_parser = name)]
    field: Option<String>,
    /// How large a message may be: the bytes of its names and values
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = literals::size)]
    max_size: usize,
}

/// A field of a message.
type Pair = (Vec<u8>, Vec<u8>);

/// That messages come from stdin.
#[derive(Clone, Copy)]
struct Stdin;

fn pair(text: OsString) -> Result<Pair, &'static str> {
    let text = text.into_vec();
    match text.iter().position(|byte| *byte == b'=') {
        None => Err("a field is NAME=VALUE"),
        Some(0) => Err("a field needs a name"),
        Some(at) => Ok((text[..at].to_vec(), text[at + 1..].to_vec())),
    }
}

fn dash(text: &str) -> Result<Stdin, &'static str> {
    match text {
        "-" => Ok(Stdin),
        _ => Err("only -, for stdin, can stand here; a message is given by -f or --json"),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a field needs a name"),
        text => Ok(text.to_owned()),
    }
}

/// Sends what is given.
pub(crate) async fn run(args: Args, session: &mut Session) -> Result<(), Failure> {
    let shape = match &args.field {
        Some(name) => Shape::OneField(name.clone().into_bytes()),
        None => Shape::FieldsOfAnObject,
    };
    let one = match &args.json {
        Some(json) => Some(from_json(json, &shape)?),
        None if args.stdin.is_some() => None,
        None => Some(Fields::from_iter(args.fields)),
    };
    let broker = session.broker().await?;
    let producer = broker.producer(args.stream).max_size(args.max_size);
    match one {
        Some(fields) => send_one(&producer, fields, &mut session.out).await,
        None => {
            let pieces = reading::start(std::io::stdin(), shape, producer.clone(), args.max_size)?;
            send_lines(&producer, pieces, &mut session.out).await
        }
    }
}

fn from_json(json: &str, shape: &Shape) -> Result<Fields, Failure> {
    let hint = "quote it for the shell: --json '{\"a\":1}'";
    let fields = match shape {
        Shape::OneField(name) => object::check(json)
            .map(|()| Fields::from_iter([(name.clone(), json.as_bytes().to_vec())])),
        Shape::FieldsOfAnObject => object::fields(json.as_bytes()),
    };
    fields.map_err(|what| Failure::usage(format!("--json is {what}")).hint(hint))
}

async fn send_one(producer: &Producer, fields: Fields, out: &mut Output) -> Result<(), Failure> {
    producer
        .check(&fields)
        .map_err(|error| Failure::from(error).code(Code::Usage))?;
    let id = producer.send_fields(fields).await.map_err(|error| {
        let refused = is_refusal(error.kind());
        let failure = Failure::from(error).code(Code::Failed);
        if refused {
            failure
        } else {
            failure
                .also("it is unknown whether the message was added")
                .hint("look whether it is in the stream before you send it again")
        }
    })?;
    let mut ids = Ids::new(out);
    ids.tell(&[id])
        .and_then(|()| ids.end())
        .map_err(|failure| failure.also("the message was added").code(Code::Partly))
}

/// Whether the server has answered, and said no.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Denied
            | ErrorKind::WrongType
            | ErrorKind::Unavailable
            | ErrorKind::WritesRefused
            | ErrorKind::Refused
            | ErrorKind::Invalid
    )
}

/// Sends batches while the next are read, and tells the ids in their order.
async fn send_lines(
    producer: &Producer,
    mut pieces: reading::Pieces,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut ids = Ids::new(out);
    let mut done = Done {
        stream: producer.stream(),
        added: 0,
        line: 0,
    };
    let sent = loop {
        let piece = tokio::select! {
            biased;
            () = interrupt.asked() => break Err(done.interrupted()),
            piece = pieces.recv() => piece,
        };
        let batch = match piece {
            Some(Piece::Batch(batch)) => batch,
            Some(Piece::End) => break Ok(()),
            Some(Piece::Bad(bad)) => break Err(done.bad(bad)),
            None => break Err(done.stopped(Failure::new("reading stdin ended too early"))),
        };
        // Not cut off by a signal: whether a message was added would be unknown.
        match producer.send_fields_all(&batch.entries).await {
            Ok(new) => {
                done.added += new.len();
                done.line = batch.last;
                if let Err(failure) = ids.tell(&new) {
                    break Err(done.stopped(failure));
                }
            }
            Err(error) => break Err(done.broken(error, &batch)),
        }
        if interrupt.is_asked() {
            break Err(done.interrupted());
        }
    };
    let ended = ids.end();
    sent.and_then(|()| ended.map_err(|failure| done.stopped(failure)))
}

/// How far it has come.
struct Done<'a> {
    stream: &'a StreamKey,
    added: usize,
    /// The last line that is added.
    line: u64,
}

impl Done<'_> {
    fn added(&self) -> String {
        match self.added {
            0 => "nothing was added".to_owned(),
            1 => "1 message was added".to_owned(),
            many => format!("{many} messages were added"),
        }
    }

    /// How to send what is left, from this line on.
    fn go_on(&self, line: u64) -> String {
        match line {
            1 => "send all of it again".to_owned(),
            _ => {
                let stream = self.stream;
                format!("go on with `tail -n +{line} FILE | redrive send {stream} -`")
            }
        }
    }

    fn code(&self, otherwise: Code) -> Code {
        if self.added == 0 {
            otherwise
        } else {
            Code::Partly
        }
    }

    fn bad(&self, bad: Bad) -> Failure {
        let Bad {
            line,
            what,
            cure,
            code,
        } = bad;
        let cure = cure.unwrap_or_else(|| "mend the line".to_owned());
        Failure::with(self.code(code), format!("line {line}: {what}"))
            .also(self.added())
            .hint(format!("{cure}; then {}", self.go_on(line)))
    }

    /// Stopped between two batches: all that was sent is known.
    fn stopped(&self, failure: Failure) -> Failure {
        failure
            .also(self.added())
            .hint(self.go_on(self.line + 1))
            .code(self.code(Code::Failed))
    }

    fn interrupted(&self) -> Failure {
        self.stopped(Failure::new("interrupted"))
    }

    /// The broker failed at a batch.
    fn broken(&self, error: redrive::Error, batch: &Batch) -> Failure {
        let refused = is_refusal(error.kind()) && batch.entries.len() == 1;
        let cure = error.cure().map(str::to_owned);
        let failure = Failure::from(error).also(self.added());
        let (first, last) = (batch.first, batch.last);
        let (failure, go_on) = if refused {
            (failure, self.go_on(first))
        } else {
            let (lines, look) = if first == last {
                let look = format!("look whether line {first} is in the stream and send it if not");
                (format!("line {first}"), look)
            } else {
                let lines = format!("lines {first} to {last}");
                let look =
                    format!("look which of {lines} are in the stream and send those that are not");
                (lines, look)
            };
            (
                failure.also(format!("of {lines} it is unknown")),
                format!("{look}; then {}", self.go_on(last + 1)),
            )
        };
        let hint = cure.map_or(go_on.clone(), |cure| format!("{cure}; {go_on}"));
        failure.hint(hint).code(self.code(Code::Failed))
    }
}

/// Ids on stdout: a line each, or the strings of an array.
enum Ids<'a> {
    Lines(&'a mut Output),
    Documents(Documents<'a>),
}

impl<'a> Ids<'a> {
    fn new(out: &'a mut Output) -> Self {
        if out.is_table() {
            Self::Lines(out)
        } else {
            Self::Documents(out.documents())
        }
    }

    /// Tells these at once: who reads them may be waiting.
    fn tell(&mut self, ids: &[EntryId]) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => {
                for id in ids {
                    out.line(&id.to_string())?;
                }
                out.flush()
            }
            Self::Documents(documents) => {
                for id in ids {
                    documents.add(&id.to_string())?;
                }
                documents.flush()
            }
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self {
            Self::Lines(out) => out.flush(),
            Self::Documents(documents) => documents.end(),
        }
    }
}
