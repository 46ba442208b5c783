//! What a handler is given: the body, and what is known of the message beside it.

use bytes::Bytes;
use redrive::{Decode, DecodeError, EntryId, Fields, GroupName, Message, RawField, StreamKey};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use crate::output::json::Pairs;

/// The field of an entry that holds the context of a trace (W3C Trace Context).
const TRACE: &str = "traceparent";

/// How the body of a message is made of its fields.
#[derive(Clone, Debug)]
pub(crate) enum Bodies {
    /// All fields, as JSON.
    All,
    /// The bytes of this field; none where it is missing.
    Field(String),
}

/// What is on a handler's stdin, or in its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// Whatever the producer wrote.
    Bytes,
}

impl Decode<Body> for Bodies {
    fn decode(&self, fields: &Fields) -> Result<Body, DecodeError> {
        match self {
            Self::All => Ok(Body {
                bytes: object(fields)?.into(),
                form: Form::Json,
            }),
            Self::Field(name) => Ok(Body {
                bytes: RawField::new(name.clone()).decode(fields)?,
                form: Form::Bytes,
            }),
        }
    }
}

/// All fields as a JSON object; where a name stands twice, or something is not UTF-8, as
/// `{"fields":[[name,value],…]}`.
fn object(fields: &Fields) -> Result<Vec<u8>, DecodeError> {
    let written = match Members::of(fields) {
        Some(members) => serde_json::to_vec(&members),
        None => serde_json::to_vec(&AsPairs(fields)),
    };
    // The text of the error is not told: it may quote a value.
    written.map_err(|_| DecodeError::new("the fields cannot be written as JSON"))
}

/// Names and values that are text, each name once.
struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Members<'a> {
    fn of(fields: &'a Fields) -> Option<Self> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let members: Option<Vec<_>> = fields
            .iter()
            .map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect();
        let members = members?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let once = names.windows(2).all(|pair| pair[0] != pair[1]);
        once.then_some(Self(members))
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

struct AsPairs<'a>(&'a Fields);

impl Serialize for AsPairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("fields", &Pairs(self.0))
            .map_err(S::Error::custom)?;
        map.end()
    }
}

/// One message on its way to a handler.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) id: EntryId,
    pub(crate) stream: StreamKey,
    pub(crate) group: GroupName,
    pub(crate) attempt: u32,
    pub(crate) body: Body,
    pub(crate) trace: Option<Bytes>,
    /// The dead letter that it is, where it was not delivered: a shadow run.
    pub(crate) dead_letter: Option<EntryId>,
}

impl Delivery {
    pub(crate) fn of(message: &Message<Body>) -> Self {
        Self {
            id: message.id(),
            stream: message.stream().clone(),
            group: message.group().clone(),
            attempt: message.attempt(),
            body: Body::clone(message),
            trace: message.fields().get(TRACE).map(Bytes::copy_from_slice),
            dead_letter: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bodies: &Bodies, pairs: &[(&'static [u8], &'static [u8])]) -> Body {
        bodies
            .decode(&Fields::from_iter(pairs.iter().copied()))
            .unwrap()
    }

    fn text(pairs: &[(&'static [u8], &'static [u8])]) -> String {
        let body = body(&Bodies::All, pairs);
        assert_eq!(body.form, Form::Json);
        String::from_utf8(body.bytes.to_vec()).unwrap()
    }

    #[test]
    fn all_fields_are_an_object_in_stream_order() {
        assert_eq!(
            text(&[
                (b"z", b"1"),
                (b"a", "é\n\"".as_bytes()),
                (b"fields", b"[]"),
                (b"", b"")
            ]),
            r#"{"z":"1","a":"é\n\"","fields":"[]","":""}"#
        );
    }

    #[test]
    fn what_no_object_holds_is_pairs() {
        assert_eq!(
            text(&[(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]),
            r#"{"fields":[["a","1"],["b","2"],["a","3"]]}"#
        );
        assert_eq!(
            text(&[(b"a", b"\xff")]),
            r#"{"fields":[["a",{"base64":"/w=="}]]}"#
        );
        assert_eq!(
            text(&[(b"\xff", b"a")]),
            r#"{"fields":[[{"base64":"/w=="},"a"]]}"#
        );
    }

    #[test]
    fn one_field_is_its_bytes_and_none_where_it_is_missing() {
        let field = Bodies::Field("raw".to_owned());
        let found = body(&field, &[(b"a", b"1"), (b"raw", b"\xff\0"), (b"raw", b"2")]);
        assert_eq!(
            (&found.bytes[..], found.form),
            (&b"\xff\0"[..], Form::Bytes)
        );
        assert_eq!(body(&field, &[(b"a", b"1")]).bytes, Bytes::new());
    }
}
