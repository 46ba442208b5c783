//! Adding dead letters that were stored elsewhere, each once.

use std::collections::{BTreeMap, BTreeSet};

use super::Lab;
use super::room::{Room, numbered};
use crate::backend::{Import, Imported, Keep, Replay};
use crate::error::ErrorKind;
use crate::message::Fields;
use crate::names::EntryId;

fn order(receipt: impl Into<String>, stored: Fields) -> Import {
    Import {
        receipt: receipt.into(),
        stored,
    }
}

async fn import(room: &Room<'_>, orders: &[Import]) -> Vec<Imported> {
    let answers = room.backend().import(&room.dlq, orders).await.unwrap();
    assert_eq!(answers.len(), orders.len());
    answers
}

#[track_caller]
fn added(imported: &Imported) -> EntryId {
    match imported {
        Imported::Added(id) => *id,
        other => panic!("not added: {other:?}"),
    }
}

#[track_caller]
fn already(imported: &Imported) -> EntryId {
    match imported {
        Imported::Already(id) => *id,
        other => panic!("not already: {other:?}"),
    }
}

/// What the ledger counts, but for what it does not.
async fn counts(room: &Room<'_>) -> BTreeMap<String, u64> {
    room.lab.ledger(&room.dlq).await
}

fn counted<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

pub(super) async fn what_is_imported_is_stored_as_it_is_and_counted(lab: &dyn Lab) {
    let room = Room::new(lab);
    let all: Vec<u8> = (0..=255).collect();
    let pairs: [(&[u8], &[u8]); 5] = [
        (b"twice", b"one"),
        (b"\xff\xfe", &all),
        (b"twice", b""),
        (b"", b"no name"),
        (b"redrive-v", b"1"),
    ];
    let stored: Fields = pairs
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .into_iter()
        .collect();
    let answers = import(&room, &[order("a", stored.clone())]).await;
    let new = added(&answers[0]);
    let there = room.dead_letters().await;
    assert_eq!((there.len(), there[0].id), (1, new));
    assert_eq!(there[0].fields, stored);
    assert_eq!(counts(&room).await, counted([("imported", 1)]));
}

pub(super) async fn an_import_asked_twice_adds_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let orders = [order("a", numbered(1)), order("b", numbered(2))];
    let first: Vec<_> = import(&room, &orders).await.iter().map(added).collect();
    for _ in 0..2 {
        let again: Vec<_> = import(&room, &orders).await.iter().map(already).collect();
        assert_eq!(again, first);
    }
    assert_eq!(room.dead_letters().await.len(), 2);
    assert_eq!(counts(&room).await, counted([("imported", 2)]));
}

pub(super) async fn an_import_asked_twice_in_one_call_adds_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let orders = [order("a", numbered(1)), order("a", numbered(1))];
    let answers = import(&room, &orders).await;
    assert_eq!(added(&answers[0]), already(&answers[1]));
    assert_eq!(room.dead_letters().await.len(), 1);
    assert_eq!(counts(&room).await, counted([("imported", 1)]));
}

pub(super) async fn what_left_the_queue_is_not_imported_again_unless_by_another_name(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let orders = [order("a", numbered(1))];
    let new = added(&import(&room, &orders).await[0]);
    room.backend().purge(&room.dlq, &[new]).await.unwrap();
    assert_eq!(already(&import(&room, &orders).await[0]), new);
    assert_eq!(room.dead_letters().await, []);
    let other = added(&import(&room, &[order("a b", numbered(1))]).await[0]);
    assert_ne!(other, new);
    let there = room.dead_letters().await;
    assert_eq!((there.len(), there[0].id), (1, other));
    assert_eq!(
        counts(&room).await,
        counted([("imported", 2), ("purged", 1)])
    );
}

