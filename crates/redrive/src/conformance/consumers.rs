//! Consumers that leave, and those that are gone.

use std::collections::BTreeSet;

use super::Lab;
use super::room::{FOREIGN_LEASE, LEASE, Room, defer, settle, sweep, taken};
use crate::backend::How;

async fn consumers(room: &Room<'_>) -> Vec<String> {
    let stats = room
        .backend()
        .stats(&room.source.stream, Some(&room.source.group), &room.dlq)
        .await
        .unwrap();
    let names: Vec<_> = stats
        .consumer_list
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(stats.consumers, Some(names.len() as u64));
    names
}

pub(super) async fn who_leaves_with_nothing_pending_is_removed(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    b.receive(1, None).await.unwrap();
    settle(&*a, fence, How::Ack).await;
    assert_eq!(consumers(&room).await, ["a", "b"]);
    for _ in 0..2 {
        a.leave().await.unwrap();
        assert_eq!(consumers(&room).await, ["b"]);
    }
}

pub(super) async fn who_leaves_with_something_pending_stays_with_its_lease(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    b.receive(1, None).await.unwrap();
    a.leave().await.unwrap();
    assert_eq!(consumers(&room).await, ["a", "b"]);
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    // Not the foreign one, ten times as long.
    lab.age(&room.source, fence.id, 2 * LEASE).await;
    assert!(2 * LEASE < FOREIGN_LEASE);
    assert_eq!(taken(&sweep(&*b, 100).await), [fence.id]);
}

pub(super) async fn a_dead_consumer_is_removed_once_nothing_is_pending_on_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    b.receive(1, None).await.unwrap();
    lab.presume_dead(&room.source, "a").await;
    room.join("c").await;
    assert_eq!(consumers(&room).await, ["a", "b", "c"]);
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    room.take(&*b, fence.id).await;
    // Whoever joins clears away; c has nothing either, and lives.
    room.join("d").await;
    assert_eq!(consumers(&room).await, ["b", "c", "d"]);
}

pub(super) async fn pending_counts_the_whole_group(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    assert_eq!(a.pending(&BTreeSet::new()).await.unwrap(), 0);
    room.add(5).await;
    let got = a.receive(2, None).await.unwrap();
    b.receive(10, None).await.unwrap();
    assert_eq!(a.pending(&BTreeSet::new()).await.unwrap(), 5);
    assert_eq!(b.pending(&BTreeSet::new()).await.unwrap(), 5);
    settle(&*a, got[0].lease.fence, How::Ack).await;
    let delay = LEASE;
    settle(&*a, got[1].lease.fence, defer(delay)).await;
    assert_eq!(a.pending(&BTreeSet::new()).await.unwrap(), 4);
}
