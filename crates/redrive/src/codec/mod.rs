//! How a payload is found in the fields of an entry, and put there.

mod message_pack;
mod raw;

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use crate::error::BoxError;
use crate::message::Fields;

pub use message_pack::MessagePack;
pub use raw::{Raw, RawField};

/// The fields that may hold a whole payload, in the order in which they are looked for.
pub(crate) const PAYLOAD_FIELDS: [&str; 4] = ["data", "payload", "body", "json"];

/// Why a payload could not be decoded. The message becomes a dead letter `undecodable`, its
/// bytes kept.
#[derive(Debug)]
pub struct DecodeError(String);

impl DecodeError {
    /// An error with the text that the dead letter will carry.
    ///
    /// Say where and what kind of thing, not the payload itself: the text is logged.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// Reads a `T` from the fields of an entry.
pub trait Decode<T>: Send + Sync + 'static {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when these fields hold no `T`: a dead letter, not a retry.
    fn decode(&self, fields: &Fields) -> Result<T, DecodeError>;
}

/// Writes a `T` as the fields of an entry.
pub trait Encode<T>: Send + Sync + 'static {
    /// Writes the payload.
    ///
    /// # Errors
    ///
    /// Any error, when this value cannot be written.
    fn encode(&self, payload: &T) -> Result<Fields, BoxError>;
}

/// JSON: reads the first present of the fields `data`, `payload`, `body`, `json`, or the one
/// named; if none is there, all fields together as an object. Writes one field, `data`.
///
/// In the object of all fields a value is read as what the target wants: as text where it wants
/// text, else as JSON. So `total 12 zip 01234` fills a struct of a number and a `String`.
///
/// ```
/// use redrive::{Decode, Fields, Json};
/// let fields = Fields::from_iter([("data", "[1,2]")]);
/// let numbers: Vec<u8> = Json::default().decode(&fields)?;
/// assert_eq!(numbers, [1, 2]);
/// # Ok::<(), redrive::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Json {
    field: Option<Bytes>,
}

impl Json {
    /// Reads and writes this one field, and no other.
    pub fn field(name: impl Into<Bytes>) -> Self {
        Self {
            field: Some(name.into()),
        }
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, fields: &Fields) -> Result<T, DecodeError> {
        match payload_field(fields, self.field.as_ref())? {
            Some((name, value)) => serde_json::from_slice(value).map_err(|error| {
                let name = name.escape_ascii();
                DecodeError::new(format!("field \"{name}\": {}", safe(&error)))
            }),
            None => decode_object(fields),
        }
    }
}

impl<T: Serialize> Encode<T> for Json {
    fn encode(&self, payload: &T) -> Result<Fields, BoxError> {
        let name = self.field.clone().unwrap_or(Bytes::from_static(b"data"));
        Ok(Fields::from_iter([(name, serde_json::to_vec(payload)?)]))
    }
}

/// A name and its value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The field that holds the payload: the one named, which has to be there, else the first present
/// of those that may.
fn payload_field<'a>(
    fields: &'a Fields,
    named: Option<&'a Bytes>,
) -> Result<Option<Field<'a>>, DecodeError> {
    let present = |name: &'a [u8]| fields.get(name).map(|value| (name, value));
    match named {
        None => Ok(PAYLOAD_FIELDS
            .iter()
            .find_map(|name| present(name.as_bytes()))),
        Some(name) => match present(name) {
            None => Err(DecodeError::new(format!(
                "no field \"{}\"",
                name.escape_ascii()
            ))),
            found => Ok(found),
        },
    }
}

/// What went wrong and where, without the payload: an error of the target type may quote it.
fn safe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "valid JSON of another shape",
        serde_json::error::Category::Eof => "JSON ends too early",
        _ => "not JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

fn decode_object<T: DeserializeOwned>(fields: &Fields) -> Result<T, DecodeError> {
    let not_text = |what: &str| DecodeError::new(format!("a field {what} is not UTF-8"));
    let mut members = Vec::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        let name = std::str::from_utf8(name).map_err(|_| not_text("name"))?;
        let value = std::str::from_utf8(value).map_err(|_| not_text("value"))?;
        members.push((name, FieldText(value)));
    }
    T::deserialize(MapDeserializer::new(members.into_iter())).map_err(|error: serde_json::Error| {
        // The parts of such an error that could quote a value are left out.
        let text = error.to_string();
        let known = ["missing field", "unknown field", "duplicate field"];
        if known.iter().any(|start| text.starts_with(start)) {
            DecodeError::new(format!("the fields as an object: {text}"))
        } else {
            DecodeError::new("the fields as an object: a value of another shape")
        }
    })
}

/// The text of one field, read as text where text is wanted and as JSON elsewhere.
struct FieldText<'a>(&'a str);

impl<'de> IntoDeserializer<'de, serde_json::Error> for FieldText<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! read_as_json {
    ($($method:ident($($arg:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            serde_json::Deserializer::from_str(self.0).$method($($arg,)* visitor)
        }
    )*};
}

macro_rules! read_as_text {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_borrowed_str(self.0)
        }
    )*};
}

impl<'de> Deserializer<'de> for FieldText<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match serde_json::from_str::<serde_json::Value>(self.0) {
            Ok(value) => value.deserialize_any(visitor),
            Err(_) => visitor.visit_borrowed_str(self.0),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if variants.contains(&self.0) {
            let variant: StrDeserializer<'_, Self::Error> = self.0.into_deserializer();
            return variant.deserialize_enum(name, variants, visitor);
        }
        serde_json::Deserializer::from_str(self.0).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    read_as_text! { deserialize_str deserialize_string deserialize_char deserialize_bytes
    deserialize_byte_buf deserialize_identifier }

    read_as_json! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_u128() deserialize_f32() deserialize_f64() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        total: i64,
        zip: String,
        state: Option<State>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum State {
        Paid,
    }

    fn json<T: DeserializeOwned>(pairs: &[(&'static str, &'static str)]) -> Result<T, String> {
        Json::default()
            .decode(&Fields::from_iter(pairs.iter().copied()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_present_payload_field_is_decoded() {
        assert_eq!(json::<u8>(&[("body", "2"), ("data", "1")]), Ok(1));
        assert_eq!(json::<u8>(&[("x", "9"), ("json", "4")]), Ok(4));
        let named = Json::field("x").decode(&Fields::from_iter([("x", "7"), ("data", "1")]));
        let named: u8 = named.unwrap();
        assert_eq!(named, 7);
    }

    #[test]
    fn without_a_payload_field_all_fields_are_one_object() {
        let order = json::<Order>(&[
            ("total", "12"),
            ("zip", "01234"),
            ("state", "paid"),
            ("z", "?"),
        ]);
        let expected = Order {
            total: 12,
            zip: "01234".into(),
            state: Some(State::Paid),
        };
        assert_eq!(order, Ok(expected));
        let value = json::<serde_json::Value>(&[("a", "1"), ("b", "x")]);
        assert_eq!(value, Ok(serde_json::json!({"a": 1, "b": "x"})));
    }

    #[test]
    fn a_decode_error_says_where_and_never_quotes_the_payload() {
        let error = json::<u8>(&[("data", "\"secret\"")]).unwrap_err();
        assert_eq!(
            error,
            "field \"data\": valid JSON of another shape at line 1 column 8"
        );
        let error = json::<Order>(&[("total", "secret"), ("zip", "1")]).unwrap_err();
        assert_eq!(error, "the fields as an object: a value of another shape");
        let error = json::<Order>(&[("total", "1")]).unwrap_err();
        assert_eq!(error, "the fields as an object: missing field `zip`");
    }
}
