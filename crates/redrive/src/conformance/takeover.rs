//! Taking over what others left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Lab;
use super::room::{
    FOREIGN_LEASE, HOUR, LEASE, Room, begin, dead_letter, died, field, retry, settle, settlement,
    started, sweep, taken, user_fields,
};
use crate::backend::{Begun, Beside, Charge, Cursor, Lease};
use crate::dead_letter::Reason;
use crate::message::Fields;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn what_a_silent_consumer_holds_is_taken_over_after_its_lease(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    assert_eq!(taken(&sweep(&*b, 100).await), []);
    lab.age(&room.source, id, LEASE - 20 * SECOND).await;
    assert_eq!(taken(&sweep(&*b, 100).await), []);
    assert_eq!(room.owners().await, [(id, "a".into(), 1)]);
    lab.age(&room.source, id, 20 * SECOND).await;
    let round = b.tend(100, Cursor::START).await.unwrap();
    assert_eq!(round.cursor, None);
    assert!(round.dead.is_empty() && round.refused.is_empty());
    assert_eq!(round.taken.len(), 1);
    let took = &round.taken[0];
    assert_eq!(took.lease, Lease::new(id, 1, Charge::TakenOver));
    assert_eq!((took.failures, took.crashes), (0, 1));
    assert_eq!(took.fields, super::room::numbered(0));
    let row = lab.pel(&room.source).await.remove(0);
    assert_eq!((row.consumer.as_str(), row.count), ("b", 1));
    assert!(row.idle < LEASE / 2, "{:?}", row.idle);
}

pub(super) async fn the_lease_of_the_holder_counts_not_that_of_the_taker(lab: &dyn Lab) {
    let room = Room::new(lab);
    let mut short = room.member("short");
    short.lease = 100 * SECOND;
    let mut long = room.member("long");
    long.lease = 300 * SECOND;
    let (short, long) = (room.join_as(short).await, room.join_as(long).await);
    let of_long = room.hold_one(&*long).await.id;
    let of_short = room.hold_one(&*short).await.id;
    lab.age(&room.source, of_long, 200 * SECOND).await;
    lab.age(&room.source, of_short, 200 * SECOND).await;
    assert_eq!(taken(&sweep(&*short, 100).await), [of_short]);
    lab.age(&room.source, of_short, 200 * SECOND).await;
    assert_eq!(taken(&sweep(&*long, 100).await), [of_short]);
    lab.age(&room.source, of_long, 100 * SECOND).await;
    assert_eq!(taken(&sweep(&*short, 100).await), [of_long]);
}

pub(super) async fn a_foreign_consumer_has_the_foreign_lease(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let added = room.add(1).await;
    assert_eq!(lab.foreign_read(&room.source, "python", 5).await, added);
    let id = added[0];
    lab.age(&room.source, id, FOREIGN_LEASE - LEASE).await;
    assert_eq!(taken(&sweep(&*seat, 100).await), []);
    lab.age(&room.source, id, LEASE).await;
    let took = sweep(&*seat, 100).await.taken.remove(0);
    assert_eq!(took.lease, Lease::new(id, 1, Charge::TakenOver));
    assert_eq!((took.failures, took.crashes), (0, 1));
}

pub(super) async fn a_consumer_finds_again_what_it_has_lost_track_of(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let id = room.hold_one(&*seat).await.id;
    assert_eq!(room.take(&*seat, id).await.lease.fence.token, 1);
}

pub(super) async fn one_sweep_reaches_the_last_of_ten_thousand(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let added = room.add(10_000).await;
    for _ in 0..10 {
        assert_eq!(a.receive(1000, None).await.unwrap().len(), 1000);
    }
    let (first, last) = (added[0], added[9_999]);
    room.expire(first).await;
    room.expire(last).await;
    let mut round = b.tend(1, Cursor::START).await.unwrap();
    let mut rounds = 1;
    let mut found = taken(&round);
    while let Some(cursor) = round.cursor {
        round = b.tend(1, cursor).await.unwrap();
        rounds += 1;
        assert!(rounds <= 12, "{rounds} rounds of 1000 entries for 10,000");
        found.extend(taken(&round));
    }
    assert_eq!(found, [first, last]);
}

pub(super) async fn rounds_take_no_more_than_asked_and_leave_nothing_out(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let added = room.add(10).await;
    a.receive(10, None).await.unwrap();
    for id in &added {
        room.expire(*id).await;
    }
    let mut cursor = Some(Cursor::START);
    for three in added.chunks(3) {
        let round = b.tend(3, cursor.unwrap()).await.unwrap();
        assert_eq!(taken(&round), three);
        cursor = round.cursor;
    }
    assert_eq!(cursor, None);
    assert_eq!(taken(&sweep(&*b, 3).await), []);
}

