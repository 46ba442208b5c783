//! Reading an export, line by line: each is checked by itself, all of them by the footer.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::line::{Footer, Read, check};
use super::{FOOTER, VERSION, hex};
use crate::dead_letter::{self, DeadLetter};
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

const EXPORT_AGAIN: &str = "export it again where the dead letters still are";
const CUT: &str = "it was cut or changed: copy it again, or export it again";

/// UTF-8's, which some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A dead letter that stands in an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivedDeadLetter {
    /// The queue that it was exported from.
    pub queue: StreamKey,
    /// As it was there, with the id that it had there.
    pub dead_letter: DeadLetter,
    /// What it is told by when it is imported.
    pub(crate) check: String,
}

/// What an export holds: read to its end, and whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Archive {
    /// How many dead letters.
    pub dead_letters: u64,
    /// How many of which queue.
    pub queues: BTreeMap<StreamKey, u64>,
    /// The bytes of all their stored names and values.
    pub size: u64,
    /// When the first of them died, in Unix ms; where a layout does not say it, when it was added to
    /// the queue, by its id. `None` where there are none.
    pub oldest_ms: Option<u64>,
    /// When the last one died, likewise.
    pub newest_ms: Option<u64>,
    /// The checksum: SHA-256 of all lines before the footer, line feeds included, as 64 hex digits.
    /// Of several exports one after another, SHA-256 of their checksums.
    pub sha256: String,
    /// How many exports stand one after another in it, as in a file that a queue was
    /// [spilled](crate::Overflow::Spill) to.
    pub exports: u64,
}

impl Archive {
    fn add(&mut self, one: &ArchivedDeadLetter) {
        let letter = &one.dead_letter;
        self.dead_letters += 1;
        *self.queues.entry(one.queue.clone()).or_default() += 1;
        self.size = self.size.saturating_add(letter.size() as u64);
        let died = letter.dead_at_ms.unwrap_or(letter.id.millis());
        self.oldest_ms = Some(self.oldest_ms.map_or(died, |oldest| oldest.min(died)));
        self.newest_ms = Some(self.newest_ms.map_or(died, |newest| newest.max(died)));
    }
}

/// Reads an export, or several one after another, each with its footer: a line at a time, so that one of a million takes no more memory than one of a
/// hundred. Opening, unpacking and splitting a file into lines is up to whoever has it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # use redrive::{ArchiveReader, Broker, Fields, Message, Outcome, Processor, Selection, Source};
/// # let broker = Broker::connect("memory:").await?;
/// # broker.producer("orders".parse()?).send(&"coffee").await?;
/// # let handler = async |_: Message<String>| Outcome::dead_letter("no");
/// # Processor::builder(&broker, Source::new("orders", "billing")?).build(handler)?.run_until_idle().await?;
/// let text = broker.dead_letters("orders:dlq".parse()?).export(&Selection::all()).await?;
/// let mut reader = ArchiveReader::new();
/// for line in text.lines() {
///     if let Some(one) = reader.line(line.as_bytes())? {
///         println!("{} of {}", one.dead_letter.id, one.queue);
///     }
/// }
/// assert_eq!(reader.finish()?.dead_letters, 1);
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "only `finish` tells whether the export is whole"]
pub struct ArchiveReader {
    hash: Sha256,
    lines: u64,
    archive: Archive,
    /// How many dead letters of the export that is being read.
    found: u64,
    /// Whether the last line was a footer, or an empty one behind it.
    sealed: bool,
    /// Of the checksums of all exports.
    sums: Sha256,
    last: String,
    /// What is wrong with the first export whose footer does not fit.
    flaw: Option<String>,
}

