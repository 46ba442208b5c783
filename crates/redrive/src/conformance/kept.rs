//! What is to be run again and waits with its holder: closed, due for nobody, under his lease.

use std::time::Duration;

use super::Lab;
use super::room::{
    HOUR, LEASE, Room, assert_done, assert_gone, assert_stale, begin, dead_letter, died, fault,
    field, settle, started, sweep, taken,
};
use crate::backend::{Begun, Charge, Fence, How, Renewed, Seat, Settled, Waits};
use crate::dead_letter::Reason;

fn kept_retry(error: &str) -> How {
    How::Retry {
        delay: HOUR,
        fault: fault(error),
        waits: Waits::WithHolder,
    }
}

fn kept_defer() -> How {
    How::Defer {
        delay: HOUR,
        waits: Waits::WithHolder,
    }
}

/// What its holder has in its hands from then on.
fn as_kept(fence: Fence) -> Fence {
    Fence {
        charge: Charge::TakenOver,
        ..fence
    }
}

async fn renew(seat: &dyn Seat, fence: Fence) -> Renewed {
    seat.renew(&[fence]).await.unwrap().remove(0)
}

pub(super) async fn a_kept_retry_records_one_failure_and_is_due_for_nobody(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    assert_done(&settle(&*a, fence, kept_retry("no route")).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes), (1, 0));
    assert_eq!((state.open, state.hint), (0, 1));
    assert_eq!(state.error, "no route");
    assert!(state.first_failure_ms.is_some());
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert_eq!(lab.due(&room.source).await, []);
    let round = sweep(&*b, 100).await;
    assert_eq!((taken(&round), round.next_due), (vec![], None));
}

pub(super) async fn a_kept_defer_charges_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    assert_done(&settle(&*seat, fence, kept_defer()).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes, state.open), (0, 0, 0));
    assert_eq!(lab.due(&room.source).await, []);
    let (_, failures, crashes) = started(begin(&*seat, as_kept(fence), "n").await, fence.id);
    assert_eq!((failures, crashes), (0, 0));
}

pub(super) async fn a_kept_retry_asked_twice_records_one_failure(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, kept_retry("no")).await;
    let before = room.state(fence.id).await;
    assert_done(&settle(&*seat, fence, kept_retry("other")).await);
    assert_eq!(room.state(fence.id).await, before);
    assert_eq!(lab.due(&room.source).await, []);
}

pub(super) async fn its_holder_begins_what_is_kept_under_the_count_it_has(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let mut fence = room.hold_one(&*seat).await;
    for failures in 1..=4 {
        assert_done(&settle(&*seat, fence, kept_retry("no")).await);
        let kept = as_kept(fence);
        let (begun, recorded, crashes) = started(begin(&*seat, kept, "n").await, fence.id);
        assert_eq!((recorded, crashes), (failures, 0));
        assert_eq!(begun.token, fence.token + 1);
        fence = begun;
    }
    assert_done(&settle(&*seat, fence, How::Ack).await);
    room.assert_nothing_pending().await;
}

pub(super) async fn a_kept_retry_repeated_after_its_begin_records_nothing_more(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, kept_retry("no")).await;
    started(begin(&*seat, as_kept(fence), "n").await, fence.id);
    // It was delivered late: the delivery it is about is over, and is not the present one.
    assert_stale(&settle(&*seat, fence, kept_retry("no")).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes, state.open), (1, 0, 2));
}

pub(super) async fn what_is_kept_is_renewed_by_its_holder(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, kept_retry("no")).await;
    for _ in 0..3 {
        room.expire(fence.id).await;
        assert!(matches!(renew(&*a, as_kept(fence)).await, Renewed::Held));
        assert_eq!(taken(&sweep(&*b, 100).await), []);
    }
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
}

pub(super) async fn what_a_dead_holder_kept_is_taken_over_with_its_failures_and_no_crash(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, kept_retry("no")).await;
    lab.age(&room.source, fence.id, LEASE - Duration::from_secs(5))
        .await;
    assert_eq!(taken(&sweep(&*b, 100).await), []);
    let took = room.take(&*b, fence.id).await;
    assert_eq!((took.failures, took.crashes), (1, 0));
    let (begun, failures, crashes) = started(begin(&*b, took.lease.fence, "n").await, fence.id);
    assert_eq!((failures, crashes), (1, 0));
    // The one before wakes up: nothing of it is its own any more, and nothing is taken back.
    assert!(matches!(renew(&*a, as_kept(fence)).await, Renewed::Lost));
    let late = begin(&*a, as_kept(fence), "late").await;
    assert!(matches!(late, Begun::Lost), "{late:?}");
    assert_stale(&settle(&*a, as_kept(fence), How::Release).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes, state.open), (1, 0, 2));
    assert_done(&settle(&*b, begun, How::Ack).await);
}

pub(super) async fn what_is_kept_and_handed_back_is_taken_at_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, kept_retry("no")).await;
    for _ in 0..2 {
        assert_done(&settle(&*a, as_kept(fence), How::Release).await);
    }
    let took = room.take_due(&*b, fence.id).await;
    assert_eq!((took.failures, took.crashes), (1, 0));
}

pub(super) async fn who_lost_it_keeps_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    let (begun, ..) = room.run(&*b, fence.id).await;
    assert_stale(&settle(&*a, fence, kept_retry("no")).await);
    assert_eq!(room.owners().await, [(fence.id, "b".into(), 2)]);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.crashes), (0, 0));
    lab.foreign_ack(&room.source, fence.id).await;
    assert_gone(&settle(&*b, begun, kept_retry("no")).await);
    room.assert_nothing_pending().await;
}

pub(super) async fn what_turns_out_trimmed_when_it_is_to_be_kept_dies_with_its_bytes(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    let settled = settle(&*seat, fence, kept_retry("no")).await;
    assert_eq!(died(&settled).reason, Reason::Trimmed);
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
}

pub(super) async fn what_is_trimmed_while_it_is_kept_leaves_a_tombstone_with_its_failures(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, kept_retry("no")).await;
    lab.trim(room.stream(), fence.id).await;
    let renewed = renew(&*seat, as_kept(fence)).await;
    let Renewed::Trimmed { tombstone, .. } = renewed else {
        panic!("{renewed:?}");
    };
    let stands = room.dead_letters().await.remove(0);
    assert_eq!(stands.id, tombstone);
    assert_eq!(field(&stands.fields, "redrive-attempts"), "1");
    assert_eq!(field(&stands.fields, "redrive-crashes"), "0");
}

pub(super) async fn a_kept_message_is_given_up_by_the_run_after_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, kept_retry("no")).await;
    let (begun, ..) = started(begin(&*seat, as_kept(fence), "n").await, fence.id);
    let settled = settle(&*seat, begun, dead_letter("never")).await;
    assert!(matches!(settled, Settled::Died(_)), "{settled:?}");
    let letter = room.dead_letters().await.remove(0);
    assert_eq!(field(&letter.fields, "redrive-attempts"), "2");
    room.assert_nothing_pending().await;
}
