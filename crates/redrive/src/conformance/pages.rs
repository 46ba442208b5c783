//! Pages of entries, bounded in number and in weight; entries by their ids.

use super::Lab;
use super::room::Room;
use crate::backend::{Entry, FIELD_WEIGHT, IdRange, PAGE_WEIGHT};
use crate::error::ErrorKind;
use crate::message::Fields;
use crate::names::EntryId;
use crate::selection::Order;

/// Adds entries with values of these sizes, under the ids from 1 on.
async fn sized(room: &Room<'_>, sizes: &[usize]) {
    for (millis, size) in (1..).zip(sizes) {
        let fields = Fields::from_iter([("data", vec![b'\xff'; *size])]);
        let id = EntryId::new(millis, 0);
        room.lab.add_with_id(room.stream(), id, fields).await;
    }
}

fn shown(page: &[Entry]) -> Vec<u64> {
    page.iter().map(|entry| entry.id.millis()).collect()
}

/// Everything, page by page.
async fn pages(room: &Room<'_>, order: Order, limit: usize) -> Vec<Vec<u64>> {
    let mut range = IdRange {
        low: EntryId::MIN,
        high: EntryId::MAX,
        order,
        limit,
    };
    let mut all = Vec::new();
    loop {
        let page = room.backend().page(room.stream(), range).await.unwrap();
        assert!(page.len() <= limit);
        let weight: usize = page.iter().map(Entry::weight).sum();
        assert!(weight <= PAGE_WEIGHT || page.len() == 1, "{weight}");
        let Some(last) = page.last() else {
            return all;
        };
        match order {
            Order::Oldest => range.low = last.id.successor(),
            Order::Newest => range.high = last.id.predecessor(),
        }
        all.push(shown(&page));
    }
}

pub(super) async fn a_page_goes_on_where_the_last_one_ended(lab: &dyn Lab) {
    let room = Room::new(lab);
    assert_eq!(
        pages(&room, Order::Oldest, 10).await,
        Vec::<Vec<u64>>::new()
    );
    assert_eq!(
        pages(&room, Order::Newest, 10).await,
        Vec::<Vec<u64>>::new()
    );
    sized(&room, &[0; 7]).await;
    lab.trim(room.stream(), EntryId::new(1, 0)).await;
    lab.trim(room.stream(), EntryId::new(4, 0)).await;
    let forth = pages(&room, Order::Oldest, 2).await;
    assert_eq!(forth, [vec![2, 3], vec![5, 6], vec![7]]);
    let back = pages(&room, Order::Newest, 2).await;
    assert_eq!(back, [vec![7, 6], vec![5, 3], vec![2]]);
    assert_eq!(pages(&room, Order::Newest, 1).await.len(), 5);
    let none = IdRange {
        low: EntryId::new(4, 0),
        high: EntryId::new(4, u64::MAX),
        order: Order::Newest,
        limit: 10,
    };
    assert!(
        room.backend()
            .page(room.stream(), none)
            .await
            .unwrap()
            .is_empty()
    );
    let within = IdRange {
        low: EntryId::new(3, 0),
        high: EntryId::new(6, 0),
        ..none
    };
    let page = room.backend().page(room.stream(), within).await.unwrap();
    assert_eq!(shown(&page), [6, 5, 3]);
    assert_eq!(page[0].fields.get("data"), Some(&b""[..]));
}

pub(super) async fn a_page_holds_no_more_than_its_weight_and_one_that_is_heavier_alone(
    lab: &dyn Lab,
) {
    let room = Room::new(lab);
    let third = PAGE_WEIGHT / 3 - FIELD_WEIGHT - "data".len();
    sized(&room, &[1, third, third, third, 3 * PAGE_WEIGHT, 1, third]).await;
    let forth = pages(&room, Order::Oldest, 250).await;
    assert_eq!(forth, [vec![1, 2, 3], vec![4], vec![5], vec![6, 7]]);
    let back = pages(&room, Order::Newest, 250).await;
    assert_eq!(back, [vec![7, 6], vec![5], vec![4, 3, 2], vec![1]]);
}

pub(super) async fn many_small_fields_weigh_as_well(lab: &dyn Lab) {
    let room = Room::new(lab);
    for millis in 1..=5 {
        let fields = (0..3_000).map(|_| ("", "")).collect();
        lab.add_with_id(room.stream(), EntryId::new(millis, 0), fields)
            .await;
    }
    let most = PAGE_WEIGHT / (3_000 * FIELD_WEIGHT);
    assert_eq!(pages(&room, Order::Oldest, 250).await[0].len(), most);
}

pub(super) async fn entries_by_name_are_answered_in_their_order_and_as_many_as_fit(lab: &dyn Lab) {
    let room = Room::new(lab);
    let half = PAGE_WEIGHT / 2;
    sized(&room, &[0, half, half, half, 2 * PAGE_WEIGHT]).await;
    let named = async |millis: &[u64]| {
        let ids: Vec<EntryId> = millis.iter().map(|ms| EntryId::new(*ms, 0)).collect();
        let found = room.backend().named(room.stream(), &ids).await.unwrap();
        let found = found.into_iter().zip(ids).map(|(found, id)| {
            let there = found.as_ref().is_some_and(|entry| entry.id == id);
            assert_eq!(there, found.is_some());
            there
        });
        found.collect::<Vec<bool>>()
    };
    assert_eq!(named(&[]).await, [false; 0]);
    assert_eq!(named(&[9]).await, [false]);
    assert_eq!(named(&[9, 1, 8]).await, [false, true, false]);
    assert_eq!(named(&[3, 9, 1, 2, 4]).await, [true, false, true]);
    assert_eq!(named(&[5, 9, 1]).await, [true]);
    assert_eq!(named(&[9, 5, 1]).await, [false]);
    let many: Vec<u64> = std::iter::repeat_n(1, 300).collect();
    let found = named(&many).await;
    assert!(!found.is_empty() && found.iter().all(|there| *there));
}

pub(super) async fn a_page_of_what_is_no_stream_is_an_error_of_that_kind(lab: &dyn Lab) {
    let room = Room::new(lab);
    room.add(1).await;
    lab.spoil(&room.dlq).await;
    let range = IdRange {
        low: EntryId::MIN,
        high: EntryId::MAX,
        order: Order::Newest,
        limit: 10,
    };
    let told = room.backend().page(&room.dlq, range).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    let ids = [EntryId::new(1, 0), EntryId::new(2, 0)];
    let told = room.backend().named(&room.dlq, &ids).await;
    assert_eq!(told.unwrap_err().kind(), ErrorKind::WrongType);
    lab.mend(&room.dlq).await;
}
