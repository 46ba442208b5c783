//! How dead letters are put back.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::backend::{Keep, Replay};
use crate::dead_letter::{self, DeadLetter};
use crate::error::{BoxError, Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;
use crate::payload::{self, Found};

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
    pub(super) migration: Option<Migration>,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            target: None,
            keep: Keep::Remove,
            max_replays: Some(5),
            migration: None,
        }
    }
}

impl fmt::Debug for ReplayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayOptions")
            .field("target", &self.target)
            .field("keep", &self.keep)
            .field("max_replays", &self.max_replays)
            .field("migrates", &self.migration.is_some())
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
    /// A bulk replay calls it for up to 100 dead letters at once, in their order, and goes on when
    /// all have answered: it may take them together.
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

    /// Refuses the queue itself as the target of all, before anything is done.
    pub(super) fn check(&self, queue: &StreamKey) -> Result<(), Error> {
        if self.target.as_ref() != Some(queue) {
            return Ok(());
        }
        let doing = format!("replaying to {queue}, which is the dead-letter queue itself");
        Err(Error::new(ErrorKind::Invalid, doing).hint(ANOTHER))
    }

    /// Whether this dead letter has been replayed too often.
    pub(super) fn leaves_out(&self, letter: &DeadLetter) -> bool {
        self.max_replays.is_some_and(|most| letter.replays >= most)
    }
}

const ANOTHER: &str = "name another stream as the target";

/// What puts this dead letter of this queue back.
pub(super) async fn order(
    letter: &DeadLetter,
    queue: &StreamKey,
    options: &ReplayOptions,
) -> Result<Replay, Error> {
    let target = options
        .target
        .clone()
        .or_else(|| dead_letter::default_target(letter));
    let target = target.ok_or_else(|| {
        refused(letter, "which does not say where it came from").hint("name the target stream")
    })?;
    if target == *queue {
        return Err(refused(letter, "its target is the dead-letter queue itself").hint(ANOTHER));
    }
    // What cannot be put back is refused before anybody's code sees it.
    let unchanged = dead_letter::replay_fields(letter)?;
    let fields = match &options.migration {
        None => unchanged,
        Some(migration) => dead_letter::migrated(letter, migrate(letter, migration).await?)?,
    };
    Ok(Replay {
        dead_letter: letter.id,
        target,
        fields,
        keep: options.keep,
    })
}

/// The message's own fields after a migration.
async fn migrate(letter: &DeadLetter, migration: &Migration) -> Result<Fields, Error> {
    let failed = |cause: BoxError| {
        refused(letter, format_args!("its migration failed: {cause}")).caused_by(cause)
    };
    let migration = match migration {
        Migration::Fields(migration) => return migration(&letter.fields).map_err(failed),
        Migration::Payload(migration) => migration,
    };
    match payload::find(letter) {
        Found::Empty => Err(refused(
            letter,
            "its payload is empty, so it cannot be migrated",
        )),
        Found::Undecodable => Err(refused(
            letter,
            "its payload does not decode, so it cannot be migrated",
        )
        .hint("replay it as it is, or migrate its fields, which are bytes")),
        Found::Decoded(payload) => {
            let form = migration(letter.clone(), payload.form.clone());
            let form = form.await.map_err(failed)?;
            payload.replaced(&letter.fields, &form).map_err(|unfit| {
                let what = format_args!(
                    "its migrated payload does not fit its codec {}: {}",
                    payload.codec, unfit.0
                );
                refused(letter, what)
            })
        }
    }
}

fn refused(letter: &DeadLetter, what: impl fmt::Display) -> Error {
    let doing = format!("replaying the dead letter {}, {what}", letter.id);
    Error::new(ErrorKind::Refused, doing)
}
