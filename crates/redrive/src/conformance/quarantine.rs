//! Too many crashes: when they make a dead letter, and of whose they must have been.

use std::time::Duration;

use super::Lab;
use super::room::{
    HOUR, LEASE, Room, begin, begin_beside, died, field, retry, settle, settle_as, settlement,
    started, sweep, unsuccessful, user_fields,
};
use crate::backend::{
    Begun, Beside, Charge, Cursor, Died, Fence, How, Membership, Renewed, Seat, Waits,
};
use crate::dead_letter::{DeadLetterLimit, Layout, Overflow, Reason, read};
use crate::names::EntryId;

/// Three crashes are too many.
fn strict(room: &Room<'_>, consumer: &str) -> Membership {
    Membership {
        max_crashes: 3,
        ..room.member(consumer)
    }
}

/// Begins what is claimed, and abandons it: the process is gone.
async fn crash(room: &Room<'_>, seat: &dyn Seat, id: EntryId, beside: Beside) -> Fence {
    let took = room.take(seat, id).await.lease.fence;
    let nonce = format!("n{}", took.token);
    started(begin_beside(beside, seat, took, &nonce).await, id).0
}

/// One whose reader is gone, and the next one too.
async fn crashed_twice(room: &Room<'_>, seat: &dyn Seat) -> EntryId {
    let id = room.hold_one(seat).await.id;
    crash(room, seat, id, Beside::Others).await;
    id
}

/// One that ran alone and whose process is gone with it, for too many a time.
async fn convicted(room: &Room<'_>, seat: &dyn Seat) -> Fence {
    let id = crashed_twice(room, seat).await;
    crash(room, seat, id, Beside::Nobody).await
}

/// The claim that finds it silent, which waits; and the one that does not wait any more.
async fn doubt(room: &Room<'_>, seat: &dyn Seat, id: EntryId) {
    room.expire(id).await;
    let round = sweep(seat, 100).await;
    assert_eq!(round.doubted, [id]);
    assert!(round.taken.is_empty() && round.dead.is_empty());
}

async fn verdict(room: &Room<'_>, seat: &dyn Seat, id: EntryId) -> Died {
    doubt(room, seat, id).await;
    room.lab.age_due(&room.source, id, 2 * LEASE).await;
    let mut round = sweep(seat, 100).await;
    assert!(round.taken.is_empty() && round.doubted.is_empty());
    assert_eq!(round.dead.len(), 1);
    round.dead.remove(0)
}

pub(super) async fn the_last_crash_alone_of_too_many_is_a_dead_letter(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (a, b) = (
        room.join_as(strict(&room, "a")).await,
        room.join_as(strict(&room, "b")).await,
    );
    let id = convicted(&room, &*a).await.id;
    let died = verdict(&room, &*b, id).await;
    assert_eq!((died.id, died.reason), (id, Reason::CrashLoop));
    let dead = room.dead_letters().await.remove(0);
    assert_eq!(died.dead_letter, dead.id);
    assert_eq!(user_fields(&dead), super::room::numbered(0));
    for (name, value) in [
        ("redrive-reason", "crash_loop"),
        (
            "redrive-error",
            "3 of its deliveries ended with their process, the last while it ran alone",
        ),
        ("redrive-attempts", "0"),
        ("redrive-crashes", "3"),
        ("redrive-consumer", "a"),
    ] {
        assert_eq!(field(&dead.fields, name), value, "{name}");
    }
    assert_eq!(room.ledger().await, [1, 0, 0]);
    room.assert_nothing_pending().await;
}

