//! Receiving what nobody has had yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Lab;
use super::room::{Room, ids, numbered};
use crate::backend::{Charge, Lease};
use crate::names::{EntryId, GroupName, GroupStart};

pub(super) async fn each_entry_goes_to_one_consumer_in_stream_order(lab: &dyn Lab) {
    let room = Room::new(lab);
    let added = room.add(5).await;
    let (a, b) = (room.join("a").await, room.join("b").await);
    let first = a.receive(2, None).await.unwrap();
    let rest = b.receive(10, None).await.unwrap();
    assert_eq!(ids(&first), added[..2]);
    assert_eq!(ids(&rest), added[2..]);
    assert_eq!(a.receive(10, None).await.unwrap(), []);
    assert_eq!(rest[2].lease, Lease::new(added[4], 1, Charge::Fresh));
    assert_eq!(rest[2].fields, numbered(4));
    assert_eq!((rest[2].failures, rest[2].crashes), (0, 0));
    let owners: Vec<_> = ["a", "a", "b", "b", "b"]
        .into_iter()
        .zip(added)
        .map(|(owner, id)| (id, owner.to_owned(), 1))
        .collect();
    assert_eq!(room.owners().await, owners);
}

pub(super) async fn a_read_that_does_not_wait_answers_at_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    assert_eq!(seat.receive(10, None).await.unwrap(), []);
}

pub(super) async fn a_waiting_read_gets_what_is_added_meanwhile(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let reader = tokio::spawn(async move { seat.receive(10, Some(MINUTE)).await });
    tokio::task::yield_now().await;
    let added = room.add(1).await;
    assert_eq!(ids(&reader.await.unwrap().unwrap()), added);
}

pub(super) async fn a_waiting_read_ends_empty_when_its_time_is_over(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let block = Duration::from_millis(120);
    let before = Instant::now();
    assert_eq!(seat.receive(10, Some(block)).await.unwrap(), []);
    assert!(before.elapsed() >= block);
}

pub(super) async fn many_waiting_readers_miss_nothing_and_share_nothing(lab: &dyn Lab) {
    const ALL: usize = 200;
    let room = Room::new(lab);
    let seen = Arc::new(AtomicUsize::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..8 {
        let seat = room.join(&format!("reader-{reader}")).await;
        let seen = Arc::clone(&seen);
        readers.spawn(async move {
            let mut mine = Vec::new();
            while seen.load(Ordering::SeqCst) < ALL {
                let block = Duration::from_millis(100);
                let got = seat.receive(3, Some(block)).await.unwrap();
                assert!(got.len() <= 3);
                seen.fetch_add(got.len(), Ordering::SeqCst);
                mine.extend(ids(&got));
            }
            mine
        });
    }
    let mut added = Vec::new();
    for _ in 0..ALL / 10 {
        tokio::task::yield_now().await;
        added.extend(room.add(10).await);
    }
    let mut got: Vec<_> = readers.join_all().await.into_iter().flatten().collect();
    got.sort();
    assert_eq!(got, added);
}

pub(super) async fn waking_ends_a_waiting_read_and_delivers_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let waiting = Arc::clone(&seat);
    let before = Instant::now();
    let reader = tokio::spawn(async move { waiting.receive(10, Some(60 * MINUTE)).await });
    while !reader.is_finished() {
        // Again and again: waking a read that does not wait yet does nothing.
        seat.wake().await;
        tokio::task::yield_now().await;
    }
    assert_eq!(reader.await.unwrap().unwrap(), []);
    assert!(before.elapsed() < MINUTE);
    let added = room.add(1).await;
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
}

pub(super) async fn a_new_group_starts_where_it_is_told(lab: &dyn Lab) {
    let room = Room::new(lab);
    for millis in 1..=4 {
        let id = EntryId::new(millis, 0);
        lab.add_with_id(room.stream(), id, numbered(0)).await;
    }
    let starts = [
        (GroupStart::First, vec![1, 2, 3, 4, 5]),
        (GroupStart::After(EntryId::new(2, 0)), vec![3, 4, 5]),
        (GroupStart::New, vec![5]),
    ];
    let mut seats = Vec::new();
    for (place, (start, expected)) in starts.into_iter().enumerate() {
        let mut member = room.member("a");
        member.source.group = GroupName::new(format!("group-{place}")).unwrap();
        member.start = start;
        seats.push((room.join_as(member).await, expected));
    }
    let id = EntryId::new(5, 0);
    lab.add_with_id(room.stream(), id, numbered(0)).await;
    for (seat, expected) in seats {
        let got = ids(&seat.receive(10, None).await.unwrap());
        let got: Vec<_> = got.iter().map(|id| id.millis()).collect();
        assert_eq!(got, expected);
    }
}

pub(super) async fn an_existing_group_is_taken_as_it_is(lab: &dyn Lab) {
    let room = Room::new(lab);
    let added = room.add(3).await;
    let a = room.join("a").await;
    assert_eq!(ids(&a.receive(1, None).await.unwrap()), added[..1]);
    let mut member = room.member("b");
    member.start = GroupStart::New;
    let b = room.join_as(member).await;
    assert_eq!(ids(&b.receive(10, None).await.unwrap()), added[1..]);
}

pub(super) async fn every_group_receives_everything(lab: &dyn Lab) {
    let room = Room::new(lab);
    let added = room.add(3).await;
    for group in ["one", "two"] {
        let mut member = room.member("a");
        member.source.group = GroupName::new(group).unwrap();
        let seat = room.join_as(member).await;
        assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
    }
}

pub(super) async fn the_clock_of_the_server_is_known_from_the_first_message_on(lab: &dyn Lab) {
    let room = Room::new(lab);
    let added = room.add(1).await;
    let seat = room.join("a").await;
    assert_eq!(ids(&seat.receive(1, None).await.unwrap()), added);
    // The age of a message is told by it.
    let (now, then) = (seat.now_ms(), added[0].millis());
    assert!(now.abs_diff(then) < 60_000, "{now} {then}");
}

const MINUTE: Duration = Duration::from_secs(60);
