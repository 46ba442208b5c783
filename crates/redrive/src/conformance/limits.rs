//! Limits of a dead-letter queue: what is kept pending before a full one, and what is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Lab;
use super::room::{
    HOUR, Room, begin, dead_letter, died, fault, field, held_bytes, numbered, retry, settle,
    settle_as, settlement, started, sweep, user_fields,
};
use crate::backend::{
    Begun, FULL_PAUSE, Failed, How, Keep, Membership, Renewed, Replay, Seat, Settled, Tended,
};
use crate::dead_letter::{DeadLetterLimit, Overflow, Reason};
use crate::names::{EntryId, Source};

fn limited(room: &Room<'_>, consumer: &str, most: u64, overflow: Overflow) -> Membership {
    Membership {
        limit: Some(DeadLetterLimit::new(most, overflow)),
        ..room.member(consumer)
    }
}

fn exhausted(error: &str) -> How {
    How::DeadLetter {
        reason: Reason::AttemptsExhausted,
        fault: fault(error),
        failed: Failed::Yes,
    }
}

#[track_caller]
fn assert_full(settled: &Settled) {
    assert!(matches!(settled, Settled::Full), "{settled:?}");
}

/// One whose only attempt is used up, and that a full queue of one keeps pending; and the one that
/// fills it.
async fn full(room: &Room<'_>) -> (Arc<dyn Seat>, EntryId, EntryId) {
    let member = Membership {
        max_attempts: 1,
        ..limited(room, "a", 1, Overflow::Stop)
    };
    let seat = room.join_as(member).await;
    let first = room.hold_one(&*seat).await;
    let filling = died(&settle(&*seat, first, exhausted("no")).await).dead_letter;
    let fence = room.hold_one(&*seat).await;
    assert_full(&settle(&*seat, fence, exhausted("no room")).await);
    (seat, fence.id, filling)
}

async fn when_due(room: &Room<'_>, seat: &dyn Seat, id: EntryId) -> Tended {
    room.lab.age_due(&room.source, id, FULL_PAUSE).await;
    sweep(seat, 100).await
}

pub(super) async fn what_finds_the_queue_full_waits_with_its_failure_recorded(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (_, id, filling) = full(&room).await;
    let letters = room.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].id, filling);
    assert_eq!(room.owners().await, [(id, "a".into(), 1)]);
    let state = room.state(id).await;
    assert_eq!((state.failures, state.open, state.hint), (1, 0, 1));
    assert_eq!(state.error, "no room");
    assert!(state.first_failure_ms.is_some());
    let due = lab.due(&room.source).await;
    assert_eq!(due.len(), 1);
    let in_ms = u64::try_from(due[0].1).unwrap();
    assert!((50_000..=60_000).contains(&in_ms), "{due:?}");
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn a_message_kept_pending_twice_by_one_run_fails_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (seat, id, _) = full(&room).await;
    let fence = crate::backend::Fence {
        id,
        token: 1,
        charge: crate::backend::Charge::Fresh,
    };
    assert_full(&settle(&*seat, fence, exhausted("no room")).await);
    assert_eq!(room.state(id).await.failures, 1);
}

pub(super) async fn what_is_kept_with_its_attempts_used_up_does_not_run_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (seat, id, filling) = full(&room).await;
    // Not due: nothing happens, however long the lease is over.
    room.expire(id).await;
    let round = sweep(&*seat, 100).await;
    assert!(round.taken.is_empty() && round.kept.is_empty());
    for _ in 0..3 {
        let round = when_due(&room, &*seat, id).await;
        assert!(round.taken.is_empty() && round.dead.is_empty());
        assert_eq!(round.kept, [id]);
        assert!(round.next_due.unwrap() > FULL_PAUSE / 2);
    }
    assert_eq!(room.state(id).await.failures, 1);
    room.backend().purge(&room.dlq, &[filling]).await.unwrap();
    let round = when_due(&room, &*seat, id).await;
    assert_eq!(round.dead.len(), 1);
    assert_eq!(round.dead[0].reason, Reason::AttemptsExhausted);
    let dead = room.dead_letters().await.remove(0);
    assert_eq!(user_fields(&dead), numbered(0));
    for (name, value) in [
        ("redrive-error", "no room"),
        ("redrive-attempts", "1"),
        ("redrive-crashes", "0"),
    ] {
        assert_eq!(field(&dead.fields, name), value, "{name}");
    }
    room.assert_nothing_pending().await;
    assert_eq!(room.ledger().await, [2, 0, 1]);
}

