//! Whether the books of a queue add up, whatever redrive does, and tell what others did.

use super::Lab;
use super::room::{Room, dead_letter, held_bytes, numbered, settle, settle_as, settlement, sweep};
use crate::backend::{How, Import, Keep, Renewed, Replay, Replayed};
use crate::ledger::{Counts, Ledger};
use crate::message::Fields;

async fn counts(room: &Room<'_>) -> Option<Counts> {
    room.backend().counts(&room.dlq).await.unwrap()
}

pub(super) async fn a_queue_that_was_never_there_has_no_books(lab: &dyn Lab) {
    let room = Room::new(lab);
    assert_eq!(counts(&room).await, None);
    room.kill(1).await;
    let counted = counts(&room).await.unwrap();
    assert_eq!((counted.dead_lettered, counted.kept), (1, 1));
    room.assert_own().await;
}

pub(super) async fn tombstones_that_go_or_get_their_bytes_are_nobody_elses_work(lab: &dyn Lab) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    for (how, dead) in [(How::Ack, 0), (dead_letter("no"), 1)] {
        let fence = room.hold_one(&*seat).await;
        room.lab.trim(room.stream(), fence.id).await;
        let renewed = seat.renew(&[fence]).await.unwrap().remove(0);
        let Renewed::Trimmed { tombstone, .. } = renewed else {
            panic!("{renewed:?}");
        };
        let mut end = settlement(fence, how);
        end.lease.tombstone = Some(tombstone);
        end.fields = held_bytes();
        settle_as(&*seat, end).await;
        let counted = counts(&room).await.unwrap();
        assert_eq!(
            (counted.dead_lettered, counted.kept),
            (dead, u64::from(dead > 0))
        );
        room.assert_own().await;
    }
    // One that nobody was told of goes with the success.
    let (a, b) = (seat, room.join("b").await);
    let fence = room.hold_one(&*a).await;
    room.expire(fence.id).await;
    room.lab.trim(room.stream(), fence.id).await;
    assert_eq!(sweep(&*b, 100).await.dead.len(), 1);
    assert_eq!(counts(&room).await.unwrap().dead_lettered, 2);
    settle(&*a, fence, How::Ack).await;
    let counted = counts(&room).await.unwrap();
    assert_eq!((counted.dead_lettered, counted.kept), (1, 1));
    room.assert_own().await;
}

pub(super) async fn what_is_replayed_purged_and_imported_is_nobody_elses_work(lab: &dyn Lab) {
    let room = Room::new(lab);
    let letters = room.kill(4).await;
    let order = Replay {
        dead_letter: letters[0],
        target: room.stream().clone(),
        fields: held_bytes(),
        keep: Keep::Remove,
        campaign: None,
    };
    let replayed = room.backend().replay(&room.dlq, &[order]).await.unwrap();
    assert!(matches!(replayed[0], Replayed::Added(_)));
    room.backend()
        .purge(&room.dlq, &letters[1..2])
        .await
        .unwrap();
    let many: Fields = (0..5_000).map(|n| (format!("f{n}"), "v")).collect();
    for _ in 0..2 {
        let import = |receipt: &str, stored: Fields| Import {
            receipt: receipt.to_owned(),
            stored,
        };
        let orders = [import("a", held_bytes()), import("b", many.clone())];
        room.backend().import(&room.dlq, &orders).await.unwrap();
    }
    let counted = counts(&room).await.unwrap();
    assert_eq!(
        (
            counted.dead_lettered,
            counted.imported,
            counted.replayed,
            counted.purged
        ),
        (4, 2, 1, 1)
    );
    assert_eq!(counted.kept, 4);
    room.assert_own().await;
}

pub(super) async fn what_others_add_and_remove_is_told(lab: &dyn Lab) {
    let room = Room::new(lab);
    let letters = room.kill(3).await;
    let foreign: Vec<Fields> = (0..5).map(numbered).collect();
    room.backend().append(&room.dlq, &foreign).await.unwrap();
    room.lab.trim(&room.dlq, letters[0]).await;
    let ledger = Ledger::of(&counts(&room).await.unwrap());
    assert_eq!((ledger.foreign_in, ledger.foreign_out), (Some(5), Some(1)));
    assert_eq!((ledger.kept, ledger.balanced), (7, true));
    room.lab.drop_stream(&room.dlq).await;
    let ledger = Ledger::of(&counts(&room).await.unwrap());
    assert_eq!((ledger.kept, ledger.balanced), (0, false));
}
