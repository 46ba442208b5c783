//! The health of a source tells the truth.

use std::time::Duration;

use super::Lab;
use super::room::{HOUR, Room, dead_letter, defer, retry, settle};
use crate::backend::How;
use crate::names::{EntryId, GroupName, Source};
use crate::stats::{GroupState, Stats};

async fn stats(room: &Room<'_>, source: &Source) -> Stats {
    room.backend()
        .stats(&source.stream, Some(&source.group), &room.dlq)
        .await
        .unwrap()
}

pub(super) async fn a_missing_stream_is_missing_and_not_empty(lab: &dyn Lab) {
    let room = Room::new(lab);
    let told = stats(&room, &room.source).await;
    let empty = Stats::empty(
        room.stream().clone(),
        Some(room.source.group.clone()),
        room.dlq.clone(),
        GroupState::Missing,
    );
    assert_eq!(told, empty);
    // A source that is gone may still have left dead letters.
    room.kill(2).await;
    lab.drop_stream(room.stream()).await;
    let told = stats(&room, &room.source).await;
    assert_eq!(told.state, GroupState::Missing);
    assert_eq!((told.stream_length, told.pending_messages), (None, None));
    assert_eq!((told.dlq_length, told.dlq_arrivals), (2, 2));
}

pub(super) async fn a_stream_without_the_group_says_so(lab: &dyn Lab) {
    let room = Room::new(lab);
    let added = room.add(3).await;
    room.join("a").await;
    let mut source = room.source.clone();
    source.group = GroupName::new("nobody").unwrap();
    let told = stats(&room, &source).await;
    assert_eq!(told.state, GroupState::NoGroup);
    assert_eq!(told.stream_length, Some(3));
    assert_eq!(told.last_entry_id, Some(added[2]));
    assert_eq!((told.pending_messages, told.consumers), (None, None));
    assert_eq!((told.lag, told.last_delivered_id), (None, None));
    assert_eq!(told.group, Some(source.group));
}

pub(super) async fn a_stream_that_never_had_an_entry_has_no_last_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.join("a").await;
    let told = stats(&room, &room.source).await;
    assert_eq!(told.state, GroupState::Ok);
    assert_eq!((told.stream_length, told.last_entry_id), (Some(0), None));
    assert_eq!(told.last_delivered_id, Some(EntryId::MIN));
    assert_eq!((told.lag, told.lag_exact), (Some(0), true));
}

pub(super) async fn the_numbers_of_a_source_are_told(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let added = room.add(10).await;
    let got = a.receive(6, None).await.unwrap();
    b.receive(1, None).await.unwrap();
    let ends = [How::Ack, dead_letter("no"), retry(HOUR, "no"), defer(HOUR)];
    for (one, how) in got.iter().zip(ends) {
        settle(&*a, one.lease.fence, how).await;
    }
    lab.age(&room.source, added[2], HOUR).await;
    let told = stats(&room, &room.source).await;
    assert_eq!(told.state, GroupState::Ok);
    assert_eq!(told.stream_length, Some(10));
    assert_eq!(told.pending_messages, Some(5));
    assert_eq!(told.waiting, Some(2));
    assert_eq!(told.consumers, Some(2));
    let pending: Vec<_> = told
        .consumer_list
        .iter()
        .map(|one| (one.name.as_str(), one.pending))
        .collect();
    assert_eq!(pending, [("a", 4), ("b", 1)]);
    assert!(told.consumer_list.iter().all(|one| one.idle_ms < 60_000));
    assert_eq!((told.dlq_length, told.dlq_arrivals), (1, 1));
    assert_eq!(told.dlq_dropped, 0);
    assert_eq!(told.last_delivered_id, Some(added[6]));
    assert_eq!(told.last_entry_id, Some(added[9]));
    assert_eq!((told.lag, told.lag_exact), (Some(3), true));
    let oldest = Duration::from_millis(told.oldest_pending_ms.unwrap());
    assert!(oldest >= HOUR && oldest < 2 * HOUR, "{oldest:?}");
    assert_eq!(
        (told.stream, told.group),
        (room.source.stream.clone(), Some(room.source.group.clone()))
    );
    assert_eq!(told.dlq, room.dlq);
}

pub(super) async fn no_more_wait_than_are_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    assert_eq!(stats(&room, &room.source).await.waiting, Some(1));
    // By somebody who does not know of due times.
    lab.foreign_ack(&room.source, fence.id).await;
    assert_eq!(stats(&room, &room.source).await.waiting, Some(0));
}

pub(super) async fn a_shared_queue_is_counted_whole(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.kill(2).await;
    let mut other = Room::new(lab);
    other.dlq = room.dlq.clone();
    let dead = other.kill(3).await;
    room.backend().purge(&room.dlq, &dead[..1]).await.unwrap();
    for one in [&room, &other] {
        let told = stats(one, &one.source).await;
        assert_eq!((told.dlq_length, told.dlq_arrivals), (4, 5));
    }
}
