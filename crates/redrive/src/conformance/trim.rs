//! Trimming: what every group has done with goes, and nothing else.

use super::Lab;
use super::room::{HOUR, Room, ids, retry, settle, sweep};
use crate::backend::{How, Membership, Seat};
use crate::names::{EntryId, GroupName, Source};
use crate::trim::{TrimStep, Trimmed};

/// All steps: what the last one said, and how many were removed altogether.
async fn trim(room: &Room<'_>) -> Trimmed {
    let backend = room.backend();
    let marked = backend.marked(room.stream()).await.unwrap();
    let mut removed = 0;
    loop {
        let step = backend.trim(room.stream(), &marked, TrimStep::Remove);
        let mut step = step.await.unwrap().unwrap();
        removed += step.entries;
        if step.next.is_none() {
            step.entries = removed;
            return step;
        }
    }
}

async fn counted(room: &Room<'_>) -> u64 {
    let backend = room.backend();
    let marked = backend.marked(room.stream()).await.unwrap();
    let (mut from, mut count) = (EntryId::MIN, 0);
    loop {
        let step = backend.trim(room.stream(), &marked, TrimStep::Count { from });
        let step = step.await.unwrap().unwrap();
        count += step.entries;
        match step.next {
            Some(next) => from = next,
            None => return count,
        }
    }
}

async fn left(room: &Room<'_>) -> Vec<EntryId> {
    let entries = room.entries(room.stream()).await;
    entries.into_iter().map(|entry| entry.id).collect()
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

async fn ack(seat: &dyn Seat, count: usize) -> Vec<EntryId> {
    let got = seat.receive(count, None).await.unwrap();
    for one in &got {
        settle(seat, one.lease.fence, How::Ack).await;
    }
    ids(&got)
}

pub(super) async fn what_is_pending_and_what_is_unread_stays(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(6).await;
    ack(&*seat, 2).await;
    let fence = seat.receive(1, None).await.unwrap()[0].lease.fence;
    ack(&*seat, 1).await;
    // One that waits for a retry is pending too.
    settle(&*seat, fence, retry(HOUR, "no")).await;
    assert_eq!(counted(&room).await, 2);
    assert_eq!(left(&room).await, added);
    let told = trim(&room).await;
    assert_eq!(told.entries, 2);
    assert_eq!(left(&room).await, added[2..]);
    assert_eq!((told.left, told.first), (4, Some(added[2])));
    assert_eq!(told.held_by, Some((group("group"), added[2])));
    // It is done: then what is not read holds back.
    settle(&*seat, fence, How::Ack).await;
    let told = trim(&room).await;
    assert_eq!((told.entries, told.left), (2, 2));
    assert_eq!(told.held_by, Some((group("group"), added[4])));
    ack(&*seat, 2).await;
    let told = trim(&room).await;
    assert_eq!((told.entries, told.left, told.first), (2, 0, None));
    assert_eq!(told.held_by, None);
    // The last id is not given out again.
    assert!(room.add(1).await[0] > added[5]);
}

pub(super) async fn the_group_that_has_come_least_far_decides(lab: &dyn Lab) {
    let room = Room::new(lab);
    let fast = room.join("a").await;
    let slow = Membership {
        source: Source {
            group: group("slow"),
            ..room.source.clone()
        },
        ..room.member("a")
    };
    let slow = room.join_as(slow).await;
    let added = room.add(5).await;
    ack(&*fast, 5).await;
    let told = trim(&room).await;
    assert_eq!(told.entries, 0);
    assert_eq!(told.held_by, Some((group("slow"), added[0])));
    ack(&*slow, 3).await;
    let told = trim(&room).await;
    assert_eq!((told.entries, told.left), (3, 2));
    assert_eq!(told.held_by, Some((group("slow"), added[3])));
}

pub(super) async fn without_a_group_nothing_goes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let backend = room.backend();
    let missing = backend.trim(room.stream(), &[], TrimStep::Remove).await;
    assert_eq!(missing.unwrap(), None);
    room.add(3).await;
    let told = trim(&room).await;
    assert_eq!((told.entries, told.left, told.held_by), (0, 3, None));
}

pub(super) async fn a_vanished_group_keeps_what_is_above_its_mark(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(6).await;
    ack(&*seat, 2).await;
    let held = seat.receive(1, None).await.unwrap()[0].lease.fence;
    ack(&*seat, 1).await;
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    let told = trim(&room).await;
    assert_eq!(told.entries, 2);
    assert_eq!(told.held_by, Some((group("group"), held.id)));
    // It comes back where it was: entries that were trimmed below do not make it another stream.
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added[2..]);
}

pub(super) async fn a_group_restored_after_a_trim_repeats_nothing_that_was_done(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(4).await;
    ack(&*seat, 4).await;
    sweep(&*seat, 100).await;
    assert_eq!(trim(&room).await.left, 0);
    lab.drop_group(&room.source).await;
    let added = room.add(2).await;
    seat.restore().await.unwrap();
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), added);
}

pub(super) async fn a_long_stream_is_trimmed_to_the_entry(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(3_457).await;
    let got = seat.receive(3_333, None).await.unwrap();
    let ends: Vec<_> = got
        .into_iter()
        .map(|one| super::room::settlement(one.lease.fence, How::Ack))
        .collect();
    seat.settle(&ends).await.unwrap();
    assert_eq!(counted(&room).await, 3_333);
    assert_eq!(trim(&room).await.entries, 3_333);
    assert_eq!(left(&room).await, added[3_333..]);
}
