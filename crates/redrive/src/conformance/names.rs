//! One process at a time under a consumer's name.

use std::time::Duration;

use super::Lab;
use super::room::{LEASE, Room, seated};
use crate::backend::{Joined, Membership, Renewed};
use crate::error::ErrorKind;
use crate::names::ProcessToken;

/// The same consumer in another process.
fn elsewhere(room: &Room<'_>, consumer: &str) -> Membership {
    Membership {
        token: ProcessToken::random(),
        ..room.member(consumer)
    }
}

async fn taken(room: &Room<'_>, membership: Membership) -> Duration {
    match room.backend().join(membership).await.unwrap() {
        Joined::Seat(_) => panic!("let in"),
        Joined::Taken { left } => left,
    }
}

pub(super) async fn a_name_belongs_to_one_process_at_a_time(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let other = elsewhere(&room, "a");
    let left = taken(&room, other.clone()).await;
    assert!(LEASE / 2 < left && left <= LEASE, "{left:?}");
    // Asking has changed nothing, and the one who has the name may join again.
    seat.renew(&[]).await.unwrap();
    room.join("a").await;
    seated(room.backend().join(elsewhere(&room, "b")).await);
    taken(&room, other).await;
}

pub(super) async fn a_name_whose_process_fell_silent_is_free(lab: &dyn Lab) {
    let room = Room::new(lab);
    let first = room.join("a").await;
    let fence = room.hold_one(&*first).await;
    lab.presume_dead(&room.source, "a").await;
    let second = seated(room.backend().join(elsewhere(&room, "a")).await);
    // The first one wakes: what it held is the other's to renew, and so is the name to leave.
    let pending = room.lab.pel(&room.source).await;
    for held in [&[][..], &[fence]] {
        let told = first.renew(held).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Refused);
        assert!(told.cure().is_some());
    }
    assert_eq!(pending[0].id, fence.id);
    assert!(room.lab.pel(&room.source).await[0].idle >= pending[0].idle);
    let told = first.restore().await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Refused);
    first.leave().await.unwrap();
    taken(&room, elsewhere(&room, "a")).await;
    assert!(matches!(
        second.renew(&[fence]).await.unwrap()[..],
        [Renewed::Held]
    ));
}

pub(super) async fn a_sign_of_life_that_ran_out_is_given_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    lab.presume_dead(&room.source, "a").await;
    seat.renew(&[]).await.unwrap();
    taken(&room, elsewhere(&room, "a")).await;
}

pub(super) async fn who_leaves_gives_its_name_back(lab: &dyn Lab) {
    let room = Room::new(lab);
    let idle = room.join("idle").await;
    let busy = room.join("busy").await;
    room.hold_one(&*busy).await;
    for (seat, name) in [(idle, "idle"), (busy, "busy")] {
        seat.leave().await.unwrap();
        seated(room.backend().join(elsewhere(&room, name)).await);
    }
}