pub(super) async fn a_higher_limit_lets_it_go(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (_, id, _) = full(&room).await;
    let member = Membership {
        max_attempts: 1,
        ..limited(&room, "b", 2, Overflow::Stop)
    };
    let b = room.join_as(member).await;
    let round = when_due(&room, &*b, id).await;
    assert_eq!(round.dead.len(), 1);
    assert_eq!(room.ledger().await, [2, 0, 0]);
    room.assert_nothing_pending().await;
}

pub(super) async fn a_begin_that_finds_the_queue_full_charges_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (_, id, _) = full(&room).await;
    // One that may try more often takes it; begun by its kind with fewer attempts it is to die.
    let many = room.join_as(limited(&room, "b", 1, Overflow::Stop)).await;
    lab.age_due(&room.source, id, FULL_PAUSE).await;
    let fence = room.take_due(&*many, id).await.lease.fence;
    let few = Membership {
        max_attempts: 1,
        ..limited(&room, "b", 1, Overflow::Stop)
    };
    let few = room.join_as(few).await;
    assert!(matches!(begin(&*few, fence, "n").await, Begun::Full));
    assert_eq!(room.owners().await, [(id, "b".into(), 1)]);
    // Again, after a lost reply.
    assert!(matches!(begin(&*few, fence, "n").await, Begun::Lost));
    assert_eq!(when_due(&room, &*few, id).await.kept, [id]);
}

pub(super) async fn a_rejection_that_finds_the_queue_full_runs_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.kill(1).await;
    let seat = room.join_as(limited(&room, "a", 1, Overflow::Stop)).await;
    let fence = room.hold_one(&*seat).await;
    assert_full(&settle(&*seat, fence, dead_letter("never")).await);
    let round = when_due(&room, &*seat, fence.id).await;
    assert_eq!(round.taken.len(), 1);
    assert_eq!((round.taken[0].failures, round.taken[0].crashes), (1, 0));
    let (begun, ..) = started(
        begin(&*seat, round.taken[0].lease.fence, "n").await,
        fence.id,
    );
    assert_full(&settle(&*seat, begun, dead_letter(&"é".repeat(600))).await);
    let state = room.state(fence.id).await;
    assert_eq!((state.failures, state.error), (2, "é".repeat(512)));
    // What does not decode was not run: it does not fail.
    let other = room.hold_one(&*seat).await;
    let undecodable = How::DeadLetter {
        reason: Reason::Undecodable,
        fault: fault(&("x".to_owned() + &"é".repeat(600))),
        failed: Failed::No,
    };
    assert_full(&settle(&*seat, other, undecodable).await);
    let state = room.state(other.id).await;
    assert_eq!((state.failures, state.first_failure_ms), (0, None));
    assert_eq!(state.error, "x".to_owned() + &"é".repeat(511));
}

pub(super) async fn who_lost_it_keeps_nothing_before_a_full_queue(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.kill(1).await;
    let a = room.join_as(limited(&room, "a", 1, Overflow::Stop)).await;
    let b = room.join("b").await;
    let fence = room.hold_one(&*a).await;
    room.run(&*b, fence.id).await;
    let answer = settle(&*a, fence, dead_letter("no")).await;
    assert!(matches!(answer, Settled::Stale), "{answer:?}");
    assert_eq!(room.state(fence.id).await.failures, 0);
}

pub(super) async fn a_tombstone_is_written_to_a_full_queue_and_made_whole_there(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.kill(1).await;
    let seat = room.join_as(limited(&room, "a", 1, Overflow::Stop)).await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    let answers = seat.renew(&[fence]).await.unwrap();
    let [Renewed::Trimmed { tombstone, dropped }] = answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(dropped, 0);
    let mut end = settlement(fence, dead_letter("no"));
    end.lease.tombstone = Some(tombstone);
    died(&settle_as(&*seat, end).await);
    assert_eq!(room.dead_letters().await.len(), 2);
    // Found trimmed only when it ends, too.
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    died(&settle(&*seat, fence, dead_letter("no")).await);
    let last = room.dead_letters().await.remove(2);
    assert_eq!(user_fields(&last), held_bytes());
    assert_eq!(room.ledger().await, [3, 0, 0]);
}

