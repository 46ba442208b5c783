//! What is logged: every change of state once, however long it lasts.

use std::future::ready;

use tokio::time::sleep;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Lab, Log, SECOND};
use crate::message::Message;
use crate::names::Source;
use crate::outcome::Outcome;
use crate::retry::RetryPolicy;

/// What a scenario logs at `info` and above. It is run once before: a place that logs for the first
/// time while another test does the same may be remembered as one that nobody listens to.
pub(super) async fn logged(scenario: impl AsyncFn()) -> Vec<String> {
    scenario().await;
    let (log, _listening) = redrive_testkit::Log::listen();
    scenario().await;
    let mut lines = log.lines();
    lines.retain(|line| !line.starts_with("DEBUG") && !line.starts_with("TRACE"));
    lines
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends() {
    let lines = logged(async || {
        let (_, healthy, lab, faults) = labs();
        healthy.send(20).await;
        let outage = async {
            for verb in Verb::ALL {
                faults.always(verb, Wrong::NeverArrives);
            }
            sleep(300 * SECOND).await;
            faults.heal();
        };
        let mut worker = lab.worker().build(Log::new().noting()).unwrap();
        let (ended, ()) = tokio::join!(worker.run_until_idle(), outage);
        assert_eq!(ended.unwrap().succeeded, 20);
    })
    .await;
    let how_many = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(how_many("WARN"), 1, "{lines:#?}");
    assert_eq!(how_many("broker fails"), 1);
    assert_eq!(how_many("broker answers again"), 1);
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_logged_with_its_error_and_without_its_payload() {
    let lines = logged(async || {
        let (_, _, lab, _) = labs();
        lab.producer.send(&"a secret").await.unwrap();
        let mut worker = lab.worker().build(Log::new().noting()).unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().dead_lettered, 1);
    })
    .await;
    let warned: Vec<_> = lines.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warned.len(), 1, "{lines:#?}");
    assert!(warned[0].contains("reason=\"undecodable\""), "{warned:?}");
    assert!(warned[0].contains("valid JSON of another shape"));
    assert!(lines.iter().all(|line| !line.contains("a secret")));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_run_is_one_line_when_it_begins_and_one_when_it_is_over() {
    let lines = logged(async || {
        let lab = Lab::with(60).await;
        let seen = Log::new();
        let mut worker = lab
            .worker()
            .build(move |message: Message<u32>| {
                seen.note(&message);
                ready(match seen.start.elapsed() < 90 * SECOND {
                    true => Outcome::unavailable("no such program"),
                    false => Outcome::Ack,
                })
            })
            .unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 60);
    })
    .await;
    let cannot = "handler cannot run";
    assert!(
        lines[1].starts_with("WARN") && lines[1].contains(cannot),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains(r#"reason="no such program""#),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("INFO") && lines[2].contains("runs again"),
        "{lines:#?}"
    );
    // With the start and the end of the run.
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_one_short_line_and_a_success_none() {
    let lines = logged(async || {
        let lab = Lab::with(2).await;
        let mut worker = lab
            .worker()
            .build(|message: Message<u32>| {
                ready(match (*message, message.attempt()) {
                    (0, 1) => Outcome::retry("é".repeat(300)),
                    _ => Outcome::Ack,
                })
            })
            .unwrap();
        assert_eq!(worker.run_until_idle().await.unwrap().succeeded, 2);
    })
    .await;
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[1].starts_with("INFO") && lines[1].contains("failed, will be run again"));
    let error = format!("error=\"{}\"", "é".repeat(100));
    assert!(lines[1].contains(&error), "{}", lines[1]);
}

/// The names and texts of others, with all that steers a terminal in them.
#[tokio::test(start_paused = true)]
async fn what_others_wrote_reaches_no_terminal_raw() {
    const EVIL: &str = "a\nb\r\u{1b}[2Jc\u{9b}d\u{7f}e";
    let lines = logged(async || {
        let (_, _, mut lab, faults) = labs();
        lab.source = Source::new(EVIL, EVIL).unwrap();
        lab.producer = lab.broker.producer(lab.source.stream.clone());
        lab.send(6).await;
        faults.next(Verb::Join, [Wrong::NeverArrives]);
        faults.next(Verb::Settle, [Wrong::NeverArrives]);
        let mut worker = lab
            .worker()
            .retry(RetryPolicy::immediate().max_attempts(2))
            .build(|message: Message<u32>| async move {
                match (*message, message.attempt()) {
                    (0, 1) => Outcome::retry(EVIL),
                    (1, _) => Outcome::dead_letter(EVIL),
                    (2, _) => Outcome::discard(EVIL),
                    (3, _) => Outcome::retry(EVIL),
                    (4, 1) => std::panic::panic_any(EVIL.to_owned()),
                    (5, 1) if message.age() < SECOND / 10 => Outcome::unavailable(EVIL),
                    _ => Outcome::Ack,
                }
            })
            .unwrap();
        worker.run_until_idle().await.unwrap();
    })
    .await;
    for what in [
        "again",
        "dead letter",
        "discarded",
        "cannot run",
        "broker fails",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(what)),
            "{what}: {lines:#?}"
        );
    }
    for line in &lines {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