pub(super) async fn crashes_beside_others_are_never_a_dead_letter(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = room.hold_one(&*seat).await.id;
    for crash in 1..=6_u32 {
        // It is told as one short of too many: it is to run alone.
        let took = room.take(&*seat, id).await;
        assert_eq!(took.crashes, crash.min(2));
        let nonce = format!("n{crash}");
        let begun = begin(&*seat, took.lease.fence, &nonce).await;
        assert_eq!(started(begun, id).2, crash.min(2));
        let again = begin(&*seat, took.lease.fence, &nonce).await;
        assert_eq!(started(again, id).2, crash.min(2));
        assert_eq!(room.state(id).await.crashes, crash);
    }
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn only_the_last_crash_counts_as_alone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = room.hold_one(&*seat).await.id;
    // Alone while that was not yet too many; then beside others.
    let alone = crash(&room, &*seat, id, Beside::Nobody).await;
    assert_eq!(room.state(id).await.alone, alone.token);
    crash(&room, &*seat, id, Beside::Others).await;
    assert_eq!(room.state(id).await.alone, 0);
    assert_eq!(room.take(&*seat, id).await.crashes, 2);
}

pub(super) async fn a_run_alone_that_ended_is_no_crash(lab: &dyn Lab) {
    for how in [
        How::Release,
        How::Defer {
            delay: Duration::ZERO,
            waits: Waits::InTheGroup,
        },
        retry(Duration::ZERO, "no"),
    ] {
        let room = Room::new(lab);
        let seat = room.join_as(strict(&room, "a")).await;
        let id = crashed_twice(&room, &*seat).await;
        let alone = crash(&room, &*seat, id, Beside::Nobody).await;
        settle(&*seat, alone, how).await;
        let took = room.take_due(&*seat, id).await;
        assert_eq!(took.crashes, 2);
        // It may run again, and again it is only by itself that it can be blamed.
        let begun = begin_beside(Beside::Others, &*seat, took.lease.fence, "again").await;
        started(begun, id);
        assert_eq!(room.take(&*seat, id).await.crashes, 2);
    }
}

