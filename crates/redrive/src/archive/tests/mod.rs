//! Lines and dead letters: an example byte for byte, laws for any fields, every cut and every damage.

mod fuzz;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Archive, ArchiveReader, ArchivedDeadLetter, Writer};
use crate::dead_letter;
use crate::error::{Error, ErrorKind};
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

fn queue() -> StreamKey {
    StreamKey::new("orders:dlq").unwrap()
}

pub(super) fn pairs(pairs: &[(&[u8], &[u8])]) -> Fields {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)))
        .collect()
}

/// A native dead letter with these fields of the user.
fn native(user: &[(&[u8], &[u8])]) -> Fields {
    let count = user.len().to_string();
    let mut all = user.to_vec();
    all.extend([
        (&b"redrive-v"[..], &b"1"[..]),
        (b"redrive-fields", count.as_bytes()),
        (b"redrive-stream", b"orders"),
        (b"redrive-group", b"billing"),
        (b"redrive-id", b"1712-3"),
        (b"redrive-reason", b"rejected"),
        (b"redrive-error", b"no \x1b[2J \xe2\x80\xae way"),
        (b"redrive-attempts", b"1"),
        (b"redrive-crashes", b"0"),
        (b"redrive-dead-at", b"1795324222249"),
    ]);
    pairs(&all)
}

/// The text of an export of these, and how many bytes its lines without the footer take.
fn exported(all: &[(EntryId, Fields)]) -> (String, usize) {
    let mut writer = Writer::default();
    let mut text = String::new();
    for (id, stored) in all {
        let letter = dead_letter::read(*id, stored.clone());
        writer.add(&queue(), &letter, &mut text).unwrap();
    }
    let lines = text.len();
    text.push_str(&writer.footer().unwrap());
    (text, lines)
}

fn read(text: &[u8]) -> Result<(Vec<ArchivedDeadLetter>, Archive), Error> {
    let mut reader = ArchiveReader::new();
    let mut all = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        all.extend(reader.line(line.strip_suffix(b"\n").unwrap_or(line))?);
    }
    Ok((all, reader.finish()?))
}

#[test]
fn an_export_is_these_bytes() {
    let (text, _) = exported(&[
        (
            EntryId::new(17, 1),
            native(&[(b"a", b"1"), (b"a", b"\xff")]),
        ),
        (
            EntryId::new(18, 0),
            pairs(&[(b"", b"\xc3\xa9\xe2\x82\xac")]),
        ),
    ]);
    assert_eq!(
        text,
        concat!(
            r#"{"dlq":"orders:dlq","id":"17-1","layout":"native","stream":"orders","group":"billing","#,
            r#""original_id":"1712-3","reason":"rejected","error":"no \u001b[2J \u202e way","#,
            r#""error_kind":null,"fingerprint":"60cdd2e268f843af","attempts":1,"crashes":0,"#,
            r#""replays":0,"consumer":null,"first_at":null,"dead_at":"2026-11-22T05:10:22.249Z","#,
            r#""replayed_from":null,"campaign":null,"size":196,"#,
            r#""stored":[["a","1"],["a",{"base64":"/w=="}],["redrive-v","1"],["redrive-fields","2"],"#,
            r#"["redrive-stream","orders"],["redrive-group","billing"],["redrive-id","1712-3"],"#,
            r#"["redrive-reason","rejected"],["redrive-error","no \u001b[2J \u202e way"],"#,
            r#"["redrive-attempts","1"],["redrive-crashes","0"],["redrive-dead-at","1795324222249"]],"#,
            r#""check":"0223cdab137b772dd8da6cf5622fa1d4"}"#,
            "\n",
            r#"{"dlq":"orders:dlq","id":"18-0","layout":"foreign","stream":null,"group":null,"#,
            r#""original_id":null,"reason":null,"error":null,"error_kind":null,"#,
            r#""fingerprint":"5a0a2b76858bf8cc","attempts":null,"crashes":null,"replays":null,"#,
            r#""consumer":null,"first_at":null,"dead_at":null,"replayed_from":null,"campaign":null,"#,
            r#""size":5,"stored":[["","é\u20ac"]],"check":"911551ce66e23bfc94e4a01b47524388"}"#,
            "\n",
            r#"{"redrive_export":1,"dead_letters":2,"sha256":"406f41385398670c528b9b030397f708e137c9c5d520b7e60343153ba5cdb330"}"#,
            "\n",
        )
    );
}

