//! Keeping a group: made, looked at, cleared of dead consumers, removed.

use std::time::Duration;

use super::Lab;
use super::room::{HOUR, LEASE, Room, defer, ids, retry, settle, sweep};
use crate::backend::How;
use crate::error::ErrorKind;
use crate::members::{Consumer, Created, Deleted, Deletion, Removal, WhyKept};
use crate::names::{EntryId, GroupStart};
use crate::trim::TrimStep;

const NEW: Created = Created::New {
    stream: false,
    resumed: false,
};

async fn create(room: &Room<'_>, start: GroupStart) -> Created {
    let created = room.backend().create_group(&room.source, start).await;
    created.unwrap()
}

async fn delete(room: &Room<'_>, how: Deletion) -> Deleted {
    let deleted = room.backend().delete_group(&room.source, how).await;
    deleted.unwrap()
}

async fn consumers(room: &Room<'_>) -> Vec<Consumer> {
    room.backend().consumers(&room.source).await.unwrap()
}

/// Each by its name, and why it stays.
async fn prune(
    room: &Room<'_>,
    idle: Duration,
    removal: Removal,
) -> Vec<(String, u64, Option<WhyKept>)> {
    let judged = room.backend().prune(&room.source, idle, removal).await;
    let judged = judged.unwrap().into_iter();
    judged
        .map(|(one, why)| (one.name, one.pending, why))
        .collect()
}

async fn last_delivered(room: &Room<'_>) -> EntryId {
    let backend = room.backend();
    let told = backend.stats(room.stream(), Some(&room.source.group), &room.dlq);
    told.await.unwrap().last_delivered_id.unwrap()
}

pub(super) async fn a_group_is_created_where_it_is_told_and_once(lab: &dyn Lab) {
    let starts = |added: &[EntryId]| {
        [
            (GroupStart::First, EntryId::MIN),
            (GroupStart::New, added[2]),
            (GroupStart::After(added[0]), added[0]),
        ]
    };
    for at in 0..3 {
        let room = Room::new(lab);
        let added = room.add(3).await;
        let (start, expected) = starts(&added)[at];
        assert_eq!(create(&room, start).await, NEW);
        assert_eq!(last_delivered(&room).await, expected);
        // One that is there stays where it is, and keeps what is pending.
        let seat = room.join("a").await;
        let before = ids(&seat.receive(1, None).await.unwrap());
        for start in [GroupStart::First, GroupStart::New] {
            assert_eq!(create(&room, start).await, Created::WasThere);
        }
        assert_eq!(room.owners().await.len(), before.len());
    }
}

pub(super) async fn a_group_of_a_missing_stream_makes_the_stream(lab: &dyn Lab) {
    let room = Room::new(lab);
    let with_its_stream = Created::New {
        stream: true,
        resumed: false,
    };
    assert_eq!(create(&room, GroupStart::First).await, with_its_stream);
    assert_eq!(create(&room, GroupStart::First).await, Created::WasThere);
    let added = room.add(1).await;
    let seat = room.join("a").await;
    assert_eq!(ids(&seat.receive(5, None).await.unwrap()), added);
    lab.spoil(&room.dlq).await;
    let mut source = room.source.clone();
    source.stream = room.dlq.clone();
    let told = room
        .backend()
        .create_group(&source, GroupStart::First)
        .await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
}

pub(super) async fn a_created_group_goes_on_where_one_of_its_name_had_come_to(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(4).await;
    let got = seat.receive(3, None).await.unwrap();
    settle(&*seat, got[0].lease.fence, How::Ack).await;
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    let resumed = Created::New {
        stream: false,
        resumed: true,
    };
    // Not where new ones start: that would lose the second and the third.
    assert_eq!(create(&room, GroupStart::New).await, resumed);
    let b = room.join("b").await;
    assert_eq!(ids(&b.receive(10, None).await.unwrap()), added[1..]);
}

