//! Bytes survive: reading, dying, and being put back.

use bytes::Bytes;

use super::Lab;
use super::room::{Room, dead_letter, died, settle_as};
use crate::backend::{Keep, Replay, Replayed, Settlement};
use crate::dead_letter::{read, replay_fields, split_lineage};
use crate::message::Fields;

/// Reads it, gives it up, puts it back, reads it again; and looks at it everywhere.
async fn survives(lab: &dyn Lab, fields: Fields) {
    let room = Room::new(lab);
    let seat = room.join("a").await;
    let entry = std::slice::from_ref(&fields);
    room.backend().append(room.stream(), entry).await.unwrap();
    let got = seat.receive(1, None).await.unwrap().remove(0);
    assert!(got.fields == fields, "changed by reading");
    let end = Settlement {
        lease: got.lease,
        fields: got.fields,
        how: dead_letter("no"),
    };
    let dead = died(&settle_as(&*seat, end).await).dead_letter;
    let stored = room.dead_letters().await.remove(0);
    assert_eq!(stored.id, dead);
    let letter = read(stored.id, stored.fields);
    assert!(letter.fields == fields, "changed by dying");
    let order = Replay {
        dead_letter: dead,
        target: room.stream().clone(),
        fields: replay_fields(&letter).unwrap(),
        keep: Keep::Remove,
        campaign: None,
    };
    let replayed = room.backend().replay(&room.dlq, &[order]).await.unwrap();
    assert!(matches!(replayed[..], [Replayed::Added(_)]));
    let again = seat.receive(1, None).await.unwrap().remove(0);
    let (user, lineage) = split_lineage(&again.fields);
    assert!(user == fields, "changed by replay");
    assert_eq!(lineage.replayed_from, Some(dead));
}

pub(super) async fn fields_of_any_bytes_survive_death_and_replay(lab: &dyn Lab) {
    let all: Vec<u8> = (0..=255).collect();
    let pairs: [(&[u8], &[u8]); 14] = [
        (b"\xff\xfe\x80", b"\xc3\x28"),
        (b"", b"no name"),
        (b"no value", b""),
        (b"", b""),
        (b"twice", b"one"),
        (b"twice", b"two"),
        (b"line\r\n", &all),
        (b"attempts", b"99"),
        (b"original_id", b"1-1"),
        (b"id", b"2-2"),
        (b"redrive-v", b"1"),
        (b"redrive-fields", b"3"),
        (b"redrive-v", b"1"),
        (b"redrive-reason", b"mine"),
    ];
    let fields = pairs
        .map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)))
        .into_iter()
        .collect();
    survives(lab, fields).await;
}

pub(super) async fn a_mebibyte_survives_death_and_replay(lab: &dyn Lab) {
    let value: Vec<u8> = (0..1024 * 1024_usize).map(|at| (at % 251) as u8).collect();
    survives(lab, [("data", value)].into_iter().collect()).await;
}

pub(super) async fn ten_thousand_fields_survive_death_and_replay(lab: &dyn Lab) {
    let fields: Fields = (0..10_000)
        .map(|number| (format!("name-{}", number % 7000), format!("value-{number}")))
        .collect();
    survives(lab, fields).await;
}
