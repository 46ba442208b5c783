//! The dead letters of the first Python system, behaviour by behaviour: their bytes, listing, replay.

use std::time::{SystemTime, UNIX_EPOCH};

use redrive::{
    DeadLetterLayout, EntryId, ErrorKind, Layout, Message, Order, Page, Raw, Reason, ReplayOptions,
};

use crate::rig::{Rig, bytes, flattened};

#[tokio::test]
async fn a_dead_letter_in_the_flat_layout_has_its_five_fields_byte_for_byte() {
    let rig = Rig::start().await;
    let own: [&[u8]; 6] = [b"type", b"task", b"note", b"\xff\x00 a\nb", b"empty", b""];
    let id = rig.xadd("orders", &own).await;
    let mut processor = rig
        .builder()
        .codec(Raw)
        .layout(Layout::Flat)
        .build(async |_: Message<redrive::Fields>| false)
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    assert_eq!((totals.failed, totals.dead_lettered), (3, 1));

    let (_, stored) = rig.entries("orders:dlq").await.pop().unwrap();
    let mut expected: Vec<Vec<u8>> = own.iter().map(|part| part.to_vec()).collect();
    expected.extend(bytes(&["original_stream", "orders", "original_id", &id]));
    expected.extend(bytes(&["failure_reason", "max_retries_exceeded"]));
    expected.extend(bytes(&["attempts", "3", "dlq_timestamp"]));
    assert_eq!(stored[..stored.len() - 1], expected);

    let written = String::from_utf8(stored.last().unwrap().clone()).unwrap();
    let (seconds, fraction) = written.split_once('.').unwrap();
    assert!(fraction.len() == 6 && fraction.bytes().all(|digit| digit.is_ascii_digit()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs().abs_diff(seconds.parse().unwrap()) < 120);
}

/// A flat dead letter as the Python system writes it.
fn written(n: u32) -> Vec<Vec<u8>> {
    let n = n.to_string();
    let mut all = bytes(&["type", "task", "data", &n, "original_stream", "orders"]);
    all.extend(bytes(&["original_id", "1700000000000-1"]));
    all.extend(bytes(&["failure_reason", "max_retries_exceeded"]));
    all.extend(bytes(&[
        "attempts",
        "3",
        "dlq_timestamp",
        "1732250000.123456",
    ]));
    all
}

#[tokio::test]
async fn dead_letters_are_listed_with_a_count_and_their_ids() {
    let rig = Rig::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let id = rig.xadd("orders:dlq", &written(n)).await;
        ids.push(id.parse::<EntryId>().unwrap());
    }
    let queue = rig.dlq();
    let first = queue.list(Page::new(Order::Oldest, 3)).await.unwrap();
    let listed: Vec<EntryId> = first.dead_letters.iter().map(|letter| letter.id).collect();
    assert_eq!((first.total, &listed[..]), (5, &ids[..3]));
    let rest = queue.list(first.next.unwrap()).await.unwrap();
    let listed: Vec<EntryId> = rest.dead_letters.iter().map(|letter| letter.id).collect();
    assert_eq!(listed, ids[3..]);
    let newest = queue.list(Page::default()).await.unwrap();
    assert_eq!(newest.dead_letters[0].id, ids[4]);

    let letter = queue.get(ids[2]).await.unwrap().unwrap();
    assert_eq!(letter.layout, DeadLetterLayout::Flat);
    assert_eq!(letter.reason, Some(Reason::AttemptsExhausted));
    assert_eq!(letter.original_id, Some(EntryId::new(1_700_000_000_000, 1)));
    assert_eq!(letter.attempts, Some(3));
    assert_eq!(
        flattened(&letter.fields),
        bytes(&["type", "task", "data", "2"])
    );
    let inspected = queue.inspect(ids[2]).await.unwrap().unwrap();
    assert_eq!(inspected.payload.unwrap().get(), "2");
    assert_eq!(inspected.codec.unwrap().as_str(), "json");
}

#[tokio::test]
async fn a_replay_strips_the_metadata_adds_its_mark_removes_the_dead_letter_and_answers_the_new_id()
{
    let rig = Rig::start().await;
    let mut older = bytes(&["replayed_from_dlq", "1600000000000-0"]);
    older.extend(written(7));
    for fields in [written(7), older] {
        let id: EntryId = rig.xadd("orders:dlq", &fields).await.parse().unwrap();
        let replay = ReplayOptions::default();
        let new = rig.dlq().replay(id, &replay).await.unwrap();
        let (added, fields) = rig.entries("orders").await.pop().unwrap();
        assert_eq!(added, new.to_string());
        let mark = id.to_string();
        let expected = bytes(&["type", "task", "data", "7", "replayed_from_dlq", &mark]);
        assert_eq!(fields, expected);
        assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 0);
        assert_eq!(rig.dlq().get(id).await.unwrap(), None);
        // Asked again it answers the same and adds nothing.
        assert_eq!(rig.dlq().replay(id, &replay).await.unwrap(), new);
    }
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 2);
}

#[tokio::test]
async fn an_unknown_dead_letter_is_an_error_that_names_it() {
    let rig = Rig::start().await;
    rig.xadd("orders:dlq", &written(1)).await;
    let unknown = EntryId::new(5, 7);
    let replay = ReplayOptions::default();
    let error = rig.dlq().replay(unknown, &replay).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "dead letter not found: 5-7");
    assert_eq!(rig.dlq().get(unknown).await.unwrap(), None);
    assert!(rig.dlq().inspect(unknown).await.unwrap().is_none());
    assert_eq!(rig.ask::<u64>("XLEN orders:dlq").await, 1);
}
