//! Limits of a dead-letter queue by bytes and by age.

use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::room::{HOUR, Room, dead_letter, died, settle};
use crate::backend::{Entry, Membership, Seat, Settled};
use crate::dead_letter::{DeadLetterLimit, Overflow};
use crate::message::Fields;
use crate::names::EntryId;

/// What each message of these tests weighs, about: its dead letter some 300 bytes more.
const PAYLOAD: usize = 3_000;
const BYTES: u64 = 20_000;

async fn limited(room: &Room<'_>, limit: DeadLetterLimit) -> Arc<dyn Seat> {
    let limit = Some(limit);
    room.join_as(Membership {
        limit,
        ..room.member("a")
    })
    .await
}

/// Gives up one message of that many bytes.
async fn give_up(room: &Room<'_>, seat: &dyn Seat, bytes: usize) -> Settled {
    let fields: Fields = [("data", "x".repeat(bytes))].into_iter().collect();
    room.backend()
        .append(room.stream(), &[fields])
        .await
        .unwrap();
    let got = seat.receive(1, None).await.unwrap().remove(0);
    settle(seat, got.lease.fence, dead_letter("no")).await
}

/// A dead letter that has been in the queue for so long.
async fn stage(room: &Room<'_>, seat: &dyn Seat, age: Duration) -> EntryId {
    let ms = seat.now_ms() - u64::try_from(age.as_millis()).unwrap();
    let id = EntryId::new(ms, 0);
    let letter = Entry {
        id,
        fields: [("old", "one")].into_iter().collect(),
    };
    room.backend().stage(&room.dlq, &[letter]).await.unwrap();
    id
}

async fn ids(room: &Room<'_>) -> Vec<EntryId> {
    let letters = room.dead_letters().await;
    letters.into_iter().map(|letter| letter.id).collect()
}

async fn dropped(room: &Room<'_>) -> u64 {
    let ledger = room.lab.ledger(&room.dlq).await;
    ledger.get("dropped").copied().unwrap_or_default()
}

pub(super) async fn a_queue_at_its_bytes_is_full_until_some_have_gone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = limited(&room, DeadLetterLimit::of_bytes(BYTES, Overflow::Stop)).await;
    let mut taken = 0;
    while let Settled::Died(_) = give_up(&room, &*seat, PAYLOAD).await {
        taken += 1;
        assert!(taken < 10, "nothing stops it");
    }
    // The one that reaches the limit is still taken.
    assert!((3..=7).contains(&taken), "{taken}");
    assert_eq!(ids(&room).await.len(), taken);
    assert_eq!(room.owners().await.len(), 1);
    let all = ids(&room).await;
    room.backend().purge(&room.dlq, &all).await.unwrap();
    died(&give_up(&room, &*seat, PAYLOAD).await);
}

pub(super) async fn an_empty_queue_takes_one_however_few_bytes_it_may_hold(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = limited(&room, DeadLetterLimit::of_bytes(1, Overflow::Stop)).await;
    let first = died(&give_up(&room, &*seat, 10).await).dead_letter;
    let full = give_up(&room, &*seat, 10).await;
    assert!(matches!(full, Settled::Full), "{full:?}");
    room.backend().purge(&room.dlq, &[first]).await.unwrap();
    died(&give_up(&room, &*seat, 10).await);
}

pub(super) async fn the_oldest_are_dropped_beyond_its_bytes_and_counted(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = limited(
        &room,
        DeadLetterLimit::of_bytes(BYTES, Overflow::DropOldest),
    )
    .await;
    let (mut last, mut told) = (EntryId::MIN, 0);
    for _ in 0..20 {
        let settled = give_up(&room, &*seat, PAYLOAD).await;
        let died = died(&settled);
        last = died.dead_letter;
        told += died.dropped;
    }
    let left = ids(&room).await;
    assert!((3..=7).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last(), Some(&last));
    assert_eq!(told, 20 - left.len() as u64);
    assert_eq!(dropped(&room).await, told);
    // One that is larger than all that may be there takes the place of all, and stays itself.
    let settled = give_up(&room, &*seat, 40_000).await;
    let only = died(&settled).dead_letter;
    assert_eq!(ids(&room).await, [only]);
    assert_eq!(dropped(&room).await, 20);
}

pub(super) async fn a_queue_whose_oldest_is_too_old_is_full_until_it_has_gone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = limited(&room, DeadLetterLimit::of_age(HOUR, Overflow::Stop)).await;
    let old = stage(&room, &*seat, HOUR * 2).await;
    stage(&room, &*seat, HOUR / 2).await;
    let full = give_up(&room, &*seat, 10).await;
    assert!(matches!(full, Settled::Full), "{full:?}");
    room.backend().purge(&room.dlq, &[old]).await.unwrap();
    died(&give_up(&room, &*seat, 10).await);
    assert_eq!(room.ledger().await, [3, 0, 1]);
}

pub(super) async fn what_is_too_old_is_dropped_by_the_next_death_and_by_time_alone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let limit = DeadLetterLimit::new(100, Overflow::DropOldest).and_age(HOUR);
    let seat = limited(&room, limit).await;
    assert_eq!(seat.make_room().await.unwrap(), 0);
    stage(&room, &*seat, HOUR * 3).await;
    stage(&room, &*seat, HOUR * 2).await;
    let young = stage(&room, &*seat, HOUR / 2).await;
    assert_eq!(seat.make_room().await.unwrap(), 2);
    assert_eq!(ids(&room).await, [young]);
    assert_eq!(seat.make_room().await.unwrap(), 0);
    assert_eq!(dropped(&room).await, 2);

    let room = Room::new(lab);
    let seat = limited(&room, DeadLetterLimit::of_age(HOUR, Overflow::DropOldest)).await;
    stage(&room, &*seat, HOUR * 2).await;
    let settled = give_up(&room, &*seat, 10).await;
    let died = died(&settled);
    assert_eq!(died.dropped, 1);
    assert_eq!(ids(&room).await, [died.dead_letter]);
    assert_eq!(dropped(&room).await, 1);
}

pub(super) async fn whichever_limit_is_reached_first_counts(lab: &dyn Lab) {
    let room = Room::new(lab);
    let limit = DeadLetterLimit::new(2, Overflow::Stop)
        .and_bytes(1 << 30)
        .and_age(HOUR);
    let seat = limited(&room, limit).await;
    for _ in 0..2 {
        died(&give_up(&room, &*seat, 10).await);
    }
    let full = give_up(&room, &*seat, 10).await;
    assert!(matches!(full, Settled::Full), "{full:?}");
}
