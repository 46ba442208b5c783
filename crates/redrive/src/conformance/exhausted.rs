//! Messages whose budget turns out to be used when they are taken over.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Lab;
use super::room::{HOUR, Room, field, numbered, retry, settle, sweep, taken, user_fields};
use crate::backend::Membership;
use crate::dead_letter::Reason;
use crate::error::ErrorKind;

fn strict(room: &Room<'_>, consumer: &str, max_attempts: u32) -> Membership {
    Membership {
        max_attempts,
        ..room.member(consumer)
    }
}

pub(super) async fn eight_claimants_of_a_hundred_make_a_hundred_dead_letters(lab: &dyn Lab) {
    let room = Room::new(lab);
    let a = room.join("a").await;
    let added = room.add(100).await;
    for one in a.receive(100, None).await.unwrap() {
        settle(&*a, one.lease.fence, retry(Duration::ZERO, "no")).await;
    }
    let mut claimants = tokio::task::JoinSet::new();
    for claimant in 0..8 {
        let member = strict(&room, &format!("claimant-{claimant}"), 1);
        let seat = room.join_as(member).await;
        claimants.spawn(async move {
            let mut dead = Vec::new();
            loop {
                let round = sweep(&*seat, 7).await;
                assert!(round.taken.is_empty());
                if round.dead.is_empty() {
                    return dead;
                }
                dead.extend(round.dead);
                tokio::task::yield_now().await;
            }
        });
    }
    let told: Vec<_> = claimants.join_all().await.into_iter().flatten().collect();
    assert_eq!(told.len(), 100);
    assert!(
        told.iter()
            .all(|one| one.reason == Reason::AttemptsExhausted)
    );
    let dead = room.dead_letters().await;
    assert_eq!(dead.len(), 100);
    let died: BTreeSet<_> = dead
        .iter()
        .map(|one| field(&one.fields, "redrive-id").to_owned())
        .collect();
    assert_eq!(died, added.iter().map(ToString::to_string).collect());
    let letters: BTreeSet<_> = told.iter().map(|one| one.dead_letter).collect();
    assert_eq!(letters, dead.iter().map(|one| one.id).collect());
    assert_eq!(room.ledger().await, [100, 0, 0]);
    room.assert_nothing_pending().await;
}

pub(super) async fn a_dead_letter_of_a_takeover_tells_the_last_error(lab: &dyn Lab) {
    let room = Room::new(lab);
    let a = room.join("a").await;
    let b = room.join_as(strict(&room, "b", 1)).await;
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no route")).await;
    let first_ms = room.state(fence.id).await.first_failure_ms.unwrap();
    lab.age_due(&room.source, fence.id, HOUR).await;
    let round = sweep(&*b, 100).await;
    assert_eq!(round.dead.len(), 1);
    assert_eq!(round.dead[0].id, fence.id);
    let dead = room.dead_letters().await.remove(0);
    assert_eq!(round.dead[0].dead_letter, dead.id);
    assert_eq!(user_fields(&dead), numbered(0));
    for (name, value) in [
        ("redrive-reason", "attempts_exhausted"),
        ("redrive-error", "no route"),
        ("redrive-attempts", "1"),
        ("redrive-crashes", "0"),
        ("redrive-consumer", "a"),
        ("redrive-first-at", &first_ms.to_string()),
    ] {
        assert_eq!(field(&dead.fields, name), value, "{name}");
    }
    room.assert_nothing_pending().await;
}

pub(super) async fn what_has_failed_less_often_is_taken_over(lab: &dyn Lab) {
    let room = Room::new(lab);
    let a = room.join("a").await;
    let b = room.join_as(strict(&room, "b", 2)).await;
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    assert_eq!(room.take_due(&*b, fence.id).await.failures, 1);
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn a_refused_dead_letter_of_a_takeover_is_told_and_tried_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    let a = room.join("a").await;
    let b = room.join_as(strict(&room, "b", 1)).await;
    let fence = room.hold_one(&*a).await;
    settle(&*a, fence, retry(HOUR, "no")).await;
    let other = room.hold_one(&*a).await;
    room.expire(other.id).await;
    lab.age_due(&room.source, fence.id, HOUR).await;
    lab.spoil(&room.dlq).await;
    let round = sweep(&*b, 100).await;
    assert!(round.dead.is_empty());
    assert_eq!(round.refused.len(), 1);
    assert_eq!(round.refused[0].0, fence.id);
    assert_eq!(round.refused[0].1.kind(), ErrorKind::WrongType);
    // It does not stop the others.
    assert_eq!(taken(&round), [other.id]);
    assert_eq!(room.owners().await.len(), 2);
    lab.mend(&room.dlq).await;
    room.expire(fence.id).await;
    assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}
