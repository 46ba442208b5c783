//! What is told of a stream for it to be judged, and what mends it.

use std::time::Duration;

use super::Lab;
use super::room::{LEASE, Room, sweep};
use crate::doctor::Named;
use crate::doctor::facts::{GroupFacts, Lag, Purpose, StreamFacts, Told};
use crate::members::Created;
use crate::names::{GroupName, GroupStart};

async fn facts(room: &Room<'_>) -> Option<StreamFacts> {
    let told = room.backend().stream_facts(room.stream(), Named::Yes).await;
    told.unwrap()
}

async fn group(room: &Room<'_>) -> GroupFacts {
    let mut facts = facts(room).await.unwrap();
    assert_eq!((facts.groups.len(), facts.all_groups), (1, 1));
    facts.groups.remove(0)
}

pub(super) async fn what_is_told_of_a_stream_is_what_is_there(lab: &dyn Lab) {
    let room = Room::new(lab);
    assert!(facts(&room).await.is_none());
    let ids = room.add(3).await;
    let told = facts(&room).await.unwrap();
    assert_eq!(
        (told.length, told.first, told.last),
        (3, Some(ids[0]), ids[2])
    );
    assert_eq!((told.all_groups, told.purpose), (0, Purpose::Work));
    let seat = room.join("a").await;
    let held = seat.receive(2, None).await.unwrap();
    let told = group(&room).await;
    assert_eq!((told.last_delivered, told.pending), (ids[1], 2));
    assert_eq!(told.lag, Lag::Count(1));
    assert!(told.unread_ms.is_some());
    let rows: Vec<_> = told
        .rows()
        .iter()
        .map(|row| (row.id, row.deliveries))
        .collect();
    assert_eq!(rows, [(ids[0], 1), (ids[1], 1)]);
    let consumer = told.consumer("a").unwrap();
    let lease = u64::try_from(LEASE.as_millis()).unwrap();
    assert_eq!(
        (consumer.pending, consumer.lease_ms, consumer.alive),
        (2, Some(lease), true)
    );
    assert_eq!(
        (told.deleted.as_slice(), told.unsettled),
        (&[][..], Told::Yes(vec![]))
    );
    drop(held);
    room.kill(1).await;
    let queue = room.backend().stream_facts(&room.dlq, Named::Yes).await;
    assert_eq!(queue.unwrap().unwrap().purpose, Purpose::Record);
}

pub(super) async fn a_group_that_is_missing_is_created_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.add(2).await;
    let is_new = Created::New {
        stream: false,
        resumed: false,
    };
    for created in [is_new, Created::WasThere] {
        let backend = room.backend();
        let answer = backend.create_group(&room.source, GroupStart::First);
        assert_eq!(answer.await.unwrap(), created);
    }
    assert_eq!(group(&room).await.lag, Lag::Count(2));
}

pub(super) async fn a_group_that_vanished_is_told_where_redrive_was_in_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.hold_one(&*seat).await;
    sweep(&*seat, 100).await;
    assert!(group(&room).await.marked);
    lab.drop_group(&room.source).await;
    let told = facts(&room).await.unwrap();
    let vanished: &[GroupName] = std::slice::from_ref(&room.source.group);
    assert_eq!(told.vanished.known().map(Vec::as_slice), Some(vanished));
}

pub(super) async fn what_is_pending_and_gone_is_told_apart_from_what_was_trimmed(lab: &dyn Lab) {
    let room = Room::new(lab);
    let ids = room.add(3).await;
    let seat = room.join("a").await;
    seat.receive(3, None).await.unwrap();
    for gone in [1, 0] {
        lab.trim(room.stream(), ids[gone]).await;
    }
    let told = facts(&room).await.unwrap();
    assert!(told.is_trimmed(ids[0]) && told.is_trimmed(ids[1]));
    let more = room.add(2).await;
    seat.receive(2, None).await.unwrap();
    lab.trim(room.stream(), more[0]).await;
    let told = facts(&room).await.unwrap();
    assert_eq!(told.groups[0].deleted, [more[0]]);
    assert!(!told.is_trimmed(more[0]));
}

pub(super) async fn only_consumers_that_are_gone_and_hold_nothing_are_removed(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (holds, _idle, _lives) = (
        room.join("holds").await,
        room.join("idle").await,
        room.join("lives").await,
    );
    room.hold_one(&*holds).await;
    for name in ["holds", "idle"] {
        lab.presume_dead(&room.source, name).await;
    }
    let names = ["holds", "idle", "lives", "nobody"].map(str::to_owned);
    let backend = room.backend();
    for removed in [1, 0] {
        let answer = backend.remove_consumers(&room.source, &names, Duration::ZERO);
        assert_eq!(answer.await.unwrap(), removed);
    }
    let told = group(&room).await;
    let mut left: Vec<&str> = told
        .consumers()
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["holds", "lives"]);
    assert!(!told.consumer("holds").unwrap().alive && told.consumer("lives").unwrap().alive);
}