pub(super) async fn a_success_alone_ends_it(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = crashed_twice(&room, &*seat).await;
    let alone = crash(&room, &*seat, id, Beside::Nobody).await;
    settle(&*seat, alone, How::Ack).await;
    room.assert_nothing_pending().await;
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn a_verdict_waits_for_who_is_only_slow(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (slow, other) = (
        room.join_as(strict(&room, "slow")).await,
        room.join_as(strict(&room, "other")).await,
    );
    let fence = convicted(&room, &*slow).await;
    let id = fence.id;
    doubt(&room, &*other, id).await;
    // Nobody else has it meanwhile, however long that takes.
    assert_eq!(room.owners().await, [(id, "slow".into(), 3)]);
    room.expire(id).await;
    let round = sweep(&*other, 100).await;
    assert!(round.taken.is_empty() && round.doubted.is_empty());
    let claimed = Fence {
        charge: Charge::TakenOver,
        ..fence
    };
    assert!(matches!(begin(&*slow, claimed, "x").await, Begun::Lost));

    // It is back: nothing was lost, nothing is booked, and the next silence is doubted anew.
    let renewed = slow.renew(&[fence]).await.unwrap();
    assert!(matches!(renewed[..], [Renewed::Held]), "{renewed:?}");
    assert!(lab.due(&room.source).await.is_empty());
    assert!(sweep(&*other, 100).await.taken.is_empty());
    doubt(&room, &*other, id).await;
    settle(&*slow, fence, How::Ack).await;
    room.assert_nothing_pending().await;
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn whatever_its_holder_says_while_it_is_doubted_counts(lab: &dyn Lab) {
    for how in unsuccessful() {
        let room = Room::new(lab);
        let (slow, other) = (
            room.join_as(strict(&room, "slow")).await,
            room.join_as(strict(&room, "other")).await,
        );
        let fence = convicted(&room, &*slow).await;
        doubt(&room, &*other, fence.id).await;
        let answer = settle(&*slow, fence, how.clone()).await;
        if let How::DeadLetter { reason, .. } = how {
            assert_eq!(died(&answer).reason, reason);
            continue;
        }
        lab.age_due(&room.source, fence.id, HOUR).await;
        assert_eq!(room.take_due(&*other, fence.id).await.crashes, 2, "{how:?}");
    }
}

pub(super) async fn a_lease_lost_alone_is_no_crash(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (slow, other) = (
        room.join_as(strict(&room, "slow")).await,
        // One that allows more takes it over all the same.
        room.join("other").await,
    );
    let fence = convicted(&room, &*slow).await;
    let id = fence.id;
    let took = room.take(&*other, id).await;
    assert_eq!(took.crashes, 3);
    let renewed = slow.renew(&[fence]).await.unwrap();
    assert!(matches!(renewed[..], [Renewed::Lost]), "{renewed:?}");
    // It is as innocent as it was before that run, for whoever is strict.
    assert_eq!(room.take(&*slow, id).await.crashes, 2);
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn a_lost_lease_is_taken_back_from_a_later_run_alone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let (slow, other) = (
        room.join_as(strict(&room, "slow")).await,
        room.join_as(strict(&room, "other")).await,
    );
    let id = room.hold_one(&*slow).await.id;
    let frozen = crash(&room, &*slow, id, Beside::Others).await;
    crash(&room, &*other, id, Beside::Nobody).await;
    assert_eq!(room.state(id).await.crashes, 2);
    // The second one was no crash: so the third is not one too many.
    let renewed = slow.renew(&[frozen]).await.unwrap();
    assert!(matches!(renewed[..], [Renewed::Lost]), "{renewed:?}");
    assert_eq!(room.take(&*other, id).await.crashes, 2);
}

pub(super) async fn a_begin_judges_as_a_claim_does(lab: &dyn Lab) {
    let room = Room::new(lab);
    // The same consumer as two processors have configured it.
    let lax = room.join("a").await;
    let strict = room.join_as(strict(&room, "a")).await;
    let id = convicted(&room, &*lax).await.id;
    let took = room.take(&*lax, id).await.lease.fence;
    let Begun::Died(died) = begin(&*strict, took, "n").await else {
        panic!("begun once more");
    };
    assert_eq!(died.reason, Reason::CrashLoop);
    room.assert_nothing_pending().await;
}

pub(super) async fn attempts_that_are_used_up_are_the_reason_before_crashes(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = crashed_twice(&room, &*seat).await;
    let alone = crash(&room, &*seat, id, Beside::Nobody).await;
    settle(&*seat, alone, retry(Duration::ZERO, "no route")).await;
    let took = room.take_due(&*seat, id).await.lease.fence;
    started(begin_beside(Beside::Nobody, &*seat, took, "n").await, id);
    room.expire(id).await;
    let least = Membership {
        max_attempts: 1,
        ..strict(&room, "b")
    };
    let round = sweep(&*room.join_as(least).await, 100).await;
    assert_eq!(round.dead.len(), 1);
    assert_eq!(round.dead[0].reason, Reason::AttemptsExhausted);
}

pub(super) async fn a_crash_loop_tells_the_last_error_where_there_is_one(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = crashed_twice(&room, &*seat).await;
    let alone = crash(&room, &*seat, id, Beside::Nobody).await;
    settle(&*seat, alone, retry(Duration::ZERO, "no route")).await;
    let took = room.take_due(&*seat, id).await.lease.fence;
    started(begin_beside(Beside::Nobody, &*seat, took, "n").await, id);
    verdict(&room, &*seat, id).await;
    let dead = room.dead_letters().await.remove(0);
    assert_eq!(field(&dead.fields, "redrive-error"), "no route");
    assert_eq!(field(&dead.fields, "redrive-attempts"), "1");
    assert_eq!(field(&dead.fields, "redrive-crashes"), "3");
}

pub(super) async fn each_layout_tells_a_crash_loop(lab: &dyn Lab) {
    for (layout, name, said) in [
        (Layout::Flat, "failure_reason", "crash_loop"),
        (
            Layout::Envelope,
            "error",
            "crash_loop: 3 of its deliveries ended with their process, the last while it ran alone",
        ),
    ] {
        let room = Room::new(lab);
        let seat = room
            .join_as(Membership {
                layout,
                ..strict(&room, "a")
            })
            .await;
        let data = [("data", "1")].into_iter().collect();
        let added = room.backend().append(room.stream(), &[data]).await.unwrap();
        seat.receive(1, None).await.unwrap();
        let id = added[0];
        crash(&room, &*seat, id, Beside::Others).await;
        crash(&room, &*seat, id, Beside::Nobody).await;
        assert_eq!(verdict(&room, &*seat, id).await.layout, layout);
        let dead = room.dead_letters().await.remove(0);
        assert_eq!(field(&dead.fields, name), said);
        assert_eq!(read(dead.id, dead.fields).reason, Some(Reason::CrashLoop));
    }
}

pub(super) async fn before_a_full_queue_it_is_kept_and_not_run_again(lab: &dyn Lab) {
    let room = Room::new(lab);
    let member = |consumer, most| Membership {
        limit: Some(DeadLetterLimit::new(most, Overflow::Stop)),
        ..strict(&room, consumer)
    };
    let seat = room.join_as(member("a", 1)).await;
    let full = room.hold_one(&*seat).await;
    let rejected = settlement(full, super::room::dead_letter("no"));
    died(&settle_as(&*seat, rejected).await);
    let id = convicted(&room, &*seat).await.id;
    doubt(&room, &*seat, id).await;
    lab.age_due(&room.source, id, 2 * LEASE).await;
    for _ in 0..3 {
        let round = sweep(&*seat, 100).await;
        assert_eq!(round.kept, [id]);
        assert!(round.taken.is_empty() && round.dead.is_empty());
        lab.age_due(&room.source, id, HOUR).await;
    }
    let room_again = room.join_as(member("b", 2)).await;
    let round = room_again.tend(100, Cursor::START).await.unwrap();
    assert_eq!(round.dead[0].reason, Reason::CrashLoop);
    room.assert_nothing_pending().await;
}

pub(super) async fn foreign_crashes_convict_nobody(lab: &dyn Lab) {
    let room = Room::new(lab);
    let member = Membership {
        max_crashes: 2,
        ..room.member("a")
    };
    let seat = room.join_as(member).await;
    let id = room.add(1).await[0];
    lab.foreign_read(&room.source, "python", 1).await;
    for _ in 0..4 {
        lab.foreign_claim(&room.source, "python", id).await;
    }
    lab.age(&room.source, id, super::room::FOREIGN_LEASE).await;
    assert_eq!(room.take_due(&*seat, id).await.crashes, 1);
    // Nor do they after a run alone: the last delivery is not that one.
    let alone = crash(&room, &*seat, id, Beside::Nobody).await;
    for _ in 0..4 {
        lab.foreign_claim(&room.source, "python", id).await;
    }
    lab.age(&room.source, id, super::room::FOREIGN_LEASE).await;
    let took = room.take_due(&*seat, id).await;
    assert_eq!((took.crashes, took.lease.fence.token), (1, alone.token + 4));
}

pub(super) async fn what_is_trimmed_while_it_is_doubted_is_a_loss(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join_as(strict(&room, "a")).await;
    let id = convicted(&room, &*seat).await.id;
    doubt(&room, &*seat, id).await;
    lab.age_due(&room.source, id, 2 * LEASE).await;
    lab.trim(room.stream(), id).await;
    let round = sweep(&*seat, 100).await;
    assert_eq!(round.dead[0].reason, Reason::Trimmed);
    let dead = room.dead_letters().await.remove(0);
    assert_eq!(dead.fields.get("redrive-error"), None);
    room.assert_nothing_pending().await;
}
