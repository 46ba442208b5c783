//! Campaigns: what is noted of them, each thing in the step in which it happens, and undoing them.

use super::Lab;
use super::room::{Room, dead_letter, ids};
use crate::backend::{
    Enlisted, Keep, Mark, Opened, Replay, Replayed, Settlement, Undo, UndoHow, Undone,
};
use crate::campaign::{CampaignName, CampaignState, Plan, Record};
use crate::dead_letter::{of_campaign, read, replay_fields};
use crate::names::{EntryId, GroupName, StreamKey};
use std::time::Duration;

fn name() -> CampaignName {
    CampaignName::new("again").unwrap()
}

fn plan(selection: &str) -> Plan {
    Plan {
        name: name(),
        selection: selection.to_owned(),
        target: None,
        rate: Some("5/s".to_owned()),
        canary: None,
        abort_if: None,
        who: Some("ann@desk".to_owned()),
        because: None,
    }
}

async fn open(room: &Room<'_>) -> EntryId {
    let opened = room
        .backend()
        .open_campaign(&room.dlq, &plan("--all"))
        .await;
    match opened.unwrap() {
        Opened::Open { newest } => newest,
        other => panic!("{other:?}"),
    }
}

async fn record(room: &Room<'_>) -> Record {
    let record = room.backend().campaign(&room.dlq, &name()).await.unwrap();
    record.expect("a campaign")
}

/// Puts these back as they are, in the campaign.
async fn put_back(
    room: &Room<'_>,
    ids: &[EntryId],
    keep: Keep,
    window: Option<Duration>,
) -> Vec<EntryId> {
    let mut orders = Vec::new();
    for entry in room.dead_letters().await {
        if !ids.contains(&entry.id) {
            continue;
        }
        let letter = read(entry.id, entry.fields);
        let fields = replay_fields(&letter).unwrap();
        orders.push(Replay {
            dead_letter: letter.id,
            target: room.stream().clone(),
            fields: of_campaign(&letter, fields, "again"),
            keep,
            campaign: Some(Enlisted {
                name: name(),
                group: letter.group.clone(),
                undo_window: window,
            }),
        });
    }
    let answers = room.backend().replay(&room.dlq, &orders).await.unwrap();
    let again = room.backend().replay(&room.dlq, &orders).await.unwrap();
    let mut new = Vec::new();
    for (answer, again) in answers.iter().zip(&again) {
        let (Replayed::Added(id), Replayed::Already(same)) = (answer, again) else {
            panic!("{answer:?} {again:?}");
        };
        assert_eq!(id, same);
        new.push(*id);
    }
    new
}

const DAY: Option<Duration> = Some(Duration::from_secs(86_400));

async fn undo(room: &Room<'_>, record: &Record, how: UndoHow) -> Vec<Undone> {
    let orders: Vec<_> = record
        .replayed
        .iter()
        .map(|(id, went)| Undo {
            dead_letter: *id,
            message: went.id,
            target: went.stream.clone(),
            original: went.original,
        })
        .collect();
    room.backend()
        .undo(&room.dlq, &name(), &orders, how)
        .await
        .unwrap()
}

pub(super) async fn a_campaign_begins_once_and_goes_on_with_the_same_selection_alone(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let dead = room.kill(2).await;
    let backend = room.backend();
    assert!(
        backend
            .campaign(&room.dlq, &name())
            .await
            .unwrap()
            .is_none()
    );
    assert!(backend.campaigns(&room.dlq).await.unwrap().is_empty());
    assert_eq!(open(&room).await, dead[1]);
    // What dies later is not its own.
    room.kill(1).await;
    assert_eq!(open(&room).await, dead[1]);
    let other = backend
        .open_campaign(&room.dlq, &plan("--reason rejected"))
        .await;
    let told = Opened::Other {
        selection: "--all".to_owned(),
        target: String::new(),
    };
    assert_eq!(other.unwrap(), told);
    let mut elsewhere = plan("--all");
    elsewhere.target = Some(StreamKey::new("elsewhere").unwrap());
    let other = backend.open_campaign(&room.dlq, &elsewhere).await.unwrap();
    assert_eq!(other, told);
    assert_eq!(backend.campaigns(&room.dlq).await.unwrap(), [name()]);
    let record = record(&room).await;
    assert_eq!(record.text("rate"), Some("5/s"));
    assert_eq!(record.text("canary"), None);
    assert_eq!(record.id("newest"), Some(dead[1]));
    assert!(record.number("began-at").unwrap() > 0);
}