pub(super) async fn two_imports_of_three_hundred_add_three_hundred(lab: &dyn Lab) {
    let room = Room::new(lab);
    let orders: Vec<_> = (0..300)
        .map(|number| order(format!("receipt-{number}"), numbered(number)))
        .collect();
    let in_parts = async || {
        let mut answers = Vec::new();
        for part in orders.chunks(50) {
            answers.extend(import(&room, part).await);
            tokio::task::yield_now().await;
        }
        answers
    };
    let (one, two) = tokio::join!(in_parts(), in_parts());
    let mut new = BTreeSet::new();
    for pair in one.iter().zip(&two) {
        let ((Imported::Added(first), Imported::Already(second))
        | (Imported::Already(second), Imported::Added(first))) = pair
        else {
            panic!("{pair:?}");
        };
        assert_eq!(first, second);
        new.insert(*first);
    }
    let there: BTreeSet<_> = room.dead_letters().await.iter().map(|one| one.id).collect();
    assert_eq!((there.len(), there), (300, new));
    assert_eq!(counts(&room).await, counted([("imported", 300)]));
}

pub(super) async fn five_thousand_fields_are_imported_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let large: Fields = (0..5_000)
        .map(|number| {
            (
                format!("name-{}", number % 3_000),
                format!("value-{number}"),
            )
        })
        .collect();
    let orders = [
        order("before", numbered(1)),
        order("large", large.clone()),
        order("after", numbered(2)),
    ];
    let first: Vec<_> = import(&room, &orders).await.iter().map(added).collect();
    let there = room.dead_letters().await;
    let ids: Vec<_> = there.iter().map(|one| one.id).collect();
    assert_eq!(ids, first);
    assert!(there[1].fields == large, "changed");
    let again: Vec<_> = import(&room, &orders).await.iter().map(already).collect();
    assert_eq!(again, first);
    assert_eq!(room.dead_letters().await.len(), 3);
    assert_eq!(counts(&room).await, counted([("imported", 3)]));
}

pub(super) async fn a_refused_import_changes_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    lab.spoil(&room.dlq).await;
    let large: Fields = (0..5_000).map(|n| (format!("n{n}"), "x")).collect();
    let orders = [order("a", numbered(1)), order("b", large)];
    for answer in import(&room, &orders).await {
        match answer {
            Imported::Refused(error) => assert_eq!(error.kind(), ErrorKind::WrongType, "{error}"),
            other => panic!("not refused: {other:?}"),
        }
    }
    assert_eq!(counts(&room).await, counted([]));
    lab.mend(&room.dlq).await;
    import(&room, &orders).await.iter().for_each(|one| {
        added(one);
    });
    let empty = import(&room, &[order("c", Fields::default())]).await;
    let [Imported::Refused(error)] = &empty[..] else {
        panic!("{empty:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(counts(&room).await, counted([("imported", 2)]));
}

pub(super) async fn the_books_balance_with_what_was_imported(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(4).await;
    let orders: Vec<_> = (0..6)
        .map(|number| order(format!("receipt-{number}"), numbered(number)))
        .collect();
    let new: Vec<_> = import(&room, &orders).await.iter().map(added).collect();
    let out = [dead[0], new[0], new[1]];
    room.backend().purge(&room.dlq, &out).await.unwrap();
    let replay = Replay {
        dead_letter: new[2],
        target: room.stream().clone(),
        fields: numbered(0),
        keep: Keep::Remove,
        campaign: None,
    };
    room.backend().replay(&room.dlq, &[replay]).await.unwrap();
    assert_eq!(room.dead_letters().await.len(), 6);
    let all = [
        ("dead_lettered", 4),
        ("imported", 6),
        ("purged", 3),
        ("replayed", 1),
    ];
    assert_eq!(counts(&room).await, counted(all));
}

pub(super) async fn an_erased_queue_forgets_what_was_imported(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.add(1).await;
    let orders = [order("a", numbered(1))];
    added(&import(&room, &orders).await[0]);
    let backend = room.backend();
    backend.erase(&room.source, &room.dlq).await.unwrap();
    added(&import(&room, &orders).await[0]);
    assert_eq!(counts(&room).await, counted([("imported", 1)]));
}
