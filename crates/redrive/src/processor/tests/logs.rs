//! What is logged: every change of state once, however long it lasts.

use tokio::time::sleep;

use super::doubles::{Verb, Wrong};
use super::faults::labs;
use super::{Log, SECOND};

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
