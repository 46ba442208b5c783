//! Replaying dead letters: the entry that is put back, and what such an entry says of its past.

use bytes::Bytes;

use super::read::number;
use super::{Body, DeadLetter, DeadLetterLayout, field};
use crate::error::{Error, ErrorKind};
use crate::message::{Fields, Lineage};
use crate::names::{EntryId, StreamKey};

/// The stream that a dead letter goes back to unless told otherwise; `None` when it does not say,
/// as a foreign one never does.
pub(crate) fn default_target(letter: &DeadLetter) -> Option<StreamKey> {
    letter.stream.clone()
}

/// The entry that puts a dead letter back, by its layout:
///
/// - native: the user fields, then `redrive-replayed-from` and `redrive-replays`, and in a campaign
///   `redrive-campaign`;
/// - flat: the user fields without an older `replayed_from_dlq`, then a new one;
/// - envelope: `data`, `ts` and `trace_id`, empty where missing;
/// - foreign: all fields.
///
/// # Errors
///
/// [`ErrorKind::Refused`] when there is nothing to put back: a tombstone, an envelope without a
/// payload, packed fields that do not unpack.
pub(crate) fn replay_fields(letter: &DeadLetter) -> Result<Fields, Error> {
    migrated(letter, letter.fields.clone())
}

/// As [`replay_fields`], with other user fields in place of the dead letter's own.
///
/// # Errors
///
/// Also when there are none of them, or no `data` for an envelope.
pub(crate) fn migrated(letter: &DeadLetter, user: Fields) -> Result<Fields, Error> {
    let refused = |what, hint: &'static str| {
        let doing = format!("replaying the dead letter {}, {what}", letter.id);
        Err(Error::new(ErrorKind::Refused, doing).hint(hint))
    };
    match letter.body {
        Body::Gone => {
            return refused(
                "a tombstone",
                "its entry was trimmed before it was handled and nothing of it is left: add it \
                 again from where it came from, then purge what has the reason trimmed",
            );
        }
        Body::Unreadable => {
            return refused(
                "whose packed fields do not unpack",
                "redrive-packed is damaged or was not written by redrive: see its raw fields",
            );
        }
        Body::Whole if user.is_empty() => {
            return refused(
                "with no fields",
                "an entry has at least one field: check what the migration returns",
            );
        }
        Body::Whole => {}
    }
    match letter.layout {
        DeadLetterLayout::Native => {
            let replays = letter.replays.saturating_add(1);
            Ok(followed_by(
                user.pairs().iter(),
                [
                    (field::REPLAYED_FROM, letter.id.to_string()),
                    (field::REPLAYS, replays.to_string()),
                ],
            ))
        }
        DeadLetterLayout::Flat => Ok(followed_by(
            user.pairs()
                .iter()
                .filter(|(name, _)| name != field::FLAT_REPLAYED_FROM),
            [(field::FLAT_REPLAYED_FROM, letter.id.to_string())],
        )),
        DeadLetterLayout::Envelope if user.get("data").is_none_or(<[u8]>::is_empty) => refused(
            "whose payload is empty",
            "there is nothing in it to handle: purge it, or add the message again",
        ),
        DeadLetterLayout::Envelope => Ok(field::ENVELOPE_USER
            .into_iter()
            .map(|name| {
                let value = user.value(name.as_bytes()).cloned().unwrap_or_default();
                (name, value)
            })
            .collect()),
        DeadLetterLayout::Foreign => Ok(user),
    }
}

/// The entry that puts a dead letter back, with the campaign that it is part of. Only the native layout has
/// a place for it.
pub(crate) fn of_campaign(letter: &DeadLetter, entry: Fields, campaign: &str) -> Fields {
    match letter.layout {
        DeadLetterLayout::Native => followed_by(
            entry.pairs().iter(),
            [(field::CAMPAIGN, campaign.to_owned())],
        ),
        DeadLetterLayout::Flat | DeadLetterLayout::Envelope | DeadLetterLayout::Foreign => entry,
    }
}

fn followed_by<'a, const N: usize>(
    user: impl Iterator<Item = &'a (Bytes, Bytes)>,
    lineage: [(&'static str, String); N],
) -> Fields {
    let lineage = lineage
        .into_iter()
        .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(value)));
    user.cloned().chain(lineage).collect()
}

/// Takes the fields of a source entry apart: the user's, and what a native replay put behind them.
///
/// Only a trailing block exactly as [`replay_fields`] writes it is taken off: after at least one
/// field `redrive-replayed-from` (an entry id), `redrive-replays` (1 or more) and, in a campaign,
/// `redrive-campaign` (not empty), numbers in their shortest form. Anything else is the user's.
pub(crate) fn split_lineage(entry: &Fields) -> (Fields, Lineage) {
    let Some(block) = Block::of(entry) else {
        return (entry.clone(), Lineage::default());
    };
    let lineage = Lineage {
        replayed_from: EntryId::from_bytes(block.replayed_from),
        replays: replays(block.replays).unwrap_or_default(),
        campaign: block
            .campaign
            .map(|name| String::from_utf8_lossy(name).into_owned()),
    };
    (block.user.iter().cloned().collect(), lineage)
}

/// The trailing block of a replayed entry, as bytes, and the user's fields before it.
pub(super) struct Block<'a> {
    pub(super) user: &'a [(Bytes, Bytes)],
    pub(super) replayed_from: &'a Bytes,
    pub(super) replays: &'a Bytes,
    pub(super) campaign: Option<&'a Bytes>,
}

impl<'a> Block<'a> {
    pub(super) fn of(entry: &'a Fields) -> Option<Self> {
        let (rest, campaign) = match entry.pairs() {
            [rest @ .., (name, value)] if name == field::CAMPAIGN && !value.is_empty() => {
                (rest, Some(value))
            }
            rest => (rest, None),
        };
        // An entry of nothing but the block was not written by a replay, and without it would
        // look like a tombstone.
        let [user @ .., (first, from), (second, count)] = rest else {
            return None;
        };
        let ours = !user.is_empty()
            && first == field::REPLAYED_FROM
            && second == field::REPLAYS
            && EntryId::from_bytes(from).is_some_and(|id| id.to_string() == *from)
            && replays(count).is_some();
        ours.then_some(Self {
            user,
            replayed_from: from,
            replays: count,
            campaign,
        })
    }
}

fn replays(digits: &Bytes) -> Option<u32> {
    let count = u32::try_from(number(digits)?).ok()?;
    (count > 0 && count.to_string() == *digits).then_some(count)
}
