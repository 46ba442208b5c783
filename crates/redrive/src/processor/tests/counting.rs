//! What the metrics say of the state of a run, and of time, which is the runtime's.

use std::future::{pending, ready};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::time::sleep;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Lab, Log, SECOND};
use crate::message::Message;
use crate::outcome::Outcome;

/// What a recorder shows under a name; nothing is shown under others that begin likewise.
fn shown(recorder: &PrometheusRecorder, name: &str) -> f64 {
    let text = recorder.handle().render();
    let begin = format!("{name}{{");
    let line = text.lines().find(|line| line.starts_with(&begin)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_counted_once_and_shown_while_it_lasts() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (_, healthy, lab, faults) = labs();
    healthy.send(20).await;
    let outage = async {
        for verb in Verb::ALL {
            faults.always(verb, Wrong::NeverArrives);
        }
        sleep(300 * SECOND).await;
        let during = shown(&recorder, "redrive_broker_failing");
        faults.heal();
        during
    };
    let mut worker = lab.worker().build(Log::new().noting()).unwrap();
    let (ended, during) = tokio::join!(worker.run_until_idle(), outage);
    assert_eq!(ended.unwrap().succeeded, 20);
    assert_eq!(during, 1.0);
    assert_eq!(shown(&recorder, "redrive_broker_failing"), 0.0);
    assert_eq!(shown(&recorder, "redrive_broker_outages_total"), 1.0);
    assert_eq!(shown(&recorder, "redrive_messages_succeeded_total"), 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_timed_by_the_clock_of_the_runtime_also_where_it_waits() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let lab = Lab::with(3).await;
    let mut worker = lab
        .worker()
        .build(async |message: Message<u32>| sleep(*message * SECOND).await)
        .unwrap();
    worker.run_until_idle().await.unwrap();
    let of = |what: &str| {
        shown(
            &recorder,
            &format!("redrive_handler_duration_seconds_{what}"),
        )
    };
    assert_eq!(of("count"), 3.0);
    // 0, 1 and 2 seconds, each at most a tick of the timer late.
    assert!((3.0..3.01).contains(&of("sum")), "{}", of("sum"));
}

#[tokio::test(start_paused = true)]
async fn the_breaker_is_counted_when_it_opens_and_shown_while_it_is_open() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let lab = Lab::with(200).await;
    let start = tokio::time::Instant::now();
    let looks = async {
        sleep(30 * SECOND).await;
        (
            shown(&recorder, "redrive_breaker_open"),
            shown(&recorder, "redrive_messages_held"),
        )
    };
    let mut worker = lab
        .worker()
        .build(move |_: Message<u32>| {
            ready(match start.elapsed() < 60 * SECOND {
                true => Outcome::retry("no route"),
                false => Outcome::Ack,
            })
        })
        .unwrap();
    let (ended, (open, held)) = tokio::join!(worker.run_until_idle(), looks);
    let totals = ended.unwrap();
    assert_eq!(open, 1.0);
    assert!(held <= 1.0, "{held}");
    assert_eq!(shown(&recorder, "redrive_breaker_open"), 0.0);
    assert!(shown(&recorder, "redrive_breaker_opened_total") >= 1.0);
    let counted = |what: &str| shown(&recorder, &format!("redrive_messages_{what}_total")) as u64;
    assert_eq!(counted("failed"), totals.failed);
    assert_eq!(counted("released"), totals.released);
    assert_eq!(counted("succeeded"), totals.succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_leaves_nothing_in_the_gauges() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let lab = Lab::with(5).await;
    let mut worker = lab
        .worker()
        .build(async |_: Message<u32>| pending::<()>().await)
        .unwrap();
    let run = tokio::time::timeout(SECOND, worker.run_until_idle());
    let looks = async {
        sleep(SECOND / 2).await;
        shown(&recorder, "redrive_handlers_running")
    };
    let (dropped, running) = tokio::join!(run, looks);
    assert!(dropped.is_err());
    assert_eq!(running, 5.0);
    // Its task ends when the runtime next has the time.
    sleep(SECOND).await;
    assert_eq!(shown(&recorder, "redrive_handlers_running"), 0.0);
    assert_eq!(shown(&recorder, "redrive_messages_held"), 0.0);
}