/// Dead-lettered, and what became of them.
async fn books(room: &Room<'_>) -> [u64; 5] {
    let ledger = room.lab.ledger(&room.dlq).await;
    let count = |name: &str| ledger.get(name).copied().unwrap_or_default();
    let [all, replayed, purged, dropped] =
        ["dead_lettered", "replayed", "purged", "dropped"].map(count);
    let kept = room.dead_letters().await.len() as u64;
    assert_eq!(all, kept + replayed + purged + dropped, "{ledger:?}");
    [all, kept, replayed, purged, dropped]
}

pub(super) async fn the_oldest_are_dropped_and_counted(lab: &dyn Lab) {
    let room = Room::new(lab);
    let before = room.kill(5).await;
    let seat = room
        .join_as(limited(&room, "a", 3, Overflow::DropOldest))
        .await;
    let first = room.hold_one(&*seat).await;
    let answer = settle(&*seat, first, dead_letter("no")).await;
    // A limit that is below what is there drops all that is above.
    assert_eq!(died(&answer).dropped, 3);
    let second = room.hold_one(&*seat).await;
    let answer = settle(&*seat, second, dead_letter("no")).await;
    assert_eq!(died(&answer).dropped, 1);
    let left: Vec<_> = room.dead_letters().await.iter().map(|one| one.id).collect();
    assert_eq!(left.len(), 3);
    assert_eq!(left[0], before[4]);
    assert_eq!(books(&room).await, [7, 3, 0, 0, 4]);
    let Source { stream, group } = &room.source;
    let stats = room
        .backend()
        .stats(stream, Some(group), &room.dlq)
        .await
        .unwrap();
    assert_eq!((stats.dlq_length, stats.dlq_dropped), (3, 4));
    room.assert_nothing_pending().await;
}

pub(super) async fn a_limit_of_about_so_many_drops_only_the_oldest_and_counts_them(lab: &dyn Lab) {
    let room = Room::new(lab);
    let member = Membership {
        limit: Some(DeadLetterLimit::ENVELOPE),
        ..room.member("undertaker")
    };
    room.kill(5_300).await;
    let seat = room.join_as(member).await;
    let fence = room.hold_one(&*seat).await;
    let dropped = died(&settle(&*seat, fence, dead_letter("no")).await).dropped;
    assert!((1..=301).contains(&dropped), "{dropped}");
    assert_eq!(books(&room).await, [5_301, 5_301 - dropped, 0, 0, dropped]);
}

pub(super) async fn a_claim_drops_the_oldest_for_what_it_gives_up(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.kill(2).await;
    let a = room.join("a").await;
    room.add(3).await;
    let got = a.receive(3, None).await.unwrap();
    for one in &got {
        settle(&*a, one.lease.fence, retry(Duration::ZERO, "no")).await;
    }
    lab.trim(room.stream(), got[1].lease.fence.id).await;
    let member = Membership {
        max_attempts: 1,
        ..limited(&room, "b", 2, Overflow::DropOldest)
    };
    let b = room.join_as(member).await;
    let round = sweep(&*b, 100).await;
    let dropped: Vec<_> = round.dead.iter().map(|died| died.dropped).collect();
    assert_eq!(dropped, [1, 1, 1]);
    assert_eq!(books(&room).await, [5, 2, 0, 0, 3]);
}

pub(super) async fn a_full_copy_drops_nothing_for_its_tombstone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let older = room.kill(1).await;
    let seat = room
        .join_as(limited(&room, "a", 2, Overflow::DropOldest))
        .await;
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    let answers = seat.renew(&[fence]).await.unwrap();
    let [Renewed::Trimmed { tombstone, .. }] = answers[..] else {
        panic!("{answers:?}");
    };
    let mut end = settlement(fence, dead_letter("no"));
    end.lease.tombstone = Some(tombstone);
    assert_eq!(died(&settle_as(&*seat, end).await).dropped, 0);
    assert_eq!(room.dead_letters().await[0].id, older[0]);
    assert_eq!(books(&room).await, [2, 2, 0, 0, 0]);
    // Both steps in one call: what the first dropped is told.
    let fence = room.hold_one(&*seat).await;
    lab.trim(room.stream(), fence.id).await;
    assert_eq!(died(&settle(&*seat, fence, How::Release).await).dropped, 1);
    assert_eq!(books(&room).await, [3, 2, 0, 0, 1]);
}

