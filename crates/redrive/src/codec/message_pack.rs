//! MessagePack for typed payloads.

use bytes::Bytes;
use rmp_serde::decode::Error;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Decode, DecodeError, Encode, PAYLOAD_FIELDS, payload_field};
use crate::error::BoxError;
use crate::message::Fields;

/// How deep arrays and maps may be nested.
const MOST_DEPTH: usize = 128;

/// MessagePack: reads the first present of the fields `data`, `payload`, `body`, `json`, or the
/// one named. Writes one field, `data`.
///
/// Structs are maps with the names of their fields, as Python's `msgpack` reads and writes them;
/// arrays are read too. A `Vec<u8>` is an array of numbers: for MessagePack's binary type, Python's
/// `bytes`, annotate it with `#[serde(with = "serde_bytes")]`. The payload has to be exactly one
/// value.
///
/// Entries of a system that writes its payload to `data` alone, whatever else is there, want
/// `MessagePack::field("data")`: an entry without it, or with an empty one, is undecodable.
///
/// ```
/// use redrive::{Decode, Encode, Fields, MessagePack};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Order {
///     id: u64,
///     #[serde(with = "serde_bytes")]
///     receipt: Vec<u8>,
/// }
///
/// let order = Order { id: 7, receipt: vec![0xff] };
/// let fields: Fields = MessagePack::default().encode(&order)?;
/// assert_eq!(fields.get("data"), Some(&b"\x82\xa2id\x07\xa7receipt\xc4\x01\xff"[..]));
/// let read: Order = MessagePack::field("data").decode(&fields)?;
/// assert_eq!(read, order);
/// # Ok::<(), redrive::BoxError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MessagePack {
    field: Option<Bytes>,
}

impl MessagePack {
    /// Reads and writes this one field, and no other.
    pub fn field(name: impl Into<Bytes>) -> Self {
        Self {
            field: Some(name.into()),
        }
    }
}

impl<T: DeserializeOwned> Decode<T> for MessagePack {
    fn decode(&self, fields: &Fields) -> Result<T, DecodeError> {
        let Some((name, value)) = payload_field(fields, self.field.as_ref())? else {
            let names = PAYLOAD_FIELDS.join(", ");
            return Err(DecodeError::new(format!("no field of {names}")));
        };
        read(value).map_err(|what| {
            let name = name.escape_ascii();
            DecodeError::new(format!("field \"{name}\": {what}"))
        })
    }
}

impl<T: Serialize> Encode<T> for MessagePack {
    fn encode(&self, payload: &T) -> Result<Fields, BoxError> {
        let name = self.field.clone().unwrap_or(Bytes::from_static(b"data"));
        let value = rmp_serde::to_vec_named(payload)?;
        Ok(Fields::from_iter([(name, value)]))
    }
}

/// One value and nothing behind it. What went wrong is said without the payload.
fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut reader = rmp_serde::Deserializer::from_read_ref(value);
    reader.set_max_depth(MOST_DEPTH);
    let read = T::deserialize(&mut reader).map_err(|error| safe(&error))?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(Error::InvalidMarkerRead(_)) => Ok(read),
        _ => Err("more than one MessagePack value".to_owned()),
    }
}

fn safe(error: &Error) -> String {
    let what = match error {
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "MessagePack ends too early",
        Error::DepthLimitExceeded => "MessagePack nested too deeply",
        // The name is one of the target's, not of the payload's.
        Error::Syntax(text) if text.starts_with("missing field") => {
            return format!("MessagePack with a {text}");
        }
        Error::Utf8Error(_) => "MessagePack with a text that is not UTF-8",
        _ => "MessagePack of another shape",
    };
    what.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        id: u64,
        #[serde(with = "serde_bytes")]
        receipt: Vec<u8>,
        state: State,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum State {
        Paid,
        Refused(String),
    }

    fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
        let fields = Fields::from_iter([("data", value.to_vec())]);
        let decoded = MessagePack::default().decode(&fields);
        decoded.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again_as_maps_by_name() {
        for state in [State::Paid, State::Refused("x".into())] {
            let order = Order {
                id: u64::MAX,
                receipt: vec![0, 0xff],
                state,
            };
            let fields = MessagePack::field("order").encode(&order).unwrap();
            assert_eq!(fields.len(), 1);
            assert_eq!(fields.get("order").unwrap()[0], 0x83);
            let read: Order = MessagePack::field("order").decode(&fields).unwrap();
            assert_eq!(read, order);
        }
    }

    #[test]
    fn the_first_present_field_is_read_or_the_one_named_and_it_must_hold_something() {
        let fields = Fields::from_iter([("body", "\x02"), ("data", "\x01"), ("x", "")]);
        let read = |codec: MessagePack| -> Result<u8, String> {
            codec.decode(&fields).map_err(|error| error.to_string())
        };
        assert_eq!(read(MessagePack::default()), Ok(1));
        assert_eq!(read(MessagePack::field("body")), Ok(2));
        let empty = "field \"x\": is empty".to_owned();
        assert_eq!(read(MessagePack::field("x")), Err(empty));
        let missing = "no field \"y\"".to_owned();
        assert_eq!(read(MessagePack::field("y")), Err(missing));
        let none: Result<u8, _> = MessagePack::default().decode(&Fields::from_iter([("y", "1")]));
        assert_eq!(
            none.unwrap_err().to_string(),
            "no field of data, payload, body, json"
        );
    }

    #[test]
    fn a_decode_error_says_where_and_never_quotes_the_payload() {
        let cases: [(&[u8], &str); 6] = [
            (b"\xa6secret", "MessagePack of another shape"),
            (
                b"\x81\xa6secret\xa6secret",
                "MessagePack with a missing field `id`",
            ),
            (b"\x81\xa2id\xa6secret", "MessagePack of another shape"),
            (b"\x81\xa2id\xcf\x00", "MessagePack ends too early"),
            (b"\x83\xa2id", "MessagePack ends too early"),
            (b"\xdb\xff\xff\xff\xffsecret", "MessagePack ends too early"),
        ];
        for (value, expected) in cases {
            let error = decode::<Order>(value).unwrap_err();
            assert_eq!(error, format!("field \"data\": {expected}"));
        }
        let two = decode::<u8>(b"\x01\x02").unwrap_err();
        assert_eq!(two, "field \"data\": more than one MessagePack value");
        let deep = decode::<serde_json::Value>(&[0x91; 100_000]).unwrap_err();
        assert_eq!(deep, "field \"data\": MessagePack nested too deeply");
    }
}
