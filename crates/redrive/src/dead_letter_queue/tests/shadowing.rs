//! Shadow runs: what a handler is given, what is counted, and that nothing is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::codec::Raw;
use crate::message::Message;
use crate::outcome::Outcome;

fn field(message: &Message<Fields>) -> String {
    String::from_utf8_lossy(message.fields().get("n").unwrap_or_default()).into_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_selected_runs_as_if_it_was_replayed_and_nothing_is_settled() {
    let (queue, ids, rejected_ids) = queue_of_250().await;
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let last = rejected_ids[124];
    let handler = move |message: Message<Fields>| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            assert_eq!(field(&message), "1");
            assert_eq!(message.id(), EntryId::new(17, 1));
            assert_eq!(
                (message.stream().as_str(), message.attempt()),
                ("orders", 1)
            );
            assert_eq!(message.group().as_str(), "billing");
            assert_eq!(message.lineage().replays, 1);
            let id = message.lineage().replayed_from.unwrap();
            match id.millis() + id.seq() {
                _ if id == last => panic!("order {id} is too much"),
                n if n % 3 == 0 => Outcome::retry(format!("no card for {n}")),
                n if n % 3 == 1 => Outcome::dead_letter("no stock"),
                _ => Outcome::Ack,
            }
        }
    };
    let options = ShadowOptions::default().concurrency(7);
    let mut shadowing = queue
        .shadowing(&rejected(), &options, Raw, handler)
        .await
        .unwrap();
    let mut steps = 0;
    while let Some(progress) = shadowing.step().await.unwrap() {
        steps += 1;
        assert!(progress.examined <= progress.total, "{progress:?}");
    }
    let (report, causes) = (shadowing.report(), shadowing.causes());
    assert_eq!((report.selected, steps), (125, 125));
    assert_eq!(report.passed + report.failed + report.refused, 125);
    assert!(report.passed > 0 && report.failed > 1 && report.refused > 0);
    assert_eq!(report.would_not_pass(), report.failed + report.refused);
    assert_eq!(causes.counted, report.failed + report.refused);
    assert_eq!(causes.groups.len(), 3, "{causes:?}");
    let panicked = causes.groups.iter().find(|group| group.count == 1).unwrap();
    assert_eq!(panicked.sample_id, last);
    assert_eq!(most.load(Ordering::SeqCst), 7);
    assert_eq!(queue.count(&Selection::all()).await.unwrap(), 250);
    assert_eq!(
        queue.list(Page::default()).await.unwrap().dead_letters[0].id,
        ids[249]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_than_its_limit_run_and_a_missing_id_is_said() {
    let (queue, ids, _) = queue_of_250().await;
    let some = Selection::ids([ids[0], EntryId::new(1, 1), ids[1]]);
    let report = queue
        .shadow(&some, async |_: Message<Fields>| {}, Raw)
        .await;
    let (report, causes) = report.unwrap();
    assert_eq!((report.selected, report.passed, report.missing), (3, 2, 1));
    assert_eq!((report.would_not_pass(), causes.counted), (1, 0));
    let ten = rejected().limit(10);
    let report = queue
        .shadow(&ten, async |_: Message<Fields>| false, Raw)
        .await;
    let (report, causes) = report.unwrap();
    assert_eq!((report.selected, report.failed), (10, 10));
    assert_eq!((causes.groups.len(), causes.counted), (1, 10));
}

#[tokio::test(start_paused = true)]
async fn what_runs_too_long_has_failed_and_what_does_not_decode_is_undecodable() {
    let (queue, ..) = queue_of_250().await;
    let options = ShadowOptions::default().timeout(Some(Duration::from_secs(2)));
    let hangs = async |_: Message<Fields>| std::future::pending::<()>().await;
    let one = rejected().limit(1);
    let mut shadowing = queue.shadowing(&one, &options, Raw, hangs).await.unwrap();
    while shadowing.step().await.unwrap().is_some() {}
    assert_eq!(shadowing.report().failed, 1);
    let causes = shadowing.causes();
    assert_eq!(
        causes.groups[0].error.as_deref(),
        Some("timed out after 2s")
    );

    let no_object = crate::Json::field("missing");
    let handler = async |_: Message<u32>| {};
    let (report, causes) = queue.shadow(&one, handler, no_object).await.unwrap();
    assert_eq!((report.undecodable, report.would_not_pass()), (1, 1));
    assert_eq!(causes.groups[0].reason, Some(Reason::Undecodable));
}

#[tokio::test(start_paused = true)]
async fn where_the_handler_is_not_there_no_more_are_started() {
    let (queue, ..) = queue_of_250().await;
    let gone = async |_: Message<Fields>| Outcome::unavailable("no such server");
    let (report, _) = queue.shadow(&Selection::all(), gone, Raw).await.unwrap();
    assert_eq!(report.unavailable.as_deref(), Some("no such server"));
    assert_eq!((report.selected, report.would_not_pass()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stopped_tells_its_handlers_and_waits_for_them() {
    let (queue, ..) = queue_of_250().await;
    let handler = async |message: Message<Fields>| {
        message.cancelled().await;
        message.id() == EntryId::new(17, 1)
    };
    let options = ShadowOptions::default();
    let all = Selection::all();
    let mut shadowing = queue.shadowing(&all, &options, Raw, handler).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(1), shadowing.turn()).await;
    assert!(waited.is_err(), "they run until they are told");
    shadowing.stop().await;
    assert_eq!(shadowing.report().passed, 16);
    assert!(shadowing.step().await.unwrap().is_none());
}
