//! What those may do who no longer hold a delivery: nothing.

use super::Lab;
use super::room::{
    HOUR, Room, assert_gone, assert_stale, begin, dead_letter, retry, settle, started, sweep,
    unsuccessful,
};
use crate::backend::Settled;

pub(super) async fn who_lost_it_records_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    let took = room.take(&*b, fresh.id).await.lease.fence;
    for how in unsuccessful() {
        assert_stale(&settle(&*a, fresh, how).await);
    }
    assert_eq!(room.owners().await, [(fresh.id, "b".into(), 1)]);
    started(begin(&*b, took, "n").await, fresh.id);
    for how in unsuccessful() {
        assert_stale(&settle(&*a, fresh, how).await);
    }
    assert_eq!(room.owners().await, [(fresh.id, "b".into(), 2)]);
    assert_eq!(room.state(fresh.id).await.failures, 0);
    assert_eq!(room.state(fresh.id).await.hint, 0);
    assert_eq!(sweep(&*a, 100).await.next_due, None);
    assert_eq!(room.dead_letters().await, []);
    assert_eq!(room.ledger().await, [0, 0, 0]);
}

pub(super) async fn an_old_token_of_the_same_consumer_records_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let fresh = room.hold_one(&*seat).await;
    let (begun, ..) = room.run(&*seat, fresh.id).await;
    for how in unsuccessful() {
        assert_stale(&settle(&*seat, fresh, how).await);
    }
    assert_eq!(room.owners().await, [(fresh.id, "a".into(), 2)]);
    assert_eq!(room.state(fresh.id).await.failures, 0);
    assert_eq!(room.dead_letters().await, []);
    settle(&*seat, begun, retry(HOUR, "no")).await;
    assert_eq!(room.state(fresh.id).await.failures, 1);
}

pub(super) async fn what_is_not_pending_is_gone_and_its_hints_with_it(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let seat = room.join("a").await;
        let fresh = room.hold_one(&*seat).await;
        settle(&*seat, fresh, retry(HOUR, "no")).await;
        lab.age_due(&room.source, fresh.id, HOUR).await;
        let took = room.take_due(&*seat, fresh.id).await.lease.fence;
        let (begun, ..) = started(begin(&*seat, took, "n").await, fresh.id);
        lab.foreign_ack(&room.source, fresh.id).await;
        assert!(!lab.is_clean(&room.source).await);
        for _ in 0..2 {
            assert_gone(&settle(&*seat, begun, how.clone()).await);
            room.assert_nothing_pending().await;
        }
        assert_eq!(room.dead_letters().await, []);
    }
}

pub(super) async fn of_two_that_give_it_up_at_once_one_does(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (room.join("a").await, room.join("b").await);
    let fresh = room.hold_one(&*a).await;
    let (begun, ..) = room.run(&*b, fresh.id).await;
    let (from_a, from_b) = tokio::join!(
        settle(&*a, fresh, dead_letter("a")),
        settle(&*b, begun, dead_letter("b"))
    );
    assert!(
        matches!(from_a, Settled::Stale | Settled::Gone),
        "{from_a:?}"
    );
    assert!(matches!(from_b, Settled::Died(_)), "{from_b:?}");
    assert_eq!(room.dead_letters().await.len(), 1);
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
}
