//! What a command answers, on stdout: as a table, as JSON, or as JSON Lines.

pub(crate) mod json;
mod table;

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use serde::Serialize;

pub(crate) use self::table::{Table, cut};
use crate::failure::{Code, Failure};
use crate::{stderr, terminal};

/// The form of what a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
}

/// Stdout, in the form that was asked for. Nobody reading any more is no failure of the command:
/// what is written from then on is dropped.
pub(crate) struct Output {
    pub(crate) format: Format,
    colours: Colours,
    to: BufWriter<Stdout>,
    gone: bool,
}

/// Whether colours may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Where a terminal is.
    Auto,
    Never,
}

impl Output {
    pub(crate) fn new(format: Format, colours: Colours) -> Self {
        Self {
            format,
            colours,
            to: BufWriter::new(io::stdout()),
            gone: false,
        }
    }

    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Whether nobody reads any more: what only looks may stop then.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// One document.
    pub(crate) fn document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let layout = match self.format {
            Format::Jsonl => json::Layout::Compact,
            Format::Json | Format::Table => json::Layout::Pretty,
        };
        self.json(value, layout)?;
        self.write(b"\n")?;
        self.flush()
    }

    /// A value as JSON, written as it is made: a payload is not held as text beside its bytes.
    fn json(&mut self, value: &impl Serialize, layout: json::Layout) -> Result<(), Failure> {
        let mut pipe = Pipe {
            output: self,
            failure: None,
        };
        let written = json::write(value, layout, &mut pipe);
        match (pipe.failure, written) {
            (Some(failure), _) => Err(failure),
            (None, written) => Ok(written?),
        }
    }

    /// Documents, one after another: an array, or a line each.
    pub(crate) fn documents(&mut self) -> Documents<'_> {
        Documents {
            output: self,
            any: false,
        }
    }

    /// A table.
    pub(crate) fn table(&mut self, table: Table) -> Result<(), Failure> {
        let text = table.text(terminal::width());
        self.write(text.as_bytes())?;
        self.flush()
    }

    /// A line of text, which must be safe already or come from us.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.write(line.as_bytes())?;
        self.write(b"\n")
    }

    /// Text in bold where there are colours.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.colours == Colours::Auto && terminal::colours(&io::stdout()) {
            format!("\u{1b}[1m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.gone {
            return Ok(());
        }
        if self.to.buffer().len() + bytes.len() > self.to.capacity() {
            stderr::catch_up();
        }
        let written = self.to.write_all(bytes);
        self.heard(written)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.gone {
            return Ok(());
        }
        // Where both go to one place, as on a terminal, what was said before stands before.
        stderr::catch_up();
        let flushed = self.to.flush();
        self.heard(flushed)
    }

    fn heard(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            Err(error) => {
                // Nothing more is tried: each further write would fail as well.
                self.gone = true;
                Err(
                    Failure::with(Code::Failed, format!("writing to stdout: {error}"))
                        .hint("what was done is done; what it would have said is lost"),
                )
            }
        }
    }
}

/// What is written goes to an output; why that failed is kept, for an error of writing has no room
/// for it.
struct Pipe<'a> {
    output: &'a mut Output,
    failure: Option<Failure>,
}

impl Write for Pipe<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.output.write(part).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::from(ErrorKind::Other)
        })?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Documents being written, one at a time: no more than one is held.
#[must_use = "without `end` an array stays open"]
pub(crate) struct Documents<'a> {
    output: &'a mut Output,
    any: bool,
}

impl Documents<'_> {
    pub(crate) fn add(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let before: &[u8] = match (self.output.format, self.any) {
            (Format::Jsonl, _) => b"",
            (_, false) => b"[\n  ",
            (_, true) => b",\n  ",
        };
        self.any = true;
        self.output.write(before)?;
        self.output.json(value, json::Layout::Compact)?;
        if self.output.format == Format::Jsonl {
            self.output.write(b"\n")?;
        }
        Ok(())
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.output.is_gone()
    }

    /// Brings what was added to whoever waits for it.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.output.flush()
    }

    pub(crate) fn end(self) -> Result<(), Failure> {
        match (self.output.format, self.any) {
            (Format::Jsonl, _) => {}
            (_, false) => self.output.write(b"[]\n")?,
            (_, true) => self.output.write(b"\n]\n")?,
        }
        self.output.flush()
    }
}
