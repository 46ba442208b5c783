//! Tests: which layout an entry has, and what it says.

use super::*;

fn read_pairs<V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> DeadLetter {
    read(id(), fields(pairs))
}

const FLAT: [(&str, &str); 6] = [
    ("type", "task"),
    ("original_stream", "orders"),
    ("original_id", "1700-1"),
    ("failure_reason", "max_retries_exceeded"),
    ("attempts", "4"),
    ("dlq_timestamp", "1732250000.5"),
];

fn flat_with(changed: &'static str, value: &'static str) -> DeadLetter {
    read_pairs(FLAT.map(|(name, old)| (name, if name == changed { value } else { old })))
}

fn envelope_with(changed: &'static str, value: &'static str) -> DeadLetter {
    let entry = [
        ("original_stream", "orders"),
        ("original_msg_id", "1700-1"),
        ("error", "KeyError: 'a'"),
        ("attempt", "2"),
        ("data", "\u{1}"),
        ("ts", "1732250000.25"),
        ("trace_id", "t"),
    ];
    read_pairs(entry.map(|(name, old)| (name, if name == changed { value } else { old })))
}

#[test]
fn a_native_dead_letter_says_everything() {
    let source = source();
    let (_, stored) = compose(Layout::Native, Some(&tricky()), &obituary(&source));
    let letter = read(id(), stored.clone());
    assert_eq!(letter.layout, DeadLetterLayout::Native);
    assert_eq!(letter.fields, tricky());
    assert_eq!(letter.stream.as_ref(), Some(&source.stream));
    assert_eq!(letter.group.as_ref(), Some(&source.group));
    assert_eq!(letter.original_id, Some(EntryId::new(1700, 1)));
    assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
    assert_eq!(letter.error.as_deref(), Some("card refused"));
    assert_eq!(letter.error_kind.as_deref(), Some("Refused"));
    assert_eq!(letter.fingerprint, "0123456789abcdef");
    assert_eq!((letter.attempts, letter.crashes), (Some(3), Some(1)));
    assert_eq!(letter.replays, 0);
    assert_eq!(letter.consumer.as_deref(), Some("consumer_1"));
    assert_eq!(letter.first_at_ms, Some(1_699_999_999_000));
    assert_eq!(letter.dead_at_ms, Some(1_700_000_000_001));
    assert_eq!((&letter.campaign, letter.replayed_from), (&None, None));
    assert!(!letter.is_tombstone());
    assert_eq!((letter.stored(), letter.size()), (&stored, stored.size()));
}