impl ArchiveReader {
    /// One that has read nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The dead letter on the next line, which is given without its line feed; `None` where it is
    /// a footer, or an empty line behind it. A dead letter behind a footer begins the next export.
    ///
    /// What editors and other systems add is passed over, also by the checksum: a byte order mark before
    /// the first line, a carriage return behind each.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], with the number of the line: it is damaged, or no line of an export.
    /// The next line may be given all the same. What its footer says of an export is up to
    /// [`finish`](Self::finish).
    pub fn line(&mut self, line: &[u8]) -> Result<Option<ArchivedDeadLetter>, Error> {
        self.lines += 1;
        // Where an export begins.
        let line = match self.lines == 1 || self.sealed {
            true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            false => line,
        };
        // No line ends with one: in a payload it is escaped.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() && self.sealed {
            return Ok(None);
        }
        if line.is_empty() {
            self.hash.update(b"\n");
            let hint = "take the empty line away, or export it again";
            return Err(self.wrong("it is empty").hint(hint));
        }
        if line.starts_with(FOOTER) {
            let footer = serde_json::from_slice::<Footer>(line);
            let footer = footer.map_err(|_| self.wrong("the footer is damaged").hint(CUT))?;
            if footer.redrive_export != VERSION {
                let version = footer.redrive_export;
                return Err(self
                    .wrong(format!("it is of version {version}, this reads {VERSION}"))
                    .hint("import it with the redrive that exported it, or a later one"));
            }
            if self.sealed && footer.dead_letters > 0 {
                return Err(self.wrong("a second footer").hint(
                    "where it is the same as the line before, take it away; else the export before it is missing",
                ));
            }
            self.seal(footer.dead_letters, &footer.sha256);
            return Ok(None);
        }
        if self.sealed && !line.starts_with(b"{") {
            return Err(self
                .wrong("something stands behind the footer")
                .hint("behind the footer of an export the next one may begin, and nothing else"));
        }
        self.sealed = false;
        self.hash.update(line);
        self.hash.update(b"\n");
        let one = self.letter(line)?;
        self.archive.add(&one);
        self.found += 1;
        Ok(Some(one))
    }

    /// Ends one export, and notes whether it is what its footer says.
    fn seal(&mut self, count: u64, sha256: &str) {
        let found = std::mem::take(&mut self.found);
        let hash = std::mem::take(&mut self.hash);
        self.archive.exports += 1;
        self.sealed = true;
        let flaw = if count != found {
            Some(format!(
                "it holds {found} dead letters, its footer says {count}"
            ))
        } else if hex(&hash.finalize()) != sha256 {
            Some("its lines are not those that its checksum was made of".to_owned())
        } else {
            None
        };
        if let Some(flaw) = flaw
            && self.flaw.is_none()
        {
            let line = self.lines;
            self.flaw = Some(match self.archive.exports {
                1 => flaw,
                nth => format!("of export {nth} in it, which ends with line {line}: {flaw}"),
            });
        }
        self.sums.update(sha256);
        sha256.clone_into(&mut self.last);
    }

    fn letter(&self, line: &[u8]) -> Result<ArchivedDeadLetter, Error> {
        // What does not parse is not quoted: it may be a payload.
        let read: Read<'_> = serde_json::from_slice(line).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "it is JSON, and no dead letter of an export",
                serde_json::error::Category::Eof => "it ends in the middle",
                _ => "it is no JSON",
            };
            let at = error.column();
            let hint = if self.lines == 1 {
                "is this a file that `redrive dlq export` wrote?"
            } else {
                EXPORT_AGAIN
            };
            self.wrong(format!("{what} (byte {at})")).hint(hint)
        })?;
        let queue = StreamKey::new(&*read.dlq);
        let (Ok(queue), Ok(id)) = (queue, read.id.parse::<EntryId>()) else {
            return Err(self
                .wrong("its queue or its id cannot be one")
                .hint(EXPORT_AGAIN));
        };
        let pairs = read.stored.into_iter();
        let stored: Fields = pairs.map(|(name, value)| (name.0, value.0)).collect();
        if stored.is_empty() || *read.check != *check(&queue, id, &stored) {
            return Err(self
                .wrong("it is not as it was exported: its check does not fit")
                .hint(EXPORT_AGAIN));
        }
        Ok(ArchivedDeadLetter {
            queue,
            dead_letter: dead_letter::read(id, stored),
            check: read.check.into_owned(),
        })
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let line = self.lines;
        Error::new(
            ErrorKind::Invalid,
            format!("reading line {line} of an export: {what}"),
        )
    }

    /// How many lines it has been given.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// What the export holds, if it is whole: it ends with its footer, and is what that says; of several
    /// each.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] where it is cut, lacks lines or has others.
    pub fn finish(self) -> Result<Archive, Error> {
        let whole = |what: String| {
            Error::new(ErrorKind::Invalid, format!("reading an export: {what}")).hint(CUT)
        };
        let lines = self.lines;
        if !self.sealed {
            return Err(match lines {
                0 => whole("it is empty, a footer at least is missing".to_owned()),
                _ => whole(format!("it ends after line {lines}, without its footer")),
            });
        }
        if let Some(flaw) = self.flaw {
            return Err(whole(flaw));
        }
        let sha256 = match self.archive.exports {
            1 => self.last,
            _ => hex(&self.sums.finalize()),
        };
        Ok(Archive {
            sha256,
            ..self.archive
        })
    }

    /// What was whole of it so far, the footer not asked; its checksum is empty. For who would rather
    /// have a part of a damaged export than nothing.
    pub fn salvage(self) -> Archive {
        self.archive
    }
}
