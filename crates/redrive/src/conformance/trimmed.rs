//! Entries trimmed while they are pending: the life of a tombstone.

use super::Lab;
use super::room::{
    HOUR, Room, assert_done, assert_gone, begin, died, field, held_bytes, retry, settle, settle_as,
    settlement, started, sweep, unsuccessful, user_fields,
};
use crate::backend::{Cursor, Fence, How, Lease, Membership, Renewed, Seat, Settlement};
use crate::dead_letter::{Layout, Reason, read};
use crate::names::EntryId;

pub(super) async fn what_was_trimmed_is_left_to_its_live_holder(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    lab.trim(room.stream(), id).await;
    let round = sweep(&*b, 100).await;
    assert!(round.dead.is_empty() && round.taken.is_empty());
    assert_eq!(room.owners().await, [(id, "a".into(), 1)]);
}

/// One tombstone, and nothing else in the queue.
async fn assert_one_tombstone(room: &Room<'_>, id: EntryId) -> EntryId {
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 1);
    for (name, value) in [
        ("redrive-fields", "0"),
        ("redrive-reason", "trimmed"),
        ("redrive-id", &id.to_string()),
    ] {
        assert_eq!(field(&dead[0].fields, name), value, "{name}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
    dead[0].id
}

/// A message trimmed in the hands of a seat, which has seen it: fence and tombstone.
async fn seen_trimmed(room: &Room<'_>, seat: &dyn Seat) -> (Fence, EntryId) {
    let fence = room.hold_one(seat).await;
    room.lab.trim(room.stream(), fence.id).await;
    let answers = seat.renew(&[fence]).await.unwrap();
    let [Renewed::Trimmed { tombstone, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(assert_one_tombstone(room, fence.id).await, tombstone);
    (fence, tombstone)
}

fn ending(fence: Fence, tombstone: EntryId, how: How) -> Settlement {
    Settlement {
        lease: Lease {
            fence,
            tombstone: Some(tombstone),
        },
        ..settlement(fence, how)
    }
}

/// The full copy, and nothing else in the queue.
async fn assert_full_copy(room: &Room<'_>, id: EntryId, dead_letter: EntryId, how: &How) {
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 1, "{how:?}");
    assert_eq!(dead[0].id, dead_letter);
    assert_eq!(user_fields(&dead[0]), held_bytes());
    let dead = &dead[0].fields;
    assert_eq!(field(dead, "redrive-reason"), "trimmed");
    assert_eq!(field(dead, "redrive-id"), id.to_string());
    let (error, attempts) = match how {
        How::Retry { .. } | How::DeadLetter { .. } => ("no", "1"),
        How::Ack | How::Defer { .. } | How::Release => ("", "0"),
    };
    // An empty error may be left out.
    assert_eq!(
        dead.get("redrive-error").unwrap_or_default(),
        error.as_bytes()
    );
    assert_eq!(field(dead, "redrive-attempts"), attempts);
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
}

pub(super) async fn a_takeover_of_what_was_trimmed_leaves_a_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    assert!(sweep(&*b, 100).await.taken.is_empty());
    room.expire(id).await;
    lab.trim(room.stream(), id).await;
    let round = sweep(&*b, 100).await;
    assert!(round.taken.is_empty());
    let tombstone = assert_one_tombstone(&room, id).await;
    assert_eq!(round.dead.len(), 1);
    let told = &round.dead[0];
    assert_eq!((told.id, told.reason), (id, Reason::Trimmed));
    assert_eq!(told.dead_letter, tombstone);
    assert!(sweep(&*b, 100).await.dead.is_empty());
}

pub(super) async fn a_waiting_message_that_was_trimmed_leaves_a_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    room.expire(fence.id).await;
    lab.trim(room.stream(), fence.id).await;
    assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
    assert_one_tombstone(&room, fence.id).await;
}

pub(super) async fn a_due_message_that_was_trimmed_leaves_a_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no route")).await;
    lab.trim(room.stream(), fence.id).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
    assert_one_tombstone(&room, fence.id).await;
    let dead = room.dead_letters().await.remove(0).fields;
    assert_eq!(field(&dead, "redrive-attempts"), "1");
    assert_eq!(field(&dead, "redrive-error"), "no route");
}

