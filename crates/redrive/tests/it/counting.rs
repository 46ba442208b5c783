//! What is counted, seen by the recorder that most users have: on Redis and within the process the same, and what a run
//! says that it did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use redrive::{Broker, Message, Outcome, Source, Totals};

use crate::rig::{Rig, quick, stream};

/// All values that a recorder shows, by their names and what distinguishes them beside the source.
fn shown(recorder: &PrometheusRecorder) -> BTreeMap<String, f64> {
    let mut shown = BTreeMap::new();
    for line in recorder.handle().render().lines() {
        let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (name, labels) = name.split_once('{').unwrap();
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        for of in ["stream=\"orders\"", "group=\"billing\""] {
            let before = labels.len();
            labels.retain(|label| *label != of);
            assert_eq!(labels.len() + 1, before, "{line}");
        }
        let value: f64 = value.parse().unwrap();
        shown.insert(format!("{name}{}", labels.concat()), value);
    }
    shown
}

/// Messages that end in every way in which one consumer can end them.
async fn all_ways(broker: &Broker) -> (Totals, BTreeMap<String, f64>) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let producer = broker.producer(stream("orders"));
    let numbers: Vec<u32> = (0..20).collect();
    producer.send_all(&numbers).await.unwrap();
    producer.send(&"not a number").await.unwrap();

    let deferred = AtomicBool::new(false);
    let runs = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&runs);
    let source = Source::new("orders", "billing").unwrap();
    let mut processor = quick(broker, source)
        .build(move |message: Message<u32>| {
            seen.fetch_add(1, Ordering::Relaxed);
            let defers = *message == 16 && !deferred.swap(true, Ordering::Relaxed);
            async move {
                match (*message, message.attempt()) {
                    (10 | 11, _) => Outcome::discard("nobody needs it"),
                    (12 | 13, 1) | (14, _) => Outcome::retry("no route"),
                    (15, _) => Outcome::dead_letter("the total is negative"),
                    (16, _) if defers => Outcome::defer(Duration::from_millis(1)),
                    (17, 1) => panic!("a handler that panics"),
                    _ => Outcome::Ack,
                }
            }
        })
        .unwrap();
    let totals = processor.run_until_idle().await.unwrap();
    let shown = shown(&recorder);
    let timed = shown["redrive_handler_duration_seconds_count"];
    assert_eq!(timed, runs.load(Ordering::Relaxed) as f64);
    (totals, shown)
}

fn check(totals: Totals, shown: &BTreeMap<String, f64>) {
    let value = |name: &str| {
        *shown
            .get(name)
            .unwrap_or_else(|| panic!("{name} in {shown:#?}"))
    };
    let died = |reason: &str| {
        value(&format!(
            "redrive_messages_dead_lettered_totalreason=\"{reason}\""
        ))
    };
    for (name, total) in [
        ("succeeded", totals.succeeded),
        ("discarded", totals.discarded),
        ("failed", totals.failed),
        ("retried", totals.retried),
        ("deferred", totals.deferred),
        ("released", totals.released),
    ] {
        assert_eq!(
            value(&format!("redrive_messages_{name}_total")),
            total as f64
        );
    }
    let reasons = ["attempts_exhausted", "rejected", "undecodable"];
    assert_eq!(reasons.map(died), [1.0, 1.0, 1.0]);
    assert_eq!(totals.dead_lettered, 3);
    assert_eq!([died("crash_loop"), died("trimmed")], [0.0, 0.0]);

    let ended = totals.succeeded + totals.discarded + totals.dead_lettered;
    assert_eq!((ended, totals.discarded, totals.deferred), (21, 2, 1));
    assert_eq!(value("redrive_messages_read_total"), 21.0);
    // What is put off is taken over again; what is run again at once never left.
    let back = totals.deferred as f64;
    assert_eq!(value("redrive_messages_taken_over_total"), back);
    assert!(value("redrive_read_delay_seconds_count") >= 1.0);
    // Nothing is left of what only a run has.
    for level in ["messages_held", "handlers_running", "broker_failing"] {
        assert_eq!(value(&format!("redrive_{level}")), 0.0, "{level}");
    }
}

#[tokio::test]
async fn on_redis_each_end_is_counted_once_as_the_totals_have_it() {
    let rig = Rig::start().await;
    let (totals, shown) = all_ways(&rig.broker).await;
    check(totals, &shown);
}

#[tokio::test(start_paused = true)]
async fn within_the_process_each_end_is_counted_once_as_the_totals_have_it() {
    let broker = Broker::connect("memory:").await.unwrap();
    let (totals, shown) = all_ways(&broker).await;
    check(totals, &shown);
}
