//! Tests: the payload of an entry, and the fields after it was changed.

use super::super::{Found, find};
use super::*;
use crate::dead_letter::read;
use crate::message::Fields;
use crate::names::EntryId;

/// A dead letter that nothing is known of but its fields.
fn foreign(pairs: &[(&[u8], &[u8])]) -> crate::DeadLetter {
    let fields = pairs
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()));
    read(EntryId::new(1, 1), fields.collect())
}

fn shown(letter: &crate::DeadLetter) -> (&'static str, String) {
    match find(letter) {
        Found::Decoded(payload) => (payload.codec.as_str(), payload.form.get().to_owned()),
        Found::Empty => ("empty", String::new()),
        Found::Undecodable => ("undecodable", String::new()),
    }
}

fn replaced(letter: &crate::DeadLetter, form: &str) -> Result<Fields, &'static str> {
    let Found::Decoded(payload) = find(letter) else {
        return Err("nothing");
    };
    let form = RawValue::from_string(form.to_owned()).unwrap();
    let fields = payload.replaced(&letter.fields, &form);
    fields.map_err(|Unfit(what)| what)
}

#[test]
fn the_first_present_payload_field_is_the_payload() {
    let letter = foreign(&[
        (b"json", b"1"),
        (b"body", b"\xc4\x01\xff"),
        (b"x", b"2"),
        (b"body", b"3"),
    ]);
    assert_eq!(shown(&letter), ("msgpack", r#"{"$bin":"/w=="}"#.to_owned()));
    let expected = [
        ("json", &b"1"[..]),
        ("body", b"\xa1a"),
        ("x", b"2"),
        ("body", b"3"),
    ];
    let expected: Fields = expected.into_iter().collect();
    assert_eq!(replaced(&letter, "\"a\""), Ok(expected));
    let letter = foreign(&[(b"data", b""), (b"body", b"3")]);
    assert_eq!(shown(&letter).0, "empty");
    assert_eq!(shown(&foreign(&[])).0, "empty");
}

#[test]
fn without_a_payload_field_all_fields_are_the_payload_and_come_back() {
    let pairs: [(&[u8], &[u8]); 14] = [
        (b"total", b"12"),
        (b"zip", b"01234"),
        (b"note", b"\"quoted\""),
        (b"list", br#"[1.50,{"$a":null}]"#),
        (b"spaced", b"[1, 2]"),
        (b"bin", br#"{"$bin":"AA=="}"#),
        (b"bytes", b"\xff"),
        (b"packed", b"\x90"),
        (b"none", b"null"),
        (b"$x", b"true"),
        (b"empty", b""),
        (b"big", b"123456789012345678901"),
        (b"deep", &[b'['; 300]),
        (b"a\"b", b"line\nbreak"),
    ];
    let letter = foreign(&pairs);
    let deep = "[".repeat(300);
    let form = format!(
        r#"{{"total":12,"zip":"01234","note":"\"quoted\"","list":[1.50,{{"$$a":null}}],"spaced":"[1, 2]","bin":{{"$$bin":"AA=="}},"bytes":{{"$bin":"/w=="}},"packed":{{"$bin":"kA=="}},"none":null,"$$x":true,"empty":"","big":123456789012345678901,"deep":"{deep}","a\"b":"line\nbreak"}}"#
    );
    assert_eq!(shown(&letter), ("fields", form.clone()));
    assert_eq!(replaced(&letter, &form), Ok(letter.fields.clone()));

    let changed = replaced(&letter, r#"{"b":{"x": 1},"a":"text","b":[ ]}"#).unwrap();
    let expected = [("b", r#"{"x":1}"#), ("a", "text"), ("b", "[]")];
    assert_eq!(changed, expected.into_iter().collect());
    assert_eq!(
        replaced(&letter, "[1]"),
        Err("all fields together must stay one object")
    );
    assert!(replaced(&letter, r#"{"$a":1}"#).is_err());
    assert_eq!(
        replaced(&letter, r#"{"a":[{"$bin":""}]}"#),
        Err("JSON cannot hold binary")
    );
}

#[test]
fn a_name_twice_or_not_utf_8_is_no_payload() {
    assert_eq!(
        shown(&foreign(&[(b"a", b"1"), (b"a", b"1")])).0,
        "undecodable"
    );
    assert_eq!(shown(&foreign(&[(b"\xff", b"1")])).0, "undecodable");
}

#[test]
fn an_envelope_holds_message_pack_and_nothing_else() {
    let envelope = |data: &[u8]| {
        let rest = [
            "original_stream",
            "original_msg_id",
            "error",
            "attempt",
            "ts",
            "trace_id",
        ];
        let mut pairs: Vec<(&[u8], &[u8])> = rest.map(|name| (name.as_bytes(), &b"1"[..])).to_vec();
        pairs.push((b"data", data));
        foreign(&pairs)
    };
    assert_eq!(shown(&envelope(b"a")), ("msgpack", "97".to_owned()));
    assert_eq!(shown(&envelope(br#"{"a":1}"#)).0, "undecodable");
    assert_eq!(shown(&envelope(b"\xa2\x61b\x01\x61a\x80")).0, "undecodable");
    assert_eq!(shown(&envelope(b"")).0, "empty");
    assert_eq!(shown(&envelope(b"\xc0")), ("msgpack", "null".to_owned()));
}
