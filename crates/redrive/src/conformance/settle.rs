//! How a delivery ends, by its holder.

use std::time::Duration;

use super::Lab;
use super::room::{
    HOUR, Room, assert_done, assert_stale, begin, dead_letter, defer, died, numbered, retry,
    settle, settlement, started, sweep, taken,
};
use crate::backend::{Cursor, Fence, How, OnAck, Settled};

pub(super) async fn an_ack_ends_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    assert_done(&settle(&*seat, fence, How::Ack).await);
    room.assert_nothing_pending().await;
    // Acks are batched, and the server answers a number: who was late cannot always be told.
    let again = settle(&*seat, fence, How::Ack).await;
    assert!(matches!(again, Settled::Done | Settled::Gone), "{again:?}");
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn an_ack_of_a_taken_over_message_removes_its_hints(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    let took = room.take_due(&*seat, fence.id).await.lease.fence;
    let (begun, ..) = started(begin(&*seat, took, "n").await, fence.id);
    assert_done(&settle(&*seat, begun, How::Ack).await);
    room.assert_nothing_pending().await;
}

pub(super) async fn hints_behind_a_late_ack_of_a_first_delivery_are_cleaned(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    room.run(&*b, fresh.id).await;
    room.hold_one(&*b).await;
    assert_done(&settle(&*a, fresh, How::Ack).await);
    assert_eq!(room.owners().await.len(), 1);
    // A first delivery is acknowledged without a script, so the next round clears up behind it.
    sweep(&*a, 100).await;
    assert!(lab.is_clean(&room.source).await);
}

pub(super) async fn an_ack_needs_no_lease(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    let (first, ..) = room.run(&*b, fresh.id).await;
    room.run(&*a, fresh.id).await;
    assert_done(&settle(&*b, first, How::Ack).await);
    room.assert_nothing_pending().await;
}

pub(super) async fn an_acknowledged_entry_stays_unless_it_is_to_be_deleted(lab: &dyn Lab) {
    for (on_ack, left) in [(OnAck::Keep, 3), (OnAck::Delete, 1)] {
        let room = Room::new(lab);
        let mut member = room.member("a");
        member.on_ack = on_ack;
        let seat = room.join_as(member).await;
        let fresh = room.hold_one(&*seat).await;
        settle(&*seat, fresh, How::Ack).await;
        let crashed = room.hold_one(&*seat).await;
        let (begun, ..) = room.run(&*seat, crashed.id).await;
        settle(&*seat, begun, How::Ack).await;
        let held = room.hold_one(&*seat).await;
        settle(&*seat, held, retry(HOUR, "no")).await;
        assert_eq!(room.entries(room.stream()).await.len(), left, "{on_ack:?}");
    }
}

pub(super) async fn a_retry_records_one_failure_and_stays_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    assert_done(&settle(&*seat, fence, retry(HOUR, "no route")).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes), (1, 0));
    assert_eq!((state.open, state.hint, state.booked), (0, 1, 0));
    assert_eq!(state.error, "no route");
    // By the clock that made the id.
    let first_ms = state.first_failure_ms.unwrap();
    assert!(first_ms.abs_diff(fence.id.millis()) < 60_000, "{first_ms}");
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert_eq!(room.entries(room.stream()).await.len(), 1);
}

pub(super) async fn a_retry_asked_twice_records_one_failure(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    let before = room.state(fence.id).await;
    assert_done(&settle(&*seat, fence, retry(2 * HOUR, "other")).await);
    assert_eq!(room.state(fence.id).await, before);
    let next = sweep(&*seat, 100).await.next_due.unwrap();
    assert!(next <= HOUR, "{next:?}");
}

pub(super) async fn a_retry_repeated_after_it_was_taken_records_nothing_more(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    let took = room.take_due(&*b, fence.id).await.lease.fence;
    assert_done(&settle(&*a, fence, retry(HOUR, "no")).await);
    assert_eq!(sweep(&*a, 100).await.next_due, None);
    let (begun, failures, crashes) = started(begin(&*b, took, "n").await, fence.id);
    assert_eq!((failures, crashes), (1, 0));
    // The due time was that of the delivery before.
    assert_eq!(room.state(fence.id).await.hint, 0);
    settle(&*a, fence, retry(HOUR, "no")).await;
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes, state.open), (1, 0, 2));
    assert_done(&settle(&*b, begun, How::Ack).await);
}

pub(super) async fn a_retry_repeated_after_its_own_takeover_records_nothing_more(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    // The same consumer and the same count: only the charge tells the two deliveries apart.
    let took = room.take_due(&*seat, fence.id).await.lease.fence;
    assert_done(&settle(&*seat, fence, retry(HOUR, "no")).await);
    assert_eq!(room.state(fence.id).await.failures, 1);
    assert_eq!(started(begin(&*seat, took, "n").await, fence.id).1, 1);
}