/// Its reply was lost, so its process still renews it.
pub(super) async fn what_was_put_back_and_trimmed_is_left_to_the_next_round(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    lab.trim(room.stream(), fence.id).await;
    let renewed = a.renew(&[fence]).await.unwrap();
    assert!(matches!(renewed[..], [Renewed::Held]), "{renewed:?}");
    assert_eq!(room.dead_letters().await, []);
    assert_done(&settle(&*a, fence, retry(HOUR, "no")).await);
    lab.age_due(&room.source, fence.id, HOUR).await;
    assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
    let dead = room.dead_letters().await.remove(0).fields;
    assert_eq!(field(&dead, "redrive-attempts"), "1");
}

pub(super) async fn tombstones_of_waiting_messages_count_among_those_asked_for(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    for _ in 0..3 {
        let fence = room.hold_one(&*a).await;
        settle(&*a, fence, retry(HOUR, "no")).await;
        room.expire(fence.id).await;
        lab.trim(room.stream(), fence.id).await;
    }
    let round = b.tend(2, Cursor::START).await.unwrap();
    assert_eq!(round.dead.len(), 2);
    let round = b.tend(2, round.cursor.unwrap()).await.unwrap();
    assert_eq!((round.dead.len(), round.cursor), (1, None));
    room.assert_nothing_pending().await;
}

pub(super) async fn success_removes_the_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let (fence, tombstone) = seen_trimmed(&room, &*seat).await;
    for _ in 0..2 {
        assert_done(&settle_as(&*seat, ending(fence, tombstone, How::Ack)).await);
        assert_eq!(room.dead_letters().await, []);
        assert_eq!(room.ledger().await, [0, 0, 0]);
    }
}

pub(super) async fn anything_but_success_puts_the_bytes_in_place_of_the_tombstone(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        let (fence, tombstone) = seen_trimmed(&room, &*seat).await;
        let answer = settle_as(&*seat, ending(fence, tombstone, how.clone())).await;
        let told = died(&answer).clone();
        assert_eq!((told.id, told.reason), (fence.id, Reason::Trimmed));
        assert_ne!(told.dead_letter, tombstone);
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
        // Asked again: it is so already.
        assert_done(&settle_as(&*seat, ending(fence, tombstone, how.clone())).await);
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
    }
}

pub(super) async fn the_full_copy_counts_what_was_recorded_before(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    settle(&*a, fresh, retry(HOUR, "first")).await;
    let first_ms = room.state(fresh.id).await.first_failure_ms.unwrap();
    lab.age_due(&room.source, fresh.id, HOUR).await;
    let took = room.take_due(&*b, fresh.id).await.lease.fence;
    started(begin(&*b, took, "n").await, fresh.id);
    let (begun, ..) = room.run(&*a, fresh.id).await;
    lab.trim(room.stream(), fresh.id).await;
    let answers = a.renew(&[begun]).await.unwrap();
    let [Renewed::Trimmed { tombstone, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    settle_as(&*a, ending(begun, tombstone, retry(HOUR, "second"))).await;
    let dead = room.dead_letters().await.remove(0).fields;
    for (name, value) in [
        ("redrive-error", "second"),
        ("redrive-attempts", "2"),
        ("redrive-crashes", "1"),
        ("redrive-first-at", &first_ms.to_string()),
    ] {
        assert_eq!(field(&dead, name), value, "{name}");
    }
}

pub(super) async fn a_tombstone_that_is_gone_is_not_replaced(lab: &dyn Lab) {
    let mut ways = unsuccessful().to_vec();
    ways.push(How::Ack);
    for how in ways {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        let (fence, tombstone) = seen_trimmed(&room, &*seat).await;
        let purged = room.backend().purge(&room.dlq, &[tombstone]).await;
        assert_eq!(purged.unwrap(), [true]);
        assert_done(&settle_as(&*seat, ending(fence, tombstone, how)).await);
        assert_eq!(room.dead_letters().await, []);
        assert_eq!(room.ledger().await, [1, 0, 1]);
    }
}

pub(super) async fn what_turns_out_trimmed_when_it_ends_dies_with_its_bytes(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        let fence = room.hold_one(&*seat).await;
        lab.trim(room.stream(), fence.id).await;
        let answer = settle(&*seat, fence, how.clone()).await;
        let told = died(&answer).clone();
        assert_eq!((told.id, told.reason), (fence.id, Reason::Trimmed));
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
        assert_gone(&settle(&*seat, fence, how.clone()).await);
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
    }
}

pub(super) async fn an_ack_of_what_was_trimmed_leaves_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    assert_done(&settle(&*seat, fence, How::Ack).await);
    room.assert_nothing_pending().await;
    assert_eq!(room.dead_letters().await, []);
    assert_eq!(room.ledger().await, [0, 0, 0]);
}