pub(super) async fn a_campaign_is_told_how_it_stands_and_does_not_begin_again(lab: &dyn Lab) {
    use CampaignState::{Aborted, Done, Paused, Running};
    let room = Room::new(lab);
    let backend = room.backend();
    let tell = async |state| {
        let mark = Mark {
            state,
            selected: None,
        };
        backend
            .mark_campaign(&room.dlq, &name(), mark)
            .await
            .unwrap()
    };
    assert_eq!(tell(Some(Paused)).await, None);
    open(&room).await;
    assert_eq!(tell(Some(Paused)).await, Some(Running));
    // Asked again it is so already.
    assert_eq!(tell(Some(Paused)).await, Some(Paused));
    // Who goes on with it waits as well.
    open(&room).await;
    assert_eq!(tell(Some(Done)).await, Some(Paused));
    assert_eq!(tell(Some(Running)).await, Some(Paused));
    let seen = Mark {
        state: Some(Done),
        selected: Some(7),
    };
    let before = backend
        .mark_campaign(&room.dlq, &name(), seen)
        .await
        .unwrap();
    assert_eq!(before, Some(Running));
    let done = record(&room).await;
    assert_eq!(
        (done.state(), done.number("selected")),
        (Some(Done), Some(7))
    );
    assert!(done.number("ended-at").is_some());
    // The same command again finds nothing left, or what is left.
    open(&room).await;
    assert_eq!(record(&room).await.number("ended-at"), None);
    assert_eq!(tell(Some(Aborted)).await, Some(Running));
    assert_eq!(tell(Some(Running)).await, Some(Aborted));
    assert_eq!(tell(None).await, Some(Aborted));
    let opened = backend.open_campaign(&room.dlq, &plan("--all")).await;
    assert_eq!(opened.unwrap(), Opened::Ended(Aborted));
}

pub(super) async fn what_a_campaign_puts_back_is_noted_with_it_however_often_it_is_asked(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let dead = room.kill(3).await;
    open(&room).await;
    let new = put_back(&room, &dead[..2], Keep::Remove, DAY).await;
    let record = record(&room).await;
    assert_eq!(
        record.replayed.keys().copied().collect::<Vec<_>>(),
        dead[..2]
    );
    let went: Vec<_> = record.replayed.values().collect();
    for (went, new) in went.iter().zip(&new) {
        assert_eq!((went.id, &went.stream), (*new, room.stream()));
        assert_eq!(went.group, Some(GroupName::new("group").unwrap()));
        assert!(went.original.is_some());
    }
    assert_eq!(room.ledger().await, [3, 2, 0]);
    assert_eq!(room.entries(room.stream()).await.len(), 5);
}

pub(super) async fn what_dies_again_is_noted_in_the_step_in_which_it_dies(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(2).await;
    open(&room).await;
    let new = put_back(&room, &dead, Keep::Remove, None).await;
    let seat = room.join("a").await;
    let got = seat.receive(10, None).await.unwrap();
    assert_eq!(ids(&got), new);
    let one = got.into_iter().next().unwrap();
    let end = Settlement {
        lease: one.lease,
        fields: one.fields,
        how: dead_letter("again"),
    };
    seat.settle(&[end]).await.unwrap();
    let record = record(&room).await;
    let again = room.dead_letters().await;
    assert_eq!(again.len(), 1);
    let deaths: Vec<_> = record.died.iter().collect();
    assert_eq!(deaths.len(), 1);
    assert_eq!((*deaths[0].0, deaths[0].1.id), (dead[0], again[0].id));
    assert_eq!(
        deaths[0].1.fingerprint.as_deref(),
        Some(super::room::FINGERPRINT)
    );
    assert!(record.replayed[&dead[0]].original.is_none());
    let letter = read(again[0].id, again[0].fields.clone());
    assert_eq!(letter.campaign.as_deref(), Some("again"));
}