#[test]
fn an_archive_tells_what_it_holds() {
    let (text, _) = exported(&[
        (EntryId::new(17, 1), native(&[(b"a", b"1")])),
        (EntryId::new(18, 0), pairs(&[(b"b", b"22")])),
    ]);
    let (all, archive) = read(text.as_bytes()).unwrap();
    assert_eq!(all[0].dead_letter.id, EntryId::new(17, 1));
    assert_eq!(all[0].dead_letter.error_kind, None);
    assert_eq!((archive.dead_letters, archive.queues[&queue()]), (2, 2));
    assert_eq!(archive.oldest_ms, Some(18));
    assert_eq!(archive.newest_ms, Some(1_795_324_222_249));
    let size: usize = all.iter().map(|one| one.dead_letter.size()).sum();
    assert_eq!(archive.size, size as u64);
    assert!(text.contains(&archive.sha256));
    let (_, nothing) = read(exported(&[]).0.as_bytes()).unwrap();
    assert_eq!((nothing.dead_letters, nothing.oldest_ms), (0, None));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "\\PC{0,20}".prop_map(String::into_bytes),
        select(vec![
            &b""[..],
            b"redrive-v",
            b"redrive-fields",
            b"redrive-packed",
            b"\n",
            b"\"\\",
            b"original_stream",
            b"original_id",
            b"failure_reason",
            b"attempts",
            b"dlq_timestamp",
            b"original_msg_id",
            b"error",
            b"attempt",
            b"data",
            b"ts",
            b"trace_id",
            b"base64",
            b"1",
            b"\x00\x1b\x7f\xc2\x9b",
            b"\xed\xa0\x80",
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}

/// Any fields: of every layout, of none, with names twice; few or more than a script can add.
fn fields() -> impl Strategy<Value = Fields> {
    let flat: &[&[u8]] = &[
        b"original_stream",
        b"original_id",
        b"failure_reason",
        b"attempts",
        b"dlq_timestamp",
    ];
    let envelope: &[&[u8]] = &[
        b"original_stream",
        b"original_msg_id",
        b"error",
        b"attempt",
        b"data",
        b"ts",
        b"trace_id",
    ];
    let of = |names: &'static [&'static [u8]]| {
        vec(bytes(), names.len()).prop_map(move |values| {
            let names = names.iter().map(|name| Bytes::from_static(name));
            names
                .zip(values.into_iter().map(Bytes::from))
                .collect::<Fields>()
        })
    };
    let user = || vec((bytes(), bytes()), 1..12);
    prop_oneof![
        6 => user().prop_map(|pairs| pairs.into_iter().collect()),
        6 => user().prop_map(|pairs| {
            let borrowed: Vec<(&[u8], &[u8])> = pairs.iter().map(|(a, b)| (&a[..], &b[..])).collect();
            native(&borrowed)
        }),
        1 => Just(native(&[])),
        3 => of(Box::leak(flat.to_vec().into_boxed_slice())),
        3 => of(Box::leak(envelope.to_vec().into_boxed_slice())),
        1 => (1..5_000_usize, bytes()).prop_map(|(count, value)| {
            (0..count).map(|n| (format!("name-{}", n % 700), value.clone())).collect()
        }),
    ]
}

proptest! {
    // Some are of thousands of fields.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_exported_is_read_again_byte_for_byte(
        all in vec(((any::<u64>(), any::<u64>()), fields()), 0..8),
    ) {
        let all: Vec<_> = all
            .into_iter()
            .map(|((millis, seq), stored)| (EntryId::new(millis, seq), stored))
            .collect();
        let (text, _) = exported(&all);
        prop_assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric()));
        prop_assert_eq!(text.lines().count(), all.len() + 1);
        let (read, archive) = read(text.as_bytes()).unwrap();
        prop_assert_eq!(archive.dead_letters, all.len() as u64);
        for (one, (id, stored)) in read.iter().zip(&all) {
            prop_assert_eq!(one.dead_letter.id, *id);
            prop_assert_eq!(&one.queue, &queue());
            prop_assert!(one.dead_letter.stored() == stored);
        }
    }
}