/// A flat tombstone has no room for what was known; the full copy that follows at once may have.
pub(super) async fn what_was_known_survives_a_tombstone_that_cannot_say_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let member = |consumer| Membership {
        layout: Layout::Flat,
        ..room.member(consumer)
    };
    let a = room.join_as(member("a")).await;
    let b = room.join_as(member("b")).await;
    let fresh = room.hold_one(&*a).await;
    settle(&*a, fresh, retry(HOUR, "first")).await;
    lab.age_due(&room.source, fresh.id, HOUR).await;
    let took = room.take_due(&*b, fresh.id).await.lease.fence;
    started(begin(&*b, took, "n").await, fresh.id);
    let (begun, ..) = room.run(&*a, fresh.id).await;
    lab.trim(room.stream(), fresh.id).await;
    let end = Settlement {
        // A field that the flat layout would overwrite: written native.
        fields: [("attempts", "mine")].into_iter().collect(),
        ..settlement(begun, How::Release)
    };
    died(&settle_as(&*a, end).await);
    let dead = room.dead_letters().await.remove(0).fields;
    for (name, value) in [
        ("attempts", "mine"),
        ("redrive-error", "first"),
        ("redrive-attempts", "1"),
        ("redrive-crashes", "1"),
    ] {
        assert_eq!(field(&dead, name), value, "{name}");
    }
    assert!(dead.get("redrive-first-at").is_some());
}

pub(super) async fn a_run_that_failed_without_words_keeps_no_older_error(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fresh = room.hold_one(&*seat).await;
    settle(&*seat, fresh, retry(HOUR, "first")).await;
    lab.age_due(&room.source, fresh.id, HOUR).await;
    let took = room.take_due(&*seat, fresh.id).await.lease.fence;
    let (begun, ..) = started(begin(&*seat, took, "n").await, fresh.id);
    lab.trim(room.stream(), fresh.id).await;
    died(&settle(&*seat, begun, retry(HOUR, "")).await);
    let dead = room.dead_letters().await.remove(0).fields;
    // The kind is of the second run, so the error must not be of the first.
    assert_eq!(dead.get("redrive-error").unwrap_or_default(), b"");
    assert_eq!(field(&dead, "redrive-error-kind"), "Kind");
    assert_eq!(field(&dead, "redrive-attempts"), "2");
}

