//! Fuzz of filters: what is read of any text, and what passes of any dead letter.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use redrive_testkit::{fuzz_bytes, pieces};

use super::*;
use crate::dead_letter::read;
use crate::message::Fields;
use crate::payload::{self, Step};

/// Texts of what filters are made of, and any.
fn texts() -> impl Strategy<Value = String> {
    let parts = [
        "data",
        "a",
        ".",
        ".",
        "=",
        "=",
        "\"",
        "\"a.b\"",
        "\"\"",
        "\\",
        "0",
        "17",
        "-1",
        "1.0",
        "1e3",
        "{",
        "}",
        "[",
        "]",
        "{\"a\":1}",
        "[1,2]",
        "null",
        "true",
        "$bin",
        ">=",
        "<",
        ">",
        "!",
        " ",
        "(",
        ")",
        "*",
        "+",
        "{1000}",
        "é",
        "\u{1b}",
        "\u{202e}",
        "\0",
        "0123",
        "abcdef",
        "(?i)",
        "|",
        "\\w",
        "^",
    ];
    prop_oneof![
        4 => vec(select(parts.to_vec()), 0..8).prop_map(|parts| parts.concat()),
        1 => "\\PC{0,12}",
        1 => any::<String>(),
    ]
}

/// Values as they are found in messages: nearly JSON, nearly MessagePack, or anything.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let json = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"a.b\"",
        "\"\\ud800\"",
        "1",
        "1.0",
        "1e3",
        "-0",
        "1e99999999999999999999",
        "null",
        "true",
        "\"\"",
        " ",
    ];
    let whole = [
        "{\"a\":1,\"a\":{\"a\":[0,1,{\"b\":null}]}}",
        "[[],[[]],{}]",
        "{\"\":\"\",\"$x\":-0.0}",
        "17",
        "a",
    ];
    prop_oneof![
        vec(select(json.to_vec()), 0..10).prop_map(|parts| parts.concat().into_bytes()),
        select(whole.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..24),
        vec(
            select(vec![
                0x81, 0x92, 0xa1, 0x61, 0x01, 0xc4, 0xff, 0xc0, 0x1f, 0x8b
            ]),
            0..12
        ),
    ]
}

const NAMES: [&str; 18] = [
    "data",
    "a",
    "a.b",
    "",
    "error",
    "attempts",
    "redrive-v",
    "redrive-fields",
    "redrive-error",
    "redrive-attempts",
    "redrive-dead-at",
    "redrive-replays",
    "redrive-fingerprint",
    "original_stream",
    "original_msg_id",
    "attempt",
    "ts",
    "trace_id",
];

/// Two texts and a dead letter, as bytes have them: its fields are name and value by turns, one byte may
/// stand for a name.
fn texts_and_letter(bytes: &[u8]) -> Option<(String, String, DeadLetter)> {
    let mut pieces = pieces(bytes).into_iter();
    let mut text = || String::from_utf8(pieces.next()?).ok();
    let texts = (text()?, text()?);
    let fields: Vec<_> = pieces.collect();
    let (pairs, _) = fields.as_chunks::<2>();
    let named = |name: &[u8]| match name {
        [number] if usize::from(*number) < NAMES.len() => NAMES[usize::from(*number)].into(),
        other => other.to_vec(),
    };
    let fields = pairs
        .iter()
        .map(|[name, value]| (named(name), value.clone()));
    let letter = read(EntryId::new(1_712, 0), fields.collect());
    Some((texts.0, texts.1, letter))
}

fn letters() -> impl Strategy<Value = DeadLetter> {
    let field = (select(NAMES.to_vec()), values());
    (any::<(u64, u64)>(), vec(field, 0..9)).prop_map(|((millis, seq), fields)| {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        read(EntryId::new(millis, seq), Fields::from_iter(fields))
    })
}

fn refused(refused: &crate::Error) -> Result<(), TestCaseError> {
    let cure = refused.cure().unwrap_or_default();
    prop_assert!(
        !cure.is_empty() && !cure.contains(['\n', '\u{1b}']),
        "{}",
        cure
    );
    Ok(())
}

