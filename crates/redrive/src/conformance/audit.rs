//! The audit of a queue: entries are kept in their order, the newest are told first, and nobody sees it
//! among the streams.

use super::Lab;
use super::room::{Room, numbered};
use crate::names::EntryId;

pub(super) async fn what_is_recorded_is_told_the_newest_first_and_page_by_page(lab: &dyn Lab) {
    let room = Room::new(lab);
    let backend = room.backend();
    let none = backend.recorded(&room.dlq, EntryId::MAX, 10).await.unwrap();
    assert!(none.is_empty());
    for n in 0..5 {
        backend.record(&room.dlq, &numbered(n)).await.unwrap();
    }
    let mut from = EntryId::MAX;
    let mut told = Vec::new();
    loop {
        let page = backend.recorded(&room.dlq, from, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.id.predecessor();
        told.extend(page.into_iter().map(|entry| entry.fields));
    }
    let expected: Vec<_> = (0..5).rev().map(numbered).collect();
    assert_eq!(told, expected);
    // Another queue has another one, and it is none of the streams that somebody works on.
    let other = backend.recorded(room.stream(), EntryId::MAX, 10).await;
    assert!(other.unwrap().is_empty());
    let streams = backend.streams().await.unwrap().names;
    let name = room.dlq.as_str();
    assert!(!streams.iter().any(|stream| stream.as_str().contains(name)));
    backend.erase(&room.source, &room.dlq).await.unwrap();
    let none = backend.recorded(&room.dlq, EntryId::MAX, 10).await.unwrap();
    assert!(none.is_empty());
}
