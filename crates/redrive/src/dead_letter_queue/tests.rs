//! The handle on a dead-letter queue: finding, replaying, purging, each page by page.

mod audits;
mod campaigns;
mod pacing;
mod repairs;
mod shadowing;

use std::collections::BTreeSet;

use super::*;
use crate::backend::Keep;
use crate::broker::Broker;
use crate::dead_letter::Reason;
use crate::error::BoxError;
use crate::message::Fields;

fn stream(name: &str) -> StreamKey {
    StreamKey::new(name).unwrap()
}

/// A dead letter of this stream, given up for this reason, replayed that often.
fn letter(from: &str, reason: &str, replays: u32) -> Fields {
    let replays = replays.to_string();
    let pairs = [
        ("n", "1"),
        ("redrive-v", "1"),
        ("redrive-fields", "1"),
        ("redrive-stream", from),
        ("redrive-group", "billing"),
        ("redrive-id", "17-1"),
        ("redrive-reason", reason),
        ("redrive-replays", &replays),
    ];
    let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Fields::from_iter(owned)
}

async fn queue_of(letters: &[Fields]) -> (DeadLetterQueue, Vec<EntryId>) {
    let broker = Broker::connect("memory:").await.unwrap();
    let stream = stream("orders:dlq");
    let ids = broker.backend().append(&stream, letters).await.unwrap();
    (broker.dead_letters(stream), ids)
}

/// Of 250, every other one of the stream `orders` and rejected.
pub(super) async fn queue_of_250() -> (DeadLetterQueue, Vec<EntryId>, Vec<EntryId>) {
    let letters: Vec<Fields> = (0..250)
        .map(|n| match n % 2 {
            0 => letter("orders", "rejected", 0),
            _ => letter("mails", "undecodable", 0),
        })
        .collect();
    let (queue, ids) = queue_of(&letters).await;
    let rejected = ids.iter().copied().step_by(2).collect();
    (queue, ids, rejected)
}

async fn all_of(mut found: Found) -> Vec<EntryId> {
    let mut ids = Vec::new();
    while let Some(letter) = found.next().await.unwrap() {
        ids.push(letter.id);
    }
    ids
}

pub(super) fn rejected() -> Selection {
    Selection::all().reason(Reason::Rejected)
}

async fn queue_of_three() -> (DeadLetterQueue, Vec<EntryId>) {
    let broker = Broker::connect("memory:").await.unwrap();
    let stream = StreamKey::new("orders:dlq").unwrap();
    let letter = Fields::from_iter([
        ("n", "1"),
        ("original_stream", "orders"),
        ("original_id", "17-1"),
        ("failure_reason", "max_retries_exceeded"),
        ("attempts", "3"),
        ("dlq_timestamp", "1732250000.1"),
    ]);
    let letters = [letter.clone(), letter.clone(), letter];
    let ids = broker.backend().append(&stream, &letters).await.unwrap();
    (broker.dead_letters(stream), ids)
}