fn three() -> (String, usize) {
    exported(&[
        (EntryId::new(17, 1), native(&[(b"a", b"1")])),
        (EntryId::new(18, 0), pairs(&[(b"b", b"\xff")])),
        (EntryId::new(19, 0), pairs(&[(b"c", b"3")])),
    ])
}

#[test]
fn cut_anywhere_it_is_refused() {
    let (text, _) = three();
    // Without its last line feed nothing is missing.
    for end in 0..text.len() - 1 {
        let error = read(&text.as_bytes()[..end]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{end}");
        assert!(error.cure().is_some(), "{end}: {error}");
    }
    assert!(read(&text.as_bytes()[..text.len() - 1]).is_ok());
}

#[test]
fn a_damaged_byte_is_found_wherever_it_is() {
    let (text, lines) = three();
    for at in 0..text.len() - 1 {
        let mut damaged = text.clone().into_bytes();
        damaged[at] ^= 1;
        let Ok((_, archive)) = read(&damaged) else {
            continue;
        };
        panic!("byte {at} of {lines}: {archive:?}");
    }
}

#[test]
fn a_line_that_is_missing_moved_or_twice_is_found() {
    let (text, _) = three();
    let lines: Vec<&str> = text.lines().collect();
    for order in [
        &[0, 1, 3][..],
        &[1, 0, 2, 3],
        &[0, 1, 2, 2, 3],
        &[0, 3],
        &[3],
        &[0, 1, 2, 3, 3],
        &[0, 1, 2, 3, 0],
        &[0, 1, 2],
    ] {
        let text: String = order
            .iter()
            .map(|line| format!("{}\n", lines[*line]))
            .collect();
        assert!(read(text.as_bytes()).is_err(), "{order:?}");
    }
}

#[test]
fn errors_say_the_line_and_quote_nothing() {
    let (text, _) = three();
    let second = |line: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let text = format!("{}\n{line}\n{}\n", lines[0], lines[3]);
        let error = read(text.as_bytes()).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        error.to_string()
    };
    for (line, said) in [
        ("secret", "it is no JSON (byte 1)"),
        ("{\"id\":\"secret", "it ends in the middle (byte 13)"),
        (
            "{\"id\":\"secret\"}",
            "it is JSON, and no dead letter of an export (byte 15)",
        ),
        (
            "{\"dlq\":\"q\",\"id\":\"secret\",\"stored\":[[\"a\",\"b\"]],\"check\":\"\"}",
            "its queue or its id cannot be one",
        ),
        (
            "{\"dlq\":\"q\",\"id\":\"1-0\",\"stored\":[[\"secret\",\"b\"]],\"check\":\"\"}",
            "it is not as it was exported: its check does not fit",
        ),
        (
            "{\"dlq\":\"q\",\"id\":\"1-0\",\"stored\":[],\"check\":\"\"}",
            "it is not as it was exported: its check does not fit",
        ),
        (
            "{\"redrive_export\":2,\"dead_letters\":1,\"sha256\":\"\"}",
            "it is of version 2, this reads 1",
        ),
        ("{\"redrive_export\":secret}", "the footer is damaged"),
    ] {
        let whole = format!("invalid value while reading line 2 of an export: {said}");
        assert_eq!(second(line), whole);
    }
}

