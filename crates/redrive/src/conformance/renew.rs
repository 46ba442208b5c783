//! Keeping held messages from being taken over.

use super::Lab;
use super::room::{HOUR, LEASE, Room, field, retry, settle, sweep, taken};
use crate::backend::{Fence, How, Renewed, Seat};
use crate::error::ErrorKind;

async fn renew(seat: &dyn Seat, fence: Fence) -> Renewed {
    let mut answers = seat.renew(&[fence]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

pub(super) async fn a_renewed_message_is_not_taken_over(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    for _ in 0..4 {
        lab.age(&room.source, fence.id, LEASE * 3 / 4).await;
        assert_eq!(taken(&sweep(&*b, 100).await), []);
        assert!(matches!(renew(&*a, fence).await, Renewed::Held));
    }
    assert_eq!(room.take(&*b, fence.id).await.lease.fence.token, 1);
}

pub(super) async fn a_renewal_does_not_look_like_a_delivery(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    renew(&*a, fresh).await;
    assert_eq!(room.owners().await, [(fresh.id, "a".into(), 1)]);
    assert_eq!(lab.state(&room.source, fresh.id).await, None);
    let (begun, ..) = room.run(&*b, fresh.id).await;
    let before = room.state(fresh.id).await;
    for _ in 0..2 {
        assert!(matches!(renew(&*b, begun).await, Renewed::Held));
    }
    assert_eq!(room.owners().await, [(fresh.id, "b".into(), 2)]);
    assert_eq!(room.state(fresh.id).await, before);
}

pub(super) async fn a_renewal_never_takes_a_message_back(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    let took = room.take(&*b, fence.id).await.lease.fence;
    lab.age(&room.source, fence.id, LEASE / 2).await;
    for _ in 0..2 {
        assert!(matches!(renew(&*a, fence).await, Renewed::Lost));
    }
    let row = lab.pel(&room.source).await.remove(0);
    assert_eq!((row.consumer.as_str(), row.count), ("b", 1));
    assert!(row.idle >= LEASE / 2, "renewed for another: {:?}", row.idle);
    assert!(matches!(renew(&*b, took).await, Renewed::Held));
}

pub(super) async fn a_renewal_with_an_old_token_is_lost(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fresh = room.hold_one(&*seat).await;
    let (begun, ..) = room.run(&*seat, fresh.id).await;
    assert!(matches!(renew(&*seat, fresh).await, Renewed::Lost));
    assert!(matches!(renew(&*seat, begun).await, Renewed::Held));
}

pub(super) async fn a_renewal_of_what_is_not_pending_is_gone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, How::Release).await;
    let took = room.take_due(&*b, fence.id).await.lease.fence;
    lab.foreign_ack(&room.source, fence.id).await;
    assert!(matches!(renew(&*b, took).await, Renewed::Gone));
    room.assert_nothing_pending().await;
}

pub(super) async fn a_renewal_of_what_was_trimmed_tells_the_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    let Renewed::Trimmed { tombstone, .. } = renew(&*seat, fence).await else {
        panic!("not seen");
    };
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].id, tombstone);
    for (name, value) in [
        ("redrive-fields", "0"),
        ("redrive-reason", "trimmed"),
        ("redrive-id", &fence.id.to_string()),
        ("redrive-crashes", "0"),
        ("redrive-consumer", "a"),
    ] {
        assert_eq!(field(&dead[0].fields, name), value, "{name}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
    // Asked again, it answers what it answered, and writes nothing more.
    let Renewed::Trimmed {
        tombstone: again, ..
    } = renew(&*seat, fence).await
    else {
        panic!("not told again");
    };
    assert_eq!(again, tombstone);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn a_renewal_whose_tombstone_is_refused_leaves_it_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    lab.spoil(&room.dlq).await;
    let Renewed::Refused(error) = renew(&*seat, fence).await else {
        panic!("not refused");
    };
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    lab.mend(&room.dlq).await;
    assert!(matches!(
        renew(&*seat, fence).await,
        Renewed::Trimmed { .. }
    ));
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn renewals_answer_in_the_order_of_the_questions(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(4).await;
    let held = seat.receive(4, None).await.unwrap();
    let mut fences: Vec<_> = held.iter().map(|one| one.lease.fence).collect();
    fences[1].token = 7;
    lab.foreign_ack(&room.source, fences[2].id).await;
    lab.trim(room.stream(), fences[3].id).await;
    fences.reverse();
    let answers = seat.renew(&fences).await.unwrap();
    assert!(
        matches!(
            answers[..],
            [
                Renewed::Trimmed { .. },
                Renewed::Gone,
                Renewed::Lost,
                Renewed::Held
            ]
        ),
        "{answers:?}"
    );
    assert!(seat.renew(&[]).await.unwrap().is_empty());
}

pub(super) async fn a_look_whether_writes_are_taken_changes_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    seat.probe_writes().await.unwrap();
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert!(lab.is_clean(&room.source).await, "state without need");
    settle(&*seat, fence, retry(HOUR, "no")).await;
    let before = (
        room.state(fence.id).await,
        lab.due(&room.source).await.len(),
    );
    seat.probe_writes().await.unwrap();
    let after = (
        room.state(fence.id).await,
        lab.due(&room.source).await.len(),
    );
    assert_eq!(before, after);
    // Nor does it bring back what has vanished.
    lab.drop_group(&room.source).await;
    seat.probe_writes().await.unwrap();
    let told = seat.receive(1, None).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
}
