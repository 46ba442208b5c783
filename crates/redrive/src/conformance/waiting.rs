//! Messages that wait for their due time.

use std::time::Duration;

use super::Lab;
use super::room::{
    FOREIGN_LEASE, HOUR, LEASE, Room, assert_done, defer, retry, settle, sweep, taken,
};
use crate::backend::{Charge, Cursor, How, Lease};

const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn a_waiting_message_is_not_taken_over_before_it_is_due(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    for _ in 0..3 {
        lab.age(&room.source, fence.id, 10 * LEASE).await;
        assert_eq!(taken(&sweep(&*b, 100).await), []);
    }
    lab.age_due(&room.source, fence.id, HOUR - MINUTE).await;
    assert_eq!(taken(&sweep(&*b, 100).await), []);
    lab.age_due(&room.source, fence.id, MINUTE).await;
    assert_eq!(taken(&sweep(&*b, 100).await), [fence.id]);
}

pub(super) async fn a_waiting_message_is_kept_by_its_owner(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    lab.age(&room.source, fence.id, 2 * LEASE).await;
    sweep(&*b, 100).await;
    let row = lab.pel(&room.source).await.remove(0);
    assert_eq!((row.consumer.as_str(), row.count), ("a", 1));
    assert!(row.idle < LEASE / 2, "not refreshed: {:?}", row.idle);
}

pub(super) async fn a_due_message_is_taken_at_once_whoever_has_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    let took = room.take_due(&*b, fence.id).await;
    assert_eq!(took.lease, Lease::new(fence.id, 1, Charge::TakenOver));
    assert_eq!((took.failures, took.crashes), (1, 0));
    assert_eq!(room.owners().await, [(fence.id, "b".into(), 1)]);
    // Taken, it no longer waits: only the lease of its new holder protects it.
    assert_eq!(taken(&sweep(&*a, 100).await), []);
    assert_eq!(room.take(&*a, fence.id).await.failures, 1);
}

pub(super) async fn due_messages_are_taken_in_the_order_of_their_times(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let mut fences = Vec::new();
    for minutes in [30, 10, 20] {
        let fence = room.hold_one(&*seat).await;
        let delay = minutes * MINUTE;
        settle(&*seat, fence, defer(delay)).await;
        fences.push(fence.id);
    }
    for id in &fences {
        lab.age_due(&room.source, *id, 30 * MINUTE).await;
    }
    let round = seat.tend(2, Cursor::START).await.unwrap();
    assert_eq!(taken(&round), [fences[1], fences[2]]);
    assert_eq!(room.take_due(&*seat, fences[0]).await.failures, 0);
}

pub(super) async fn the_time_to_the_next_due_message_is_told(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let next = async || seat.tend(100, Cursor::START).await.unwrap().next_due;
    assert_eq!(next().await, None);
    for delay in [2 * HOUR, HOUR] {
        let fence = room.hold_one(&*seat).await;
        settle(&*seat, fence, defer(delay)).await;
        let told = next().await.unwrap();
        assert!(told <= delay && told > delay - MINUTE, "{told:?}");
    }
}

pub(super) async fn a_due_time_of_an_earlier_delivery_is_dropped(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    lab.foreign_claim(&room.source, "python", fence.id).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    // Python runs it: what was to happen to the delivery before is over.
    assert_eq!(taken(&sweep(&*seat, 100).await), []);
    assert_eq!(room.owners().await, [(fence.id, "python".into(), 2)]);
    assert_eq!(sweep(&*seat, 100).await.next_due, None);
}

pub(super) async fn a_due_time_of_an_earlier_delivery_protects_nobody(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    lab.foreign_claim(&room.source, "python", fence.id).await;
    lab.age(&room.source, fence.id, FOREIGN_LEASE).await;
    let took = room.take_due(&*seat, fence.id).await;
    assert_eq!(took.lease, Lease::new(fence.id, 2, Charge::TakenOver));
    // The delivery that redrive closed was another one, and Python's is not on its books.
    assert_eq!((took.failures, took.crashes), (1, 0));
    assert_eq!(sweep(&*seat, 100).await.next_due, None);
}

pub(super) async fn due_messages_count_among_those_asked_for(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    room.add(6).await;
    let held = a.receive(6, None).await.unwrap();
    let fences: Vec<_> = held.iter().map(|one| one.lease.fence).collect();
    for fence in &fences[..3] {
        assert_done(&settle(&*a, *fence, How::Release).await);
    }
    for fence in &fences[3..] {
        room.expire(fence.id).await;
    }
    let round = b.tend(4, Cursor::START).await.unwrap();
    assert_eq!(round.taken.len(), 4);
    let mut all = taken(&round);
    all.extend(taken(&sweep(&*b, 4).await));
    let every: Vec<_> = fences.iter().map(|fence| fence.id).collect();
    assert_eq!(all, every);
}