/// Light entries and heavy ones, some of which others acknowledged, and some of which are gone.
pub(super) async fn what_is_looked_at_together_keeps_its_own_bytes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let bytes = |number: usize| {
        let size = if number % 7 == 3 { 6_000 } else { 20 };
        Fields::from_iter([("n", number.to_string()), ("pad", "x".repeat(size))])
    };
    let entries: Vec<Fields> = (0..60).map(bytes).collect();
    let added = room.backend().append(room.stream(), &entries).await;
    let added = added.unwrap();
    assert_eq!(a.receive(100, None).await.unwrap().len(), 60);
    let (mut alive, mut gone) = (BTreeMap::new(), BTreeSet::new());
    for (number, id) in added.into_iter().enumerate() {
        room.expire(id).await;
        match number % 10 {
            4 => lab.foreign_ack(&room.source, id).await,
            5 | 6 => {
                lab.trim(room.stream(), id).await;
                gone.insert(id);
            }
            _ => _ = alive.insert(id, bytes(number)),
        }
    }

    let round = sweep(&*b, 100).await;
    let dead: BTreeSet<_> = round.dead.iter().map(|died| died.id).collect();
    assert_eq!(dead, gone);
    let fences: Vec<_> = round.taken.iter().map(|one| one.lease.fence).collect();
    let took = round.taken.into_iter();
    let took: BTreeMap<_, _> = took.map(|one| (one.lease.fence.id, one.fields)).collect();
    assert_eq!(took, alive);

    let begun = b.begin(&fences, Beside::Others, "nonce").await.unwrap();
    let begun = begun.into_iter().zip(&fences);
    // The last ones first: what is looked up together need not come in order.
    let mut ends: Vec<_> = begun
        .map(|(begun, fence)| settlement(started(begun, fence.id).0, dead_letter("no")))
        .collect();
    ends.reverse();
    for settled in b.settle(&ends).await.unwrap() {
        assert_eq!(died(&settled).reason, Reason::Rejected);
    }
    let letters = room.dead_letters().await;
    let own = letters.iter().filter(|letter| {
        let id = field(&letter.fields, "redrive-id");
        let alive = alive.iter().find(|(alive, _)| alive.to_string() == id);
        alive.is_some_and(|(_, bytes)| user_fields(letter) == *bytes)
    });
    assert_eq!(own.count(), alive.len());
    assert_eq!(letters.len(), alive.len() + gone.len());
    room.assert_nothing_pending().await;
}

pub(super) async fn two_rounds_at_once_never_take_the_same(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b, c) = (
        room.join("a").await,
        room.join("b").await,
        room.join("c").await,
    );
    let added = room.add(100).await;
    a.receive(100, None).await.unwrap();
    for id in &added {
        room.expire(*id).await;
    }
    let (of_b, of_c) = tokio::join!(sweep(&*b, 10), sweep(&*c, 10));
    assert_eq!(of_b.taken.len() + of_c.taken.len(), 100);
    let all: BTreeSet<_> = taken(&of_b).into_iter().chain(taken(&of_c)).collect();
    assert_eq!(all, added.into_iter().collect());
    // And who holds it is who was told so.
    for (seat, round) in [(&b, &of_b), (&c, &of_c)] {
        for one in &round.taken {
            let begun = begin(&**seat, one.lease.fence, "nonce").await;
            assert!(matches!(begun, Begun::Started { .. }), "{begun:?}");
        }
    }
}

pub(super) async fn state_left_by_foreign_acks_is_cleaned(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(150).await;
    for one in seat.receive(150, None).await.unwrap() {
        let fence = one.lease.fence;
        settle(&*seat, fence, retry(HOUR, "no")).await;
        lab.foreign_ack(&room.source, fence.id).await;
    }
    assert!(!lab.is_clean(&room.source).await);
    // All of it in one round, because nothing is pending.
    let round = seat.tend(100, Cursor::START).await.unwrap();
    assert_eq!(round.next_due, None);
    room.assert_nothing_pending().await;
}

pub(super) async fn state_of_others_is_cleaned_while_some_are_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let kept = room.hold_one(&*seat).await;
    settle(&*seat, kept, retry(HOUR, "no")).await;
    let done = room.hold_one(&*seat).await;
    settle(&*seat, done, retry(HOUR, "no")).await;
    lab.foreign_ack(&room.source, done.id).await;
    sweep(&*seat, 100).await;
    assert_eq!(lab.state(&room.source, done.id).await, None);
    assert_eq!(room.state(kept.id).await.failures, 1);
    lab.age_due(&room.source, kept.id, HOUR).await;
    assert_eq!(room.take_due(&*seat, kept.id).await.failures, 1);
}
