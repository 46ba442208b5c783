//! Tests: values set by their paths, and merge patches, in every codec.

use super::super::{Assignment, Compression, MergePatch, Misfit, PayloadPath, at, edit, set};
use super::*;
use crate::dead_letter::DeadLetterLayout;
use crate::message::Fields;

fn patched(form: &str, patch: &str) -> Result<String, String> {
    let patch: MergePatch = patch.parse().unwrap();
    let form = RawValue::from_string(form.to_owned()).unwrap();
    match patch.applied_to(&form) {
        Ok(form) => Ok(form.get().to_owned()),
        Err(Misfit(what)) => Err(what),
    }
}

/// The fields after these assignments, in the native layout.
fn after(fields: &Fields, assignments: &[&str]) -> Result<Fields, String> {
    in_layout(fields, DeadLetterLayout::Native, assignments)
}

fn in_layout(
    fields: &Fields,
    layout: DeadLetterLayout,
    assignments: &[&str],
) -> Result<Fields, String> {
    let assignments: Vec<Assignment> = assignments
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    set(fields, layout, &assignments).map_err(|Misfit(what)| what)
}

/// What `data` holds after them.
fn data_after(data: &[u8], assignments: &[&str]) -> Result<Vec<u8>, String> {
    let fields = after(&Fields::from_iter([("data", data.to_vec())]), assignments)?;
    Ok(fields.get("data").unwrap().to_vec())
}

fn json_after(data: &str, assignments: &[&str]) -> Result<String, String> {
    data_after(data.as_bytes(), assignments).map(|data| String::from_utf8(data).unwrap())
}

/// RFC 7396, appendix A: all of its examples, in its order.
#[test]
fn the_examples_of_rfc_7396_come_out_as_it_says() {
    for (original, patch, result) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        ),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ] {
        assert_eq!(
            patched(original, patch),
            Ok(result.to_owned()),
            "{original} {patch}"
        );
    }
    // Its section 3.
    let original = r#"{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}"#;
    let patch = r#"{
        "title": "Hello!", "phoneNumber": "+01-123-456-7890",
        "author": {"familyName": null}, "tags": ["example"]
    }"#;
    let result = r#"{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}"#;
    assert_eq!(patched(original, patch), Ok(result.to_owned()));
}

