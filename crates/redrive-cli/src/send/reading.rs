//! Stdin, read and parsed on a thread of its own while what came before is being sent.

use std::io::Read;

use redrive::{Fields, Producer};
use tokio::sync::mpsc;

use super::lines::{Line, Lines};
use super::object;
use crate::failure::{Code, Failure};

/// How much is sent in one go, in messages and in bytes: one load of the library.
const BATCH: (usize, usize) = (1_000, 1 << 20);
/// The longest way to write a byte in JSON: `\u0000`.
const ESCAPED: usize = 6;
/// What a line may hold beside the bytes of its message: blanks, quotes, braces.
const AROUND: usize = 64 * 1024;

/// How a line becomes a message.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Each member of an object is a field.
    FieldsOfAnObject,
    /// The line as it is, in a field of this name.
    OneField(Vec<u8>),
}

/// What the reader hands over, in order.
pub(super) enum Piece {
    Batch(Batch),
    /// All has been read.
    End,
    /// Here it had to stop; what came before has been handed over.
    Bad(Bad),
}

/// Messages to send together, from these lines and blank ones between them.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Fields>,
    pub(super) first: u64,
    pub(super) last: u64,
    bytes: usize,
}

/// A line that is no message.
pub(super) struct Bad {
    pub(super) line: u64,
    pub(super) what: String,
    pub(super) cure: Option<String>,
    /// How to end when nothing has been sent.
    pub(super) code: Code,
}

/// Closed without an end where the reader died.
pub(super) type Pieces = mpsc::Receiver<Piece>;

/// Starts to read. The thread is not waited for: it may be held by a read that never ends.
pub(super) fn start(
    from: impl Read + Send + 'static,
    shape: Shape,
    producer: Producer,
    max_size: usize,
) -> Result<Pieces, Failure> {
    // One batch being sent, one waiting, one being read.
    let (to, pieces) = mpsc::channel(1);
    let longest = match &shape {
        Shape::FieldsOfAnObject => max_size.saturating_mul(ESCAPED).saturating_add(AROUND),
        Shape::OneField(_) => max_size,
    };
    let mut reader = Reader {
        lines: Lines::new(from, longest),
        shape,
        producer,
        to,
        batch: Batch::default(),
        most: 1,
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let last = match reader.read() {
                Ok(()) => Piece::End,
                Err(Stopped::Bad(bad)) => Piece::Bad(bad),
                Err(Stopped::NobodyListens) => return,
            };
            if reader.hand_over().is_ok() {
                let _ = reader.to.blocking_send(last);
            }
        })
        .map_err(|error| Failure::new(format!("starting to read stdin: {error}")))?;
    Ok(pieces)
}

/// Why the reader stops before the end.
enum Stopped {
    Bad(Bad),
    NobodyListens,
}

struct Reader<R> {
    lines: Lines<R>,
    shape: Shape,
    producer: Producer,
    to: mpsc::Sender<Piece>,
    batch: Batch,
    /// How many messages a batch may have. The first goes alone: what a server refuses altogether
    /// it refuses then, and of no other message it is unknown whether it was added.
    most: usize,
}

impl<R: Read> Reader<R> {
    fn read(&mut self) -> Result<(), Stopped> {
        loop {
            let number = self.lines.number() + 1;
            let bad = |what: String, cure: Option<String>| {
                Stopped::Bad(Bad {
                    line: number,
                    what,
                    cure,
                    code: Code::Usage,
                })
            };
            let longest = self.lines.longest();
            let line = match self.lines.next() {
                Ok(None) => return Ok(()),
                Ok(Some(Line::Whole(line))) => line,
                Ok(Some(Line::TooLong)) => {
                    let cure = "keep large payloads elsewhere and send where, or raise --max-size";
                    return Err(bad(
                        format!("longer than {longest} bytes"),
                        Some(cure.to_owned()),
                    ));
                }
                Err(error) => {
                    return Err(Stopped::Bad(Bad {
                        line: number,
                        what: format!("reading stdin: {error}"),
                        cure: Some("see that stdin can be read".to_owned()),
                        code: Code::Failed,
                    }));
                }
            };
            if !line.trim_ascii().is_empty() {
                let fields = match &self.shape {
                    Shape::FieldsOfAnObject => object::fields(line),
                    Shape::OneField(name) => Ok(Fields::from_iter([(name.clone(), line.to_vec())])),
                };
                let fields = fields.map_err(|what| bad(what, None))?;
                self.producer
                    .check(&fields)
                    .map_err(|error| bad(error.to_string(), error.cure().map(str::to_owned)))?;
                self.take(fields, number)?;
            }
            if self.lines.may_wait() {
                self.hand_over().map_err(|()| Stopped::NobodyListens)?;
            }
        }
    }

    /// Adds a message to the batch, which is handed over when it is full.
    fn take(&mut self, fields: Fields, line: u64) -> Result<(), Stopped> {
        let size = fields.size();
        let full = self.batch.entries.len() >= self.most || self.batch.bytes + size > BATCH.1;
        if full {
            self.hand_over().map_err(|()| Stopped::NobodyListens)?;
        }
        if self.batch.entries.is_empty() {
            self.batch.first = line;
        }
        self.batch.last = line;
        self.batch.bytes += size;
        self.batch.entries.push(fields);
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), ()> {
        if self.batch.entries.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.most = BATCH.0;
        self.to.blocking_send(Piece::Batch(batch)).map_err(drop)
    }
}
