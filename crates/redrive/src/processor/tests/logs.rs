//! What is logged: every change of state once, however long it lasts.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Log, SECOND};

/// Keeps what is logged at `info` and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

/// What a scenario logs. It is run once before: a place that logs for the first time while
/// another test does the same may be remembered as one that nobody listens to.
async fn logged(scenario: impl AsyncFn()) -> Vec<String> {
    scenario().await;
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    tracing::callsite::rebuild_interest_cache();
    scenario().await;
    let mut logged = lines.0.lock().unwrap();
    std::mem::take(&mut logged)
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