pub(super) async fn a_deleted_group_leaves_nothing_of_its_own_behind(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(3).await;
    let got = seat.receive(3, None).await.unwrap();
    settle(&*seat, got[0].lease.fence, retry(HOUR, "no")).await;
    sweep(&*seat, 100).await;
    let whole = Deleted {
        existed: true,
        removed: false,
        pending: 3,
        alive: vec!["a".to_owned()],
        kept: true,
    };
    // A look changes nothing, and what is in use stays unless that is forced.
    for how in [Deletion::Look, Deletion::Look, Deletion::Unused] {
        assert_eq!(delete(&room, how).await, whole);
    }
    assert_eq!(room.owners().await.len(), 3);
    let removed = Deleted {
        removed: true,
        ..whole
    };
    assert_eq!(delete(&room, Deletion::Forced).await, removed);
    for (how, removed) in [(Deletion::Look, false), (Deletion::Forced, true)] {
        let nothing = Deleted {
            removed,
            ..Deleted::default()
        };
        assert_eq!(delete(&room, how).await, nothing);
    }
    let told = seat.receive(1, None).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoGroup);
    // The entries stay; and one of this name is new, and may start wherever it is told to.
    assert_eq!(room.entries(room.stream()).await.len(), 3);
    assert_eq!(create(&room, GroupStart::New).await, NEW);
    assert_eq!(last_delivered(&room).await, added[2]);
    assert!(lab.is_clean(&room.source).await);
}

pub(super) async fn a_group_stays_while_something_is_pending_or_a_consumer_lives(lab: &dyn Lab) {
    let unused = async |room: &Room<'_>| {
        let deleted = delete(room, Deletion::Unused).await;
        (deleted.removed, deleted.pending, deleted.alive)
    };
    // A worker that lives, with nothing pending; then one that is dead, with something; then nothing.
    let room = Room::new(lab);
    let seat = room.join("a").await;
    assert_eq!(unused(&room).await, (false, 0, vec!["a".to_owned()]));
    let fence = room.hold_one(&*seat).await;
    lab.presume_dead(&room.source, "a").await;
    assert_eq!(unused(&room).await, (false, 1, vec![]));
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    settle(&*seat, fence, How::Ack).await;
    assert_eq!(unused(&room).await, (true, 0, vec![]));
    assert!(lab.is_clean(&room.source).await);

    // A consumer of another kind gives no sign of life but that it was seen.
    let room = Room::new(lab);
    room.add(1).await;
    create(&room, GroupStart::First).await;
    let read = lab.foreign_read(&room.source, "python", 1).await;
    lab.foreign_ack(&room.source, read[0]).await;
    let lives = (false, 0, vec!["python".to_owned()]);
    assert_eq!(unused(&room).await, lives);
    assert!(delete(&room, Deletion::Forced).await.removed);
}

pub(super) async fn what_is_left_of_a_vanished_group_is_deleted_and_holds_no_trim_back(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(4).await;
    let got = seat.receive(2, None).await.unwrap();
    settle(&*seat, got[0].lease.fence, How::Ack).await;
    sweep(&*seat, 100).await;
    lab.drop_group(&room.source).await;
    let mut other = room.source.clone();
    other.group = "other".parse().unwrap();
    let created = room.backend().create_group(&other, GroupStart::New).await;
    assert_eq!(created.unwrap(), NEW);

    let backend = room.backend();
    let marked = async || backend.marked(room.stream()).await.unwrap();
    let trim = async |marked: &[_]| {
        let trimmed = backend.trim(room.stream(), marked, TrimStep::Remove).await;
        trimmed.unwrap().unwrap().left
    };
    let before = marked().await;
    assert_eq!(before, std::slice::from_ref(&room.source.group));
    assert_eq!(trim(&before).await, 3);
    let vanished = Deleted {
        alive: vec!["a".to_owned()],
        kept: true,
        ..Deleted::default()
    };
    // Its worker lives, and creates it again.
    for how in [Deletion::Look, Deletion::Unused] {
        assert_eq!(delete(&room, how).await, vanished);
    }
    lab.presume_dead(&room.source, "a").await;
    let forgotten = Deleted {
        removed: true,
        kept: true,
        ..Deleted::default()
    };
    assert_eq!(delete(&room, Deletion::Unused).await, forgotten);
    assert_eq!(marked().await, []);
    assert_eq!(trim(&[]).await, 0);
    // Of a stream that is gone as well.
    lab.drop_stream(room.stream()).await;
    assert!(!delete(&room, Deletion::Forced).await.kept);
}

