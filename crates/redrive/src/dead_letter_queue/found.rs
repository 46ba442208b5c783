//! Dead letters that were looked for, one after another.

use std::collections::VecDeque;

use super::DeadLetterQueue;
use super::walk::Walk;
use crate::dead_letter::DeadLetter;
use crate::error::Error;
use crate::selection::Selection;

/// What [`DeadLetterQueue::find`] found: the dead letters one after another, then how many there
/// are. It holds no more than a page of the queue.
#[derive(Debug)]
#[must_use = "it finds nothing until it is asked for the next"]
pub struct Found {
    queue: DeadLetterQueue,
    walk: Walk,
    /// How many more the limit allows.
    left: usize,
    page: VecDeque<DeadLetter>,
    matched: u64,
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
        while self.left > 0 {
            if let Some(letter) = self.page.pop_front() {
                self.left -= 1;
                return Ok(Some(letter));
            }
            if !self.read(self.left).await? {
                break;
            }
        }
        Ok(None)
    }

    /// How many match, those beyond the limit too, by going through what is left of the queue.
    /// Where everything matches it is the length of the queue, without going through it.
    ///
    /// # Errors
    ///
    /// When the broker cannot answer.
    pub async fn total(mut self) -> Result<u64, Error> {
        if self.walk.is_of_all() {
            return self.queue.length().await;
        }
        loop {
            self.page.clear();
            if !self.read(usize::MAX).await? {
                return Ok(self.matched);
            }
        }
    }

    /// Reads one more page; `false` at the end.
    async fn read(&mut self, wanted: usize) -> Result<bool, Error> {
        let Some(page) = self.walk.page(&self.queue, wanted).await? else {
            return Ok(false);
        };
        let before = self.page.len();
        self.page.extend(page.into_iter().flatten());
        self.matched += (self.page.len() - before) as u64;
        Ok(true)
    }
}
