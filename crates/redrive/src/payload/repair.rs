//! Repairs of an entry: values set by their paths, and merge patches.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::edit::{self, Misfit};
use super::form::{self, Unfit};
use super::path::PayloadPath;
use super::{Compression, Encoding, Flaw, PayloadCodec, json, look, restore, show};
use crate::codec::PAYLOAD_FIELDS;
use crate::dead_letter::DeadLetterLayout;
use crate::error::{Error, ErrorKind};
use crate::message::Fields;

/// A value, and where in an entry it goes: `data.customer.id=7`.
///
/// Reads `PATH=VALUE`. The value is JSON where it is JSON, in the form that
/// [`Inspection::payload`](crate::Inspection::payload) shows (`{"$bin":"…"}` is binary); else it is
/// text. In quotes, what looks like JSON is text: `data.zip="01234"`.
///
/// ```
/// use redrive::Assignment;
/// let number: Assignment = "data.customer.id=7".parse()?;
/// let same = Assignment::new("data.customer.id".parse()?, 7)?;
/// assert_eq!(number, same);
/// let text: Assignment = "status=paid at last".parse()?;
/// assert_eq!(text.to_string(), r#"status="paid at last""#);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Assignment {
    path: PayloadPath,
    value: Box<RawValue>,
}

impl Assignment {
    /// This value, at the end of this path. A string is text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a value that does not serialise to JSON, or is nested deeper than
    /// 128.
    pub fn new(path: PayloadPath, value: impl Serialize) -> Result<Self, Error> {
        let doing = format!("serialising the value for {path}");
        let value = to_raw_value(&value)
            .map_err(|error| Error::new(ErrorKind::Invalid, doing.clone()).caused_by(error))?;
        let value = one_line(&value)
            .map_err(|what| Error::new(ErrorKind::Invalid, format!("{doing}, which is {what}")))?;
        Ok(Self { path, value })
    }

    /// Where it goes.
    #[must_use]
    pub fn path(&self) -> &PayloadPath {
        &self.path
    }

    /// The value, as JSON on one line.
    #[must_use]
    pub fn value(&self) -> &RawValue {
        &self.value
    }
}

impl FromStr for Assignment {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let (path, value) = PayloadPath::split(text)?;
        match serde_json::from_str::<&RawValue>(value) {
            Ok(json) => Self::new(path, json),
            Err(_) => Self::new(path, value),
        }
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.value.get())
    }
}

impl PartialEq for Assignment {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.value.get() == other.value.get()
    }
}

/// What a payload is to be changed to, by the rules of RFC 7396: members of the patch take the
/// place of those of the payload, objects in each other, and `null` removes one.
///
/// It is in the form that [`Inspection::payload`](crate::Inspection::payload) shows: `{"$bin":"…"}`
/// is binary, and a key that begins with `$` has one more.
///
/// ```
/// use redrive::MergePatch;
/// let patch: MergePatch = r#"{"customer": {"id": 7}, "note": null}"#.parse()?;
/// assert_eq!(patch.to_string(), r#"{"customer":{"id":7},"note":null}"#);
/// # Ok::<(), redrive::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MergePatch(Box<RawValue>);

impl FromStr for MergePatch {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let doing = "reading a merge patch";
        let patch: Box<RawValue> = serde_json::from_str(text).map_err(|error| {
            Error::new(
                ErrorKind::Invalid,
                format!("{doing}, which is no JSON: {error}"),
            )
        })?;
        let patch = one_line(&patch)
            .map_err(|what| Error::new(ErrorKind::Invalid, format!("{doing}, which is {what}")))?;
        Ok(Self(patch))
    }
}

impl fmt::Display for MergePatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl PartialEq for MergePatch {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl MergePatch {
    /// The form after it.
    pub(crate) fn applied_to(&self, form: &RawValue) -> Result<Box<RawValue>, Misfit> {
        edit::merge(form, &self.0)
    }
}

/// The same JSON without needless space.
fn one_line(json: &RawValue) -> Result<Box<RawValue>, &'static str> {
    json::compact(json).map_err(|flaw| match flaw {
        Flaw::TooLarge => "larger than 64 MiB",
        Flaw::Other | Flaw::Ends => "nested deeper than 128",
    })
}

