//! Dead letters that were looked for, one after another.

use std::collections::VecDeque;

use super::DeadLetterQueue;
use super::report::Progress;
use super::walk::{LOOK, Walk};
use crate::dead_letter::DeadLetter;
use crate::error::Error;
use crate::selection::Selection;

/// What [`DeadLetterQueue::find`] found: the dead letters one after another, then how many there
/// are. It holds no more than a page of the queue, of 1 MiB or one dead letter.
///
/// Who shows how far it is, or may be asked to end, goes through it step by step:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use redrive::{Broker, Selection};
/// let broker = Broker::connect("memory:").await?;
/// let queue = broker.dead_letters("orders:dlq".parse()?);
/// let mut found = queue.find(&Selection::all().limit(50)).await?;
/// while let Some(progress) = found.step().await? {
///     while let Some(letter) = found.ready() {
///         println!("{}", letter.id);
///     }
///     println!("{} of {}", progress.examined, progress.total);
/// }
/// println!("{} match", found.matched());
/// # Ok::<(), redrive::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it finds nothing until it is asked for the next"]
pub struct Found {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more the limit allows, those of the page not counted.
    left: usize,
    page: VecDeque<DeadLetter>,
    matched: u64,
    /// Whether all is known that there is to know.
    over: bool,
}

impl Found {
    pub(super) async fn start(
        queue: DeadLetterQueue,
        selection: &Selection,
    ) -> Result<Self, Error> {
        Ok(Self {
            walk: Walk::start(&queue, selection).await?,
            queue,
            left: selection.limit.unwrap_or(usize::MAX),
            page: VecDeque::new(),
            matched: 0,
            over: false,
        })
    }

    /// The next one in the selection's order; `None` after the last, or after as many as its limit
    /// allows. An id that was named and is not there is passed over.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: none is passed over.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, Error> {
        loop {
            if let Some(letter) = self.ready() {
                return Ok(Some(letter));
            }
            if self.left == 0 || self.step().await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// As [`next`](Self::next), of those that the last [`step`](Self::step) has found; `None` when
    /// it has to be asked for another step.
    pub fn ready(&mut self) -> Option<DeadLetter> {
        self.page.pop_front()
    }

    /// Goes through one more page, whether anything in it matches or not; `None` when there is
    /// nothing left to look at. Beyond the selection's limit it only counts; where everything
    /// matches it then asks for the length of the queue and goes no further. What is
    /// [`ready`](Self::ready) stays so.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer. Ask again: it goes on where it was.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: none is passed over, and none counted twice.
    pub async fn step(&mut self) -> Result<Option<Progress>, Error> {
        if self.over {
            return Ok(None);
        }
        if self.left == 0 && self.walk.is_of_all() {
            self.matched = self.queue.length().await?;
            self.over = true;
            return Ok(None);
        }
        let wanted = if self.left == 0 { LOOK } else { self.left };
        let Some(page) = self.walk.page(&self.queue, wanted, LOOK).await? else {
            self.over = true;
            return Ok(None);
        };
        for letter in page.into_iter().flatten() {
            self.matched += 1;
            if self.left > 0 {
                self.left -= 1;
                self.page.push_back(letter);
            }
        }
        Ok(Some(self.walk.progress()))
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.walk.progress()
    }

    /// How many of those that were looked at match, be they beyond the limit or not.
    #[must_use]
    pub fn matched(&self) -> u64 {
        self.matched
    }

    /// How many match, those beyond the limit too, by going through what is left of the queue.
    /// Where everything matches it is the length of the queue, without going through it.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn total(mut self) -> Result<u64, Error> {
        self.left = 0;
        self.page.clear();
        while self.step().await?.is_some() {}
        Ok(self.matched)
    }
}
