//! What a line says: the forms of bytes, of a dead letter and of the footer, and the check of a line.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::hex;
use crate::calendar::instant;
use crate::dead_letter::{DeadLetter, DeadLetterLayout, Reason};
use crate::message::Fields;
use crate::names::{EntryId, GroupName, StreamKey};

/// A dead letter as it is written. What is read again is `dlq`, `id`, `stored` and `check`; the rest
/// is for whoever looks at the file.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    dlq: &'a StreamKey,
    id: EntryId,
    layout: DeadLetterLayout,
    stream: Option<&'a StreamKey>,
    group: Option<&'a GroupName>,
    original_id: Option<EntryId>,
    reason: Option<Reason>,
    error: Option<&'a str>,
    error_kind: Option<&'a str>,
    fingerprint: &'a str,
    attempts: Option<u64>,
    crashes: Option<u64>,
    replays: Option<u32>,
    consumer: Option<&'a str>,
    first_at: Option<String>,
    dead_at: Option<String>,
    replayed_from: Option<EntryId>,
    campaign: Option<&'a str>,
    size: usize,
    stored: Pairs<'a>,
    check: String,
}

impl<'a> Line<'a> {
    pub(super) fn new(dlq: &'a StreamKey, letter: &'a DeadLetter) -> Self {
        Self {
            dlq,
            id: letter.id,
            layout: letter.layout,
            stream: letter.stream.as_ref(),
            group: letter.group.as_ref(),
            original_id: letter.original_id,
            reason: letter.reason,
            error: letter.error.as_deref(),
            error_kind: letter.error_kind.as_deref(),
            fingerprint: &letter.fingerprint,
            attempts: letter.attempts,
            crashes: letter.crashes,
            // The other layouts have no place for it.
            replays: (letter.layout == DeadLetterLayout::Native).then_some(letter.replays),
            consumer: letter.consumer.as_deref(),
            first_at: letter.first_at_ms.and_then(instant),
            dead_at: letter.dead_at_ms.and_then(instant),
            replayed_from: letter.replayed_from,
            campaign: letter.campaign.as_deref(),
            size: letter.size(),
            stored: Pairs(letter.stored()),
            check: check(dlq, letter.id, letter.stored()),
        }
    }
}

/// What is restored of a line, and whether it is as it was: 32 hex digits, the first 16 bytes of
/// SHA-256 over the queue, the id, and each name and value, each behind its length in bytes as 8
/// bytes, big-endian.
pub(super) fn check(dlq: &StreamKey, id: EntryId, stored: &Fields) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(dlq.as_str().as_bytes());
    part(id.to_string().as_bytes());
    for (name, value) in stored.iter() {
        part(name);
        part(value);
    }
    let whole = hash.finalize();
    hex(whole.get(..16).unwrap_or_default())
}

struct Pairs<'a>(&'a Fields);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut pairs = to.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            pairs.serialize_element(&(Text(name), Text(value)))?;
        }
        pairs.end()
    }
}

/// Bytes: a string where they are UTF-8, else `{"base64":"…"}`.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => to.serialize_str(text),
            Err(_) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// A line as it is read. What else stands in it is passed over.
#[derive(Deserialize)]
pub(super) struct Read<'a> {
    #[serde(borrow)]
    pub(super) dlq: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) stored: Vec<(Blob, Blob)>,
    #[serde(borrow)]
    pub(super) check: Cow<'a, str>,
}

/// Bytes in either of their two forms.
pub(super) struct Blob(pub(super) Bytes);

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"base64\":\"…\"}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(text.as_bytes())))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Blob, M::Error> {
                let Some((name, text)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::custom("no base64"));
                };
                if name != "base64" {
                    return Err(de::Error::custom("no base64"));
                }
                let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
                match map.next_key::<de::IgnoredAny>()? {
                    None => Ok(Blob(bytes.into())),
                    Some(_) => Err(de::Error::custom("more than base64")),
                }
            }
        }
        from.deserialize_any(Either)
    }
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub(super) struct Footer {
    pub(super) redrive_export: u32,
    pub(super) dead_letters: u64,
    pub(super) sha256: String,
}
