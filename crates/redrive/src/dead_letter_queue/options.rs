//! How dead letters are put back.

use std::fmt;
use std::sync::Arc;

use crate::backend::{Keep, Replay};
use crate::dead_letter::{self, DeadLetter};
use crate::error::{BoxError, Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;

type Migration = Arc<dyn Fn(&Fields) -> Result<Fields, BoxError> + Send + Sync>;

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
    /// Puts them on this stream. Default: the one each came from.
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
    /// it is and is named in the report.
    pub fn migrate<F, E>(mut self, migration: F) -> Self
    where
        F: Fn(&Fields) -> Result<Fields, E> + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        self.migration = Some(Arc::new(move |fields| {
            migration(fields).map_err(Into::into)
        }));
        self
    }

    /// Whether this dead letter has been replayed too often.
    pub(super) fn leaves_out(&self, letter: &DeadLetter) -> bool {
        self.max_replays.is_some_and(|most| letter.replays >= most)
    }
}

/// What puts this dead letter back.
pub(super) fn order(letter: &DeadLetter, options: &ReplayOptions) -> Result<Replay, Error> {
    let target = options
        .target
        .clone()
        .or_else(|| dead_letter::default_target(letter));
    let target = target.ok_or_else(|| {
        Error::new(
            ErrorKind::Refused,
            format!(
                "replaying the dead letter {}, which does not say where it came from",
                letter.id
            ),
        )
        .hint("name the target stream")
    })?;
    let fields = match &options.migration {
        None => dead_letter::replay_fields(letter)?,
        Some(migration) => {
            // What cannot be put back is refused before anybody's code sees it.
            dead_letter::replay_fields(letter)?;
            let migrated = migration(&letter.fields).map_err(|cause| {
                Error::new(
                    ErrorKind::Refused,
                    format!(
                        "replaying the dead letter {}, its migration failed: {cause}",
                        letter.id
                    ),
                )
                .caused_by(cause)
            })?;
            dead_letter::migrated(letter, migrated)?
        }
    };
    Ok(Replay {
        dead_letter: letter.id,
        target,
        fields,
        keep: options.keep,
    })
}
