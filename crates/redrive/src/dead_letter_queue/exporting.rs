//! An export step by step.

use super::DeadLetterQueue;
use super::report::Progress;
use super::walk::{LOOK, Walk};
use crate::archive::Writer;
use crate::error::{Error, ErrorKind};
use crate::selection::Selection;

/// An export, step by step: lines of text for whoever has a place for them. It removes nothing, and
/// holds no more than a page of the queue.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, Selection};
/// use std::io::Write;
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// # let mut file = Vec::new();
/// let mut exporting = queue.exporting(&Selection::all()).await?;
/// while let Some(lines) = exporting.step().await? {
///     file.write_all(lines.as_bytes())?;
/// }
/// println!("{} dead letters", exporting.exported());
/// // Without it the file is cut, and an import says so.
/// file.write_all(exporting.footer()?.as_bytes())?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it reads nothing until it is asked for a step"]
pub struct Exporting {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    writer: Writer,
    missing: u64,
    is_over: bool,
}

impl Exporting {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
    ) -> Result<Self, Error> {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            queue,
            left: selection.limit.unwrap_or(usize::MAX),
            writer: Writer::default(),
            missing: 0,
            is_over: false,
        })
    }

    /// The lines of the next dead letters that match, each with its line feed: of a hundred that are
    /// looked at, of fewer where they are large, and so perhaps none. `None` at the end. An id that
    /// was named and is not there is [counted](Self::missing).
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, and then to ask for the next step: no line is lost, none comes twice.
    pub async fn step(&mut self) -> Result<Option<String>, Error> {
        let page = match self.left {
            0 => None,
            left => self.walk.page(&self.queue, left, LOOK).await?,
        };
        let Some(page) = page else {
            self.is_over = true;
            return Ok(None);
        };
        let mut lines = String::new();
        for found in page.into_iter().take(self.left) {
            self.left -= 1;
            match found {
                Ok(letter) => self.writer.add(&self.queue.stream, &letter, &mut lines)?,
                Err(_) => self.missing += 1,
            }
        }
        Ok(Some(lines))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.walk.progress()
    }

    /// How many dead letters are in the lines so far.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.writer.count()
    }

    /// How many were named by an id that the queue does not have.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The last line, by which an import knows that the export is whole: how many dead letters there
    /// are, and SHA-256 of all lines before it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] before a [step](Self::step) has answered `None`.
    pub fn footer(self) -> Result<String, Error> {
        if !self.is_over {
            let doing = "ending an export of which not all was read";
            return Err(Error::new(ErrorKind::Refused, doing).hint("ask for the rest first"));
        }
        self.writer.footer()
    }
}
