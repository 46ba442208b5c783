//! The consumer loop of the first Python system, behaviour by behaviour: defaults, group, reads, outcomes, health, close.

use std::time::{Duration, Instant};

use redrive::{Backoff, ErrorKind, GroupStart, Layout, Message, Processor, RetryPolicy, Selection};
use redrive_testkit::eventually;

use crate::SOON;
use crate::rig::{Rig, Runs, Worker};
use redrive_testkit::Log;

async fn works(_: Message<u32>) {}

#[tokio::test]
async fn every_option_has_its_default() {
    let rig = Rig::start().await;
    let processor = Processor::builder(&rig.broker, rig.source())
        .build(works)
        .unwrap();
    let options = processor.options();

    let hex = options.consumer.as_str().strip_prefix("consumer_").unwrap();
    assert_eq!(hex.len(), 8);
    assert!(hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(options.retry.max_attempts, 3);
    assert_eq!(options.retry.max_crashes, 3);
    let backoff = Backoff::Exponential {
        first: Duration::from_secs(1),
        most: Duration::from_secs(300),
    };
    assert_eq!(options.retry.backoff, backoff);
    assert_eq!((options.batch, options.prefetch), (100, 100));
    assert_eq!(options.concurrency, 16);
    assert_eq!(options.block, Duration::from_secs(5));
    assert_eq!(options.lease, Duration::from_secs(30));
    assert_eq!(options.foreign_lease, Duration::from_secs(300));
    assert_eq!(options.timeout, Some(Duration::from_secs(300)));
    assert_eq!(options.drain, Duration::from_secs(30));
    assert_eq!(options.dead_letters.as_str(), "orders:dlq");
    assert_eq!(options.group_start, GroupStart::First);
    assert_eq!(options.layout, Layout::Native);

    let other = Processor::builder(&rig.broker, rig.source())
        .build(works)
        .unwrap();
    assert_ne!(other.options().consumer, options.consumer);
}

#[tokio::test]
async fn a_missing_group_is_created_with_its_stream_and_begins_with_the_first_entry() {
    let rig = Rig::start().await;
    let mut none = rig.builder().build(works).unwrap();
    assert_eq!(none.run_batches(1).await.unwrap(), 0);
    assert_eq!(rig.ask::<String>("TYPE orders").await, "stream");
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!(stats.last_delivered_id.unwrap().to_string(), "0-0");

    rig.ask::<u64>("DEL orders {orders}:redrive:billing:meta")
        .await;
    rig.add(3).await;
    assert_eq!(none.run_batches(1).await.unwrap(), 3);
}

#[tokio::test]
async fn an_existing_group_is_taken_as_it_is() {
    let rig = Rig::start().await;
    rig.add(2).await;
    rig.ask::<String>("XGROUP CREATE orders billing $").await;
    let new = rig.add(1).await;
    let runs = Runs::default();
    let noting = runs.clone();
    let mut processor = rig
        .builder()
        .build(move |message: Message<u32>| {
            noting.note(message.id());
            async {}
        })
        .unwrap();
    assert_eq!(processor.run_until_idle().await.unwrap().succeeded, 1);
    assert_eq!(runs.all(), new);
}

#[tokio::test]
async fn a_batch_is_no_larger_than_its_size() {
    let rig = Rig::start().await;
    rig.add(25).await;
    let mut processor = rig.builder().batch(10).build(works).unwrap();
    assert_eq!(processor.run_batches(1).await.unwrap(), 10);
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!(
        (stats.lag, stats.pending_messages, stats.stream_length),
        (Some(15), Some(0), Some(25))
    );
}

#[tokio::test]
async fn a_read_waits_for_its_block_time_and_no_longer_than_the_first_message() {
    let rig = Rig::start().await;
    let block = Duration::from_millis(300);
    let mut processor = rig.builder().block(block).build(works).unwrap();
    let started = Instant::now();
    assert_eq!(processor.run_batches(1).await.unwrap(), 0);
    assert!(started.elapsed() >= block);

    let mut patient = rig.builder().block(10 * SOON).build(works).unwrap();
    let waiting = tokio::spawn(async move { patient.run_batches(1).await.unwrap() });
    eventually(SOON, "the read waits", async || {
        rig.ask::<String>("CLIENT LIST").await.contains("flags=b")
    })
    .await;
    rig.add(1).await;
    let read = tokio::time::timeout(SOON, waiting).await.unwrap();
    assert_eq!(read.unwrap(), 1);
}

#[tokio::test]
async fn a_number_of_batches_is_run_and_the_number_of_successes_answered() {
    let rig = Rig::start().await;
    rig.add(25).await;
    let mut processor = rig
        .builder()
        .batch(10)
        .retry(RetryPolicy::fixed(Duration::from_secs(3_600)))
        .build(async |number: Message<u32>| !number.is_multiple_of(5))
        .unwrap();
    assert_eq!(processor.run_batches(0).await.unwrap(), 0);
    assert_eq!(processor.run_batches(2).await.unwrap(), 16);
    assert_eq!(processor.totals().failed, 4);
    assert_eq!(processor.run_batches(2).await.unwrap(), 4);
    assert_eq!(rig.pending().await.len(), 5);
}

#[tokio::test]
async fn a_success_is_acknowledged_and_stays_in_the_stream() {
    let rig = Rig::start().await;
    rig.add(3).await;
    let mut processor = rig.builder().build(works).unwrap();
    assert_eq!(processor.run_until_idle().await.unwrap().succeeded, 3);
    assert!(rig.pending().await.is_empty());
    assert_eq!(rig.ask::<u64>("XLEN orders").await, 3);
}

#[tokio::test]
async fn a_failure_or_panic_leaves_its_message_pending_is_logged_and_stops_nobody() {
    let rig = Rig::start().await;
    let ids = rig.add(10).await;
    let (log, _listening) = Log::listen();
    let mut processor = rig
        .builder()
        .retry(RetryPolicy::fixed(Duration::from_secs(3_600)))
        .build(async |number: Message<u32>| match *number {
            0 => Err("the card was declined"),
            1 => Ok(false),
            2 => panic!("no such customer"),
            _ => Ok(true),
        })
        .unwrap();
    assert_eq!(processor.run_batches(1).await.unwrap(), 7);
    assert_eq!(processor.totals().retried, 3);

    let pending: Vec<(String, u64)> = rig
        .pending()
        .await
        .into_iter()
        .map(|(id, _, _, count)| (id, count))
        .collect();
    let failed: Vec<(String, u64)> = ids[..3].iter().map(|id| (id.to_string(), 1)).collect();
    assert_eq!(pending, failed);
    assert_eq!(rig.ask::<u64>("EXISTS orders:dlq").await, 0);
    let said = [
        "the card was declined",
        "handler returned false",
        "no such customer",
    ];
    for (id, error) in ids.iter().zip(said) {
        let lines = log.with(&[&id.to_string(), error]);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn recovery_can_be_called_by_itself_and_runs_what_it_takes() {
    let rig = Rig::start().await;
    let ids = rig.add(8).await;
    let mut register = rig.builder().build(works).unwrap();
    assert_eq!(register.recover().await.unwrap().taken, 0);
    let read = "XREADGROUP GROUP billing crashed COUNT 5 STREAMS orders >";
    rig.ask::<redis::Value>(read).await;
    let lives: Vec<String> = ids[4..5].iter().map(ToString::to_string).collect();
    for id in &ids[..4] {
        let idle = format!("XCLAIM orders billing crashed 0 {id} IDLE 400000 JUSTID");
        rig.ask::<Vec<String>>(&idle).await;
    }
    let mut processor = rig
        .builder()
        .retry(RetryPolicy::immediate().max_attempts(1))
        .build(async |number: Message<u32>| *number != 3)
        .unwrap();
    let recovered = processor.recover().await.unwrap();
    assert_eq!(
        (
            recovered.taken,
            recovered.succeeded,
            recovered.dead_lettered
        ),
        (4, 3, 1)
    );
    // What a living consumer holds is left to it, and nothing new is read.
    let left: Vec<String> = rig.pending().await.into_iter().map(|row| row.0).collect();
    assert_eq!(left, lives);
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    assert_eq!(stats.lag, Some(3));
}

#[tokio::test]
async fn health_has_the_five_numbers_under_their_names() {
    let rig = Rig::start().await;
    let ids = rig.add(7).await;
    let keep = RetryPolicy::fixed(Duration::from_secs(3_600)).max_attempts(2);
    let mut processor = rig
        .builder()
        .batch(5)
        .retry(keep)
        .build(async |number: Message<u32>| match *number {
            0 => redrive::Outcome::dead_letter("no"),
            1 | 2 => redrive::Outcome::retry("not yet"),
            _ => redrive::Outcome::Ack,
        })
        .unwrap();
    processor.run_batches(1).await.unwrap();
    let stats = rig.broker.stats(&rig.source()).await.unwrap();
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["stream_length"], 7);
    assert_eq!(json["pending_messages"], 2);
    assert_eq!(json["consumers"], 1);
    assert_eq!(json["dlq_length"], 1);
    assert_eq!(json["last_delivered_id"], ids[4].to_string());
    assert_eq!(
        (&json["state"], &json["waiting"]),
        (&"ok".into(), &2.into())
    );

    let nothing = redrive::Source::new("nothing", "billing").unwrap();
    let missing = serde_json::to_value(rig.broker.stats(&nothing).await.unwrap()).unwrap();
    assert_eq!(missing["state"], "missing");
    assert!(missing["stream_length"].is_null());
    rig.server.kill9().await;
    let unreachable = rig.broker.stats(&rig.source()).await.unwrap_err();
    assert_eq!(unreachable.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn after_close_every_call_is_closed_at_once() {
    let rig = Rig::start().await;
    let ids = rig.add(1).await;
    let producer = rig.broker.producer("orders".parse().unwrap());
    let dlq = rig.dlq();
    let idle = Worker::start(rig.builder().block(SOON).build(works).unwrap());
    eventually(SOON, "the worker waits for more", async || {
        rig.ask::<String>("CLIENT LIST").await.contains("flags=b")
    })
    .await;
    let mut processor = rig.builder().build(works).unwrap();
    let replay = redrive::ReplayOptions::default();

    let closing = Instant::now();
    rig.broker.close();
    let closed = [
        rig.broker.stats(&rig.source()).await.err(),
        producer.send(&1).await.err(),
        dlq.list(redrive::Page::default()).await.err(),
        dlq.get(ids[0]).await.err(),
        dlq.inspect(ids[0]).await.err(),
        dlq.replay(ids[0], &replay).await.err(),
        dlq.replay_many(&Selection::all(), &replay).await.err(),
        dlq.purge(&Selection::all()).await.err(),
        processor.run_until_idle().await.err(),
        processor.run_batches(1).await.err(),
        processor.recover().await.err(),
        idle.signal().await.unwrap().err(),
    ];
    for (call, error) in closed.into_iter().enumerate() {
        assert_eq!(error.unwrap().kind(), ErrorKind::Closed, "call {call}");
    }
    assert!(closing.elapsed() < Duration::from_secs(5), "not at once");
}
