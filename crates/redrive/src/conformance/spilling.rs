//! What a consumer does for a queue that spills: looking, reading the oldest, taking out what is written.

use super::Lab;
use super::room::{HOUR, Room, dead_letter, died, settle};
use crate::backend::{Entry, Membership, Settled};
use crate::dead_letter::{DeadLetterLimit, Overflow};
use crate::names::EntryId;
use crate::spill::{Appending, Spill};
use bytes::Bytes;

struct Nowhere;

impl Spill for Nowhere {
    fn append(&self, _export: Bytes) -> Appending<'_> {
        Box::pin(async { Ok(()) })
    }
}

fn limited(room: &Room<'_>, limit: DeadLetterLimit) -> Membership {
    Membership {
        limit: Some(limit),
        ..room.member("a")
    }
}

pub(super) async fn what_is_taken_out_is_counted_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let all = room.kill(5).await;
    let seat = room.join("a").await;
    let oldest = seat.oldest(3).await.unwrap();
    let ids: Vec<EntryId> = oldest.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, all[..3]);
    // One was replayed or purged meanwhile.
    room.backend().purge(&room.dlq, &all[..1]).await.unwrap();
    let operation = "0123456789abcdef";
    assert_eq!(seat.take_out(&ids, operation).await.unwrap(), 2);
    assert_eq!(seat.take_out(&ids, operation).await.unwrap(), 0);
    let left: Vec<EntryId> = room.dead_letters().await.iter().map(|one| one.id).collect();
    assert_eq!(left, all[3..]);
    let ledger = lab.ledger(&room.dlq).await;
    assert_eq!((ledger["spilled"], ledger["purged"]), (2, 1));
    room.assert_own().await;
}

pub(super) async fn the_level_of_a_queue_is_what_it_holds(lab: &dyn Lab) {
    let room = Room::new(lab);
    let overflow = || Overflow::spill(Nowhere);
    let limit = DeadLetterLimit::new(10, overflow())
        .and_bytes(1 << 20)
        .and_age(HOUR);
    let seat = room.join_as(limited(&room, limit)).await;
    let empty = seat.level().await.unwrap();
    assert_eq!((empty.length, empty.oldest_ms), (0, None));
    let old = EntryId::new(seat.now_ms() - 60_000, 0);
    let letter = Entry {
        id: old,
        fields: [("data", "x".repeat(5_000))].into_iter().collect(),
    };
    room.backend().stage(&room.dlq, &[letter]).await.unwrap();
    room.kill(1).await;
    let level = seat.level().await.unwrap();
    assert_eq!((level.length, level.oldest_ms), (2, Some(old.millis())));
    assert!((5_000..50_000).contains(&level.bytes.unwrap()), "{level:?}");
    let age = level.now_ms - old.millis();
    assert!((60_000..120_000).contains(&age), "{level:?}");
}

pub(super) async fn before_a_full_queue_that_spills_a_message_waits_a_second(lab: &dyn Lab) {
    let room = Room::new(lab);
    let limit = DeadLetterLimit::new(1, Overflow::spill(Nowhere));
    let member = Membership {
        max_attempts: 1,
        ..limited(&room, limit)
    };
    let seat = room.join_as(member).await;
    // It is full at twice its limit, for it spills before.
    for _ in 0..2 {
        let one = room.hold_one(&*seat).await;
        died(&settle(&*seat, one, dead_letter("no")).await);
    }
    let fence = room.hold_one(&*seat).await;
    for _ in 0..2 {
        let full = settle(&*seat, fence, dead_letter("no")).await;
        assert!(matches!(full, Settled::Full), "{full:?}");
    }
    let due = lab.due(&room.source).await;
    assert_eq!((due.len(), due[0].0), (1, fence.id));
    assert!(due[0].1 <= 1_000, "{due:?}");
}
