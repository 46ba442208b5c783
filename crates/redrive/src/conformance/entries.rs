//! Adding entries, and looking at them.

use super::Lab;
use super::room::{HOUR, Room, ids, numbered, retry, settle};
use crate::backend::{IdRange, Keep, Replay};
use crate::error::ErrorKind;
use crate::message::Fields;
use crate::names::EntryId;
use crate::selection::Order;

pub(super) async fn ids_grow_in_the_order_of_adding(lab: &dyn Lab) {
    let room = Room::new(lab);
    let mut ids = room.add(50).await;
    ids.extend(room.add(50).await);
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let entries = room.entries(room.stream()).await;
    let found: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    assert_eq!(found, ids);
    assert_eq!(entries[49].fields, numbered(49));
    assert_eq!(entries[50].fields, numbered(0));
}

pub(super) async fn more_than_one_load_is_added_whole_and_in_order(lab: &dyn Lab) {
    let room = Room::new(lab);
    let ids = room.add(2_001).await;
    assert_eq!(ids.len(), 2_001);
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert_eq!(room.backend().length(room.stream()).await.unwrap(), 2_001);
    for at in [0, 999, 1_000, 2_000] {
        let range = IdRange {
            low: ids[at],
            high: ids[at],
            order: Order::Oldest,
            limit: 1,
        };
        let found = room.backend().entries(room.stream(), range).await.unwrap();
        assert_eq!(found[0].fields, numbered(at));
    }
}

pub(super) async fn a_range_has_both_its_ends_and_no_more_than_its_limit(lab: &dyn Lab) {
    let room = Room::new(lab);
    for millis in 1..=5 {
        let id = EntryId::new(millis, 7);
        lab.add_with_id(room.stream(), id, numbered(0)).await;
    }
    let look = async |low: u64, high: u64, order, limit| {
        let range = IdRange {
            low: EntryId::new(low, 7),
            high: EntryId::new(high, 7),
            order,
            limit,
        };
        let found = room.backend().entries(room.stream(), range).await.unwrap();
        found.iter().map(|one| one.id.millis()).collect::<Vec<_>>()
    };
    assert_eq!(look(2, 4, Order::Oldest, 100).await, [2, 3, 4]);
    assert_eq!(look(2, 4, Order::Newest, 100).await, [4, 3, 2]);
    assert_eq!(look(1, 5, Order::Oldest, 2).await, [1, 2]);
    assert_eq!(look(1, 5, Order::Newest, 2).await, [5, 4]);
    assert!(look(4, 2, Order::Oldest, 100).await.is_empty());
    assert!(look(6, 9, Order::Oldest, 100).await.is_empty());
}

pub(super) async fn a_missing_stream_has_no_entries(lab: &dyn Lab) {
    let room = Room::new(lab);
    assert_eq!(room.entries(room.stream()).await, []);
}

pub(super) async fn a_key_that_is_no_stream_is_an_error_of_that_kind(lab: &dyn Lab) {
    let room = Room::new(lab);
    lab.spoil(room.stream()).await;
    let refused = room.backend().append(room.stream(), &[numbered(0)]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::WrongType);
    let refused = room.backend().join(room.member("a")).await;
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::WrongType);
    let told = room.backend().length(room.stream()).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    let told = room
        .backend()
        .stats(&room.source.stream, Some(&room.source.group), &room.dlq)
        .await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    lab.mend(room.stream()).await;
    room.add(1).await;
}

pub(super) async fn a_queue_that_is_no_stream_is_not_an_empty_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.add(1).await;
    lab.spoil(&room.dlq).await;
    let id = EntryId::new(1, 1);
    let told = room
        .backend()
        .stats(&room.source.stream, Some(&room.source.group), &room.dlq)
        .await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    let told = room.backend().purge(&room.dlq, &[id]).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    let order = Replay {
        dead_letter: id,
        target: room.stream().clone(),
        fields: numbered(0),
        keep: Keep::Remove,
        campaign: None,
    };
    let told = room.backend().replay(&room.dlq, &[order]).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    assert_eq!(room.entries(room.stream()).await.len(), 1);
    lab.mend(&room.dlq).await;
}

pub(super) async fn an_entry_without_fields_is_refused_and_nothing_is_added(lab: &dyn Lab) {
    let room = Room::new(lab);
    let entries = [numbered(0), Fields::default()];
    let refused = room.backend().append(room.stream(), &entries).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(room.entries(room.stream()).await, []);
}

pub(super) async fn the_length_of_a_stream_is_what_is_in_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let length = async || room.backend().length(room.stream()).await.unwrap();
    assert_eq!(length().await, 0);
    let added = room.add(3).await;
    assert_eq!(length().await, 3);
    lab.trim(room.stream(), added[1]).await;
    assert_eq!(length().await, 2);
}

pub(super) async fn an_erased_source_leaves_nothing_behind(lab: &dyn Lab) {
    let room = Room::new(lab);
    let other = Room::new(lab);
    other.kill(1).await;
    room.kill(2).await;
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    for _ in 0..2 {
        room.backend().erase(&room.source, &room.dlq).await.unwrap();
        assert_eq!(room.entries(room.stream()).await, []);
        assert_eq!(room.dead_letters().await, []);
        assert_eq!(room.ledger().await, [0, 0, 0]);
        assert!(lab.is_clean(&room.source).await);
    }
    // Nothing is left of how far the group had come: it starts where it is told.
    let added = room.add(1).await;
    let seat = room.join("b").await;
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
    assert_eq!(other.dead_letters().await.len(), 1);
    assert_eq!(other.ledger().await, [1, 0, 0]);
}