pub(super) async fn the_error_on_an_envelopes_tombstone_survives(lab: &dyn Lab) {
    let room = Room::new(lab);
    let member = Membership {
        layout: Layout::Envelope,
        ..room.member("a")
    };
    let seat = room.join_as(member).await;
    let fresh = room.hold_one(&*seat).await;
    settle(&*seat, fresh, retry(HOUR, "first: trimmed")).await;
    lab.age_due(&room.source, fresh.id, HOUR).await;
    let took = room.take_due(&*seat, fresh.id).await.lease.fence;
    let (begun, ..) = started(begin(&*seat, took, "n").await, fresh.id);
    lab.trim(room.stream(), fresh.id).await;
    let answers = seat.renew(&[begun]).await.unwrap();
    let [Renewed::Trimmed { tombstone, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    let stone = room.dead_letters().await.remove(0);
    assert_eq!(field(&stone.fields, "error"), "trimmed: first: trimmed");
    assert!(read(stone.id, stone.fields).is_tombstone());
    let mut end = settlement(begun, How::Release);
    end.lease.tombstone = Some(tombstone);
    end.fields = [("data", "held")].into_iter().collect();
    died(&settle_as(&*seat, end).await);
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 1);
    for (name, value) in [
        ("error", "trimmed: first: trimmed"),
        ("attempt", "1"),
        ("data", "held"),
    ] {
        assert_eq!(field(&dead[0].fields, name), value, "{name}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

/// The reply that named the tombstone was lost: whoever holds the bytes is told again, and success
/// takes it away.
pub(super) async fn a_tombstone_that_nobody_was_told_of_goes_with_success(lab: &dyn Lab) {
    for asks_again in [true, false] {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        // The tombstone is known to the broker alone.
        let (fence, tombstone) = seen_trimmed(&room, &*seat).await;
        if asks_again {
            let answers = seat.renew(&[fence]).await.unwrap();
            let [
                Renewed::Trimmed {
                    tombstone: again, ..
                },
            ] = answers[..]
            else {
                panic!("{answers:?}");
            };
            assert_eq!(again, tombstone);
            assert_one_tombstone(&room, fence.id).await;
        }
        assert_done(&settle(&*seat, fence, How::Ack).await);
        assert_eq!(room.dead_letters().await, []);
        assert_eq!(room.ledger().await, [0, 0, 0]);
    }
}

pub(super) async fn a_tombstone_that_nobody_was_told_of_gets_its_bytes(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        let (fence, _) = seen_trimmed(&room, &*seat).await;
        let told = died(&settle(&*seat, fence, how.clone()).await).clone();
        assert_eq!((told.id, told.reason), (fence.id, Reason::Trimmed));
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
        // Repeated, it makes no second one.
        assert_gone(&settle(&*seat, fence, how.clone()).await);
        assert_full_copy(&room, fence.id, told.dead_letter, &how).await;
    }
}

/// Another consumer's claim buried what a silent process still held.
pub(super) async fn what_anothers_claim_buried_is_still_its_holders(lab: &dyn Lab) {
    for how in unsuccessful().into_iter().chain([How::Ack]) {
        let room = Room::new(lab);
        let (a, b) = (room.join("a").await, room.join("b").await);
        let fence = room.hold_one(&*a).await;
        room.expire(fence.id).await;
        lab.trim(room.stream(), fence.id).await;
        assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
        assert_one_tombstone(&room, fence.id).await;
        // Who claimed it never had the bytes, and has nothing to say.
        let renewed = b.renew(&[fence]).await.unwrap();
        assert!(matches!(renewed[..], [Renewed::Lost]), "{renewed:?}");
        let answer = settle(&*a, fence, how.clone()).await;
        if how == How::Ack {
            assert_done(&answer);
            assert_eq!(room.dead_letters().await, []);
            assert_eq!(room.ledger().await, [0, 0, 0]);
        } else {
            assert_full_copy(&room, fence.id, died(&answer).dead_letter, &how).await;
        }
    }
}

pub(super) async fn an_older_delivery_may_lift_a_tombstone_and_not_rewrite_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let old = room.hold_one(&*a).await;
    let (begun, ..) = room.run(&*b, old.id).await;
    lab.trim(room.stream(), old.id).await;
    let renewed = b.renew(&[begun]).await.unwrap();
    assert!(
        matches!(renewed[..], [Renewed::Trimmed { .. }]),
        "{renewed:?}"
    );
    for how in unsuccessful() {
        let stale = settle(&*a, old, how).await;
        assert!(matches!(stale, crate::backend::Settled::Stale), "{stale:?}");
        assert_one_tombstone(&room, old.id).await;
    }
    // Its success is one all the same.
    assert_done(&settle(&*a, old, How::Ack).await);
    assert_eq!(room.dead_letters().await, []);
}

/// A claim whose reply was lost, and the next one.
pub(super) async fn a_claim_asked_again_writes_nothing_twice(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    room.expire(id).await;
    lab.trim(room.stream(), id).await;
    for times in [1, 0, 0] {
        let round = b.tend(100, Cursor::START).await.unwrap();
        assert_eq!((round.dead.len(), round.taken.len()), (times, 0));
        assert_one_tombstone(&room, id).await;
    }
}
