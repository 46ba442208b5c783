//! Tests: the entry that a replay puts back, and its lineage.

use super::*;

fn native(entry: &Fields) -> DeadLetter {
    let source = source();
    read(
        id(),
        compose(Layout::Native, Some(entry), &obituary(&source)).1,
    )
}

fn flat(entry: &Fields) -> DeadLetter {
    let source = source();
    read(
        id(),
        compose(Layout::Flat, Some(entry), &obituary(&source)).1,
    )
}

fn envelope(data: &str, ts: &str) -> DeadLetter {
    read(
        id(),
        // Not in the usual order: a replay restores it.
        fields([
            ("trace_id", ""),
            ("ts", ts),
            ("data", data),
            ("original_stream", "inbound"),
            ("original_msg_id", "1700-1"),
            ("error", "KeyError: 'a'"),
            ("attempt", "3"),
        ]),
    )
}

/// One field less, and the pair in it that would make it native counts wrong.
fn foreign() -> DeadLetter {
    read(id(), fields(tricky().iter().skip(1)))
}

#[test]
fn native_puts_the_user_fields_back_and_counts() {
    let first = replay_fields(&native(&tricky())).unwrap();
    let block = fields([
        ("redrive-replayed-from", "1712-5"),
        ("redrive-replays", "1"),
    ]);
    assert!(first == joined(&[&tricky(), &block]), "{first:?}");

    let (user, lineage) = split_lineage(&first);
    assert_eq!(user, tricky());
    assert_eq!((lineage.replayed_from, lineage.replays), (Some(id()), 1));

    let again = native(&first);
    assert_eq!((again.replays, again.replayed_from), (1, Some(id())));
    assert_eq!(again.fields, tricky());
    let second = replay_fields(&again).unwrap();
    assert_eq!(split_lineage(&second).1.replays, 2);
    assert_eq!(split_lineage(&second).0, tricky());
}

#[test]
fn flat_replaces_an_older_mark_and_adds_its_own_last() {
    let entry = fields([
        ("a", "1"),
        ("replayed_from_dlq", "5-0"),
        ("b", ""),
        ("a", "2"),
    ]);
    let letter = flat(&entry);
    assert_eq!(letter.replayed_from, Some(EntryId::new(5, 0)));
    let back = replay_fields(&letter).unwrap();
    let expected = [
        ("a", "1"),
        ("b", ""),
        ("a", "2"),
        ("replayed_from_dlq", "1712-5"),
    ];
    assert!(back == fields(expected), "{back:?}");
}

#[test]
fn an_envelope_puts_its_three_fields_back_in_order() {
    let back = replay_fields(&envelope("x", "")).unwrap();
    assert!(back == fields([("data", "x"), ("ts", ""), ("trace_id", "")]));
    assert_eq!(
        default_target(&envelope("x", "")).unwrap().as_str(),
        "inbound"
    );

    let refused = replay_fields(&envelope("", "1.5")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(
        refused
            .to_string()
            .contains("1712-5, whose payload is empty")
    );
}

#[test]
fn a_foreign_entry_is_put_back_whole_where_it_is_told() {
    let letter = foreign();
    assert_eq!(letter.layout, DeadLetterLayout::Foreign);
    assert_eq!(replay_fields(&letter).unwrap(), *letter.stored());
    assert_eq!(default_target(&letter), None);
}

#[test]
fn a_tombstone_is_refused_with_a_hint_also_with_a_migration() {
    let source = source();
    for layout in [Layout::Native, Layout::Flat] {
        let letter = read(id(), compose(layout, None, &obituary(&source)).1);
        for refused in [
            replay_fields(&letter).unwrap_err(),
            migrated(&letter, tricky()).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), ErrorKind::Refused);
            assert!(refused.to_string().contains("tombstone"), "{refused}");
            assert!(refused.cure().unwrap().contains("trimmed"));
        }
    }
}

#[test]
fn migrated_fields_get_the_same_lineage() {
    let new = fields([("data", "new"), ("x", "y"), ("replayed_from_dlq", "1-1")]);
    let back = migrated(&native(&tricky()), new.clone()).unwrap();
    assert_eq!(split_lineage(&back).0, new);
    assert_eq!(split_lineage(&back).1.replayed_from, Some(id()));

    let back = migrated(&flat(&fields([("a", "b")])), new.clone()).unwrap();
    let expected = [("data", "new"), ("x", "y"), ("replayed_from_dlq", "1712-5")];
    assert!(back == fields(expected), "{back:?}");

    let back = migrated(&envelope("old", "1.5"), new.clone()).unwrap();
    assert!(back == fields([("data", "new"), ("ts", ""), ("trace_id", "")]));
    assert_eq!(migrated(&foreign(), new.clone()).unwrap(), new);

    for letter in [native(&tricky()), envelope("old", "")] {
        let refused = migrated(&letter, Fields::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
    }
    // An envelope whose payload is empty has nothing to migrate, but may be given one.
    assert!(migrated(&envelope("", ""), new).is_ok());
}

#[test]
fn only_a_block_exactly_as_written_is_lineage() {
    let with =
        |block: &[(&'static str, &'static str)]| fields([("a", "b")].iter().chain(block).copied());
    const FROM: (&str, &str) = ("redrive-replayed-from", "1712-5");
    const COUNT: (&str, &str) = ("redrive-replays", "2");
    const CAMPAIGN: (&str, &str) = ("redrive-campaign", "friday");

    for block in [&[FROM, COUNT][..], &[FROM, COUNT, CAMPAIGN]] {
        let (user, lineage) = split_lineage(&with(block));
        assert_eq!(user, fields([("a", "b")]));
        assert_eq!((lineage.replayed_from, lineage.replays), (Some(id()), 2));
        assert_eq!(lineage.campaign.is_some(), block.len() == 3);
    }
    let most = with(&[FROM, ("redrive-replays", "4294967295")]);
    assert_eq!(split_lineage(&most).1.replays, u32::MAX);

    let users: [&[(&'static str, &'static str)]; 16] = [
        &[FROM],
        &[COUNT],
        &[COUNT, FROM],
        &[FROM, CAMPAIGN],
        &[CAMPAIGN, FROM, COUNT, ("x", "y")],
        &[FROM, ("x", "y"), COUNT],
        &[FROM, COUNT, CAMPAIGN, CAMPAIGN],
        &[FROM, COUNT, ("redrive-campaign", "")],
        &[FROM, ("redrive-replays", "0")],
        &[FROM, ("redrive-replays", "02")],
        &[FROM, ("redrive-replays", "-1")],
        &[FROM, ("redrive-replays", "4294967296")],
        &[FROM, ("redrive-replays", "")],
        &[("redrive-replayed-from", "1712"), COUNT],
        &[("redrive-replayed-from", "01712-5"), COUNT],
        &[("redrive-replayed-from", "18446744073709551616-0"), COUNT],
    ];
    for block in users {
        let entry = with(block);
        assert_eq!(
            split_lineage(&entry),
            (entry.clone(), Lineage::default()),
            "{block:?}"
        );
    }
}
