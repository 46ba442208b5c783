//! The payload of an entry: which of its fields, in which codec, and how a changed one goes back.

use std::collections::HashSet;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::form::{self, Unfit};
use super::json::{self, Shown};
use super::repair;
use super::text::JsonText;
use super::{Encoding, Flaw, PayloadCodec, look, restore, show};
use crate::codec::PAYLOAD_FIELDS;
use crate::dead_letter::{DeadLetter, DeadLetterLayout};
use crate::message::Fields;

/// What there is of a payload.
#[derive(Debug)]
pub(crate) enum Found {
    Decoded(Payload),
    /// A tombstone, or a payload of no bytes.
    Empty,
    Undecodable,
}

/// A payload, as it is shown, and where it was.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) form: Box<RawValue>,
    pub(crate) codec: PayloadCodec,
    /// Its field; `None` when it is all of them.
    pub(crate) field: Option<&'static str>,
}

impl Payload {
    /// The fields with another payload in place of this one, in the same codec.
    pub(crate) fn replaced(&self, fields: &Fields, form: &RawValue) -> Result<Fields, Unfit> {
        let Some(field) = self.field else {
            return restore_fields(form);
        };
        let mut payload = Some(Bytes::from(restore(form, self.codec)?));
        let pairs = fields.pairs().iter().map(|(name, value)| {
            let value = if name == field { payload.take() } else { None }.unwrap_or(value.clone());
            (name.clone(), value)
        });
        Ok(pairs.collect())
    }
}

/// The payload of a dead letter: in the envelope layout MessagePack in `data`; else whatever is
/// in the first present of `data`, `payload`, `body`, `json`; if there is none of them, all
/// fields.
pub(crate) fn find(letter: &DeadLetter) -> Found {
    find_in(&letter.fields, letter.layout)
}

/// As [`find`], in the fields of a dead letter of this layout, or in what puts one back.
pub(crate) fn find_in(fields: &Fields, layout: DeadLetterLayout) -> Found {
    let present = payload_field(fields);
    let decoded = match (present, layout) {
        (None, _) if fields.is_empty() => return Found::Empty,
        (Some((_, [])), _) => return Found::Empty,
        (None, _) => {
            let codec = PayloadCodec::plain(Encoding::Fields);
            show_fields(fields).ok().map(|form| (codec, form))
        }
        (Some((_, value)), DeadLetterLayout::Envelope) => {
            let codec = PayloadCodec::plain(Encoding::MessagePack);
            show(value, codec.encoding).ok().map(|form| (codec, form))
        }
        (Some((_, value)), _) => look(value),
    };
    let field = present.map(|(name, _)| name);
    decoded.map_or(Found::Undecodable, |(codec, form)| {
        Found::Decoded(Payload { form, codec, field })
    })
}

/// The field that holds the payload, if one does.
pub(super) fn payload_field(fields: &Fields) -> Option<(&'static str, &[u8])> {
    PAYLOAD_FIELDS
        .into_iter()
        .find_map(|name| fields.get(name).map(|value| (name, value)))
}

/// All fields as one object.
fn show_fields(fields: &Fields) -> Result<Box<RawValue>, Flaw> {
    let mut out = JsonText::default();
    write_fields(fields, &mut out)?;
    out.finish()
}

/// As [`show_fields`], as far as there is room; [`Flaw::Other`] before anything is written where
/// they are no object.
pub(super) fn write_fields(fields: &Fields, out: &mut JsonText) -> Result<(), Flaw> {
    let mut names = HashSet::new();
    let text = |name| std::str::from_utf8(name).is_ok();
    if !fields
        .iter()
        .all(|(name, _)| text(name) && names.insert(name))
    {
        return Err(Flaw::Other);
    }
    let mut separator = "{";
    for (name, value) in fields.iter() {
        out.push(separator)?;
        separator = ",";
        out.key(std::str::from_utf8(name).map_err(|_| Flaw::Other)?)?;
        match std::str::from_utf8(value) {
            Err(_) => out.binary(value)?,
            Ok(text) if json::show_exact(text, out)? == Shown::Yes => {}
            Ok(text) => out.text(text)?,
        }
    }
    out.push("}")
}

fn restore_fields(form: &RawValue) -> Result<Fields, Unfit> {
    let not = |_| Unfit("all fields together must stay one object");
    let Members(members) = serde_json::from_str(form.get()).map_err(not)?;
    let fields = members.into_iter().map(|(name, value)| {
        let name = form::unescaped(&name)?.to_owned();
        Ok((name, repair::plain(value)?))
    });
    fields.collect::<Result<Vec<_>, _>>().map(Fields::from_iter)
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(InOrder).map(Members)
    }
}
