//! A group that vanishes, and comes back where nothing is lost.

use std::collections::BTreeSet;

use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::room::{HOUR, Room, assert_gone, ids, retry, settle, sweep, unsuccessful};
use crate::backend::{Begun, Beside, Cursor, How, Renewed, Restored};
use crate::error::ErrorKind;
use crate::names::GroupStart;

pub(super) async fn a_vanished_group_is_told(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    lab.drop_group(&room.source).await;
    let told = seat.receive(1, None).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
    let told = seat.tend(1, Cursor::START).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
    let told = seat.pending(&BTreeSet::new()).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
    // For what is held, it is as for anything that is no longer pending.
    for how in unsuccessful() {
        assert_gone(&settle(&*seat, fence, how).await);
    }
    settle(&*seat, fence, How::Ack).await;
    let renewed = seat.renew(&[fence]).await.unwrap();
    assert!(matches!(renewed[..], [Renewed::Gone]), "{renewed:?}");
    let begun = seat.begin(&[fence], Beside::Others, "n").await.unwrap();
    assert!(matches!(begun[..], [Begun::Gone]), "{begun:?}");
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn a_waiting_read_ends_when_the_group_vanishes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let waiting = Arc::clone(&seat);
    let block = Some(Duration::from_secs(600));
    let reader = tokio::spawn(async move { waiting.receive(1, block).await });
    tokio::task::yield_now().await;
    lab.drop_group(&room.source).await;
    let told = reader.await.unwrap().unwrap_err();
    assert!(told.kind().is_transient(), "{told}");
    let told = seat.receive(1, block).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
}

pub(super) async fn a_restored_group_repeats_what_was_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(6).await;
    let got = seat.receive(4, None).await.unwrap();
    for one in &got[..2] {
        settle(&*seat, one.lease.fence, How::Ack).await;
    }
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added[2..]);
}

pub(super) async fn a_restored_group_repeats_nothing_that_was_done(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(4).await;
    for one in seat.receive(3, None).await.unwrap() {
        settle(&*seat, one.lease.fence, How::Ack).await;
    }
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added[3..]);
}

pub(super) async fn without_a_mark_a_group_is_restored_at_the_first_entry(lab: &dyn Lab) {
    let room = Room::new(lab);
    let mut added = room.add(2).await;
    let mut member = room.member("a");
    member.start = GroupStart::New;
    let seat = room.join_as(member).await;
    added.extend(room.add(1).await);
    lab.drop_group(&room.source).await;
    // Never where new ones start: that would lose the third.
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
}

pub(super) async fn another_stream_of_the_same_name_starts_at_its_first_entry(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(5).await;
    for one in seat.receive(5, None).await.unwrap() {
        settle(&*seat, one.lease.fence, How::Ack).await;
    }
    sweep(&*seat, 100).await;
    lab.drop_stream(room.stream()).await;
    let added = room.add(3).await;
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
    // And where there is none yet, one is made.
    lab.drop_stream(room.stream()).await;
    seat.restore().await.unwrap();
    assert_eq!(seat.receive(10, None).await.unwrap(), []);
}

pub(super) async fn an_existing_group_is_left_alone_by_a_restore(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(3).await;
    let fence = seat.receive(1, None).await.unwrap()[0].lease.fence;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    let before = room.state(fence.id).await;
    for _ in 0..2 {
        assert_eq!(seat.restore().await.unwrap(), Restored::WasThere);
    }
    assert_eq!(room.owners().await, [(added[0], "a".into(), 1)]);
    assert_eq!(room.state(fence.id).await, before);
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added[1..]);
}

pub(super) async fn who_restores_a_group_is_seen_in_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    lab.drop_group(&room.source).await;
    assert_eq!(seat.restore().await.unwrap(), Restored::Created);
    let told = room
        .backend()
        .stats(&room.source.stream, Some(&room.source.group), &room.dlq)
        .await
        .unwrap();
    assert_eq!(told.consumers, Some(1));
    assert_eq!(told.consumer_list[0].name, "a");
}

pub(super) async fn a_restored_group_forgets_the_states_of_the_old_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    lab.drop_group(&room.source).await;
    seat.restore().await.unwrap();
    assert!(lab.is_clean(&room.source).await);
    // Counts start again at 1: what was ended under that number must not end this delivery.
    let again = seat.receive(1, None).await.unwrap().remove(0).lease.fence;
    assert_eq!(again, fence);
    settle(&*seat, again, retry(HOUR, "other")).await;
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.error.as_str()), (1, "other"));
    assert!(sweep(&*seat, 100).await.next_due.is_some());
}

pub(super) async fn who_joins_a_vanished_group_starts_at_its_mark(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(4).await;
    let got = seat.receive(3, None).await.unwrap();
    settle(&*seat, got[0].lease.fence, How::Ack).await;
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    let mut member = room.member("b");
    member.start = GroupStart::New;
    let b = room.join_as(member).await;
    assert_eq!(ids(&b.receive(10, None).await.unwrap()), added[1..]);
}