pub(super) async fn failures_add_up_and_the_first_is_remembered(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let mut fence = room.hold_one(&*seat).await;
    let mut first_ms = None;
    for failures in 1..=4 {
        settle(&*seat, fence, retry(HOUR, &format!("error {failures}"))).await;
        let state = room.state(fence.id).await;
        assert_eq!(state.failures, failures);
        assert_eq!(state.error, format!("error {failures}"));
        first_ms = first_ms.or(state.first_failure_ms);
        assert_eq!(state.first_failure_ms, first_ms);
        // Time must pass, or the first failure could not be told from the others.
        let block = Some(Duration::from_millis(5));
        assert_eq!(seat.receive(1, block).await.unwrap(), []);
        lab.age_due(&room.source, fence.id, HOUR).await;
        let took = room.take_due(&*seat, fence.id).await;
        assert_eq!((took.failures, took.crashes), (failures, 0));
        fence = started(begin(&*seat, took.lease.fence, "n").await, fence.id).0;
    }
    assert!(first_ms.is_some());
    assert_eq!(fence.token, 5);
}

pub(super) async fn a_long_error_is_cut_between_characters(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    // Three bytes each, spaces and line breaks among them.
    let error = format!("x{}", "\u{2028}€ \n".repeat(400));
    settle(&*seat, fence, retry(HOUR, &error)).await;
    let kept = room.state(fence.id).await.error;
    assert!(kept.len() <= 1024 && kept.len() > 1020, "{}", kept.len());
    assert!(error.starts_with(&kept));
}

pub(super) async fn a_defer_charges_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    assert_done(&settle(&*seat, fence, defer(HOUR)).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes), (0, 0));
    assert_eq!((state.open, state.hint), (0, 1));
    assert_eq!(state.first_failure_ms, None);
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    lab.age_due(&room.source, fence.id, HOUR).await;
    let took = room.take_due(&*seat, fence.id).await;
    assert_eq!((took.failures, took.crashes), (0, 0));
}

pub(super) async fn a_defer_asked_twice_keeps_its_first_due_time(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, defer(HOUR)).await;
    lab.age_due(&room.source, fence.id, HOUR / 2).await;
    assert_done(&settle(&*seat, fence, defer(HOUR)).await);
    let next = sweep(&*seat, 100).await.next_due.unwrap();
    assert!(next <= HOUR / 2, "{next:?}");
}

pub(super) async fn what_was_taken_over_may_be_deferred_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, defer(HOUR)).await;
    for _ in 0..3 {
        lab.age_due(&room.source, fence.id, HOUR).await;
        let took = room.take_due(&*seat, fence.id).await.lease.fence;
        assert_eq!(took.token, 1);
        assert_done(&settle(&*seat, took, defer(HOUR)).await);
        let next = sweep(&*seat, 100).await.next_due.unwrap();
        assert!(next > HOUR / 2, "{next:?}");
    }
}

pub(super) async fn a_released_message_is_taken_at_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    assert_done(&settle(&*a, fresh, How::Release).await);
    assert_eq!(room.owners().await, [(fresh.id, "a".into(), 1)]);
    let took = room.take_due(&*b, fresh.id).await;
    assert_eq!((took.failures, took.crashes), (0, 0));
    assert_eq!(took.fields, numbered(0));
    let (begun, ..) = started(begin(&*b, took.lease.fence, "n").await, fresh.id);
    assert_done(&settle(&*b, begun, How::Release).await);
    let again = room.take_due(&*a, fresh.id).await;
    assert_eq!((again.crashes, again.lease.fence.token), (0, 2));
}

pub(super) async fn a_release_asked_twice_is_done_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    for _ in 0..2 {
        assert_done(&settle(&*a, fence, How::Release).await);
    }
    room.take_due(&*b, fence.id).await;
    // The reply was lost and B has it: it is not handed back a second time.
    assert_done(&settle(&*a, fence, How::Release).await);
    assert_eq!(taken(&sweep(&*a, 100).await), []);
    assert_eq!(room.owners().await, [(fence.id, "b".into(), 1)]);
}

pub(super) async fn one_bad_settlement_does_not_stop_the_others(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(6).await;
    let held = seat.receive(6, None).await.unwrap();
    let fences: Vec<_> = held.iter().map(|one| one.lease.fence).collect();
    lab.foreign_ack(&room.source, fences[1].id).await;
    let old = Fence {
        token: 7,
        ..fences[2]
    };
    let ends = [
        settlement(fences[0], How::Ack),
        settlement(fences[1], retry(HOUR, "no")),
        settlement(old, How::Release),
        settlement(fences[3], dead_letter("no")),
        settlement(fences[4], retry(Duration::ZERO, "no")),
        settlement(fences[5], defer(HOUR)),
    ];
    let answers = seat.settle(&ends).await.unwrap();
    assert_eq!(answers.len(), 6);
    assert_done(&answers[0]);
    assert!(matches!(answers[1], Settled::Gone), "{:?}", answers[1]);
    assert_stale(&answers[2]);
    assert_eq!(died(&answers[3]).id, fences[3].id);
    assert_done(&answers[4]);
    assert_done(&answers[5]);
    let left: Vec<_> = room.owners().await.into_iter().map(|row| row.0).collect();
    assert_eq!(left, [fences[2].id, fences[4].id, fences[5].id]);
    let round = seat.tend(100, Cursor::START).await.unwrap();
    assert_eq!(taken(&round), [fences[4].id]);
    assert!(seat.settle(&[]).await.unwrap().is_empty());
}
