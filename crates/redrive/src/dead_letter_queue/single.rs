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
        let mut asked = self.ask(std::slice::from_ref(&order)).await;
        let replayed = match (asked.answers.pop(), asked.failed) {
            (Some(Replayed::Added(new)), _) => Ok((new, 1)),
            (Some(Replayed::Already(new)), _) => Ok((new, 0)),
            (Some(Replayed::Refused(error)), _) | (None, Some(error)) => Err(error),
            (Some(Replayed::NotFound) | None, _) => Err(not_found(id)),
        };
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

    /// Asks for replays until there is an answer to each. What is answered is not asked again, and each answer
    /// is a reason to be patient anew.
    pub(super) async fn ask(&self, orders: &[Replay]) -> Asked {
        let mut asked = Asked::default();
        let mut patience = Patience::default();
        while let Some(rest) = orders.get(asked.answers.len()..)
            && !rest.is_empty()
        {
            match self.broker.backend().replay(&self.stream, rest).await {
                Ok(some) => {
                    let is_all = some.len() >= rest.len();
                    patience = Patience::default();
                    asked.answers.extend(some);
                    if !is_all {
                        asked.in_doubt();
                    }
                }
                Err(error) => {
                    asked.in_doubt();
                    if let Err(error) = patience.with(error).await {
                        asked.failed = Some(error);
                        return asked;
                    }
                }
            }
        }
        asked
    }
}

/// What came of asking for replays.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Of the first of them, or all.
    pub(super) answers: Vec<Replayed>,
    /// From which on they may have been carried out before they were answered: an answer was lost.
    pub(super) again_from: Option<usize>,
    /// Why the rest has no answers.
    pub(super) failed: Option<Error>,
}

impl Asked {
    fn in_doubt(&mut self) {
        self.again_from.get_or_insert(self.answers.len());
    }
}
