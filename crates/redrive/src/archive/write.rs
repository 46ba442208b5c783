//! Writing an export: lines, counted and hashed as they are made, and the footer that seals them.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use sha2::{Digest, Sha256};

use super::line::{Footer, Line};
use super::{VERSION, hex};
use crate::dead_letter::DeadLetter;
use crate::error::{Error, ErrorKind};
use crate::names::StreamKey;

/// The lines of an export, one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    hash: Sha256,
    count: u64,
    bytes: u64,
}

impl Writer {
    /// Adds the line of a dead letter, with its line feed.
    pub(crate) fn add(
        &mut self,
        dlq: &StreamKey,
        letter: &DeadLetter,
        lines: &mut String,
    ) -> Result<(), Error> {
        let line = text(&Line::new(dlq, letter))?;
        self.hash.update(&line);
        self.count += 1;
        self.bytes += line.len() as u64;
        lines.push_str(&line);
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The footer: how many lines there are before it, and SHA-256 of all of them, line feeds
    /// included.
    pub(crate) fn footer(self) -> Result<String, Error> {
        text(&Footer {
            redrive_export: VERSION,
            dead_letters: self.count,
            sha256: hex(&self.hash.finalize()),
        })
    }
}

/// A value as JSON on one line, with its line feed.
fn text(value: &impl Serialize) -> Result<String, Error> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(ErrorKind::Invalid, "writing a dead letter as JSON").caused_by(error)
    };
    let mut text = Vec::with_capacity(1_024);
    let mut to = serde_json::Serializer::with_formatter(&mut text, Plain);
    value
        .serialize(&mut to)
        .map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(|error| failed(error.into()))
}

/// JSON in which nothing steers a terminal, or is not seen: of characters beyond ASCII it has only
/// letters and numbers as they are, everything else as `\u…`. The same string to whoever parses it.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !is_plain(c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric())
}
