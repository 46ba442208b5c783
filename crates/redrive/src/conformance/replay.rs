//! Putting dead letters back, each once.

use std::collections::BTreeSet;

use super::Lab;
use super::room::{Room, ids};
use crate::backend::{Keep, Replay, Replayed};
use crate::error::ErrorKind;
use crate::message::Fields;
use crate::names::{EntryId, StreamKey};

fn repaired() -> Fields {
    [("repaired", "yes")].into_iter().collect()
}

fn order(target: &StreamKey, dead_letter: EntryId, keep: Keep) -> Replay {
    Replay {
        dead_letter,
        target: target.clone(),
        fields: repaired(),
        keep,
        campaign: None,
    }
}

async fn replay(room: &Room<'_>, orders: &[Replay]) -> Vec<Replayed> {
    let answers = room.backend().replay(&room.dlq, orders).await.unwrap();
    assert_eq!(answers.len(), orders.len());
    answers
}

async fn replay_one(room: &Room<'_>, dead_letter: EntryId, keep: Keep) -> Replayed {
    let order = order(room.stream(), dead_letter, keep);
    replay(room, &[order]).await.remove(0)
}

#[track_caller]
fn added(replayed: &Replayed) -> EntryId {
    match replayed {
        Replayed::Added(id) => *id,
        other => panic!("not added: {other:?}"),
    }
}

#[track_caller]
fn already(replayed: &Replayed) -> EntryId {
    match replayed {
        Replayed::Already(id) => *id,
        other => panic!("not already: {other:?}"),
    }
}

pub(super) async fn a_replayed_dead_letter_is_one_new_entry(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(1).await[0];
    let new = added(&replay_one(&room, dead, Keep::Remove).await);
    let entries = room.entries(room.stream()).await;
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].id, &entries[1].fields), (new, &repaired()));
    assert_eq!(room.dead_letters().await, []);
    assert_eq!(room.ledger().await, [1, 1, 0]);
    let seat = room.join("a").await;
    assert_eq!(ids(&seat.receive(10, None).await.unwrap()), [new]);
}

pub(super) async fn a_replay_asked_twice_adds_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(1).await[0];
    let new = added(&replay_one(&room, dead, Keep::Remove).await);
    for keep in [Keep::Remove, Keep::Copy, Keep::Remove] {
        assert_eq!(already(&replay_one(&room, dead, keep).await), new);
    }
    assert_eq!(room.entries(room.stream()).await.len(), 2);
    assert_eq!(room.ledger().await, [1, 1, 0]);
}

pub(super) async fn two_replays_of_three_hundred_add_three_hundred(lab: &dyn Lab) {
    let room = Room::new(lab);
    let orders: Vec<_> = room
        .kill(300)
        .await
        .into_iter()
        .map(|dead| order(room.stream(), dead, Keep::Remove))
        .collect();
    let in_parts = async || {
        let mut answers = Vec::new();
        for part in orders.chunks(50) {
            answers.extend(replay(&room, part).await);
            tokio::task::yield_now().await;
        }
        answers
    };
    let (one, two) = tokio::join!(in_parts(), in_parts());
    let mut new = BTreeSet::new();
    for pair in one.iter().zip(&two) {
        let ((Replayed::Added(first), Replayed::Already(second))
        | (Replayed::Already(second), Replayed::Added(first))) = pair
        else {
            panic!("{pair:?}");
        };
        assert_eq!(first, second);
        new.insert(*first);
    }
    let entries = room.entries(room.stream()).await;
    let back: BTreeSet<_> = entries[300..].iter().map(|entry| entry.id).collect();
    assert_eq!(entries.len(), 600);
    assert_eq!(back, new);
    assert_eq!(room.dead_letters().await, []);
    assert_eq!(room.ledger().await, [300, 300, 0]);
}

pub(super) async fn a_copy_leaves_the_dead_letter_and_counts_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(1).await[0];
    let before = room.dead_letters().await;
    let new = added(&replay_one(&room, dead, Keep::Copy).await);
    assert_eq!(already(&replay_one(&room, dead, Keep::Copy).await), new);
    assert_eq!(room.dead_letters().await, before);
    assert_eq!(room.entries(room.stream()).await.len(), 2);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn a_copied_dead_letter_is_removed_without_a_second_entry(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(1).await[0];
    let new = added(&replay_one(&room, dead, Keep::Copy).await);
    assert_eq!(already(&replay_one(&room, dead, Keep::Remove).await), new);
    assert_eq!(room.dead_letters().await, []);
    assert_eq!(room.entries(room.stream()).await.len(), 2);
    assert_eq!(room.ledger().await, [1, 1, 0]);
}

