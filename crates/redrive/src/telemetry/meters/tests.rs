//! The page of the metrics, and what reaches a recorder.

use std::path::Path;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use super::*;

fn source() -> Arc<Source> {
    Arc::new(Source::new("orders", "billing").unwrap())
}

/// The value that a recorder shows under this name, with this beside it.
fn shown(recorder: &PrometheusRecorder, name: &str, beside: &str) -> Option<String> {
    let text = recorder.handle().render();
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('{') && rest.contains(beside))
    })?;
    line.rsplit_once(' ').map(|(_, value)| value.to_owned())
}

#[test]
fn what_is_counted_reaches_the_recorder_under_its_own_name_when_it_is_handed_over() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let meters = metrics::with_local_recorder(&recorder, || Meters::new(source()));
    let mut pending = Pending::default();
    for (many, it) in (1..).zip(Counted::ALL) {
        pending.add(*it, many);
        pending.add(*it, many);
    }
    for (many, reason) in (1..).zip(Reason::ALL) {
        (0..many).for_each(|_| pending.died(reason));
    }
    let value = |it: &Counted| shown(&recorder, it.name(), "group=\"billing\"").unwrap();
    assert!(Counted::ALL.iter().all(|it| value(it) == "0"));
    pending.hand_over(&meters);
    // Once.
    pending.hand_over(&meters);
    for (many, it) in (1_u64..).zip(Counted::ALL) {
        assert_eq!(value(it), (2 * many).to_string(), "{it:?}");
    }
    for (many, reason) in (1_u64..).zip(Reason::ALL) {
        let beside = format!("reason=\"{}\"", reason.as_str());
        let died = shown(&recorder, DEAD_LETTERED.0, &beside);
        assert_eq!(died, Some(many.to_string()), "{reason:?}");
    }
}

#[test]
fn runs_share_a_gauge_and_take_their_share_back() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let meters = metrics::with_local_recorder(&recorder, || Meters::new(source()));
    for it in Level::ALL {
        let value = || shown(&recorder, it.name(), "stream=\"orders\"").unwrap();
        let (mut one, mut two) = (meters.share(*it), meters.share(*it));
        one.set(3);
        two.set(5);
        one.set(1);
        assert_eq!(value(), "6", "{it:?}");
        drop(one);
        assert_eq!(value(), "5");
        drop(two);
        assert_eq!(value(), "0");
    }
}

/// docs/metrics.md has a row for each, in the order in which they are declared, in the words of the declaration.
#[test]
fn the_page_of_metrics_has_what_is_declared() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<String> = page
        .lines()
        .filter(|line| line.starts_with("| `redrive_"))
        .map(|line| line.split(" | ").take(3).collect::<Vec<_>>().join(" | "))
        .collect();
    let row = |name: &str, kind: &str, what: &str| format!("| `{name}` | {kind} | {what}");
    let mut declared: Vec<String> = Vec::new();
    declared.extend(
        Counted::ALL
            .iter()
            .map(|it| row(it.name(), "counter", it.what())),
    );
    declared.push(row(DEAD_LETTERED.0, "counter", DEAD_LETTERED.1));
    declared.extend(
        Level::ALL
            .iter()
            .map(|it| row(it.name(), "gauge", it.what())),
    );
    declared.extend(
        Timed::ALL
            .iter()
            .map(|it| row(it.name(), "histogram", it.what())),
    );
    assert_eq!(rows, declared);
}

#[test]
fn names_are_as_prometheus_has_them() {
    let counters = Counted::ALL.iter().map(|it| it.name());
    for name in counters.chain([DEAD_LETTERED.0]) {
        assert!(
            name.starts_with("redrive_") && name.ends_with("_total"),
            "{name}"
        );
    }
    for name in Level::ALL.iter().map(|it| it.name()) {
        assert!(
            name.starts_with("redrive_") && !name.ends_with("_total"),
            "{name}"
        );
    }
    for name in Timed::ALL.iter().map(|it| it.name()) {
        assert!(
            name.starts_with("redrive_") && name.ends_with("_seconds"),
            "{name}"
        );
    }
}
