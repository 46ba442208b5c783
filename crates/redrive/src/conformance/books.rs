//! Removing dead letters, and what the ledger says of all that came and went.

use super::Lab;
use super::room::Room;
use crate::backend::{Entry, Keep, Replay};
use crate::error::ErrorKind;
use crate::names::EntryId;

pub(super) async fn a_purged_dead_letter_is_gone_and_counted(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(3).await;
    let asked = [dead[2], EntryId::new(1, 1), dead[0]];
    let answers = room.backend().purge(&room.dlq, &asked).await.unwrap();
    assert_eq!(answers, [true, false, true]);
    let left: Vec<_> = room.dead_letters().await.iter().map(|one| one.id).collect();
    assert_eq!(left, [dead[1]]);
    assert_eq!(room.ledger().await, [3, 0, 2]);
    assert_eq!(room.entries(room.stream()).await.len(), 3);
}

pub(super) async fn a_purge_asked_twice_counts_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let unknown = [EntryId::new(1, 1)];
    let answers = room.backend().purge(&room.dlq, &unknown).await.unwrap();
    assert_eq!(answers, [false]);
    let dead = room.kill(1).await;
    for there in [true, false] {
        let answers = room.backend().purge(&room.dlq, &dead).await.unwrap();
        assert_eq!(answers, [there]);
        assert_eq!(room.ledger().await, [1, 0, 1]);
    }
}

pub(super) async fn the_books_balance(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(10).await;
    room.backend().purge(&room.dlq, &dead[..3]).await.unwrap();
    let orders: Vec<_> = dead
        .iter()
        .zip([Keep::Copy, Keep::Remove].into_iter().cycle())
        .map(|(id, keep)| Replay {
            dead_letter: *id,
            target: room.stream().clone(),
            fields: super::room::numbered(0),
            keep,
            campaign: None,
        })
        .collect();
    // Of ten three are purged; of the other seven every second is removed.
    for _ in 0..2 {
        room.backend().replay(&room.dlq, &orders).await.unwrap();
        let [dead_lettered, replayed, purged] = room.ledger().await;
        assert_eq!((dead_lettered, replayed, purged), (10, 4, 3));
        let kept = room.dead_letters().await.len() as u64;
        assert_eq!(dead_lettered, kept + replayed + purged);
    }
    assert_eq!(room.entries(room.stream()).await.len(), 10 + 7);
}

pub(super) async fn a_staged_dead_letter_is_added_once_and_counted(lab: &dyn Lab) {
    let room = Room::new(lab);
    let letters = [1, 2, 3].map(|n| Entry {
        id: EntryId::new(1_000, n),
        fields: super::room::numbered(0),
    });
    let (two, all) = (&letters[..2], &letters[..]);
    for (some, added) in [(two, 2), (all, 1), (all, 0)] {
        let answer = room.backend().stage(&room.dlq, some).await.unwrap();
        assert_eq!(answer, added);
    }
    assert_eq!(room.ledger().await, [3, 0, 0]);
    let ids: Vec<_> = room
        .entries(&room.dlq)
        .await
        .into_iter()
        .map(|one| one.id)
        .collect();
    assert_eq!(ids, letters.each_ref().map(|letter| letter.id));
    // Below what the queue has held.
    let early = Entry {
        id: EntryId::new(7, 0),
        fields: super::room::numbered(0),
    };
    let refused = room.backend().stage(&room.dlq, &[early]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(room.ledger().await, [3, 0, 0]);
}