pub(super) async fn another_target_is_another_replay(lab: &dyn Lab) {
    let room = Room::new(lab);
    let other = StreamKey::new(format!("{}-other", room.stream())).unwrap();
    let dead = room.kill(1).await[0];
    added(&replay_one(&room, dead, Keep::Copy).await);
    let there = replay(&room, &[order(&other, dead, Keep::Remove)]).await;
    let entries = room.entries(&other).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].id, added(&there[0]));
    assert_eq!(room.dead_letters().await, []);
}

pub(super) async fn an_unknown_dead_letter_is_not_found(lab: &dyn Lab) {
    let room = Room::new(lab);
    let unknown = EntryId::new(1, 1);
    for dead_letters in [0, 1] {
        room.kill(dead_letters).await;
        let answer = replay_one(&room, unknown, Keep::Remove).await;
        assert!(matches!(answer, Replayed::NotFound), "{answer:?}");
        assert_eq!(room.entries(room.stream()).await.len(), dead_letters);
    }
}

pub(super) async fn a_refused_replay_changes_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let other = StreamKey::new(format!("{}-other", room.stream())).unwrap();
    let dead = room.kill(1).await[0];
    let before = room.dead_letters().await;
    lab.spoil(&other).await;
    let orders = [order(&other, dead, Keep::Remove)];
    let Replayed::Refused(error) = replay(&room, &orders).await.remove(0) else {
        panic!("not refused");
    };
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(room.dead_letters().await, before);
    assert_eq!(room.ledger().await, [1, 0, 0]);
    lab.mend(&other).await;
    added(&replay(&room, &orders).await[0]);
    assert_eq!(room.ledger().await, [1, 1, 0]);
}

pub(super) async fn replays_answer_in_the_order_of_the_questions(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(2).await;
    let new = added(&replay_one(&room, dead[1], Keep::Remove).await);
    let orders = [EntryId::new(1, 1), dead[1], dead[0], dead[0]]
        .map(|id| order(room.stream(), id, Keep::Remove));
    let answers = replay(&room, &orders).await;
    assert!(matches!(answers[0], Replayed::NotFound));
    assert_eq!(already(&answers[1]), new);
    assert_eq!(added(&answers[2]), already(&answers[3]));
    assert!(replay(&room, &[]).await.is_empty());
}

/// Of many it is not looked beforehand whether each is still there.
pub(super) async fn of_many_that_are_replayed_what_has_gone_meanwhile_is_not_put_back(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let dead = room.kill(30).await;
    let gone: Vec<EntryId> = dead.iter().copied().step_by(10).collect();
    let purged = room.backend().purge(&room.dlq, &gone).await.unwrap();
    assert_eq!(purged, [true; 3]);
    let orders: Vec<_> = dead
        .iter()
        .map(|dead| order(room.stream(), *dead, Keep::Remove))
        .collect();
    let answers = replay(&room, &orders).await;
    for (id, answer) in dead.iter().zip(&answers) {
        let is_gone = matches!(answer, Replayed::NotFound);
        assert_eq!(is_gone, gone.contains(id), "{id}: {answer:?}");
    }
    let entries = room.entries(room.stream()).await;
    let back: Vec<_> = entries[30..].iter().map(|entry| entry.id).collect();
    let told: Vec<_> = answers
        .iter()
        .filter(|answer| !matches!(answer, Replayed::NotFound))
        .map(added)
        .collect();
    assert_eq!(back, told);
    assert_eq!(room.ledger().await, [30, 27, 3]);
}

pub(super) async fn receipts_tell_what_was_put_back_and_change_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let other = StreamKey::new(format!("{}-other", room.stream())).unwrap();
    let dead = room.kill(3).await;
    let moved = added(&replay_one(&room, dead[0], Keep::Remove).await);
    let copied = added(&replay_one(&room, dead[1], Keep::Copy).await);
    let before = (room.dead_letters().await, room.entries(room.stream()).await);
    let mut orders: Vec<_> = dead
        .iter()
        .chain([&EntryId::new(1, 1)])
        .map(|dead| order(room.stream(), *dead, Keep::Remove))
        .collect();
    orders.push(order(&other, dead[0], Keep::Remove));
    let told = room.backend().receipts(&room.dlq, &orders).await.unwrap();
    assert_eq!(told, [Some(moved), Some(copied), None, None, None]);
    assert_eq!(room.backend().receipts(&room.dlq, &[]).await.unwrap(), []);
    let after = (room.dead_letters().await, room.entries(room.stream()).await);
    assert_eq!(after, before);
    assert_eq!(room.ledger().await, [3, 1, 0]);
}