pub(super) async fn a_deleted_group_leaves_the_others_alone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fence = room.hold_one(&*seat).await;
    settle(&*seat, fence, retry(HOUR, "no")).await;
    let mut other = room.source.clone();
    other.group = "group2".parse().unwrap();
    let created = room.backend().create_group(&other, GroupStart::First).await;
    assert_eq!(created.unwrap(), NEW);
    let deleted = room.backend().delete_group(&other, Deletion::Unused).await;
    let deleted = deleted.unwrap();
    assert_eq!((deleted.existed, deleted.pending), (true, 0));
    assert_eq!(room.owners().await, [(fence.id, "a".into(), 1)]);
    assert_eq!(room.state(fence.id).await.failures, 1);
    lab.spoil(&room.dlq).await;
    let mut spoiled = room.source.clone();
    spoiled.stream = room.dlq.clone();
    let told = room.backend().delete_group(&spoiled, Deletion::Look).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
}

pub(super) async fn consumers_are_told_by_their_names_with_what_they_hold(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (b, _a) = (room.join("b").await, room.join("a").await);
    room.add(3).await;
    b.receive(2, None).await.unwrap();
    lab.foreign_read(&room.source, "python", 1).await;
    lab.presume_dead(&room.source, "b").await;
    let told = consumers(&room).await;
    let shown: Vec<_> = told
        .iter()
        .map(|one| (one.name.as_str(), one.pending, one.own, one.alive))
        .collect();
    assert_eq!(
        shown,
        [
            ("a", 0, true, Some(true)),
            ("b", 2, true, Some(false)),
            ("python", 1, false, None)
        ]
    );
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap();
    let leases: Vec<_> = told.iter().map(|one| one.lease_ms).collect();
    assert_eq!(leases, [Some(lease_ms), Some(lease_ms), None]);
    assert!(told.iter().all(|one| one.idle_ms < 60_000), "{told:?}");
}

pub(super) async fn consumers_of_no_group_are_an_error_of_that_kind(lab: &dyn Lab) {
    let room = Room::new(lab);
    let kinds = async || {
        let backend = room.backend();
        let listed = backend.consumers(&room.source).await.unwrap_err();
        let pruned = backend.prune(&room.source, HOUR, Removal::Remove).await;
        [listed.kind(), pruned.unwrap_err().kind()]
    };
    assert_eq!(kinds().await, [ErrorKind::NoGroup; 2]);
    room.add(1).await;
    assert_eq!(kinds().await, [ErrorKind::NoGroup; 2]);
}

pub(super) async fn only_the_dead_that_hold_nothing_are_pruned(lab: &dyn Lab) {
    let room = Room::new(lab);
    for name in ["alive", "dead", "holds"] {
        room.join(name).await;
    }
    let holds = room.join_as(room.member("holds")).await;
    room.add(3).await;
    let got = holds.receive(1, None).await.unwrap();
    settle(&*holds, got[0].lease.fence, defer(HOUR)).await;
    let read = lab.foreign_read(&room.source, "idle", 1).await;
    lab.foreign_ack(&room.source, read[0]).await;
    lab.foreign_read(&room.source, "python", 1).await;
    lab.presume_dead(&room.source, "dead").await;
    lab.presume_dead(&room.source, "holds").await;

    // All of them were seen just now.
    let all = prune(&room, HOUR, Removal::Remove).await;
    let why: Vec<_> = all.iter().map(|(_, _, why)| *why).collect();
    let (recent, alive) = (Some(WhyKept::Recent), Some(WhyKept::Alive));
    let holding = Some(WhyKept::Holds);
    assert_eq!(why, [alive, recent, holding, recent, holding]);
    let expected = [
        ("alive".to_owned(), 0, alive),
        ("dead".to_owned(), 0, None),
        ("holds".to_owned(), 1, holding),
        ("idle".to_owned(), 0, None),
        ("python".to_owned(), 1, holding),
    ];
    for removal in [Removal::Look, Removal::Look, Removal::Remove] {
        assert_eq!(prune(&room, Duration::ZERO, removal).await, expected);
    }
    let left = consumers(&room).await;
    let left: Vec<_> = left.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(left, ["alive", "holds", "python"]);
    assert_eq!(room.owners().await.len(), 2, "nothing pending is lost");
    // Of who is gone nothing is kept: it comes back as a stranger would.
    let read = lab.foreign_read(&room.source, "dead", 1).await;
    assert_eq!(read, []);
    let back = consumers(&room).await;
    assert!(back.iter().all(|one| one.name != "dead" || !one.own));
}
