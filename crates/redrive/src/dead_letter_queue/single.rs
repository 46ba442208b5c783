//! Putting one dead letter back, and asking for replays.

use super::order::order;
use super::patience::Patience;
use super::recording::Recording;
use super::{DeadLetterQueue, ReplayOptions, not_found, outcome_of};
use crate::audit::AuditAction;
use crate::backend::{Replay, Replayed};
use crate::error::Error;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};
use crate::selection::Selection;

impl DeadLetterQueue {
    /// Puts one dead letter back and answers the id of the new entry. Asked again it answers the
    /// same id and adds nothing, as long as the receipt is kept (two days and more). Receipts are
    /// kept at the target: where the queue is not called `STREAM:dlq`, name it in the options when
    /// asking again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), "dead letter not found: ID". [`ErrorKind::Refused`](crate::ErrorKind::Refused) when there is
    /// nothing to put back (a tombstone), no target is known, the target is this queue, or the
    /// migration fails; [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when the options name this queue as the target.
    /// Nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop and to ask again: nothing is doubled.
    pub async fn replay(&self, id: EntryId, options: &ReplayOptions) -> Result<EntryId, Error> {
        options.check(&self.stream)?;
        let recording = Recording::of(self, AuditAction::Replay).about(&Selection::ids([id]));
        let mut recording = recording.in_campaign(options.campaign.as_ref());
        let order = match self.read_one(id).await? {
            Some(letter) => {
                let order = order(&letter, &self.stream, options).await?;
                recording.begin().await?;
                order
            }
            // There is nothing to change: only its receipt is looked for.
            None => self.again(id, options).ok_or_else(|| not_found(id))?,
        };
        let answered = self.ask(std::slice::from_ref(&order)).await;
        let replayed = answered.and_then(|(mut answers, _)| match answers.pop() {
            Some(Replayed::Added(new)) => Ok((new, 1)),
            Some(Replayed::Already(new)) => Ok((new, 0)),
            Some(Replayed::Refused(error)) => Err(error),
            Some(Replayed::NotFound) | None => Err(not_found(id)),
        });
        let done = replayed.as_ref().map_or(0, |(_, done)| *done);
        let failed = u64::from(replayed.is_err());
        let counts = [
            ("selected", 1),
            ("done", done),
            ("already", 1 - done - failed),
            ("failed", failed),
        ];
        recording.end(outcome_of(&replayed), &counts).await;
        replayed.map(|(new, _)| new)
    }

    /// Asks after a dead letter that is not there: it may have been put back a moment ago, and its
    /// receipt, at the target, still knows. `None` where the target is not known.
    pub(super) fn again(&self, id: EntryId, options: &ReplayOptions) -> Option<Replay> {
        let target = options.target.clone().or_else(|| self.source_by_name())?;
        Some(Replay {
            dead_letter: id,
            target,
            fields: Fields::default(),
            keep: options.keep,
            campaign: None,
        })
    }

    /// The stream whose default dead-letter stream this is, by its name.
    pub(super) fn source_by_name(&self) -> Option<StreamKey> {
        let name = self.stream.as_str().strip_suffix(":dlq")?;
        StreamKey::new(name).ok()
    }

    /// Asks for replays until there is an answer; says whether it had to ask again.
    pub(super) async fn ask(&self, orders: &[Replay]) -> Result<(Vec<Replayed>, bool), Error> {
        if orders.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut patience = Patience::default();
        loop {
            match self.broker.backend().replay(&self.stream, orders).await {
                Ok(answers) => return Ok((answers, patience.was_tried())),
                Err(error) => patience.with(error).await?,
            }
        }
    }
}
