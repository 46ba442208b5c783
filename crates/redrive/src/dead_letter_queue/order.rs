//! What puts one dead letter back: where, and repaired as the options say.

use std::fmt;

use super::options::{Migration, ReplayOptions};
use crate::backend::Replay;
use crate::dead_letter::{self, DeadLetter};
use crate::error::{BoxError, Error, ErrorKind};
use crate::message::Fields;
use crate::names::StreamKey;
use crate::payload::{self, Found, MergePatch, Misfit, Payload};

pub(super) const ANOTHER: &str = "name another stream as the target";

/// What puts this dead letter of this queue back.
pub(super) async fn order(
    letter: &DeadLetter,
    queue: &StreamKey,
    options: &ReplayOptions,
) -> Result<Replay, Error> {
    // What cannot be put back is refused before anybody's code sees it.
    let unchanged = as_is(letter, queue, options)?;
    if options.leaves_as_is() {
        return Ok(unchanged);
    }
    let fields = dead_letter::migrated(letter, repaired(letter, options).await?)?;
    Ok(Replay {
        fields: in_campaign(letter, fields, options),
        ..unchanged
    })
}

/// What puts it back as it is.
pub(super) fn as_is(
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
    Ok(Replay {
        dead_letter: letter.id,
        target,
        fields: in_campaign(letter, dead_letter::replay_fields(letter)?, options),
        keep: options.keep,
        campaign: options.enlisted(letter),
    })
}

fn in_campaign(letter: &DeadLetter, fields: Fields, options: &ReplayOptions) -> Fields {
    match &options.campaign {
        Some(name) => dead_letter::of_campaign(letter, fields, name.as_str()),
        None => fields,
    }
}

/// The message's own fields after the patches, then what is set, then the migration.
async fn repaired(letter: &DeadLetter, options: &ReplayOptions) -> Result<Fields, Error> {
    let mut repaired = letter.clone();
    for patch in &options.patches {
        repaired.fields = patched(&repaired, patch)?;
    }
    if !options.assignments.is_empty() {
        let set = payload::set(&repaired.fields, repaired.layout, &options.assignments);
        repaired.fields = set.map_err(|misfit| unset(letter, &misfit))?;
    }
    if let Some(migration) = &options.migration {
        repaired.fields = migrate(&repaired, migration).await?;
    }
    match newly_reserved(&repaired.fields, &letter.fields) {
        None => Ok(repaired.fields),
        Some(name) => {
            let what = format_args!("its new field {name:?} has a name that is redrive's own");
            Err(refused(letter, what).hint("names that begin with redrive- are reserved"))
        }
    }
}

/// A field that was not there before, of a name that users have not.
fn newly_reserved(fields: &Fields, before: &Fields) -> Option<String> {
    let mut names = fields.iter().map(|(name, _)| name);
    let new = names.find(|name| name.starts_with(RESERVED) && before.get(name).is_none());
    new.map(|name| String::from_utf8_lossy(name).into_owned())
}

/// How the names of fields begin that say what redrive knows of an entry.
const RESERVED: &[u8] = b"redrive-";

fn unset(letter: &DeadLetter, Misfit(what): &Misfit) -> Error {
    refused(letter, format_args!("where nothing can be set: {what}")).hint(
        "a key is created where its parent is an object: look at the payload, set the parent first, \
         or select only what has it",
    )
}

fn patched(letter: &DeadLetter, patch: &MergePatch) -> Result<Fields, Error> {
    let payload = payload_of(letter, "patched")?;
    let form = patch.applied_to(&payload.form).map_err(|Misfit(what)| {
        let what = format_args!("its payload cannot be patched: {what}");
        refused(letter, what).hint("correct it by a migration, which sees all of it")
    })?;
    written(letter, &payload, &form, "patched")
}

/// The message's own fields after a migration.
async fn migrate(letter: &DeadLetter, migration: &Migration) -> Result<Fields, Error> {
    let failed = |cause: BoxError| {
        refused(letter, format_args!("its migration failed: {cause}"))
            .hint("it stays as it is: correct the migration, try it as a dry run, and replay it again")
            .caused_by(cause)
    };
    let migration = match migration {
        Migration::Fields(migration) => return migration(&letter.fields).map_err(failed),
        Migration::Payload(migration) => migration,
    };
    let payload = payload_of(letter, "migrated")?;
    let form = migration(letter.clone(), payload.form.clone());
    let form = form.await.map_err(failed)?;
    written(letter, &payload, &form, "migrated")
}

fn payload_of(letter: &DeadLetter, to_be: &str) -> Result<Payload, Error> {
    match payload::find(letter) {
        Found::Decoded(payload) => Ok(payload),
        Found::Empty => {
            let what = format_args!("its payload is empty, so it cannot be {to_be}");
            Err(refused(letter, what).hint("replay it as it is, or purge it"))
        }
        Found::Undecodable => {
            let what = format_args!("its payload does not decode, so it cannot be {to_be}");
            Err(refused(letter, what)
                .hint("replay it as it is, or migrate its fields, which are bytes"))
        }
    }
}

/// The fields with this form in the place of the payload.
fn written(
    letter: &DeadLetter,
    payload: &Payload,
    form: &serde_json::value::RawValue,
    how: &str,
) -> Result<Fields, Error> {
    payload.replaced(&letter.fields, form).map_err(|unfit| {
        let codec = payload.codec;
        let why = unfit.0;
        let what = format_args!("its {how} payload does not fit its codec {codec}: {why}");
        refused(letter, what).hint("a payload goes back in the codec that it came in")
    })
}

fn refused(letter: &DeadLetter, what: impl fmt::Display) -> Error {
    let doing = format!("replaying the dead letter {}, {what}", letter.id);
    Error::new(ErrorKind::Refused, doing)
}