/// The bug: by its ids a bulk replay that was asked again, after a lost answer say, named as
/// failures what it had put back itself.
#[tokio::test(start_paused = true)]
async fn a_bulk_replay_asked_again_says_already() {
    let (queue, ids) = queue_of_three().await;
    let (these, options) = (Selection::ids(ids.clone()), ReplayOptions::default());
    let first = queue.replay_many(&these, &options).await.unwrap();
    assert_eq!((first.selected, first.replayed, first.already), (3, 3, 0));
    let again = queue.replay_many(&these, &options).await.unwrap();
    assert_eq!((again.selected, again.replayed, again.already), (3, 0, 3));
    assert_eq!(again.failed, 0);
    assert_eq!(
        queue.replay(ids[1], &options).await.unwrap(),
        first.new_ids[1]
    );
    let unknown = Selection::ids([EntryId::new(1, 1)]);
    let report = queue.replay_many(&unknown, &options).await.unwrap();
    assert_eq!((report.selected, report.failed), (1, 1));
    assert_eq!(report.failures[0].error, "dead letter not found: 1-1");
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_where_the_last_one_ended_in_both_orders() {
    let (queue, ids) = queue_of_three().await;
    for order in [Order::Oldest, Order::Newest] {
        let first = queue.list(Page::new(order, 2)).await.unwrap();
        let second = queue.list(first.next.unwrap()).await.unwrap();
        assert_eq!((first.total, second.total), (3, 3));
        assert!(second.next.is_none());
        let letters = first.dead_letters.iter().chain(&second.dead_letters);
        let mut seen: Vec<EntryId> = letters.map(|letter| letter.id).collect();
        if order == Order::Newest {
            seen.reverse();
        }
        assert_eq!(seen, ids);
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_that_match_and_how_many_do_are_told_in_one_pass() {
    let (queue, _, wanted) = queue_of_250().await;
    for (order, first) in [
        (Order::Newest, [wanted[124], wanted[123], wanted[122]]),
        (Order::Oldest, [wanted[0], wanted[1], wanted[2]]),
    ] {
        let selection = rejected().order(order).limit(3);
        let mut found = queue.find(&selection).await.unwrap();
        for id in first {
            assert_eq!(found.next().await.unwrap().unwrap().id, id);
        }
        assert!(found.next().await.unwrap().is_none());
        assert_eq!(found.total().await.unwrap(), 125);
        assert_eq!(queue.count(&selection).await.unwrap(), 125);
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_found_once_in_both_orders_and_nothing_that_dies_meanwhile() {
    let (queue, mut ids, _) = queue_of_250().await;
    for order in [Order::Oldest, Order::Newest] {
        let selection = Selection::all().order(order);
        let found = queue.find(&selection).await.unwrap();
        let late = [letter("orders", "rejected", 0)];
        let backend = queue.broker.backend();
        let late = backend.append(queue.stream(), &late).await.unwrap();
        let mut seen = all_of(found).await;
        if order == Order::Newest {
            seen.reverse();
        }
        assert_eq!(seen, ids, "{order:?}");
        ids.extend(late);
    }
    assert_eq!(queue.count(&Selection::all().limit(1)).await.unwrap(), 252);
}

#[tokio::test(start_paused = true)]
async fn what_is_named_is_found_where_it_is_there_and_passes_the_filters() {
    let (queue, ids, wanted) = queue_of_250().await;
    let unknown = EntryId::new(1, 1);
    let named = Selection::ids([ids[2], unknown, ids[1], ids[0]]);
    let find = async |selection: &Selection| all_of(queue.find(selection).await.unwrap()).await;
    assert_eq!(find(&named).await, [ids[0], ids[1], ids[2]]);
    let newest = named.clone().order(Order::Newest);
    assert_eq!(find(&newest).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(queue.count(&named).await.unwrap(), 3);
    let mails = named.stream(stream("mails"));
    assert_eq!(find(&mails).await, [ids[1]]);
    assert_eq!(queue.count(&mails).await.unwrap(), 1);
    let many = Selection::ids(wanted.iter().copied()).limit(101);
    assert_eq!(find(&many).await, wanted[..101]);
    assert_eq!(find(&Selection::ids([])).await, []);
    assert_eq!(queue.count(&Selection::ids([])).await.unwrap(), 0);
}

/// None named must never mean all.
#[tokio::test(start_paused = true)]
async fn no_ids_are_none_for_replay_and_purge_too() {
    let (queue, ..) = queue_of_250().await;
    let nothing = Selection::ids([]);
    assert_eq!(queue.purge(&nothing).await.unwrap(), PurgeReport::default());
    let options = ReplayOptions::default();
    let report = queue.replay_many(&nothing, &options).await.unwrap();
    assert_eq!(report, ReplayReport::default());
    assert_eq!(queue.length().await.unwrap(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_replay_takes_what_matches_in_its_order_up_to_its_limit() {
    let (queue, ids, wanted) = queue_of_250().await;
    let newest = rejected().order(Order::Newest).limit(60);
    let options = ReplayOptions::default();
    let report = queue.replay_many(&newest, &options).await.unwrap();
    assert_eq!((report.selected, report.replayed), (60, 60));
    let entry = IdRange {
        low: report.new_ids[0],
        high: report.new_ids[0],
        order: Order::Oldest,
        limit: 1,
    };
    let backend = queue.broker.backend();
    let first = backend.entries(&stream("orders"), entry).await.unwrap();
    let from = first[0].fields.get("redrive-replayed-from").unwrap();
    assert_eq!(from, wanted[124].to_string().as_bytes());
    let left: BTreeSet<_> = all_of(queue.find(&Selection::all()).await.unwrap())
        .await
        .into_iter()
        .collect();
    let gone: BTreeSet<_> = wanted[65..].iter().copied().collect();
    let all: BTreeSet<_> = ids.into_iter().collect();
    assert_eq!(left, &all - &gone);
}

#[tokio::test(start_paused = true)]
async fn steps_tell_how_far_they_are_and_add_up_to_the_whole() {
    let (queue, ..) = queue_of_250().await;
    let options = ReplayOptions::default();
    let mut replaying = queue.replaying(&rejected(), &options).await.unwrap();
    let mut steps = Vec::new();
    assert_eq!(replaying.progress().total, 250);
    while let Some(progress) = replaying.step().await.unwrap() {
        steps.push((
            progress.examined,
            progress.total,
            replaying.report().replayed,
        ));
    }
    // What was read meanwhile and does not match is looked at, too.
    assert_eq!(steps, [(175, 250, 50), (250, 250, 125)]);
    assert_eq!(replaying.into_report().selected, 125);

    let mut purging = queue.purging(&Selection::all()).await.unwrap();
    let mut steps = Vec::new();
    while let Some(progress) = purging.step().await.unwrap() {
        steps.push((progress.examined, progress.total, purging.report().purged));
    }
    assert_eq!(steps, [(100, 125, 100), (125, 125, 125)]);
    let limited = queue.replaying(&Selection::all().limit(7), &options).await;
    assert_eq!(limited.unwrap().progress().total, 0);
}

#[tokio::test(start_paused = true)]
async fn each_step_names_what_became_of_each_dead_letter() {
    let (queue, ids, _) = queue_of_250().await;
    let unknown = EntryId::new(1, 1);
    let first = queue
        .replay(ids[0], &ReplayOptions::default())
        .await
        .unwrap();
    let selection = Selection::ids(ids.iter().copied().chain([unknown]));
    let options = ReplayOptions::default();
    let mut replaying = queue.replaying(&selection, &options).await.unwrap();
    let mut told = Vec::new();
    while replaying.step().await.unwrap().is_some() {
        assert!(replaying.last().len() <= 500);
        told.extend(replaying.last().iter().cloned());
    }
    assert!(replaying.last().is_empty());
    let told_ids: Vec<EntryId> = told.iter().map(|one| one.id).collect();
    assert_eq!(told_ids[0], unknown);
    assert_eq!(told_ids[1..], ids);
    assert_eq!(told[0].outcome, ReplayOutcome::Failed);
    assert!(told[0].error.as_ref().unwrap().contains("not found"));
    assert_eq!(told[1].outcome, ReplayOutcome::Already);
    assert_eq!(told[1].new_id, Some(first));
    let new: Vec<_> = told[2..].iter().map(|one| one.new_id.unwrap()).collect();
    assert_eq!(new, replaying.report().new_ids);
    let json = serde_json::to_value(&told[1]).unwrap();
    let expected = serde_json::json!({
        "id": ids[0].to_string(), "outcome": "already", "new_id": first.to_string(), "error": null,
        "hint": null,
    });
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn a_purge_names_what_was_not_there() {
    let (queue, ids, _) = queue_of_250().await;
    let unknown = EntryId::new(1, 1);
    let named = Selection::ids([unknown, ids[0], ids[1]]);
    let report = queue.purge(&named).await.unwrap();
    assert_eq!((report.selected, report.purged), (3, 2));
    assert_eq!(report.missing, [unknown]);
    let again = queue.purge(&named).await.unwrap();
    assert_eq!((again.selected, again.purged), (3, 0));
    assert_eq!(again.missing, [unknown, ids[0], ids[1]]);
    let many = Selection::ids((1..=1_001).map(|n| EntryId::new(n, 0)));
    let report = queue.purge(&many).await.unwrap();
    assert_eq!((report.selected, report.missing.len()), (1_001, 1_000));
    assert!(report.missing_truncated);
    let json = serde_json::to_value(&again).unwrap();
    assert_eq!(json["missing"][0], "1-1");
}

#[tokio::test(start_paused = true)]
async fn a_replay_asked_again_carries_the_ids_it_had_given() {
    let (queue, ids) = queue_of_three().await;
    let (these, options) = (Selection::ids(ids), ReplayOptions::default());
    let first = queue.replay_many(&these, &options).await.unwrap();
    let again = queue.replay_many(&these, &options).await.unwrap();
    assert_eq!(again.already_ids, first.new_ids);
    assert!(again.new_ids.is_empty() && first.already_ids.is_empty());
}

/// A migration that refuses what came from `mails` and marks the rest.
fn migrated(fields: &Fields) -> Result<Fields, BoxError> {
    match fields.get("n") {
        Some(b"poison") => Err("poison".into()),
        _ => Ok(Fields::from_iter([("n", "2")])),
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_the_replay_then_does_and_changes_nothing() {
    let poison: Fields = letter("orders", "rejected", 0)
        .iter()
        .map(|(name, value)| match name {
            b"n" => (name.to_vec(), b"poison".to_vec()),
            _ => (name.to_vec(), value.to_vec()),
        })
        .collect();
    let tombstone = Fields::from_iter([
        ("redrive-v", "1"),
        ("redrive-fields", "0"),
        ("redrive-stream", "orders"),
        ("redrive-reason", "trimmed"),
    ]);
    let empty = Fields::from_iter([
        ("original_stream", "orders"),
        ("original_msg_id", "1-1"),
        ("error", "no"),
        ("attempt", "3"),
        ("data", ""),
        ("ts", ""),
        ("trace_id", ""),
    ]);
    let mut letters = vec![
        letter("orders", "rejected", 4),
        letter("orders", "rejected", 5),
        poison,
        tombstone,
        empty,
        Fields::from_iter([("foreign", "entry")]),
        letter("orders", "rejected", 0),
    ];
    letters.extend((0..200).map(|_| letter("orders", "rejected", 0)));
    let (queue, ids) = queue_of(&letters).await;
    // One was copied before.
    let copy = ReplayOptions::default().keep(Keep::Copy);
    let copied = queue.replay(ids[6], &copy).await.unwrap();

    let selection = ids
        .iter()
        .fold(Selection::all().id(EntryId::new(1, 1)), |all, id| {
            all.id(*id)
        });
    let options = ReplayOptions::default().migrate(migrated);
    let look = async |name: &str| {
        let range = IdRange {
            low: EntryId::MIN,
            high: EntryId::MAX,
            order: Order::Oldest,
            limit: 1_000,
        };
        let backend = queue.broker.backend();
        backend.entries(&stream(name), range).await.unwrap()
    };
    let before = (look("orders").await, look("orders:dlq").await);
    let mut dry = queue.dry_run(&selection, &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    assert_eq!((look("orders").await, look("orders:dlq").await), before);

    let sample = &dry.samples()[0];
    assert_eq!(dry.samples().len(), 5);
    assert_eq!((sample.id, &sample.target), (ids[0], &stream("orders")));
    assert_eq!(sample.before, Fields::from_iter([("n", "1")]));
    let after = Fields::from_iter([
        ("n".to_owned(), "2".to_owned()),
        ("redrive-replayed-from".to_owned(), ids[0].to_string()),
        ("redrive-replays".to_owned(), "5".to_owned()),
    ]);
    assert_eq!(sample.after, after);

    let told = dry.report().clone();
    assert_eq!((told.selected, told.replayed), (208, 201));
    assert_eq!((told.already, told.skipped, told.failed), (1, 1, 5));
    assert_eq!(told.already_ids, [copied]);
    let errors: Vec<&str> = told.failures.iter().map(|one| one.error.as_str()).collect();
    for (error, words) in errors.iter().zip([
        "not found: 1-1",
        "its migration failed: poison",
        "a tombstone",
        "payload is empty",
        "does not say where it came from",
    ]) {
        assert!(error.contains(words), "{error}");
    }
    let mut done = queue.replay_many(&selection, &options).await.unwrap();
    assert_eq!(done.new_ids.len(), 201);
    done.new_ids.clear();
    assert_eq!(told, done);
}

/// The bug: they were put behind the queue's other entries, and said no more why they had died
/// and where they came from.
#[tokio::test(start_paused = true)]
async fn a_queue_is_not_the_target_of_its_own_replays() {
    let own = letter("orders:dlq", "rejected", 0);
    let (queue, ids) = queue_of(&[own, letter("orders", "rejected", 0)]).await;
    let (all, options) = (Selection::all(), ReplayOptions::default());
    let itself = options.clone().target(queue.stream().clone());
    for refused in [
        queue.replay(ids[1], &itself).await.unwrap_err(),
        queue.replaying(&all, &itself).await.unwrap_err(),
        queue.replay_many(&all, &itself).await.unwrap_err(),
        queue.dry_run(&all, &itself).await.unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("queue itself"), "{refused}");
        assert!(refused.cure().is_some());
    }
    let refused = queue.replay(ids[0], &options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.cure().is_some_and(|cure| cure.contains("another")));

    let mut dry = queue.dry_run(&all, &options).await.unwrap();
    while dry.step().await.unwrap().is_some() {}
    let would = dry.report().clone();
    let report = queue.replay_many(&all, &options).await.unwrap();
    for report in [&would, &report] {
        assert_eq!((report.replayed, report.failed), (1, 1));
        let words = "its target is the dead-letter queue itself";
        assert!(report.failures[0].error.contains(words));
    }
    assert!(queue.get(ids[0]).await.unwrap().is_some());
    let elsewhere = options.target(stream("repaired"));
    queue.replay(ids[0], &elsewhere).await.unwrap();
    assert_eq!(queue.length().await.unwrap(), 0);
}
