//! A JSON object as the fields of an entry.

use std::fmt;

use redrive::Fields;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The fields of an object, one for each member, in the order in which they are written, a name
/// that is there twice as well: a string as it is, anything else as compact JSON, digit for digit.
///
/// # Errors
///
/// What is wrong with it, without a word of what it holds.
pub(super) fn fields(text: &[u8]) -> Result<Fields, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not UTF-8, which JSON is".to_owned())?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).map_err(|error| {
        // What does not fit our types is quoted by the parser: it may be a secret.
        match error.classify() {
            Category::Data if !error.to_string().starts_with(UNREADABLE) => {
                "not a JSON object".to_owned()
            }
            _ => not_json(&error),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(Fields::from_iter(members))
}

/// Whether a text is JSON, whatever it is that it holds.
pub(super) fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<&RawValue>(text)
        .map(drop)
        .map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // Which line it is, is said by who knows.
    let what = text.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => format!("not JSON: {what}"),
        column => format!("not JSON: {what} at column {column}"),
    }
}

/// How an error of ours about a string begins.
const UNREADABLE: &str = "a string that cannot be read";

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Vec<u8>, Vec<u8>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let value = bytes(value.get()).ok_or_else(|| A::Error::custom(UNREADABLE))?;
            members.push((name.into_bytes(), value));
        }
        Ok(members)
    }
}

/// A value as the bytes of a field; `None` for a string that stands for no text: half a surrogate
/// pair.
fn bytes(value: &str) -> Option<Vec<u8>> {
    match value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) {
        None => Some(compact(value)),
        Some(text) if !text.contains('\\') => Some(text.as_bytes().to_vec()),
        Some(_) => serde_json::from_str(value).ok().map(String::into_bytes),
    }
}

/// JSON without the blanks between its tokens.
fn compact(json: &str) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for byte in json.bytes() {
        if !inside && byte.is_ascii_whitespace() {
            continue;
        }
        inside ^= byte == b'"' && !escaped;
        escaped = inside && byte == b'\\' && !escaped;
        compact.push(byte);
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> Vec<(String, String)> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = fields(text.as_bytes()).unwrap();
        let pairs = fields.iter();
        pairs.map(|(n, v)| (text_of(n), text_of(v))).collect()
    }

    #[test]
    fn members_become_fields_in_their_order_and_numbers_keep_their_digits() {
        let text = r#" {"z": "a b", "a":1.50, "n":123456789012345678901234567890, "e" :1E+2,
            "o": { "y" : [ 1 , "x \" y\\" , null ] , "b":false}, "t":true, "u":null, "a":"again",
            "":"", "\u00e9":"\u0041\ud83d\ude00\n"} "#;
        let pairs = [
            ("z", "a b"),
            ("a", "1.50"),
            ("n", "123456789012345678901234567890"),
            ("e", "1E+2"),
            ("o", r#"{"y":[1,"x \" y\\",null],"b":false}"#),
            ("t", "true"),
            ("u", "null"),
            ("a", "again"),
            ("", ""),
            ("é", "A😀\n"),
        ];
        assert_eq!(read(text), pairs.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(fields(b"{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_told_without_what_it_holds() {
        for (text, told) in [
            (&b""[..], "not JSON: EOF while parsing a value"),
            (b"hunter2", "not JSON: expected value at column 1"),
            (b"\"hunter2\"", "not a JSON object"),
            (b"12345", "not a JSON object"),
            (b"[\"hunter2\"]", "not a JSON object"),
            (b"{\"a\":hunter2}", "not JSON: expected value at column 6"),
            (
                b"{\"a\":1} hunter2",
                "not JSON: trailing characters at column 9",
            ),
            (
                b"{\"a\":\"hunter2\"",
                "not JSON: EOF while parsing an object at column 14",
            ),
            (b"{\"a\":\"\xff\"}", "not UTF-8, which JSON is"),
            (
                b"{\"a\":\"hunter2\\ud800\"}",
                "not JSON: a string that cannot be read at column 21",
            ),
        ] {
            assert_eq!(fields(text).unwrap_err(), told);
        }
        let mut deep = "[".repeat(200_000);
        assert!(fields(format!("{{\"a\":{deep}").as_bytes()).is_err());
        deep.push_str(&"]".repeat(200_000));
        assert_eq!(read(&format!("{{\"a\":{deep}}}"))[0].1.len(), 400_000);
        assert!(check("[1, 2]").is_ok());
        assert!(check("{a}").is_err());
    }
}
