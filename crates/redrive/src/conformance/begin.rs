//! Charging runs that are about to start.

use super::Lab;
use super::room::{HOUR, Room, begin, defer, field, settle, started};
use crate::backend::{Begun, Beside, Charge, Fence, How};
use crate::dead_letter::Reason;
use crate::error::ErrorKind;

pub(super) async fn a_begin_charges_one_delivery(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    let (fence, failures, crashes) = started(begin(&*b, took, "n1").await, id);
    assert_eq!((fence.token, failures, crashes), (2, 0, 1));
    assert_eq!(room.owners().await, [(id, "b".into(), 2)]);
    let state = room.state(id).await;
    assert_eq!((state.crashes, state.open, state.booked), (1, 2, 1));
    assert_eq!((state.failures, state.hint), (0, 0));
    assert_eq!(state.nonce, "n1");
}

pub(super) async fn the_same_nonce_charges_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    let first = started(begin(&*b, took, "n1").await, id);
    let before = room.state(id).await;
    assert_eq!(started(begin(&*b, took, "n1").await, id), first);
    assert_eq!(room.state(id).await, before);
    assert_eq!(room.owners().await, [(id, "b".into(), 2)]);
}

pub(super) async fn another_nonce_finds_the_delivery_gone_on(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    started(begin(&*b, took, "n1").await, id);
    assert!(matches!(begin(&*b, took, "n2").await, Begun::Lost));
    assert_eq!(room.owners().await, [(id, "b".into(), 2)]);
    assert_eq!(room.state(id).await.nonce, "n1");
}

pub(super) async fn who_does_not_own_it_may_not_begin(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    let claimed = Fence {
        charge: Charge::TakenOver,
        ..fence
    };
    assert!(matches!(begin(&*b, claimed, "n").await, Begun::Lost));
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert_eq!(lab.state(&room.source, fence.id).await, None);
}

pub(super) async fn what_waits_may_not_begin(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    settle(&*b, took, defer(HOUR)).await;
    assert!(matches!(begin(&*b, took, "n").await, Begun::Lost));
    assert_eq!(room.owners().await, [(id, "b".into(), 1)]);
}

pub(super) async fn what_is_no_longer_pending_is_gone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, How::Release).await;
    let took = room.take_due(&*b, fence.id).await.lease.fence;
    lab.foreign_ack(&room.source, fence.id).await;
    assert!(matches!(begin(&*b, took, "n").await, Begun::Gone));
    room.assert_nothing_pending().await;
}

pub(super) async fn what_was_trimmed_dies_instead(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    lab.trim(room.stream(), id).await;
    let Begun::Died(died) = begin(&*b, took, "n").await else {
        panic!("a message without payload was begun");
    };
    let tombstone = room.dead_letters().await.remove(0);
    assert_eq!((died.id, died.reason), (id, Reason::Trimmed));
    assert_eq!(died.dead_letter, tombstone.id);
    assert_eq!(field(&tombstone.fields, "redrive-fields"), "0");
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
    // Asked again, it answers what it answered, and writes nothing more.
    let Begun::Died(again) = begin(&*b, took, "n").await else {
        panic!("not told again");
    };
    assert_eq!(again, died);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

/// A caller that takes its delivery for a charged one is told the same: to begin is to charge.
pub(super) async fn what_was_handed_back_and_trimmed_is_told_again_whatever_the_charge(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, How::Release).await;
    let took = room.take_due(&*b, fence.id).await.lease.fence;
    lab.trim(room.stream(), fence.id).await;
    let Begun::Died(died) = begin(&*b, took, "n").await else {
        panic!("a message without payload was begun");
    };
    for charge in [Charge::TakenOver, Charge::Fresh, Charge::Begun] {
        let Begun::Died(again) = begin(&*b, Fence { charge, ..took }, "n").await else {
            panic!("not told again: {charge:?}");
        };
        assert_eq!(again, died, "{charge:?}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn a_tombstone_that_cannot_be_written_leaves_it_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    let took = room.take(&*b, id).await.lease.fence;
    lab.trim(room.stream(), id).await;
    lab.spoil(&room.dlq).await;
    let Begun::Refused(error) = begin(&*b, took, "n").await else {
        panic!("not refused");
    };
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(room.owners().await, [(id, "b".into(), 1)]);
    assert_eq!(room.ledger().await, [0, 0, 0]);
    lab.mend(&room.dlq).await;
    assert!(matches!(begin(&*b, took, "n").await, Begun::Died(_)));
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn answers_come_in_the_order_of_the_questions(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    room.add(3).await;
    let mut fences = Vec::new();
    for one in a.receive(3, None).await.unwrap() {
        let id = one.lease.fence.id;
        fences.push(room.take(&*b, id).await.lease.fence);
    }
    let lost = Fence {
        token: 9,
        ..fences[1]
    };
    lab.foreign_ack(&room.source, fences[2].id).await;
    let answers = b
        .begin(&[fences[2], lost, fences[0]], Beside::Others, "n")
        .await
        .unwrap();
    let [Begun::Gone, Begun::Lost, Begun::Started { token: 2, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    assert!(b.begin(&[], Beside::Others, "n").await.unwrap().is_empty());
}

pub(super) async fn of_two_takers_only_the_last_begins(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b, c) = (
        room.join("a").await,
        room.join("b").await,
        room.join("c").await,
    );
    let id = room.hold_one(&*a).await.id;
    let of_b = room.take(&*b, id).await.lease.fence;
    let of_c = room.take(&*c, id).await.lease.fence;
    // The count is the same: it is the name that tells them apart.
    assert_eq!(of_b, of_c);
    let (from_b, from_c) = tokio::join!(begin(&*b, of_b, "nb"), begin(&*c, of_c, "nc"));
    assert!(matches!(from_b, Begun::Lost), "{from_b:?}");
    assert_eq!(started(from_c, id).0.token, 2);
}