#[test]
fn a_missing_or_broken_native_field_is_none_and_never_0() {
    let letter = read_pairs([
        ("a", "b"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-attempts", "+3"),
        ("redrive-id", "nonsense"),
        ("redrive-reason", "boredom"),
        ("redrive-error", ""),
        ("redrive-fingerprint", "\u{1b}[31m"),
    ]);
    assert_eq!(letter.layout, DeadLetterLayout::Native);
    assert_eq!((letter.attempts, letter.crashes), (None, None));
    assert_eq!((letter.first_at_ms, letter.dead_at_ms), (None, None));
    assert_eq!((letter.original_id, letter.reason), (None, None));
    assert_eq!(
        (letter.stream, letter.group, letter.consumer),
        (None, None, None)
    );
    assert_eq!(letter.error, None);
    assert_eq!(letter.replays, 0);
    assert_eq!(
        letter.fingerprint,
        crate::fingerprint::fingerprint(None, "")
    );
}

#[test]
fn a_dead_letter_that_died_again_is_the_users_fields_of_the_last() {
    let source = source();
    let (_, inner) = compose(Layout::Native, Some(&tricky()), &obituary(&source));
    let again = Obituary {
        failures: 9,
        ..obituary(&source)
    };
    let (_, outer) = compose(Layout::Native, Some(&inner), &again);
    let letter = read(id(), outer);
    assert_eq!((letter.attempts, &letter.fields), (Some(9), &inner));
    assert_eq!(read(id(), letter.fields).fields, tricky());
}

#[test]
fn without_the_right_count_it_is_not_native() {
    for count in ["0", "2", "", "+1", " 1", "1.0", "18446744073709551617"] {
        let letter = read_pairs([("a", "b"), ("redrive-v", "1"), ("redrive-fields", count)]);
        assert_eq!(letter.layout, DeadLetterLayout::Foreign, "{count:?}");
        assert_eq!(letter.fields.len(), 3);
    }
    let apart = read_pairs([("redrive-v", "1"), ("x", "y"), ("redrive-fields", "0")]);
    assert_eq!(apart.layout, DeadLetterLayout::Foreign);
    // The last pair is wrong, an earlier one is right.
    let earlier = read_pairs([
        ("redrive-v", "1"),
        ("redrive-fields", "0"),
        ("redrive-v", "1"),
        ("redrive-fields", "7"),
    ]);
    assert_eq!(earlier.layout, DeadLetterLayout::Native);
    assert!(earlier.is_tombstone());
}

#[test]
fn packed_fields_that_do_not_unpack_are_shown_raw() {
    let hostile: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\0\0\0\x01",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01a",
        b"\0\0\0\x01a\0\0\0\x02b",
        b"\0\0\0\x01a\0\0\0\x01b\0\0",
    ];
    let packed = |bytes: &'static [u8]| {
        read_pairs([
            ("redrive-v", &b"1"[..]),
            ("redrive-fields", b"0"),
            ("redrive-packed", bytes),
        ])
    };
    for bytes in hostile {
        let letter = packed(bytes);
        assert_eq!(letter.fields, fields([("redrive-packed", bytes)]));
        assert!(!letter.is_tombstone());
        assert_eq!(
            replay_fields(&letter).unwrap_err().kind(),
            ErrorKind::Refused
        );
    }
    let letter = packed(b"\0\0\0\x01a\0\0\0\0\0\0\0\0\0\0\0\x01b");
    assert_eq!(letter.fields, fields([("a", ""), ("", "b")]));
    // Beside user fields it is not packed fields, whatever it holds.
    let beside = read_pairs([
        ("a", &b"b"[..]),
        ("redrive-v", b"1"),
        ("redrive-fields", b"1"),
        ("redrive-packed", b"\0\0\0\0\0\0\0\0"),
    ]);
    assert_eq!(beside.fields, fields([("a", "b")]));
}

#[test]
fn more_packed_fields_than_a_server_takes_are_not_unpacked() {
    let bytes = vec![0; 8 * (512 * 1024 + 1)];
    let letter = read_pairs([
        ("redrive-v", &b"1"[..]),
        ("redrive-fields", b"0"),
        ("redrive-packed", &bytes),
    ]);
    assert_eq!(letter.fields.len(), 1);
}

#[test]
fn a_flat_dead_letter_is_read_and_its_reasons_mapped() {
    let letter = read_pairs(FLAT);
    assert_eq!(letter.layout, DeadLetterLayout::Flat);
    assert_eq!(
        letter.stream.as_ref().map(StreamKey::as_str),
        Some("orders")
    );
    assert_eq!(letter.original_id, Some(EntryId::new(1700, 1)));
    assert_eq!((letter.attempts, letter.crashes), (Some(4), None));
    assert_eq!(
        (letter.first_at_ms, letter.dead_at_ms),
        (None, Some(1_732_250_000_500))
    );
    assert_eq!(letter.fields, fields([("type", "task")]));
    assert_eq!(
        (letter.group, letter.consumer, letter.replays),
        (None, None, 0)
    );

    for (text, reason, error) in [
        ("max_retries_exceeded", Reason::AttemptsExhausted, None),
        ("attempts_exhausted", Reason::AttemptsExhausted, None),
        ("crash_loop", Reason::CrashLoop, None),
        ("rejected", Reason::Rejected, None),
        ("undecodable", Reason::Undecodable, None),
        ("trimmed", Reason::Trimmed, None),
        ("", Reason::AttemptsExhausted, None),
        ("disk full", Reason::AttemptsExhausted, Some("disk full")),
    ] {
        let letter = flat_with("failure_reason", text);
        assert_eq!(letter.reason, Some(reason), "{text:?}");
        assert_eq!(letter.error.as_deref(), error, "{text:?}");
    }
}

