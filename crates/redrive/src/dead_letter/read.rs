//! Reading dead letters: which layout an entry has, and what it says.

use bytes::{Buf, Bytes};

use super::write::Obituary;
use super::{Body, DeadLetter, DeadLetterLayout, Reason, field};
use crate::fingerprint::fingerprint;
use crate::message::Fields;
use crate::names::{EntryId, GroupName, StreamKey};

/// Reads an entry of a dead-letter stream. Never fails: what is none of ours is foreign, what is
/// missing or does not parse is `None`.
pub(crate) fn read(id: EntryId, stored: Fields) -> DeadLetter {
    let mut letter = if let Some(user_fields) = native_user_fields(&stored) {
        native(blank(id, stored), user_fields)
    } else if is_envelope(&stored) {
        envelope(blank(id, stored))
    } else if is_flat(&stored) {
        flat(blank(id, stored))
    } else {
        blank(id, stored)
    };
    if letter.fingerprint.is_empty() {
        letter.fingerprint = fingerprint(
            letter.error_kind.as_deref(),
            letter.error.as_deref().unwrap_or_default(),
        );
    }
    letter
}

/// An entry of which nothing is known: foreign.
fn blank(id: EntryId, stored: Fields) -> DeadLetter {
    DeadLetter {
        id,
        layout: DeadLetterLayout::Foreign,
        stream: None,
        group: None,
        original_id: None,
        reason: None,
        error: None,
        error_kind: None,
        fingerprint: String::new(),
        attempts: None,
        crashes: None,
        replays: 0,
        consumer: None,
        first_at_ms: None,
        dead_at_ms: None,
        campaign: None,
        replayed_from: None,
        fields: stored.clone(),
        body: Body::Whole,
        stored,
    }
}

/// How many fields of an entry are the user's, if it is native: what stands before the last pair
/// of version and count whose count is right. The last, because the user's own fields may be a
/// dead letter.
fn native_user_fields(stored: &Fields) -> Option<usize> {
    stored
        .pairs()
        .windows(2)
        .enumerate()
        .rev()
        .find_map(|(before, pair)| {
            let [(version, _), (fields, count)] = pair else {
                return None;
            };
            let ours = version == field::V && fields == field::FIELDS;
            (ours && number(count) == u64::try_from(before).ok()).then_some(before)
        })
}

fn is_envelope(stored: &Fields) -> bool {
    stored.len() == field::ENVELOPE.len() && has_all(stored, &field::ENVELOPE)
}

fn is_flat(stored: &Fields) -> bool {
    has_all(stored, &field::FLAT)
}

fn has_all(stored: &Fields, names: &[&str]) -> bool {
    names.iter().all(|name| stored.get(name).is_some())
}

fn native(letter: DeadLetter, user_fields: usize) -> DeadLetter {
    let (user, about) = letter.stored.pairs().split_at(user_fields);
    let about = Native::of(about);
    let (fields, body) = match about.packed {
        Some(packed) if user.is_empty() => match unpack(packed) {
            Some(fields) => (fields, Body::Whole),
            None => (
                Fields::from_iter([(field::PACKED, packed.clone())]),
                Body::Unreadable,
            ),
        },
        _ if user.is_empty() => (Fields::default(), Body::Gone),
        _ => (user.iter().cloned().collect(), Body::Whole),
    };
    DeadLetter {
        layout: DeadLetterLayout::Native,
        stream: stream(about.stream),
        group: utf8(about.group).and_then(|name| GroupName::new(name).ok()),
        original_id: id(about.id),
        reason: utf8(about.reason).and_then(Reason::from_stored),
        error: text(about.error),
        error_kind: text(about.error_kind),
        fingerprint: utf8(about.fingerprint)
            .filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .map(str::to_owned)
            .unwrap_or_default(),
        attempts: about.attempts.and_then(|digits| number(digits)),
        crashes: about.crashes.and_then(|digits| number(digits)),
        replays: about
            .replays
            .and_then(|digits| number(digits))
            .map_or(0, |replays| u32::try_from(replays).unwrap_or(u32::MAX)),
        consumer: text(about.consumer),
        first_at_ms: about.first_at.and_then(|digits| number(digits)),
        dead_at_ms: about.dead_at.and_then(|digits| number(digits)),
        campaign: text(about.campaign),
        replayed_from: id(about.replayed_from),
        fields,
        body,
        ..letter
    }
}