/// What an editor or another system does to a text: refused as damaged, though nothing of it was.
#[test]
fn line_ends_of_other_systems_a_mark_and_empty_lines_at_the_end_change_nothing() {
    let (text, _) = exported(&[
        (
            EntryId::new(17, 1),
            native(&[(b"a", b"1\r"), (b"\r", b"\r\n")]),
        ),
        (EntryId::new(18, 0), pairs(&[(b"b", b"\xff\r")])),
    ]);
    let whole = read(text.as_bytes()).unwrap();
    let marked = format!("\u{feff}{text}");
    let crlf = text.replace('\n', "\r\n");
    for same in [
        marked.clone(),
        crlf.clone(),
        marked.replace('\n', "\r\n"),
        format!("{text}\n\n"),
        format!("{crlf}\r\n"),
    ] {
        assert_eq!(read(same.as_bytes()).unwrap(), whole, "{same:?}");
    }
    let lines: Vec<&str> = text.lines().collect();
    let twice = format!("{text}{}\n", lines[2]);
    let amid = text.replacen('\n', "\n\n", 1);
    let later = text.replacen('\n', "\n\u{feff}", 1);
    let doubled = text.replace('\n', "\r\r\n");
    for (other, said) in [
        (twice, "line 4 of an export: a second footer"),
        (amid, "line 2 of an export: it is empty"),
        (format!("\n{text}"), "line 1 of an export: it is empty"),
        (later, "line 2 of an export: it is no JSON (byte 1)"),
        (
            doubled,
            "its lines are not those that its checksum was made of",
        ),
        (
            format!("{text}\nnonsense\n"),
            "line 5 of an export: something stands behind the footer",
        ),
    ] {
        let error = read(other.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.cure().is_some(), "{error}");
    }
}

#[test]
fn what_is_whole_of_a_damaged_export_can_be_had() {
    let (text, _) = three();
    let mut reader = ArchiveReader::new();
    let mut had = Vec::new();
    for line in text.replace("\"b\"", "\"x\"").lines() {
        if let Ok(Some(one)) = reader.line(line.as_bytes()) {
            had.push(one.dead_letter.id);
        }
    }
    assert_eq!(had, [EntryId::new(17, 1), EntryId::new(19, 0)]);
    assert!(reader.clone().finish().is_err());
    let archive = reader.salvage();
    assert_eq!((archive.dead_letters, &*archive.sha256), (2, ""));
}

#[test]
fn exports_one_after_another_are_read_and_each_footer_is_checked() {
    let (text, _) = three();
    let (_, whole) = read(text.as_bytes()).unwrap();
    assert_eq!(whole.exports, 1);
    for between in ["", "\n", "\u{feff}"] {
        let (_, twice) = read(format!("{text}{between}{text}").as_bytes()).unwrap();
        assert_eq!(
            (twice.exports, twice.dead_letters),
            (2, 2 * whole.dead_letters)
        );
        assert_ne!(twice.sha256, whole.sha256);
    }
    let lines: Vec<&str> = text.lines().collect();
    let (footer, letters) = lines.split_last().unwrap();
    let one_less = format!("{}\n{footer}\n", letters[1..].join("\n"));
    let other = footer.replace("\"sha256\":\"", "\"sha256\":\"0");
    let other = format!("{}\n{other}\n", letters.join("\n"));
    for (bytes, said) in [
        (format!("{one_less}{text}"), "its footer says"),
        (
            format!("{text}{one_less}{text}"),
            "of export 2 in it, which ends with line",
        ),
        (
            format!("{text}{other}"),
            "not those that its checksum was made of",
        ),
        (format!("{}\n{text}", letters.join("\n")), "its footer says"),
        (format!("{text}{}\n", letters[0]), "without its footer"),
    ] {
        let error = read(bytes.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.cure().is_some(), "{error}");
    }
}
