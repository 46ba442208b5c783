//! Crash accounting: what is booked, what is taken back, and what is neither.

use super::Lab;
use super::room::{
    FOREIGN_LEASE, HOUR, Room, assert_stale, begin, defer, retry, settle, started, unsuccessful,
};
use crate::backend::{Charge, Cursor, Fence, How, Renewed, Seat};

async fn lose(seat: &dyn Seat, fence: Fence) {
    let answers = seat.renew(&[fence]).await.unwrap();
    assert!(matches!(answers[..], [Renewed::Lost]), "{answers:?}");
}

pub(super) async fn every_begun_run_that_did_not_end_is_one_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    for crash in 1..=5 {
        let took = room.take(&*b, id).await;
        assert_eq!(took.crashes, crash);
        let (fence, failures, crashes) = started(begin(&*b, took.lease.fence, "n").await, id);
        assert_eq!((failures, crashes), (0, crash));
        assert_eq!(fence.token, u64::from(crash) + 1);
        let state = room.state(id).await;
        assert_eq!((state.crashes, state.booked), (crash, u64::from(crash)));
    }
}

pub(super) async fn taking_over_without_beginning_is_no_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b, c) = (
        room.join("a").await,
        room.join("b").await,
        room.join("c").await,
    );
    let id = room.hold_one(&*a).await.id;
    for seat in [&b, &c, &b, &c] {
        let took = room.take(&**seat, id).await;
        assert_eq!((took.crashes, took.lease.fence.token), (1, 1));
    }
    assert_eq!(room.run(&*b, id).await.2, 1);
}

pub(super) async fn a_lease_lost_before_the_next_begin_is_no_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    let took = room.take(&*b, fresh.id).await;
    assert_eq!(took.crashes, 1);
    lose(&*a, fresh).await;
    lose(&*a, fresh).await;
    let (begun, _, crashes) = started(begin(&*b, took.lease.fence, "n").await, fresh.id);
    assert_eq!((begun.token, crashes), (2, 0));
    assert_eq!(room.state(fresh.id).await.booked, 0);
}

pub(super) async fn a_lease_lost_after_the_next_begin_is_taken_back_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    let (first, ..) = room.run(&*b, fresh.id).await;
    let (second, _, crashes) = room.run(&*b, fresh.id).await;
    assert_eq!((second.token, crashes), (3, 2));
    // Only the last booked one can be taken back.
    lose(&*a, fresh).await;
    assert_eq!(room.state(fresh.id).await.crashes, 2);
    for _ in 0..2 {
        lose(&*b, first).await;
        let state = room.state(fresh.id).await;
        assert_eq!((state.crashes, state.booked, state.open), (1, 0, 3));
    }
}

pub(super) async fn who_never_began_takes_nothing_back(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b, c) = (
        room.join("a").await,
        room.join("b").await,
        room.join("c").await,
    );
    let id = room.hold_one(&*a).await.id;
    let of_b = room.take(&*b, id).await.lease.fence;
    let of_c = room.take(&*c, id).await.lease.fence;
    lose(&*b, of_b).await;
    assert_eq!(started(begin(&*c, of_c, "n").await, id).2, 1);
    lose(&*b, of_b).await;
    for how in unsuccessful() {
        assert_stale(&settle(&*b, of_b, how).await);
    }
    let state = room.state(id).await;
    assert_eq!((state.crashes, state.booked, state.open), (1, 1, 2));
}

pub(super) async fn every_stale_answer_takes_the_crash_back(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let (a, b) = (room.join("a").await, room.join("b").await);
        let fresh = room.hold_one(&*a).await;
        assert_eq!(room.run(&*b, fresh.id).await.2, 1);
        for _ in 0..2 {
            assert_stale(&settle(&*a, fresh, how.clone()).await);
            let state = room.state(fresh.id).await;
            assert_eq!((state.crashes, state.booked), (0, 0), "{how:?}");
            assert_eq!((state.failures, state.open), (0, 2), "{how:?}");
        }
    }
}

pub(super) async fn a_stale_answer_before_the_next_begin_takes_the_crash_back(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let (a, b) = (room.join("a").await, room.join("b").await);
        let fresh = room.hold_one(&*a).await;
        let took = room.take(&*b, fresh.id).await.lease.fence;
        for _ in 0..2 {
            assert_stale(&settle(&*a, fresh, how.clone()).await);
        }
        let (_, failures, crashes) = started(begin(&*b, took, "n").await, fresh.id);
        assert_eq!((failures, crashes), (0, 0), "{how:?}");
    }
}

pub(super) async fn a_run_that_ended_is_no_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let mut fence = room.hold_one(&*a).await;
    let mut seat = &a;
    for how in [How::Release, retry(HOUR, "no"), defer(HOUR), How::Release] {
        let waits = how != How::Release;
        settle(&**seat, fence, how).await;
        if waits {
            lab.age_due(&room.source, fence.id, HOUR).await;
        }
        let took = room.take_due(&*b, fence.id).await;
        assert_eq!(took.crashes, 0);
        let (begun, _, crashes) = started(begin(&*b, took.lease.fence, "n").await, fence.id);
        assert_eq!(crashes, 0);
        (fence, seat) = (begun, &b);
    }
    assert_eq!((fence.token, fence.charge), (5, Charge::Begun));
    assert_eq!(room.state(fence.id).await.failures, 1);
}

pub(super) async fn handing_back_what_was_not_begun_forgives_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let id = room.hold_one(&*a).await.id;
    for how in [How::Release, defer(HOUR)] {
        let took = room.take(&*b, id).await;
        assert_eq!(took.crashes, 1);
        let waits = how != How::Release;
        settle(&*b, took.lease.fence, how).await;
        if waits {
            lab.age_due(&room.source, id, HOUR).await;
        }
        let again = room.take_due(&*a, id).await;
        assert_eq!((again.crashes, again.lease.fence.token), (1, 1));
    }
    assert_eq!(room.run(&*b, id).await.2, 1);
}

pub(super) async fn foreign_deliveries_are_worth_one_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let id = room.add(1).await[0];
    lab.foreign_read(&room.source, "python", 1).await;
    for _ in 0..4 {
        lab.foreign_claim(&room.source, "python", id).await;
    }
    lab.age(&room.source, id, FOREIGN_LEASE).await;
    let took = room.take_due(&*seat, id).await;
    assert_eq!((took.lease.fence.token, took.crashes), (5, 1));
    let (begun, _, crashes) = started(begin(&*seat, took.lease.fence, "n").await, id);
    assert_eq!((begun.token, crashes), (6, 1));
}

pub(super) async fn failures_survive_crashes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    settle(&*a, fresh, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fresh.id, HOUR).await;
    let took = room.take_due(&*b, fresh.id).await.lease.fence;
    started(begin(&*b, took, "n").await, fresh.id);
    for crash in 1..=2 {
        room.expire(fresh.id).await;
        let round = a.tend(100, Cursor::START).await.unwrap();
        let took = &round.taken[0];
        assert_eq!((took.failures, took.crashes), (1, crash));
        let begun = started(begin(&*a, took.lease.fence, "n").await, fresh.id);
        assert_eq!((begun.1, begun.2), (1, crash));
    }
}