pub(super) async fn what_nobody_was_given_is_parked_again_byte_for_byte_and_once(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(2).await;
    let before = room.dead_letters().await;
    open(&room).await;
    put_back(&room, &dead, Keep::Remove, DAY).await;
    let noted = record(&room).await;
    for undone in undo(&room, &noted, UndoHow::Look).await {
        assert!(matches!(undone, Undone::Parked(_)), "{undone:?}");
    }
    assert_eq!(room.dead_letters().await, []);
    let mut parked = Vec::new();
    for undone in undo(&room, &noted, UndoHow::Do).await {
        let Undone::Parked(id) = undone else {
            panic!("{undone:?}");
        };
        parked.push(id);
    }
    let now = room.dead_letters().await;
    assert_eq!(now.iter().map(|one| one.id).collect::<Vec<_>>(), parked);
    let fields = |all: &[crate::backend::Entry]| -> Vec<_> {
        all.iter().map(|one| one.fields.clone()).collect()
    };
    assert_eq!(fields(&now), fields(&before));
    assert_eq!(room.entries(room.stream()).await.len(), 2);
    assert_eq!(room.ledger().await, [2, 0, 0]);
    for (undone, parked) in undo(&room, &noted, UndoHow::Do).await.iter().zip(&parked) {
        assert!(
            matches!(undone, Undone::Already(id) if id == parked),
            "{undone:?}"
        );
    }
    assert_eq!(room.dead_letters().await.len(), 2);
    let noted = record(&room).await;
    assert_eq!(noted.undone.values().copied().collect::<Vec<_>>(), parked);
    // Under its new id it may be put back again, and under its old one it is not there.
    let old = Replay {
        dead_letter: dead[0],
        target: room.stream().clone(),
        fields: before[0].fields.clone(),
        keep: Keep::Remove,
        campaign: None,
    };
    let answer = room
        .backend()
        .replay(&room.dlq, &[old])
        .await
        .unwrap()
        .remove(0);
    assert!(matches!(answer, Replayed::NotFound), "{answer:?}");
    room.assert_own().await;
}

pub(super) async fn what_was_given_to_a_group_is_not_undone(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(3).await;
    open(&room).await;
    put_back(&room, &dead, Keep::Remove, DAY).await;
    let seat = room.join("a").await;
    let given = seat.receive(2, None).await.unwrap();
    // One is running, and one has succeeded: nothing of it is pending any more.
    lab.foreign_ack(&room.source, given[1].lease.fence.id).await;
    let noted = record(&room).await;
    let undone = undo(&room, &noted, UndoHow::Do).await;
    assert!(
        matches!(
            undone[..],
            [Undone::Started, Undone::Started, Undone::Parked(_)]
        ),
        "{undone:?}"
    );
    assert_eq!(room.ledger().await, [3, 2, 0]);
    assert_eq!(room.entries(room.stream()).await.len(), 5);
}

pub(super) async fn a_copy_is_undone_without_a_second_dead_letter(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(1).await;
    let before = room.dead_letters().await;
    open(&room).await;
    put_back(&room, &dead, Keep::Copy, DAY).await;
    let noted = record(&room).await;
    let undone = undo(&room, &noted, UndoHow::Do).await;
    assert!(
        matches!(undone[..], [Undone::Parked(id)] if id == dead[0]),
        "{undone:?}"
    );
    assert_eq!(room.dead_letters().await, before);
    assert_eq!(room.entries(room.stream()).await.len(), 1);
    assert_eq!(room.ledger().await, [1, 0, 0]);
}

pub(super) async fn what_is_not_kept_is_not_undone_and_a_look_changes_nothing(lab: &dyn Lab) {
    let room = Room::new(lab);
    let dead = room.kill(2).await;
    open(&room).await;
    put_back(&room, &dead[..1], Keep::Remove, None).await;
    let new = put_back(&room, &dead[1..], Keep::Remove, DAY).await;
    lab.trim(room.stream(), new[0]).await;
    let noted = record(&room).await;
    for how in [UndoHow::Look, UndoHow::Do] {
        let undone = undo(&room, &noted, how).await;
        assert!(
            matches!(undone[..], [Undone::NotKept, Undone::Gone]),
            "{undone:?}"
        );
    }
    assert_eq!(room.ledger().await, [2, 2, 0]);
    assert!(record(&room).await.undone.is_empty());
}
