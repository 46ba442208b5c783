//! How dead letters are put back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::course::AbortRule;
use super::order::ANOTHER;
use crate::backend::{Enlisted, Keep};
use crate::campaign::CampaignName;
use crate::dead_letter::DeadLetter;
use crate::error::{BoxError, Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;
use crate::payload::{Assignment, MergePatch};
use crate::rate::Rate;
use crate::rule::Rule;

type OfFields = dyn Fn(&Fields) -> Result<Fields, BoxError> + Send + Sync;
type OfPayload = dyn Fn(DeadLetter, Box<RawValue>) -> BoxFuture<'static, Result<Box<RawValue>, BoxError>>
    + Send
    + Sync;

#[derive(Clone)]
pub(super) enum Migration {
    Fields(Arc<OfFields>),
    Payload(Arc<OfPayload>),
}

/// How dead letters are put back. Default: each to the stream it came from, removed from the
/// queue, as it is, unless it has been replayed 5 times before.
#[derive(Clone)]
#[must_use = "options do nothing until they are given to a replay"]
pub struct ReplayOptions {
    pub(super) target: Option<StreamKey>,
    pub(super) keep: Keep,
    pub(super) max_replays: Option<u32>,
    pub(super) rate: Option<Rate>,
    pub(super) patches: Vec<MergePatch>,
    pub(super) assignments: Vec<Assignment>,
    pub(super) migration: Option<Migration>,
    pub(super) campaign: Option<CampaignName>,
    pub(super) canary: Option<u64>,
    pub(super) abort_if: Option<AbortRule>,
    pub(super) undo_window: Option<Duration>,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            target: None,
            keep: Keep::Remove,
            max_replays: Some(5),
            rate: None,
            patches: Vec::new(),
            assignments: Vec::new(),
            migration: None,
            campaign: None,
            canary: None,
            abort_if: None,
            undo_window: Some(Duration::from_secs(86_400)),
        }
    }
}

impl fmt::Debug for ReplayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayOptions")
            .field("target", &self.target)
            .field("keep", &self.keep)
            .field("max_replays", &self.max_replays)
            .field("rate", &self.rate)
            .field("patches", &self.patches.len())
            .field("sets", &self.assignments.len())
            .field("migrates", &self.migration.is_some())
            .field("campaign", &self.campaign)
            .field("canary", &self.canary)
            .field("abort_if", &self.abort_if)
            .field("undo_window", &self.undo_window)
            .finish()
    }
}

impl ReplayOptions {
    /// Puts them on this stream. Default: the one each came from. The dead-letter queue itself is
    /// none: there they would be dead letters that say no more why and where from.
    pub fn target(mut self, stream: StreamKey) -> Self {
        self.target = Some(stream);
        self
    }

    /// Whether they stay in the queue. Default: removed.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Leaves out what has been replayed this often; `None` leaves out nothing. Default 5.
    /// A replay of one dead letter by its id does not ask.
    pub fn max_replays(mut self, most: impl Into<Option<u32>>) -> Self {
        self.max_replays = most.into();
        self
    }

    /// Puts back no more than so many in a time: a bulk replay waits between its steps, and one that
    /// was held up makes good no more than a tenth of a second's worth. Default: as fast as it can.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Changes the message's payload on the way by a merge patch, before all that is
    /// [set](Self::set). May be repeated: one after the other. The payload is what
    /// [`Inspection::payload`](crate::Inspection::payload) shows, and is written in the codec that
    /// it came in; what the patch does not name keeps its order, its digits and its types.
    ///
    /// A dead letter whose payload does not decode, or cannot be patched, stays as it is and is
    /// named in the report.
    ///
    /// ```
    /// use redrive::ReplayOptions;
    /// let repaired = ReplayOptions::default().patch(r#"{"currency": "EUR"}"#.parse()?);
    /// # drop(repaired);
    /// # Ok::<(), redrive::Error>(())
    /// ```
    pub fn patch(mut self, patch: MergePatch) -> Self {
        self.patches.push(patch);
        self
    }

    /// Sets one value in a field of the message on the way, before a migration sees it. May be
    /// repeated: one after the other. The field keeps its codec, and all else in it stays what it
    /// is. A key that does not exist is created where its parent is an object, and a field that
    /// does not exist where it is set as a whole; else the dead letter stays as it is and is named
    /// in the report.
    ///
    /// A field that is set as a whole and is not the payload takes a text as it is, and anything
    /// else as JSON.
    ///
    /// ```
    /// use redrive::ReplayOptions;
    /// let repaired = ReplayOptions::default()
    ///     .set("data.customer.id=7".parse()?)
    ///     .set("data.items[0].price=12.50".parse()?);
    /// # drop(repaired);
    /// # Ok::<(), redrive::Error>(())
    /// ```
    pub fn set(mut self, assignment: Assignment) -> Self {
        self.assignments.push(assignment);
        self
    }

