//! Writing dead letters: the fields of the entry that is added to the dead-letter stream.

use bytes::{BufMut, Bytes};

use super::read::{FLAT_EXHAUSTED, envelope_error, is_about_trimming};
use super::replay::Block;
use super::{Layout, MOST_FIELDS, Reason, field};
use crate::message::Fields;
use crate::names::{EntryId, Source};

/// What is to be said of a message that was given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Obituary<'a> {
    pub(crate) source: &'a Source,
    /// The entry's id in that source.
    pub(crate) id: EntryId,
    pub(crate) reason: Reason,
    /// At most [`ERROR_LIMIT`](super::ERROR_LIMIT) bytes; empty when there is none.
    pub(crate) error: &'a str,
    pub(crate) error_kind: Option<&'a str>,
    /// Of that error; empty when there is none.
    pub(crate) fingerprint: &'a str,
    /// Recorded failures, the last included.
    pub(crate) failures: u64,
    /// Booked crashes, and the open one.
    pub(crate) crashes: u64,
    /// The delivery count.
    pub(crate) deliveries: u64,
    pub(crate) consumer: &'a str,
    pub(crate) first_at_ms: Option<u64>,
    pub(crate) dead_at_us: u64,
}

/// The fields of a dead letter, and the layout they are in: native where the one asked for cannot
/// hold this message. `entry` is the source entry as it stands in the stream, the trailing block
/// of a replay included; `None` makes a tombstone.
///
/// Native takes that block off and says the same among its own fields. Flat keeps it among the
/// user fields, because it has nowhere else to say it.
///
/// Written native although flat was asked: more than [`MOST_FIELDS`] user fields (packed), a user
/// field named as one of the five of flat, which would be lost, or named `redrive-v`, with which
/// the dead letter could read as a native one.
///
/// Written native although an envelope was asked: any field but `data`, `ts` and `trace_id`, a
/// replay's block too, one of the three twice, or one without payload that would read as a
/// tombstone.
pub(crate) fn compose(
    layout: Layout,
    entry: Option<&Fields>,
    about: &Obituary<'_>,
) -> (Layout, Fields) {
    let nothing = Fields::default();
    let entry = entry.unwrap_or(&nothing);
    match layout {
        Layout::Flat if fits_flat(entry) => (Layout::Flat, flat(entry, about)),
        Layout::Envelope if fits_envelope(entry, about) => {
            (Layout::Envelope, envelope(entry, about))
        }
        Layout::Native | Layout::Flat | Layout::Envelope => (Layout::Native, native(entry, about)),
    }
}

fn fits_flat(entry: &Fields) -> bool {
    let taken = |name: &Bytes| name == field::V || field::FLAT.iter().any(|ours| name == *ours);
    let user = Block::of(entry).map_or(entry.len(), |block| block.user.len());
    user <= MOST_FIELDS && !entry.pairs().iter().any(|(name, _)| taken(name))
}

fn native(entry: &Fields, about: &Obituary<'_>) -> Fields {
    let block = Block::of(entry);
    let user = block.as_ref().map_or(entry.pairs(), |block| block.user);
    let packed = Some(user)
        .filter(|user| user.len() > MOST_FIELDS)
        .and_then(pack);
    let verbatim = if packed.is_some() { &[] } else { user };

    let mut fields = Writing(verbatim.to_vec());
    fields.add(field::V, "1");
    fields.add(field::FIELDS, verbatim.len().to_string());
    fields.add(field::STREAM, about.source.stream.as_str().to_owned());
    fields.add(field::GROUP, about.source.group.as_str().to_owned());
    fields.add(field::ID, about.id.to_string());
    fields.add(field::REASON, about.reason.as_str());
    fields.add_unless_empty(field::ERROR, about.error);
    fields.add_unless_empty(field::ERROR_KIND, about.error_kind.unwrap_or_default());
    fields.add_unless_empty(field::FINGERPRINT, about.fingerprint);
    fields.add(field::ATTEMPTS, about.failures.to_string());
    fields.add(field::CRASHES, about.crashes.to_string());
    fields.add(field::CONSUMER, about.consumer.to_owned());
    fields.add_if_known(field::FIRST_AT, about.first_at_ms.map(|ms| ms.to_string()));
    fields.add(field::DEAD_AT, (about.dead_at_us / 1000).to_string());
    if let Some(block) = block {
        fields.add(field::REPLAYS, block.replays.clone());
        fields.add_if_known(field::CAMPAIGN, block.campaign.cloned());
        fields.add(field::REPLAYED_FROM, block.replayed_from.clone());
    }
    fields.add_if_known(field::PACKED, packed);
    fields.0.into_iter().collect()
}

