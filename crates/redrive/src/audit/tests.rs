//! Entries are joined into operations, whoever wrote them and in whatever order they came.

use proptest::prelude::*;
use redrive_testkit::fuzz;

use super::*;
use crate::message::Fields;
use crate::names::EntryId;

fn head<'a>(op: &'a str, audit: &'a Audit) -> Head<'a> {
    Head {
        op,
        what: AuditAction::Purge,
        audit,
        selection: Some("--all"),
        campaign: None,
    }
}

/// Reads these, the newest first; the last of the list is the newest.
fn read(query: AuditQuery, entries: &[Fields]) -> Vec<AuditRecord> {
    let mut trail = Trail::of(query);
    for (at, fields) in entries.iter().enumerate().rev() {
        if !trail.takes(EntryId::new(1_000 + at as u64, 0), fields) {
            return trail.records(false);
        }
    }
    trail.records(true)
}

fn ops(records: &[AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.op.as_str()).collect()
}

#[test]
fn a_name_and_a_reason_are_bounded() {
    assert_eq!(
        Audit::by("x".repeat(256)).unwrap().who().unwrap().len(),
        256
    );
    for bad in [String::new(), "x".repeat(257)] {
        assert_eq!(Audit::by(bad).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let ann = || Audit::by("ann").unwrap();
    assert!(ann().because("x".repeat(1_024)).is_ok());
    for bad in [String::new(), "x".repeat(1_025)] {
        assert!(ann().because(bad).unwrap_err().cure().is_some());
    }
}

#[test]
fn a_long_selection_is_cut_in_whole_characters() {
    assert_eq!(cut("--all"), "--all");
    let ids = "--id 1-0 ".repeat(1_000);
    let short = cut(&ids);
    assert!(short.len() < 2_060 && short.ends_with(" …"), "{short}");
    assert!(cut(&"字".repeat(1_000)).ends_with("字 …"));
}

#[test]
fn both_entries_of_an_operation_are_one_record() {
    let ann = Audit::by("ann").unwrap().because("INC-1").unwrap();
    let nobody = Audit::default();
    let entries = [
        began(&head("a", &ann)),
        began(&head("b", &nobody)),
        ended(
            &head("a", &ann),
            AuditOutcome::Stopped,
            &[("selected", 3), ("done", 2)],
        ),
    ];
    let records = read(AuditQuery::default(), &entries);
    assert_eq!(ops(&records), ["b", "a"]);
    let [open, over] = records.as_slice() else {
        panic!("{records:?}")
    };
    assert_eq!((open.state, open.outcome), (AuditState::Began, None));
    assert_eq!((open.who.as_deref(), open.at_ms), (None, Some(1_001)));
    assert_eq!((over.at_ms, over.ended_at_ms), (Some(1_000), Some(1_002)));
    assert_eq!(over.outcome, Some(AuditOutcome::Stopped));
    assert_eq!((over.counts["selected"], over.counts["done"]), (3, 2));
    assert_eq!(over.because.as_deref(), Some("INC-1"));
}

/// Asked again after a lost answer an entry is there twice.
#[test]
fn entries_that_were_written_twice_are_still_one_record() {
    let ann = Audit::by("ann").unwrap();
    let end = |done| ended(&head("a", &ann), AuditOutcome::Done, &[("done", done)]);
    let entries = [
        began(&head("a", &ann)),
        began(&head("a", &ann)),
        end(1),
        end(2),
    ];
    let records = read(AuditQuery::default(), &entries);
    assert_eq!(ops(&records), ["a"]);
    assert_eq!(
        (records[0].at_ms, records[0].counts["done"]),
        (Some(1_000), 2)
    );
}

#[test]
fn a_limit_an_instant_and_a_kind_narrow_it_and_the_latest_come_first() {
    let ann = Audit::by("ann").unwrap();
    let replay = |op| {
        let head = Head {
            what: AuditAction::Replay,
            ..head(op, &ann)
        };
        began(&head)
    };
    let end = |op| ended(&head(op, &ann), AuditOutcome::Done, &[]);
    let entries = [
        end("gone"),
        began(&head("a", &ann)),
        replay("b"),
        end("a"),
        began(&head("c", &ann)),
    ];
    let all = AuditQuery::default;
    assert_eq!(ops(&read(all(), &entries)), ["c", "b", "a", "gone"]);
    assert_eq!(ops(&read(all().limit(2), &entries)), ["c", "b"]);
    assert_eq!(ops(&read(all().since_ms(1_002), &entries)), ["c", "b"]);
    let replays = all().what(AuditAction::Replay);
    assert_eq!(ops(&read(replays, &entries)), ["b"]);
    let purges = all().what(AuditAction::Purge).limit(2);
    assert_eq!(ops(&read(purges, &entries)), ["c", "a"]);
}

/// What is told only when it is over stands where it ended.
#[test]
fn a_spill_has_an_end_alone() {
    let ann = Audit::by("ann").unwrap();
    let spill = Head {
        what: AuditAction::Spill,
        ..head("s", &ann)
    };
    let entries = [
        began(&head("a", &ann)),
        ended(&spill, AuditOutcome::Done, &[("done", 7)]),
        began(&head("b", &ann)),
    ];
    let records = read(AuditQuery::default(), &entries);
    assert_eq!(ops(&records), ["b", "s", "a"]);
    assert_eq!(
        (records[1].at_ms, records[1].ended_at_ms),
        (None, Some(1_001))
    );
}

#[test]
fn what_others_wrote_into_it_is_left_out_or_read_as_far_as_it_goes() {
    let fields = |pairs: &[(&[u8], &[u8])]| {
        Fields::from_iter(
            pairs
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec())),
        )
    };
    let odd = [
        fields(&[(b"a", b"1")]),
        fields(&[(b"op", b"x"), (b"what", b"purge"), (b"state", b"perhaps")]),
        fields(&[(b"op", b"x"), (b"state", b"began")]),
    ];
    assert!(read(AuditQuery::default(), &odd).is_empty());
    let strange = fields(&[
        (b"op", b"\xff"),
        (b"what", b"vanish"),
        (b"state", b"ended"),
        (b"outcome", b"splendid"),
        (b"who", b"\x1b[2J\xff"),
        (b"done", b"-1"),
        (b"\xfe", b"3"),
        (b"turned", b"3"),
    ]);
    let records = read(AuditQuery::default(), &[strange]);
    assert_eq!(
        (records[0].what.as_str(), records[0].outcome),
        ("vanish", None)
    );
    assert_eq!(records[0].who.as_deref(), Some("\u{1b}[2J\u{fffd}"));
    assert_eq!(records[0].counts.len(), 1);
}

/// Whatever stands in the stream: nothing panics, no operation is told twice, and no more than the
/// limit.
#[test]
fn fuzz_of_audit_entries_panics_0() {
    let pair = (
        "op|what|state|who|outcome|done|\\PC{0,3}",
        "began|ended|a|b|replay|spill|done|[0-9]{0,21}|\\PC{0,3}",
    );
    let entry = proptest::collection::vec(pair, 0..6);
    let entries = (proptest::collection::vec(entry, 0..8), 0_usize..4);
    fuzz("audit entries", &entries, |(entries, limit)| {
        let entries: Vec<Fields> = entries.into_iter().map(Fields::from_iter).collect();
        let records = read(AuditQuery::default().limit(limit), &entries);
        prop_assert!(records.len() <= limit);
        let mut known = ops(&records);
        known.sort_unstable();
        known.dedup();
        prop_assert_eq!(known.len(), records.len());
        Ok(())
    });
}