/// Whatever is written as a filter is refused with a cure in one line, or means what it means when
/// it is written again; and whatever a dead letter holds, it passes or does not.
#[test]
fn fuzz_of_filters_panics_0() {
    fuzz_bytes(
        "filters",
        &(texts(), texts(), letters()),
        texts_and_letter,
        |(text, value, letter)| {
            let mut selections = vec![Selection::all()];
            for text in [
                text.clone(),
                format!("data.{text}={value}"),
                format!("{text}={value}"),
            ] {
                match text.parse::<FieldFilter>() {
                    Ok(filter) => {
                        prop_assert_eq!(
                            &filter.to_string().parse::<FieldFilter>().unwrap(),
                            &filter
                        );
                        let quoted = filter.quoted();
                        prop_assert!(!quoted.is_no_string());
                        selections.push(Selection::all().field(filter));
                        selections.push(Selection::all().field(quoted));
                    }
                    Err(error) => refused(&error)?,
                }
            }
            match text.parse::<ErrorRegex>() {
                Ok(regex) => selections.push(Selection::all().error_regex(regex)),
                Err(error) => refused(&error)?,
            }
            match text.parse::<ErrorText>() {
                Ok(text) => selections.push(Selection::all().error(text)),
                Err(error) => refused(&error)?,
            }
            match text.parse::<FingerprintPrefix>() {
                Ok(prefix) => selections.push(Selection::all().fingerprint(prefix)),
                Err(error) => refused(&error)?,
            }
            match text.parse::<CountFilter>() {
                Ok(count) => {
                    prop_assert_eq!(count.to_string().parse::<CountFilter>().unwrap(), count);
                    selections.push(Selection::all().attempts(count));
                    selections.push(Selection::all().replays(count));
                }
                Err(error) => refused(&error)?,
            }
            let at_ms = letter.dead_at_ms.unwrap_or(letter.id.millis());
            prop_assert!(Selection::all().since_ms(at_ms).matches(&letter));
            prop_assert!(!Selection::all().before_ms(at_ms).matches(&letter));
            // A dead letter is like itself: each of its fields, alone and in parts.
            for (name, value) in letter.fields.iter() {
                let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value))
                else {
                    continue;
                };
                let path = serde_json::to_string(name).unwrap();
                let filter = format!("{path}={value}").parse::<FieldFilter>();
                prop_assert!(value.starts_with('=') || filter.unwrap().matches(&letter));
            }
            // Beside another filter it passes no more than alone, and again the same.
            for selection in &selections {
                let alone = selection.matches(&letter);
                prop_assert_eq!(selection.matches(&letter), alone);
                let both = selection.clone().attempts(">=3".parse().unwrap());
                prop_assert!(alone || !both.matches(&letter));
                let named = selection.clone().id(letter.id);
                prop_assert_eq!(named.matches(&letter), alone);
            }
            Ok(())
        },
    );
}

/// What a form means is the same as itself, and is found where a path leads.
#[test]
fn fuzz_of_parts_of_payloads_panics_0() {
    let read = |bytes: &[u8]| {
        let [value, text] = pieces(bytes).try_into().ok()?;
        Some((value, String::from_utf8(text).ok()?))
    };
    fuzz_bytes(
        "parts of payloads",
        &(values(), texts()),
        read,
        |(value, other)| {
            let layout = crate::DeadLetterLayout::Native;
            let Some(form) = payload::decoded(b"data", &value, layout) else {
                return Ok(());
            };
            prop_assert!(payload::same(form.get(), form.get()));
            let _ = payload::same(&other, form.get());
            let _ = payload::same(form.get(), &other);
            let Ok(tree) = serde_json::from_str::<serde_json::Value>(form.get()) else {
                return Ok(());
            };
            if let Some(members) = tree.as_object() {
                // With a single $ it is no key.
                let is_key = |name: &str| !name.starts_with('$') || name.starts_with("$$");
                for (name, value) in members.iter().filter(|(name, _)| is_key(name)) {
                    let found = payload::at(form.get(), &[Step::Key(name.clone())]);
                    let found = found
                        .and_then(|found| serde_json::from_str::<serde_json::Value>(found).ok());
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
            for (place, value) in tree.as_array().into_iter().flatten().enumerate() {
                for step in [Step::Number(place), Step::Index(place)] {
                    let found = payload::at(form.get(), &[step]);
                    let found = found
                        .and_then(|found| serde_json::from_str::<serde_json::Value>(found).ok());
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
            Ok(())
        },
    );
}
