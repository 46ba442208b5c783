//! Looking around: streams, groups, and what is pending in one.

use std::time::Duration;

use super::Lab;
use super::room::{HOUR, Room, begin, defer, retry, settle, started};
use crate::error::ErrorKind;
use crate::names::{EntryId, GroupName, Source, StreamKey};
use crate::stats::{GroupState, Pending};

async fn pending(room: &Room<'_>) -> Vec<Pending> {
    let backend = room.backend();
    let told = backend.pending(&room.source, EntryId::MIN, 100).await;
    told.unwrap()
}

async fn groups(room: &Room<'_>) -> Option<Vec<GroupName>> {
    let found = room.backend().groups(room.stream()).await.unwrap();
    found.map(|found| {
        assert_eq!(found.skipped, 0);
        found.names
    })
}

pub(super) async fn a_missing_stream_has_no_groups_and_a_new_one_has_none(lab: &dyn Lab) {
    let room = Room::new(lab);
    assert_eq!(groups(&room).await, None);
    room.add(1).await;
    assert_eq!(groups(&room).await, Some(vec![]));
    lab.spoil(&room.dlq).await;
    let told = room.backend().groups(&room.dlq).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::WrongType);
    assert!(told.to_string().contains(room.dlq.as_str()), "{told}");
}

pub(super) async fn groups_are_told_by_their_names(lab: &dyn Lab) {
    let room = Room::new(lab);
    let names = ["b", "a", "c"].map(|name| GroupName::new(name).unwrap());
    for group in &names {
        let mut member = room.member("one");
        member.source.group = group.clone();
        room.join_as(member).await;
    }
    let [b, a, c] = names;
    assert_eq!(groups(&room).await, Some(vec![a, b, c]));
}

pub(super) async fn all_streams_are_told_and_nothing_else(lab: &dyn Lab) {
    let room = Room::new(lab);
    let name = |n: usize| StreamKey::new(format!("{}-{n:04}", room.stream())).unwrap();
    // More than one page of keys.
    for n in 0..1_500 {
        let fields = super::room::numbered(n);
        room.backend().append(&name(n), &[fields]).await.unwrap();
    }
    room.kill(1).await;
    lab.spoil(&name(9_999)).await;
    let told = room.backend().streams().await.unwrap();
    assert_eq!(told.skipped, 0);
    let mut wanted: Vec<_> = (0..1_500).map(name).collect();
    wanted.extend([room.stream().clone(), room.dlq.clone()]);
    wanted.sort();
    assert_eq!(told.names, wanted);
}

pub(super) async fn a_stream_is_looked_at_without_a_group(lab: &dyn Lab) {
    let room = Room::new(lab);
    let look = async || {
        let backend = room.backend();
        backend.stats(room.stream(), None, &room.dlq).await.unwrap()
    };
    let told = look().await;
    assert_eq!((told.group, told.state), (None, GroupState::Missing));
    let added = room.add(2).await;
    let told = look().await;
    assert_eq!((told.group, told.state), (None, GroupState::NoGroup));
    assert_eq!(told.stream_length, Some(2));
    assert_eq!(told.last_entry_id, Some(added[1]));
    assert_eq!((told.pending_messages, told.waiting), (None, None));
}

pub(super) async fn what_is_pending_is_told_with_what_is_kept_of_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    assert_eq!(pending(&room).await, []);
    let added = room.add(4).await;
    let mut fences = Vec::new();
    for delivery in seat.receive(3, None).await.unwrap() {
        fences.push(delivery.lease.fence);
    }
    settle(&*seat, fences[1], retry(HOUR, "no luck today")).await;
    lab.foreign_read(&room.source, "python", 1).await;
    // The third crashed once, and runs again.
    let b = room.join("b").await;
    room.run(&*b, added[2]).await;
    lab.age(&room.source, added[3], HOUR).await;

    let told = pending(&room).await;
    let ids: Vec<_> = told.iter().map(|one| one.id).collect();
    assert_eq!(ids, added);
    let [fresh, waiting, crashed, foreign] = <[Pending; 4]>::try_from(told).unwrap();

    assert_eq!((fresh.consumer.as_str(), fresh.own), ("a", true));
    assert_eq!((fresh.deliveries, fresh.failures), (1, None));
    assert!(fresh.idle_ms < 60_000);

    assert_eq!((waiting.failures, waiting.crashes), (Some(1), Some(0)));
    assert_eq!(waiting.error.as_deref(), Some("no luck today"));
    let first = room.state(added[1]).await.first_failure_ms;
    assert!(first.is_some());
    assert_eq!(waiting.first_failed_at_ms, first);
    let due = Duration::from_millis(waiting.due_in_ms.unwrap());
    assert!(due <= HOUR && due > HOUR / 2, "{due:?}");

    assert_eq!((crashed.consumer.as_str(), crashed.own), ("b", true));
    assert_eq!((crashed.deliveries, crashed.due_in_ms), (2, None));
    assert_eq!((crashed.failures, crashed.crashes), (Some(0), Some(1)));
    assert_eq!((crashed.first_failed_at_ms, crashed.error), (None, None));

    assert_eq!((foreign.consumer.as_str(), foreign.own), ("python", false));
    let idle = Duration::from_millis(foreign.idle_ms);
    assert!(idle >= HOUR && idle < 2 * HOUR, "{idle:?}");
    assert_eq!(foreign.deliveries, 1);
    assert_eq!((foreign.failures, foreign.crashes), (None, None));
    assert_eq!((foreign.due_in_ms, foreign.error), (None, None));
}

pub(super) async fn what_is_overdue_is_due_now_and_what_was_begun_no_longer_waits(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let (over, begun) = (room.hold_one(&*seat).await, room.hold_one(&*seat).await);
    settle(&*seat, begun, defer(HOUR)).await;
    lab.age_due(&room.source, begun.id, 2 * HOUR).await;
    let took = room.take_due(&*seat, begun.id).await.lease.fence;
    started(begin(&*seat, took, "n").await, begun.id);
    settle(&*seat, over, defer(HOUR)).await;
    lab.age_due(&room.source, over.id, 2 * HOUR).await;
    let told = pending(&room).await;
    assert_eq!(told[0].due_in_ms, Some(0));
    assert_eq!(told[1].due_in_ms, None);
    // Somebody who knows of no due times took it.
    lab.foreign_claim(&room.source, "python", over.id).await;
    assert_eq!(pending(&room).await[0].due_in_ms, None);
}

pub(super) async fn pages_of_what_is_pending_go_on_after_the_last(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(25).await;
    seat.receive(25, None).await.unwrap();
    let (mut seen, mut from) = (Vec::new(), EntryId::MIN);
    loop {
        let page = room.backend().pending(&room.source, from, 10).await;
        let page = page.unwrap();
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        from = last.id.successor();
        seen.extend(page.iter().map(|one| one.id));
    }
    assert_eq!(seen, added);
}

pub(super) async fn nothing_is_pending_where_there_is_no_group(lab: &dyn Lab) {
    let room = Room::new(lab);
    let kind = async |source: &Source| {
        let backend = room.backend();
        let told = backend.pending(source, EntryId::MIN, 10).await;
        told.unwrap_err().kind()
    };
    assert_eq!(kind(&room.source).await, ErrorKind::NoGroup);
    room.add(1).await;
    assert_eq!(kind(&room.source).await, ErrorKind::NoGroup);
    let spoiled = Source {
        stream: room.dlq.clone(),
        group: room.source.group.clone(),
    };
    lab.spoil(&spoiled.stream).await;
    assert_eq!(kind(&spoiled).await, ErrorKind::WrongType);
}