/// What is put back and turns out trimmed comes before what is given up, whatever their order.
pub(super) async fn what_is_settled_together_goes_way_by_way(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room
        .join_as(limited(&room, "a", 1, Overflow::DropOldest))
        .await;
    let given_up = room.hold_one(&*seat).await;
    let trimmed = room.hold_one(&*seat).await;
    lab.trim(room.stream(), trimmed.id).await;
    let ends = [
        settlement(given_up, dead_letter("no")),
        settlement(trimmed, How::Release),
    ];
    let answers = seat.settle(&ends).await.unwrap();
    let dropped: Vec<_> = (answers.iter().map(|answer| died(answer).dropped)).collect();
    assert_eq!(dropped, [1, 0]);
    let left = room.dead_letters().await;
    assert_eq!(
        field(&left[0].fields, "redrive-id"),
        given_up.id.to_string()
    );
    assert_eq!(books(&room).await, [2, 1, 0, 0, 1]);
}

pub(super) async fn the_books_balance_whoever_races(lab: &dyn Lab) {
    let room = Room::new(lab);
    let mut workers = tokio::task::JoinSet::new();
    room.add(300).await;
    for worker in 0..6 {
        let overflow = [Overflow::DropOldest, Overflow::Stop][worker % 2].clone();
        let member = limited(&room, &format!("w{worker}"), 20, overflow);
        let seat = room.join_as(member).await;
        workers.spawn(async move {
            let mut told = 0;
            loop {
                let got = seat.receive(7, None).await.unwrap();
                if got.is_empty() {
                    return told;
                }
                for one in got {
                    let answer = settle(&*seat, one.lease.fence, dead_letter("no")).await;
                    if let Settled::Died(died) = answer {
                        told += died.dropped;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..10 {
        let some = room.dead_letters().await;
        let ids: Vec<_> = some.iter().take(2).map(|one| one.id).collect();
        room.backend()
            .purge(&room.dlq, &ids[..ids.len() / 2])
            .await
            .unwrap();
        let orders: Vec<_> = ids
            .iter()
            .map(|id| Replay {
                dead_letter: *id,
                target: room.stream().clone(),
                fields: numbered(0),
                keep: Keep::Remove,
                campaign: None,
            })
            .collect();
        room.backend().replay(&room.dlq, &orders).await.unwrap();
        tokio::task::yield_now().await;
    }
    let told: u64 = workers.join_all().await.into_iter().sum();
    let [all, kept, _, _, dropped] = books(&room).await;
    assert_eq!(dropped, told);
    assert!(dropped > 0 && kept <= 20, "{dropped} {kept}");
    // What is not among the dead is still pending.
    let added = room.entries(room.stream()).await.len() as u64;
    let unread = room
        .join("reader")
        .await
        .receive(1_000, None)
        .await
        .unwrap();
    let pending = room.owners().await.len() as u64;
    assert_eq!(added, all + pending, "{} unread", unread.len());
}

pub(super) async fn what_is_kept_can_be_left_out_of_what_is_pending(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    room.add(4).await;
    let got = seat.receive(4, None).await.unwrap();
    let ids: Vec<_> = got.iter().map(|one| one.lease.fence.id).collect();
    let but = |some: &[EntryId]| some.iter().copied().collect::<BTreeSet<_>>();
    let unknown = EntryId::new(1, 1);
    for (some, others) in [
        (but(&[]), 4),
        (but(&ids), 0),
        (but(&[ids[0], ids[1], ids[2], unknown]), 1),
        (but(&[unknown, ids[0], ids[1], ids[2], ids[3]]), 0),
    ] {
        assert_eq!(seat.pending(&some).await.unwrap(), others);
    }
    // There may be more others than the difference, never none where there are some.
    assert!(seat.pending(&but(&[unknown])).await.unwrap() >= 3);
    settle(&*seat, got[0].lease.fence, retry(HOUR, "no")).await;
    assert_eq!(seat.pending(&but(&ids)).await.unwrap(), 0);
}