    /// Changes the message's own fields on the way. A dead letter whose migration fails stays as
    /// it is and is named in the report. There is one migration: this takes the place of
    /// [`migrate_payload`](Self::migrate_payload).
    pub fn migrate<F, E>(mut self, migration: F) -> Self
    where
        F: Fn(&Fields) -> Result<Fields, E> + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.migration = Some(Migration::Fields(Arc::new(move |fields| {
            migration(fields).map_err(Into::into)
        })));
        self
    }

    /// Changes the message's payload on the way: the function gets the dead letter and the payload
    /// as [`Inspection::payload`](crate::Inspection::payload) shows it, and answers the new one in
    /// the same form. It is written in the codec that it came in, binary and text kept apart. All
    /// other fields stay as they are.
    ///
    /// The answer may be anything that serialises to JSON: the text itself, a
    /// [`serde_json::Value`], a type of yours. What passes through a `Value` keeps integers of 64
    /// bits and floats of 64 bits; beyond that, and in the digits of JSON numbers, it changes.
    ///
    /// A bulk replay calls it for up to 1,000 dead letters at once, about a MiB of them, in their
    /// order, and goes on when all have answered: it may take them together.
    ///
    /// A dead letter whose payload is empty or does not decode is refused before the function is
    /// called. One whose migration fails, or whose new payload its codec cannot hold, stays as it
    /// is and is named in the report. There is one migration: this takes the place of
    /// [`migrate`](Self::migrate).
    ///
    /// ```
    /// use redrive::ReplayOptions;
    /// use serde_json::Value;
    /// let repaired = ReplayOptions::default().migrate_payload(async |_, payload| {
    ///     let mut order: Value = serde_json::from_str(payload.get())?;
    ///     order["currency"] = "EUR".into();
    ///     Ok::<_, serde_json::Error>(order)
    /// });
    /// # drop(repaired);
    /// ```
    pub fn migrate_payload<F, A, P, E>(mut self, migration: F) -> Self
    where
        F: Fn(DeadLetter, Box<RawValue>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<P, E>> + Send + 'static,
        P: Serialize,
        E: Into<BoxError>,
    {
        self.migration = Some(Migration::Payload(Arc::new(move |letter, payload| {
            let migrated = migration(letter, payload);
            Box::pin(async move { Ok(to_raw_value(&migrated.await.map_err(Into::into)?)?) })
        })));
        self
    }

    /// Makes it a campaign of this name: what becomes of each message is known afterwards, by
    /// [`DeadLetterQueue::campaign`](crate::DeadLetterQueue::campaign). Default: none.
    ///
    /// A replay of a campaign that there is goes on with it, up to what was the newest dead letter
    /// when it began; of another selection or target it is refused.
    pub fn campaign(mut self, name: CampaignName) -> Self {
        self.campaign = Some(name);
        self
    }

    /// Puts back so many, and waits until it is known what became of each, before it goes on. Of use
    /// only with [`abort_if`](Self::abort_if) and in a [campaign](Self::campaign). Default: none.
    pub fn canary(mut self, many: u64) -> Self {
        self.canary = Some(many);
        self
    }

    /// Stops a [campaign](Self::campaign) by itself when too many die again: `dead-again>5%` of those
    /// whose outcome is known, of 20 at least or of the canary; or `dead-again>=3`. Default: never.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for another name, for a value that is neither a number nor a share, and
    /// for a rule that could never stop it, or would whatever dies: it is compared by `>` or `>=`, with more
    /// than nothing and no more than 100 %.
    pub fn abort_if(mut self, rule: Rule) -> Result<Self, Error> {
        self.abort_if = Some(AbortRule::new(rule)?);
        Ok(self)
    }

    /// How long the originals of a [campaign](Self::campaign) are kept, so that it can be
    /// [undone](crate::DeadLetterQueue::undo); `None` keeps none. Default: a day.
    pub fn undo_window(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.undo_window = window.into();
        self
    }

    /// The part that the campaign has in a replay of this dead letter.
    pub(super) fn enlisted(&self, letter: &DeadLetter) -> Option<Enlisted> {
        Some(Enlisted {
            name: self.campaign.clone()?,
            group: letter.group.clone(),
            undo_window: self.undo_window,
        })
    }

    /// Refuses the queue itself as the target of all, before anything is done.
    pub(super) fn check(&self, queue: &StreamKey) -> Result<(), Error> {
        if self.target.as_ref() != Some(queue) {
            return Ok(());
        }
        let doing = format!("replaying to {queue}, which is the dead-letter queue itself");
        Err(Error::new(ErrorKind::Invalid, doing).hint(ANOTHER))
    }

    /// Whether a message goes back as it was.
    pub(super) fn leaves_as_is(&self) -> bool {
        self.patches.is_empty() && self.assignments.is_empty() && self.migration.is_none()
    }

    /// Whether somebody's code gets payloads, and may take them together.
    pub(super) fn migrates_payloads(&self) -> bool {
        matches!(self.migration, Some(Migration::Payload(_)))
    }

    /// Whether this dead letter has been replayed too often.
    pub(super) fn leaves_out(&self, letter: &DeadLetter) -> bool {
        self.max_replays.is_some_and(|most| letter.replays >= most)
    }
}