fn flat(entry: &Fields, about: &Obituary<'_>) -> Fields {
    let [stream, id, reason, attempts, dead_at] = field::FLAT;
    let mut fields = Writing(entry.pairs().to_vec());
    fields.add(stream, about.source.stream.as_str().to_owned());
    fields.add(id, about.id.to_string());
    fields.add(
        reason,
        match about.reason {
            Reason::AttemptsExhausted => FLAT_EXHAUSTED,
            other => other.as_str(),
        },
    );
    fields.add(attempts, about.deliveries.to_string());
    let (seconds, micros) = (about.dead_at_us / 1_000_000, about.dead_at_us % 1_000_000);
    fields.add(dead_at, format!("{seconds}.{micros:06}"));
    fields.0.into_iter().collect()
}

fn fits_envelope(entry: &Fields, about: &Obituary<'_>) -> bool {
    let pairs = entry.pairs();
    let plain = pairs.iter().enumerate().all(|(at, (name, _))| {
        field::ENVELOPE_USER.iter().any(|ours| name == *ours)
            && pairs[..at].iter().all(|(before, _)| before != name)
    });
    let mistaken = !entry.is_empty()
        && entry.get("data").is_none_or(<[u8]>::is_empty)
        && is_about_trimming(&envelope_error(about));
    plain && !mistaken
}

fn envelope(entry: &Fields, about: &Obituary<'_>) -> Fields {
    let [stream, id, error, attempt, ..] = field::ENVELOPE;
    let mut fields = Writing(Vec::with_capacity(field::ENVELOPE.len()));
    fields.add(stream, about.source.stream.as_str().to_owned());
    fields.add(id, about.id.to_string());
    fields.add(error, envelope_error(about));
    // That system counts from 1, and has no other end than a failed attempt.
    fields.add(attempt, about.failures.max(1).to_string());
    for name in field::ENVELOPE_USER {
        let value = entry.value(name.as_bytes()).cloned();
        fields.add(name, value.unwrap_or_default());
    }
    fields.0.into_iter().collect()
}

/// Each name and value in turn: its length in 4 bytes, big-endian, then its bytes. `None` for a
/// length that 4 bytes cannot say.
fn pack(user: &[(Bytes, Bytes)]) -> Option<Bytes> {
    let size = user.iter().map(|(n, v)| 8 + n.len() + v.len()).sum();
    let mut packed = Vec::with_capacity(size);
    for bytes in user.iter().flat_map(|(name, value)| [name, value]) {
        packed.put_u32(u32::try_from(bytes.len()).ok()?);
        packed.put_slice(bytes);
    }
    Some(packed.into())
}

struct Writing(Vec<(Bytes, Bytes)>);

impl Writing {
    fn add(&mut self, name: &'static str, value: impl Into<Bytes>) {
        let name = Bytes::from_static(name.as_bytes());
        self.0.push((name, value.into()));
    }

    fn add_unless_empty(&mut self, name: &'static str, value: &str) {
        self.add_if_known(name, (!value.is_empty()).then(|| value.to_owned()));
    }

    fn add_if_known(&mut self, name: &'static str, value: Option<impl Into<Bytes>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}
