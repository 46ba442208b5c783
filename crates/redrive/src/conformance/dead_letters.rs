//! Giving a message up.

use super::Lab;
use super::room::{
    FINGERPRINT, HOUR, Room, assert_gone, begin, dead_letter, died, fault, field, numbered, retry,
    settle, settle_as, settlement, started, user_fields,
};
use crate::backend::{Failed, Fence, How, Seat, Settled, Settlement};
use crate::dead_letter::{DeadLetterLayout, Layout, Reason, read};
use crate::error::ErrorKind;
use crate::message::Fields;

fn undecodable() -> How {
    How::DeadLetter {
        reason: Reason::Undecodable,
        fault: fault("not json"),
        failed: Failed::No,
    }
}

pub(super) async fn a_dead_letter_says_what_happened_and_keeps_the_bytes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "first")).await;
    let first_ms = room.state(fence.id).await.first_failure_ms.unwrap();
    lab.age_due(&room.source, fence.id, HOUR).await;
    let took = room.take_due(&*seat, fence.id).await.lease.fence;
    let (begun, ..) = started(begin(&*seat, took, "n").await, fence.id);
    let answer = settle(&*seat, begun, dead_letter("second")).await;
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(died(&answer).id, fence.id);
    assert_eq!(died(&answer).reason, Reason::Rejected);
    assert_eq!(died(&answer).dead_letter, dead[0].id);
    assert_eq!(user_fields(&dead[0]), numbered(0));
    let dead_ms = field(&dead[0].fields, "redrive-dead-at")
        .parse::<u64>()
        .unwrap();
    assert!(dead_ms.abs_diff(fence.id.millis()) < 60_000);
    for (name, value) in [
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-stream", room.stream().as_str()),
        ("redrive-group", "group"),
        ("redrive-id", &fence.id.to_string()),
        ("redrive-reason", "rejected"),
        ("redrive-error", "second"),
        ("redrive-error-kind", "Kind"),
        ("redrive-fingerprint", FINGERPRINT),
        ("redrive-attempts", "2"),
        ("redrive-crashes", "0"),
        ("redrive-consumer", "a"),
        ("redrive-first-at", &first_ms.to_string()),
    ] {
        assert_eq!(field(&dead[0].fields, name), value, "{name}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
    assert_eq!(room.entries(room.stream()).await.len(), 1);
}

pub(super) async fn a_run_that_did_not_fail_is_not_counted_as_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    let answer = settle(&*seat, fence, undecodable()).await;
    assert_eq!(died(&answer).reason, Reason::Undecodable);
    let dead = room.dead_letters().await.remove(0).fields;
    assert_eq!(field(&dead, "redrive-reason"), "undecodable");
    assert_eq!(field(&dead, "redrive-attempts"), "0");
    assert_eq!(field(&dead, "redrive-error"), "not json");
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, dead_letter("no")).await;
    let dead = room.dead_letters().await.remove(1).fields;
    assert_eq!(field(&dead, "redrive-attempts"), "1");
    // Its only failure is the first.
    field(&dead, "redrive-first-at").parse::<u64>().unwrap();
}

pub(super) async fn a_dead_letter_asked_for_twice_is_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    died(&settle(&*seat, fence, dead_letter("no")).await);
    assert_gone(&settle(&*seat, fence, dead_letter("no")).await);
    assert_eq!(room.dead_letters().await.len(), 1);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn booked_crashes_are_told_and_the_last_run_is_none(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    room.run(&*b, id).await;
    let (begun, ..) = room.run(&*b, id).await;
    settle(&*b, begun, dead_letter("no")).await;
    let dead = room.dead_letters().await.remove(0).fields;
    assert_eq!(field(&dead, "redrive-crashes"), "2");
    assert_eq!(field(&dead, "redrive-attempts"), "1");
    assert_eq!(field(&dead, "redrive-consumer"), "b");
}

pub(super) async fn a_refused_dead_letter_leaves_the_message_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.spoil(&room.dlq).await;
    let Settled::Refused(error) = settle(&*seat, fence, dead_letter("no")).await else {
        panic!("not refused");
    };
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert_eq!(room.ledger().await, [0, 0, 0]);
    lab.mend(&room.dlq).await;
    died(&settle(&*seat, fence, dead_letter("no")).await);
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
}