/// What a native dead letter says, in one walk through its fields: a replay reads nothing else. Of a name that is
/// there twice the last counts.
#[derive(Default)]
struct Native<'a> {
    stream: Option<&'a Bytes>,
    group: Option<&'a Bytes>,
    id: Option<&'a Bytes>,
    reason: Option<&'a Bytes>,
    error: Option<&'a Bytes>,
    error_kind: Option<&'a Bytes>,
    fingerprint: Option<&'a Bytes>,
    attempts: Option<&'a Bytes>,
    crashes: Option<&'a Bytes>,
    replays: Option<&'a Bytes>,
    consumer: Option<&'a Bytes>,
    first_at: Option<&'a Bytes>,
    dead_at: Option<&'a Bytes>,
    campaign: Option<&'a Bytes>,
    replayed_from: Option<&'a Bytes>,
    packed: Option<&'a Bytes>,
}

impl<'a> Native<'a> {
    fn of(pairs: &'a [(Bytes, Bytes)]) -> Self {
        let mut said = Self::default();
        for (name, value) in pairs {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            let place = match name {
                field::STREAM => &mut said.stream,
                field::GROUP => &mut said.group,
                field::ID => &mut said.id,
                field::REASON => &mut said.reason,
                field::ERROR => &mut said.error,
                field::ERROR_KIND => &mut said.error_kind,
                field::FINGERPRINT => &mut said.fingerprint,
                field::ATTEMPTS => &mut said.attempts,
                field::CRASHES => &mut said.crashes,
                field::REPLAYS => &mut said.replays,
                field::CONSUMER => &mut said.consumer,
                field::FIRST_AT => &mut said.first_at,
                field::DEAD_AT => &mut said.dead_at,
                field::CAMPAIGN => &mut said.campaign,
                field::REPLAYED_FROM => &mut said.replayed_from,
                field::PACKED => &mut said.packed,
                _ => continue,
            };
            *place = Some(value);
        }
        said
    }
}

fn flat(letter: DeadLetter) -> DeadLetter {
    let about = About(letter.stored.pairs());
    let [stream, original_id, reason, attempts, dead_at] = field::FLAT;
    let said = about.text(reason);
    let (reason, error) = match said.as_deref() {
        None | Some(FLAT_EXHAUSTED) => (Reason::AttemptsExhausted, None),
        Some(name) => match Reason::from_stored(name) {
            Some(reason) => (reason, None),
            None => (Reason::AttemptsExhausted, said),
        },
    };
    let fields: Fields = letter
        .stored
        .pairs()
        .iter()
        .filter(|(name, _)| !field::FLAT.iter().any(|ours| name == *ours))
        .cloned()
        .collect();
    DeadLetter {
        layout: DeadLetterLayout::Flat,
        stream: about.stream(stream),
        original_id: about.id(original_id),
        reason: Some(reason),
        error,
        attempts: about.number(attempts),
        dead_at_ms: about.get(dead_at).and_then(|time| millis(time)),
        replayed_from: about.id(field::FLAT_REPLAYED_FROM),
        body: if fields.is_empty() {
            Body::Gone
        } else {
            Body::Whole
        },
        fields,
        ..letter
    }
}

/// What the first Python system writes as its only reason.
pub(super) const FLAT_EXHAUSTED: &str = "max_retries_exceeded";

fn envelope(letter: DeadLetter) -> DeadLetter {
    let about = About(letter.stored.pairs());
    let [stream, original_id, error, attempt, data, ..] = field::ENVELOPE;
    let (reason, error) = match about.text(error) {
        Some(text) => prefixed(&text),
        None => (Reason::AttemptsExhausted, None),
    };
    let empty = about.get(data).is_none_or(Bytes::is_empty);
    let (fields, body) = if empty && reason == Reason::Trimmed {
        (Fields::default(), Body::Gone)
    } else {
        let user = field::ENVELOPE_USER
            .iter()
            .filter_map(|name| Some((*name, letter.stored.value(name.as_bytes())?.clone())));
        (user.collect(), Body::Whole)
    };
    DeadLetter {
        layout: DeadLetterLayout::Envelope,
        stream: about.stream(stream),
        original_id: about.id(original_id),
        reason: Some(reason),
        error,
        attempts: about.number(attempt),
        fields,
        body,
        ..letter
    }
}

