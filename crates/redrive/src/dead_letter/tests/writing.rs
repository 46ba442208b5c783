//! Tests: the fields of a dead letter that is written.

use super::*;

fn names(fields: &Fields) -> Vec<String> {
    fields
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    std::str::from_utf8(fields.get(name).unwrap()).unwrap()
}

fn replayed() -> Fields {
    fields([
        ("a", "b"),
        ("redrive-replayed-from", "9-1"),
        ("redrive-replays", "2"),
        ("redrive-campaign", "friday"),
    ])
}

#[test]
fn native_writes_its_fields_in_the_documented_order() {
    let source = source();
    let (layout, full) = compose(Layout::Native, Some(&replayed()), &obituary(&source));
    assert_eq!(layout, Layout::Native);
    let expected = [
        ("a", "b"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-stream", "orders"),
        ("redrive-group", "billing"),
        ("redrive-id", "1700-1"),
        ("redrive-reason", "attempts_exhausted"),
        ("redrive-error", "card refused"),
        ("redrive-error-kind", "Refused"),
        ("redrive-fingerprint", "0123456789abcdef"),
        ("redrive-attempts", "3"),
        ("redrive-crashes", "1"),
        ("redrive-consumer", "consumer_1"),
        ("redrive-first-at", "1699999999000"),
        ("redrive-dead-at", "1700000000001"),
        ("redrive-replays", "2"),
        ("redrive-campaign", "friday"),
        ("redrive-replayed-from", "9-1"),
    ];
    assert!(full == fields(expected), "{full:?}");
}

#[test]
fn what_is_unknown_or_empty_is_left_out() {
    let source = source();
    let about = Obituary {
        error: "",
        error_kind: None,
        fingerprint: "",
        first_at_ms: None,
        failures: 0,
        crashes: 0,
        ..obituary(&source)
    };
    let (_, few) = compose(Layout::Native, Some(&fields([("a", "b")])), &about);
    let expected = [
        "a",
        "redrive-v",
        "redrive-fields",
        "redrive-stream",
        "redrive-group",
        "redrive-id",
        "redrive-reason",
        "redrive-attempts",
        "redrive-crashes",
        "redrive-consumer",
        "redrive-dead-at",
    ];
    assert_eq!(names(&few), expected);
    assert_eq!(value(&few, "redrive-crashes"), "0");
}

#[test]
fn flat_writes_five_fields_and_keeps_the_block_of_a_replay() {
    let source = source();
    let (layout, full) = compose(Layout::Flat, Some(&replayed()), &obituary(&source));
    assert_eq!(layout, Layout::Flat);
    let about = fields([
        ("original_stream", "orders"),
        ("original_id", "1700-1"),
        ("failure_reason", "max_retries_exceeded"),
        ("attempts", "7"),
        ("dlq_timestamp", "1700000000.001002"),
    ]);
    assert!(full == joined(&[&replayed(), &about]), "{full:?}");

    let rejected = Obituary {
        reason: Reason::Rejected,
        ..obituary(&source)
    };
    let (_, full) = compose(Layout::Flat, Some(&replayed()), &rejected);
    assert_eq!(value(&full, "failure_reason"), "rejected");
}

#[test]
fn what_flat_would_lose_or_mistake_is_written_native() {
    let source = source();
    let clashes = [
        fields([("a", "b"), ("original_stream", "x")]),
        fields([("original_id", "x")]),
        fields([("failure_reason", "x")]),
        fields([("attempts", "x")]),
        fields([("dlq_timestamp", "x")]),
        // In flat this would read as a native tombstone: the payload hidden, no replay.
        fields([("redrive-v", "1"), ("redrive-fields", "0"), ("total", "12")]),
    ];
    for entry in clashes {
        let (layout, stored) = compose(Layout::Flat, Some(&entry), &obituary(&source));
        assert_eq!(layout, Layout::Native, "{entry:?}");
        assert_eq!(read(id(), stored).fields, entry);
    }
    // Theirs is an envelope's name, not one of flat's.
    let entry = fields([("original_msg_id", "x"), ("error", "y")]);
    let (layout, stored) = compose(Layout::Flat, Some(&entry), &obituary(&source));
    assert_eq!(layout, Layout::Flat);
    assert_eq!(read(id(), stored).fields, entry);
}

#[test]
fn an_envelope_has_its_seven_fields_in_the_documented_order() {
    let source = source();
    let entry = fields([("trace_id", "tr-1"), ("data", "\u{81}x")]);
    for (reason, failures, error, attempt) in [
        (Reason::AttemptsExhausted, 3, "card refused", "3"),
        (Reason::Rejected, 1, "rejected: card refused", "1"),
        (Reason::Undecodable, 0, "undecodable: card refused", "1"),
        (Reason::CrashLoop, 0, "crash_loop: card refused", "1"),
        (Reason::Trimmed, 2, "trimmed: card refused", "2"),
    ] {
        let about = Obituary {
            reason,
            failures,
            ..obituary(&source)
        };
        let (layout, full) = compose(Layout::Envelope, Some(&entry), &about);
        assert_eq!(layout, Layout::Envelope);
        let expected = [
            ("original_stream", "orders"),
            ("original_msg_id", "1700-1"),
            ("error", error),
            ("attempt", attempt),
            ("data", "\u{81}x"),
            ("ts", ""),
            ("trace_id", "tr-1"),
        ];
        assert!(full == fields(expected), "{full:?}");
    }
}

#[test]
fn what_an_envelope_would_lose_or_mistake_is_written_native() {
    let source = source();
    let replayed = joined(&[&fields([("data", "x")]), &fields(replayed().iter().skip(1))]);
    let trimmed = Obituary {
        reason: Reason::Trimmed,
        ..obituary(&source)
    };
    let usual = obituary(&source);
    for (entry, about) in [
        (fields([("data", "x"), ("other", "y")]), &usual),
        (fields([("data", "x"), ("ts", "1"), ("data", "y")]), &usual),
        (replayed.clone(), &usual),
        // Its full copy would read as a tombstone.
        (fields([("data", ""), ("ts", "1")]), &trimmed),
    ] {
        let (layout, stored) = compose(Layout::Envelope, Some(&entry), about);
        assert_eq!(layout, Layout::Native, "{entry:?}");
        let letter = read(id(), stored);
        assert_eq!(letter.fields, split_lineage(&entry).0);
        assert!(!letter.is_tombstone());
    }
}

#[test]
fn more_than_3900_fields_are_packed_whatever_was_asked() {
    let source = source();
    let many = |count: usize| {
        let plain = (1..count).map(|n| (format!("f{n}"), vec![0xff; n % 5]));
        let user = fields(plain.chain([(String::new(), Vec::new())]));
        (
            user.clone(),
            joined(&[&user, &fields(replayed().iter().skip(1))]),
        )
    };
    for layout in [Layout::Native, Layout::Flat] {
        let (user, entry) = many(3901);
        let (written, stored) = compose(layout, Some(&entry), &obituary(&source));
        assert_eq!(written, Layout::Native);
        assert_eq!(value(&stored, "redrive-fields"), "0");
        assert_eq!(names(&stored).last().unwrap(), "redrive-packed");
        let letter = read(id(), stored);
        assert!(letter.fields == user && !letter.is_tombstone());
        assert_eq!(
            (letter.replays, letter.campaign.as_deref()),
            (2, Some("friday"))
        );

        let (_, entry) = many(3900);
        let (written, stored) = compose(layout, Some(&entry), &obituary(&source));
        assert_eq!(written, layout);
        assert!(stored.get("redrive-packed").is_none());
        assert!(stored.len() <= 3_998, "a script could not add it");
    }
}

#[test]
fn packed_fields_are_length_prefixed_big_endian() {
    let source = source();
    let user = fields(std::iter::repeat_n(("ab", "c"), 3901));
    let (_, stored) = compose(Layout::Native, Some(&user), &obituary(&source));
    let packed = stored.get("redrive-packed").unwrap();
    assert_eq!(packed, b"\0\0\0\x02ab\0\0\0\x01c".repeat(3901));
}

#[test]
fn a_tombstone_is_known_as_one_in_each_layout() {
    let source = source();
    let about = Obituary {
        reason: Reason::Trimmed,
        error: "",
        ..obituary(&source)
    };
    for layout in [Layout::Native, Layout::Flat, Layout::Envelope] {
        let (written, stored) = compose(layout, None, &about);
        assert_eq!(written, layout);
        let letter = read(id(), stored);
        assert!(letter.is_tombstone() && letter.fields.is_empty());
        assert_eq!(letter.reason, Some(Reason::Trimmed));
        assert_eq!(letter.original_id, Some(about.id));
    }
    let envelope = |error: &'static str, data: &'static str| {
        read(
            id(),
            fields([
                ("original_stream", "orders"),
                ("original_msg_id", "1700-1"),
                ("error", error),
                ("attempt", "1"),
                ("data", data),
                ("ts", ""),
                ("trace_id", ""),
            ]),
        )
    };
    assert!(envelope("trimmed: ", "").is_tombstone());
    assert!(!envelope("trimmed: no", "x").is_tombstone());
    assert!(!envelope("ValueError: empty payload", "").is_tombstone());
}

/// An entry that is nothing but the block of a replay: with the block taken off its dead letter
/// would be a tombstone, and its bytes gone.
#[test]
fn an_entry_of_nothing_but_lineage_is_no_tombstone() {
    let source = source();
    let entry = fields(replayed().iter().skip(1));
    let (_, stored) = compose(Layout::Native, Some(&entry), &obituary(&source));
    let letter = read(id(), stored);
    assert!(letter.fields == entry && !letter.is_tombstone());
}