/// The fields after these assignments, one after the other. Each field keeps its codec.
pub(crate) fn set(
    fields: &Fields,
    layout: DeadLetterLayout,
    assignments: &[Assignment],
) -> Result<Fields, Misfit> {
    let mut opened: Vec<Opened<'_>> = Vec::new();
    for Assignment { path, value } in assignments {
        let name = path.field();
        let known = opened.iter().position(|one| one.name == name);
        let mut field = match known {
            Some(place) => opened.swap_remove(place),
            None => Opened::of(fields, layout, path)?,
        };
        field.set(path, value)?;
        opened.push(field);
    }
    let mut closed = opened
        .into_iter()
        .map(Opened::closed)
        .collect::<Result<Vec<_>, _>>()?;
    let mut pairs: Vec<(Bytes, Bytes)> = fields.pairs().to_vec();
    for (name, value) in pairs.iter_mut() {
        if let Some(place) = closed.iter().position(|(set, _)| name == set) {
            *value = closed.swap_remove(place).1;
        }
    }
    // What is new comes last, in the order in which it was named.
    let named = |name: &str| assignments.iter().position(|one| one.path.field() == name);
    closed.sort_by_key(|(name, _)| named(name));
    let new = closed.into_iter();
    pairs.extend(new.map(|(name, value)| (Bytes::from(name.to_owned()), value)));
    Ok(pairs.into_iter().collect())
}

/// A field that is being changed.
struct Opened<'a> {
    name: &'a str,
    codec: PayloadCodec,
    /// `None` while it does not exist.
    form: Option<Box<RawValue>>,
    /// Of which there is one codec, known to whoever reads it; in any other field a text stands for
    /// itself, whatever stood there before.
    is_payload: bool,
}

impl<'a> Opened<'a> {
    fn of(
        fields: &Fields,
        layout: DeadLetterLayout,
        path: &'a PayloadPath,
    ) -> Result<Self, Misfit> {
        let name = path.field();
        let payload = PAYLOAD_FIELDS
            .into_iter()
            .find(|name| fields.get(*name).is_some());
        let is_payload = payload == Some(name);
        let envelope = layout == DeadLetterLayout::Envelope;
        let found = match fields.get(name) {
            None if envelope => {
                let name = path.first(0);
                return Err(Misfit(format!(
                    "an envelope has no place for a field {name}"
                )));
            }
            None => None,
            Some(value) if envelope && is_payload => {
                let codec = PayloadCodec::plain(Encoding::MessagePack);
                Some(show(value, codec.encoding).ok().map(|form| (codec, form)))
            }
            Some(value) => Some(look(value)),
        };
        let (codec, form) = match found {
            None => (PayloadCodec::plain(Encoding::Text), None),
            Some(Some((codec, form))) => (codec, Some(form)),
            Some(None) => return Err(Misfit(format!("{} does not decode", path.first(0)))),
        };
        Ok(Self {
            name,
            codec,
            form,
            is_payload,
        })
    }

    fn set(&mut self, path: &PayloadPath, value: &RawValue) -> Result<(), Misfit> {
        let form = match (&self.form, path.steps()) {
            (_, []) => {
                if !self.is_payload && self.codec.encoding == Encoding::Json {
                    self.codec.encoding = Encoding::Text;
                }
                value.to_owned()
            }
            (Some(form), _) => edit::set(form, path, value)?,
            (None, _) => return Err(Misfit(format!("{} does not exist", path.first(0)))),
        };
        self.form = Some(form);
        Ok(())
    }

    fn closed(self) -> Result<(&'a str, Bytes), Misfit> {
        let Some(form) = self.form else {
            return Ok((self.name, Bytes::new()));
        };
        let loose = matches!(self.codec.encoding, Encoding::Text | Encoding::Raw);
        let bytes = if loose {
            plain(&form).and_then(|bytes| packed(bytes, self.codec.compression))
        } else {
            restore(&form, self.codec)
        };
        let codec = self.codec;
        match bytes {
            Ok(bytes) => Ok((self.name, bytes.into())),
            Err(Unfit(what)) => {
                let name = self.name;
                Err(Misfit(format!(
                    "{name:?} does not fit its codec {codec}: {what}"
                )))
            }
        }
    }
}

/// The bytes of a form where there is no codec to keep: a text stands for itself, binary too,
/// anything else is JSON.
pub(super) fn plain(form: &RawValue) -> Result<Vec<u8>, Unfit> {
    match form::binary(form.get()) {
        Some(bytes) => bytes,
        None if form.get().starts_with('"') => Ok(form::string(form.get())?.into_bytes()),
        None => json::restore(form),
    }
}

fn packed(bytes: Vec<u8>, compression: Option<Compression>) -> Result<Vec<u8>, Unfit> {
    match compression {
        None => Ok(bytes),
        Some(compression) => compression.pack(&bytes),
    }
}