fn exhausted(error: &str) -> How {
    How::DeadLetter {
        reason: Reason::AttemptsExhausted,
        fault: fault(error),
        failed: Failed::Yes,
    }
}

pub(super) async fn the_flat_layout_is_written_where_chosen(lab: &dyn Lab) {
    let room = Room::new(lab);
    let mut member = room.member("a");
    member.layout = Layout::Flat;
    let seat = room.join_as(member).await;
    let fence = room.hold_one(&*seat).await;
    let (begun, ..) = room.run(&*seat, fence.id).await;
    let end = settlement(begun, exhausted("no"));
    let end = Settlement {
        fields: numbered(0),
        ..end
    };
    died(&settle_as(&*seat, end).await);
    let dead = room.dead_letters().await.remove(0).fields;
    for (name, value) in [
        ("number", "0"),
        ("original_stream", room.stream().as_str()),
        ("original_id", &fence.id.to_string()),
        ("failure_reason", "max_retries_exceeded"),
        ("attempts", "2"),
    ] {
        assert_eq!(field(&dead, name), value, "{name}");
    }
    let seconds = field(&dead, "dlq_timestamp").parse::<f64>().unwrap();
    let now = fence.id.millis() as f64 / 1000.0;
    assert!((seconds - now).abs() < 60.0, "{seconds} {now}");
    assert_eq!(dead.len(), 6);
}

/// One entry with these fields, received by a seat that writes envelopes.
async fn enveloped(room: &Room<'_>, fields: Fields) -> (std::sync::Arc<dyn Seat>, Fence) {
    let mut member = room.member("a");
    member.layout = Layout::Envelope;
    let seat = room.join_as(member).await;
    let added = room.backend().append(room.stream(), &[fields]).await;
    added.unwrap();
    let got = seat.receive(1, None).await.unwrap().remove(0);
    (seat, got.lease.fence)
}

pub(super) async fn the_envelope_layout_is_written_where_chosen(lab: &dyn Lab) {
    for (how, error) in [
        (undecodable(), "undecodable: not json"),
        (dead_letter("no"), "rejected: no"),
        (exhausted("no"), "no"),
    ] {
        let room = Room::new(lab);
        let data = Fields::from_iter([("ts", &b"1.5"[..]), ("data", &b"\x81\xff\0"[..])]);
        let (seat, fence) = enveloped(&room, data).await;
        let answer = settle(&*seat, fence, how).await;
        assert_eq!(died(&answer).layout, Layout::Envelope);
        let dead = room.dead_letters().await.remove(0);
        let id = fence.id.to_string();
        let expected = [
            ("original_stream", room.stream().as_str().as_bytes()),
            ("original_msg_id", id.as_bytes()),
            ("error", error.as_bytes()),
            ("attempt", b"1"),
            ("data", b"\x81\xff\0"),
            ("ts", b"1.5"),
            ("trace_id", b""),
        ];
        assert!(
            dead.fields
                .iter()
                .eq(expected.map(|(name, value)| (name.as_bytes(), value)))
        );
        let letter = read(dead.id, dead.fields);
        assert_eq!(letter.layout, DeadLetterLayout::Envelope);
        assert_eq!(Some(died(&answer).reason), letter.reason);
        room.assert_nothing_pending().await;
    }
}

pub(super) async fn what_an_envelope_cannot_hold_is_written_native(lab: &dyn Lab) {
    let replayed = [
        ("data", "x"),
        ("redrive-replayed-from", "1-1"),
        ("redrive-replays", "1"),
    ];
    for fields in [
        Fields::from_iter([("data", "x"), ("data", "y")]),
        Fields::from_iter([("data", "x"), ("tenant", "y")]),
        Fields::from_iter(replayed),
    ] {
        let room = Room::new(lab);
        let (seat, fence) = enveloped(&room, fields.clone()).await;
        let answer = settle(&*seat, fence, dead_letter("no")).await;
        assert_eq!(died(&answer).layout, Layout::Native);
        let dead = room.dead_letters().await.remove(0);
        let letter = read(dead.id, dead.fields);
        assert_eq!(letter.layout, DeadLetterLayout::Native);
        assert!(fields.pairs().starts_with(letter.fields.pairs()));
        assert_eq!(
            letter.fields.len() + 2 * letter.replays as usize,
            fields.len()
        );
        assert_eq!(room.ledger().await, [1, 0, 0]);
    }
}