/// The error of an envelope: the reason stands before it, unless the attempts were exhausted.
pub(super) fn envelope_error(about: &Obituary<'_>) -> String {
    match about.reason {
        Reason::AttemptsExhausted => about.error.to_owned(),
        reason => format!("{}: {}", reason.as_str(), about.error),
    }
}

/// Whether an envelope with this error and without a payload is a tombstone.
pub(super) fn is_about_trimming(error: &str) -> bool {
    prefixed(error).0 == Reason::Trimmed
}

/// The reason that stands before an envelope's error; without one its attempts were exhausted.
fn prefixed(text: &str) -> (Reason, Option<String>) {
    Reason::ALL
        .into_iter()
        .filter(|reason| *reason != Reason::AttemptsExhausted)
        .find_map(|reason| {
            let error = text.strip_prefix(reason.as_str())?.strip_prefix(": ")?;
            Some((reason, (!error.is_empty()).then(|| error.to_owned())))
        })
        .unwrap_or_else(|| (Reason::AttemptsExhausted, Some(text.to_owned())))
}

/// The fields that tell about a message. Of a name that is there twice the last counts: so does
/// Python's `dict`, which wrote the layouts that are not ours.
struct About<'a>(&'a [(Bytes, Bytes)]);

impl About<'_> {
    fn get(&self, name: &str) -> Option<&Bytes> {
        self.0
            .iter()
            .rev()
            .find_map(|(field, value)| (field == name).then_some(value))
    }

    fn text(&self, name: &str) -> Option<String> {
        text(self.get(name))
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(self.get(name)?)
    }

    fn id(&self, name: &str) -> Option<EntryId> {
        id(self.get(name))
    }

    fn stream(&self, name: &str) -> Option<StreamKey> {
        stream(self.get(name))
    }
}

fn text(value: Option<&Bytes>) -> Option<String> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn utf8(value: Option<&Bytes>) -> Option<&str> {
    std::str::from_utf8(value?).ok()
}

fn id(value: Option<&Bytes>) -> Option<EntryId> {
    EntryId::from_bytes(value?)
}

/// Not made valid UTF-8: a replay would go to another stream.
fn stream(value: Option<&Bytes>) -> Option<StreamKey> {
    StreamKey::new(utf8(value)?).ok()
}

/// Decimal digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    // `u64::from_str` takes a leading `+`.
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Unix ms of Unix seconds with a fraction, without a detour over floating point.
fn millis(seconds: &[u8]) -> Option<u64> {
    let mut parts = seconds.splitn(2, |byte| *byte == b'.');
    let whole = number(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0'));
    let below = digits
        .take(3)
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    whole.checked_mul(1000)?.checked_add(below)
}

/// More fields than a server takes in one command cannot have been an entry.
const MOST_PACKED: usize = 512 * 1024;

/// The fields in a `redrive-packed` value; `None` unless it is made of whole fields, and some.
///
/// Nothing is set aside for a length that is only claimed: the bytes are shared, and the list
/// grows by what is there.
fn unpack(packed: &Bytes) -> Option<Fields> {
    let mut rest = packed.clone();
    let mut pairs = Vec::new();
    while !rest.is_empty() && pairs.len() < MOST_PACKED {
        pairs.push((unpack_one(&mut rest)?, unpack_one(&mut rest)?));
    }
    (rest.is_empty() && !pairs.is_empty()).then(|| pairs.into_iter().collect())
}

fn unpack_one(rest: &mut Bytes) -> Option<Bytes> {
    let (length, after) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if length > after.len() {
        return None;
    }
    rest.advance(size_of::<u32>());
    Some(rest.split_to(length))
}