#[test]
fn what_a_patch_does_not_name_keeps_its_digits_its_order_and_its_spelling() {
    let original =
        r#"{"z":1.50,"a":123456789012345678901234567890,"\u0062":"\u00e9","c":{"y":1E2,"x":0}}"#;
    let result =
        r#"{"z":1.50,"a":123456789012345678901234567890,"\u0062":2,"c":{"y":1E2,"x":-0.0}}"#;
    assert_eq!(
        patched(original, r#"{"b":2,"c":{"x":-0.0}}"#),
        Ok(result.to_owned())
    );
    // A key twice: which one is meant, readers do not agree on.
    let twice = patched(r#"{"a":1,"a":2}"#, r#"{"a":3}"#);
    assert_eq!(twice, Err(r#"its key "a" is there twice"#.to_owned()));
    assert!(patched(r#"{"a":1,"a":2}"#, r#"{"b":3}"#).is_ok());
}

#[test]
fn what_json_cannot_hold_is_a_value_in_a_patch_and_tags_stay_around_what_is_patched() {
    for (original, patch, result) in [
        (
            r#"{"k":{"$bin":"AA=="}}"#,
            r#"{"k":{"$bin":"/w=="}}"#,
            r#"{"k":{"$bin":"/w=="}}"#,
        ),
        (
            r#"{"k":{"a":1}}"#,
            r#"{"k":{"$ext":[1,"AA=="]}}"#,
            r#"{"k":{"$ext":[1,"AA=="]}}"#,
        ),
        (
            r#"{"$tag":[55799,{"a":1,"b":2}]}"#,
            r#"{"a":null}"#,
            r#"{"$tag":[55799,{"b":2}]}"#,
        ),
        (
            r#"{"$map":[[1,"a"],["$b",2]]}"#,
            r#"{"1":"c","$$b":null,"$$d":4}"#,
            r#"{"$map":[[1,"c"],["$d",4]]}"#,
        ),
        (r#"{"$$a":1}"#, r#"{"$$a":2,"b":3}"#, r#"{"$$a":2,"b":3}"#),
    ] {
        assert_eq!(
            patched(original, patch),
            Ok(result.to_owned()),
            "{original} {patch}"
        );
    }
}

#[test]
fn a_patch_that_is_no_json_or_too_deep_is_refused_when_it_is_read() {
    for patch in ["", "{", "{}x", "{'a':1}"] {
        let error = patch.parse::<MergePatch>().unwrap_err();
        assert!(error.to_string().contains("no JSON"), "{error}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let error = deep.parse::<MergePatch>().unwrap_err();
    assert!(
        error.to_string().ends_with("nested deeper than 128"),
        "{error}"
    );
}

#[test]
fn a_value_is_set_where_the_path_leads_and_nothing_else_changes() {
    let data = r#"{"z":1.50,"customer":{"id":null,"name":"é"},"items":[{"n":1},{"n":2}]}"#;
    for (assignments, expected) in [
        (
            &["data.customer.id=7"][..],
            r#"{"z":1.50,"customer":{"id":7,"name":"é"},"items":[{"n":1},{"n":2}]}"#,
        ),
        (
            &["data.items[1].n=2.50", "data.items.0.n=three"],
            r#"{"z":1.50,"customer":{"id":null,"name":"é"},"items":[{"n":"three"},{"n":2.50}]}"#,
        ),
        (
            &["data.customer.vip=true", "data.z={\"a\": [1, 2]}"],
            r#"{"z":{"a":[1,2]},"customer":{"id":null,"name":"é","vip":true},"items":[{"n":1},{"n":2}]}"#,
        ),
        (
            &["data.customer={}", "data.customer.id=\"7\""],
            r#"{"z":1.50,"customer":{"id":"7"},"items":[{"n":1},{"n":2}]}"#,
        ),
        (&["data=gone"], "\"gone\""),
        (&["data=[1, 2]"], "[1,2]"),
    ] {
        assert_eq!(
            json_after(data, assignments).as_deref(),
            Ok(expected),
            "{assignments:?}"
        );
    }
}

#[test]
fn a_path_that_leads_nowhere_is_told_with_what_is_there() {
    let data = r#"{"a":{"b":"text"},"list":[1,2],"n":7,"t":true,"null":null,"x":1,"x":2}"#;
    for (assignment, why) in [
        ("data.c.d=1", "data.c does not exist"),
        ("data.a.b.c=1", "data.a.b is a text, not an object"),
        ("data.n[0]=1", "data.n is a number, not an array"),
        ("data.t.x=1", "data.t is true or false, not an object"),
        ("data.null.x=1", "data.null is null, not an object"),
        ("data.list[2]=1", "data.list has 2 items, no [2]"),
        ("data.list.first=1", "data.list is an array, not an object"),
        ("data.a[0]=1", "data.a is an object, not an array"),
        ("data.x=3", "data.x is there twice"),
        ("other.a=1", "other does not exist"),
    ] {
        assert_eq!(
            json_after(data, &[assignment]),
            Err(why.to_owned()),
            "{assignment}"
        );
    }
    // A digit is a key where an object is.
    assert_eq!(
        json_after(r#"{"0":1}"#, &["data.0=2"]).as_deref(),
        Ok(r#"{"0":2}"#)
    );
}

/// `{"id": 2^63, "key": bin, "when": ext, "f": 1.5, 7: "seven"}`
#[test]
fn message_pack_keeps_binary_integers_extensions_and_the_order_of_its_keys() {
    let packed = b"\x84\xa2id\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xa3key\xc4\x02\xff\x00\xa4when\xd6\xff\x00\x00\x00\x01\xa1f\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00";
    let set = data_after(packed, &["data.f=abc", "data.new=-1"]).unwrap();
    let expected = b"\x85\xa2id\xcf\x80\x00\x00\x00\x00\x00\x00\x00\xa3key\xc4\x02\xff\x00\xa4when\xd6\xff\x00\x00\x00\x01\xa1f\xa3abc\xa3new\xff";
    assert_eq!(set, expected);
    let binary = data_after(packed, &[r#"data.key={"$bin":"AQ=="}"#]).unwrap();
    assert!(binary.windows(4).any(|part| part == b"\xa3key"));
    assert!(binary.windows(3).any(|part| part == b"\xc4\x01\x01"));
    // Keys that are numbers.
    let numbered = b"\x82\x07\xa5seven\xa1a\x01";
    let set = data_after(numbered, &["data.7=8", "data.a=2"]).unwrap();
    assert_eq!(set, b"\x82\x07\x08\xa1a\x02");
    let missing = data_after(numbered, &["data.9=8"]);
    assert_eq!(missing, Err("data.9 does not exist".to_owned()));
    let inside = data_after(packed, &["data.key.x=1"]);
    assert_eq!(inside, Err("data.key is binary, not an object".to_owned()));
}

#[test]
fn cbor_keeps_its_tags() {
    // 55799({"at": 1(1700000000), "n": 1})
    let tagged = b"\xd9\xd9\xf7\xa2\x62at\xc1\x1a\x65\x53\xf1\x00\x61n\x01";
    let set = data_after(tagged, &["data.n=2"]).unwrap();
    assert_eq!(
        set,
        b"\xd9\xd9\xf7\xa2\x62at\xc1\x1a\x65\x53\xf1\x00\x61n\x02"
    );
}

#[test]
fn what_is_compressed_stays_compressed() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        for (plain, expected) in [
            (&br#"{"a":1,"b":2}"#[..], &br#"{"a":1,"b":3}"#[..]),
            (b"\x82\xa1a\x01\xa1b\x02", b"\x82\xa1a\x01\xa1b\x03"),
        ] {
            let packed = compression.pack(plain).unwrap();
            let set = data_after(&packed, &["data.b=3"]).unwrap();
            assert_eq!(Compression::of(&set), Some(compression));
            assert_eq!(compression.unpack(&set).unwrap(), expected);
        }
    }
}

#[test]
fn other_fields_are_set_too_and_their_order_and_duplicates_stay() {
    let fields = Fields::from_iter([
        ("amount", "3"),
        ("data", "{}"),
        ("meta", "{\"try\": 1}"),
        ("amount", "4"),
    ]);
    let set = after(
        &fields,
        &["amount=many", "new=1", "meta.try=2", "also=text"],
    )
    .unwrap();
    let expected = Fields::from_iter([
        ("amount", "many"),
        ("data", "{}"),
        ("meta", "{\"try\":2}"),
        ("amount", "4"),
        ("new", "1"),
        ("also", "text"),
    ]);
    assert_eq!(set, expected);
    let text = Fields::from_iter([("note", "paid")]);
    assert_eq!(
        after(&text, &["note=7"]).unwrap().get("note"),
        Some(&b"7"[..])
    );
    let inside = after(&text, &["note.a=7"]);
    assert_eq!(inside, Err("note is a text, not an object".to_owned()));
}

#[test]
fn an_envelope_keeps_to_its_three_fields_and_to_message_pack() {
    let envelope = DeadLetterLayout::Envelope;
    // The bytes of `7` are a text too: in an envelope they are MessagePack.
    let fields = Fields::from_iter([("data", &b"\x81\xa1a\x01"[..]), ("ts", b"1")]);
    let set = in_layout(&fields, envelope, &["data.a=2", "ts=2"]).unwrap();
    let expected = Fields::from_iter([("data", &b"\x81\xa1a\x02"[..]), ("ts", b"2")]);
    assert_eq!(set, expected);
    let text = Fields::from_iter([("data", "7")]);
    let whole = in_layout(&text, envelope, &["data=[55]"]).unwrap();
    assert_eq!(whole.get("data"), Some(&b"\x91\x37"[..]));
    let other = in_layout(&fields, envelope, &["other=2"]);
    assert_eq!(
        other,
        Err("an envelope has no place for a field other".to_owned())
    );
}

#[test]
fn what_is_set_is_found_by_the_same_path() {
    for (form, path) in [
        (r#"{"a":{"b":1}}"#, "data.a.b"),
        (r#"{"a":{}}"#, "data.a.new"),
        (r#"{"a":[1,{"b":2}]}"#, "data.a.1.b"),
        (r#"{"a":[1,{"b":2}]}"#, "data.a[1].b"),
        (r#"{"1":2}"#, "data.1"),
        (r#"{"$$ref":1}"#, "data.$$ref"),
        (r#"{"a.b":1,"":2}"#, r#"data."a.b""#),
        (r#"{"$tag":[1,{"$tag":[2,[3]]}]}"#, "data[0]"),
        (r#"{"$tag":[1,[{"$bin":"/w=="}]]}"#, "data[0]"),
        (r#"{"$map":[[1,2],["b",3]]}"#, "data.1"),
        (r#"{"$map":[[-1,2],["$b",[3]]]}"#, "data.-1"),
        (r#"{"$map":[[-1,2],["$b",[3]]]}"#, "data.$$b[0]"),
        (r#"{"$map":[[null,2]]}"#, "data.new"),
    ] {
        let form = RawValue::from_string(form.to_owned()).unwrap();
        let assignment: Assignment = format!("{path}=\"here\"").parse().unwrap();
        let path = assignment.path();
        let after = edit::set(&form, path, assignment.value()).unwrap();
        assert_ne!(at(form.get(), path.steps()), Some("\"here\""), "{path}");
        assert_eq!(at(after.get(), path.steps()), Some("\"here\""), "{path}");
    }
    for (form, path) in [
        ("[1]", r#"data."0""#),
        ("[1]", "data[1]"),
        (r#"{"0":1}"#, "data[0]"),
        (r#"{"$bin":"/w=="}"#, "data.$$bin"),
        (r#"{"$map":[[1,2]]}"#, "data[1]"),
        (r#""text""#, "data[0]"),
    ] {
        let path: PayloadPath = path.parse().unwrap();
        assert_eq!(at(form, path.steps()), None, "{path} in {form}");
    }
}

#[test]
fn a_path_is_read_and_written_and_a_wrong_one_told() {
    for path in [
        "data",
        "data.customer.id",
        "data.items[3].sku",
        "data.3",
        r#"data."a.b".c"#,
        r#"data."3""#,
        r#""a=b"."""#,
        "data.$$ref",
        r#"data."é\n""#,
        "data.été",
    ] {
        let parsed: PayloadPath = path.parse().unwrap();
        assert_eq!(parsed.to_string(), path);
    }
    for path in [
        "",
        ".",
        "data.",
        ".a",
        "data..a",
        "data[",
        "data[]",
        "data[-1]",
        "data[01]",
        "data[a]",
        "data]",
        "data=1",
        "data\"a\"",
        "data.\"a",
        "data.$ref",
        "data.\"$ref\"",
        "a\nb",
        "data[3]a",
        "data.a[99999999999999999999]",
        " data",
        "data. a",
        "data.a ",
        "data.a>",
        "data.a+",
    ] {
        let error = path.parse::<PayloadPath>().unwrap_err();
        let cure = error.cure().unwrap();
        assert!(cure.starts_with("at character "), "{path:?}: {cure}");
        assert!(cure.ends_with("data.items[3]"), "{path:?}: {cure}");
        assert!(!error.to_string().contains('\n'), "{path:?}");
    }
    let (path, value) = PayloadPath::split(r#"data."a=b"=c=d"#).unwrap();
    assert_eq!((path.to_string().as_str(), value), (r#"data."a=b""#, "c=d"));
    for text in ["data", "=1", "data.=1", "data==1"] {
        assert!(PayloadPath::split(text).is_err(), "{text}");
    }
}