#[test]
fn a_flat_time_is_read_without_rounding_and_nonsense_is_none() {
    for (text, expected) in [
        ("1732250000.123456", Some(1_732_250_000_123)),
        ("1732250000.9999999", Some(1_732_250_000_999)),
        ("1732250000", Some(1_732_250_000_000)),
        ("1732250000.", Some(1_732_250_000_000)),
        ("0.05", Some(50)),
        ("", None),
        (".5", None),
        ("-1.5", None),
        ("1e9", None),
        ("1.5e3", None),
        ("nan", None),
        ("18446744073709551615.0", None),
    ] {
        let letter = flat_with("dlq_timestamp", text);
        assert_eq!(letter.dead_at_ms, expected, "{text:?}");
        assert_eq!(letter.layout, DeadLetterLayout::Flat);
    }
}

#[test]
fn four_of_the_five_flat_names_are_foreign() {
    for missing in 1..FLAT.len() {
        let entry = FLAT.iter().enumerate().filter(|(i, _)| *i != missing);
        let letter = read(id(), fields(entry.map(|(_, pair)| *pair)));
        assert_eq!(letter.layout, DeadLetterLayout::Foreign);
        assert_eq!((letter.fields.len(), letter.reason), (5, None));
        assert_eq!(default_target(&letter), None);
    }
}

#[test]
fn an_envelope_is_exactly_its_seven_names() {
    let letter = envelope_with("", "");
    assert_eq!(letter.layout, DeadLetterLayout::Envelope);
    assert_eq!((letter.attempts, letter.dead_at_ms), (Some(2), None));
    assert_eq!(letter.error.as_deref(), Some("KeyError: 'a'"));
    let user = [
        ("data", "\u{1}"),
        ("ts", "1732250000.25"),
        ("trace_id", "t"),
    ];
    assert_eq!(letter.fields, fields(user));

    for extra in [("x", "y"), ("data", "twice")] {
        let more = joined(&[letter.stored(), &fields([extra])]);
        assert_eq!(read(id(), more).layout, DeadLetterLayout::Foreign);
    }
    let fewer = fields(letter.stored().iter().skip(1));
    assert_eq!(read(id(), fewer).layout, DeadLetterLayout::Foreign);
}

#[test]
fn the_reason_of_an_envelope_stands_before_its_error() {
    for (text, reason, error) in [
        ("rejected: negative", Reason::Rejected, Some("negative")),
        ("crash_loop: ", Reason::CrashLoop, None),
        ("undecodable: a: b", Reason::Undecodable, Some("a: b")),
        ("trimmed: x", Reason::Trimmed, Some("x")),
        ("rejected", Reason::AttemptsExhausted, Some("rejected")),
        (
            "rejected:no",
            Reason::AttemptsExhausted,
            Some("rejected:no"),
        ),
        (
            "attempts_exhausted: x",
            Reason::AttemptsExhausted,
            Some("attempts_exhausted: x"),
        ),
        ("", Reason::AttemptsExhausted, None),
    ] {
        let letter = envelope_with("error", text);
        assert_eq!(letter.reason, Some(reason), "{text:?}");
        assert_eq!(letter.error.as_deref(), error, "{text:?}");
    }
}

#[test]
fn a_name_that_is_not_utf8_is_no_target() {
    let entry = FLAT.map(|(name, value)| match name {
        "original_stream" => (name, &b"\xff"[..]),
        _ => (name, value.as_bytes()),
    });
    let letter = read_pairs(entry);
    assert_eq!(letter.layout, DeadLetterLayout::Flat);
    assert_eq!(default_target(&letter), None);
}

#[test]
fn no_payload_shows_in_debug() {
    let letter = read_pairs([
        ("card", "4111-secret"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
    ]);
    assert!(!format!("{letter:?}").contains("secret"));
}
