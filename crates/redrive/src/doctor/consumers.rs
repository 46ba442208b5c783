//! What is wrong with the consumers of a group: they are left over, or do not agree.

use super::Patience;
use super::facts::{ConsumerFacts, GroupFacts, StreamFacts};
use super::finding::{Finding, FindingCode, Fix, Place, Severity, counted, millis, span};
use crate::names::Source;

/// What counts as silent unless said otherwise, in ms: an hour.
const USUAL_MS: u64 = 3_600_000;
/// From how many on consumers are left over by a leak, beside others that are at work, and alone.
const LEAK: usize = 10;
const LEAK_ALONE: usize = 100;

/// Consumers that are no more and hold nothing: one for each restart, if nobody removes them.
pub(super) fn leaked(
    facts: &StreamFacts,
    group: &GroupFacts,
    patience: &Patience,
) -> Option<Finding> {
    // Without knowing whose they are, one that lives could be taken for one that is gone.
    group.own.known()?;
    let silent_ms = millis(patience.silent);
    let consumers = group.consumers();
    let is_left = |one: &&ConsumerFacts| {
        one.pending == 0 && one.idle_ms >= silent_ms && !one.is_at_work(silent_ms)
    };
    let left: Vec<&ConsumerFacts> = consumers.iter().filter(is_left).collect();
    if left.is_empty() {
        return None;
    }
    let at_work = consumers.len() - left.len();
    let leak =
        left.len() >= LEAK_ALONE || (at_work > 0 && left.len() >= LEAK && left.len() > 2 * at_work);
    let (severity, why) = if leak {
        (
            Severity::Warning,
            "each restart under a new name leaves one, and commands that list them get slower",
        )
    } else {
        (
            Severity::Note,
            "they are gone, or wait on a quiet stream: removed by mistake they come back by themselves",
        )
    };
    let meaning = format!(
        "{} of {} hold nothing and have been silent for {} at least: {why}",
        left.len(),
        counted(consumers.len() as u64, "consumer", "consumers"),
        span(silent_ms)
    );
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    let place = Place::group(&facts.stream, &group.group);
    let fix = Fix::RemoveConsumers {
        source: Source {
            stream: facts.stream.clone(),
            group: group.group.clone(),
        },
        names: left.iter().map(|one| one.name.clone()).collect(),
        silent: patience.silent,
    };
    let mut cure = vec!["redrive", "doctor", stream, "-g", name];
    let silent = format!("{silent_ms}ms");
    if silent_ms != USUAL_MS {
        cure.extend(["--silent", &silent]);
    }
    cure.push("--fix");
    let found = Finding::new(FindingCode::LeakedConsumers, severity, place, meaning);
    Some(found.cure(cure).fix(fix))
}

/// Workers of redrive's that live and were started with different leases. Other limits are not
/// stored.
pub(super) fn clashing_limits(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    let living = group.consumers().iter().filter(|one| one.alive);
    let leases: Vec<(u64, &str)> = living
        .filter_map(|one| Some((one.lease_ms?, one.name.as_str())))
        .collect();
    let (shortest, longest) = (leases.iter().min()?, leases.iter().max()?);
    if shortest.0 == longest.0 {
        return None;
    }
    let meaning = format!(
        "redrive's workers in the group have different leases, {} ({}) to {} ({}): they were not started with the same \
         options, and a message has the limits of whoever takes it, so that its last attempt may be the first of one \
         and the third of another",
        span(shortest.0),
        shortest.1,
        span(longest.0),
        longest.1
    );
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    let lease = format!("{}ms", longest.0);
    let cure = [
        "redrive", "run", stream, "-g", name, "--lease", &lease, "--", "COMMAND",
    ];
    let place = Place::group(&facts.stream, &group.group);
    Some(
        Finding::new(
            FindingCode::ClashingLimits,
            Severity::Warning,
            place,
            meaning,
        )
        .cure(cure),
    )
}

/// Consumers of another kind beside redrive's, at work.
pub(super) fn foreign(
    facts: &StreamFacts,
    group: &GroupFacts,
    patience: &Patience,
) -> Option<Finding> {
    let (own, others): (Vec<_>, Vec<_>) = group
        .consumers()
        .iter()
        .filter(|one| one.is_at_work(millis(patience.silent)))
        .partition(|one| one.lease_ms.is_some());
    let first = others.first()?;
    if own.is_empty() {
        return None;
    }
    let meaning = format!(
        "{} in the group, such as {}, {} not redrive's: what they hold is not renewed, and is taken over after the \
         foreign lease; what they claim is not counted as redrive counts, and on 7.0 it is dropped unseen where it was \
         trimmed",
        counted(others.len() as u64, "consumer", "consumers"),
        first.name,
        if others.len() == 1 { "is" } else { "are" },
    );
    let place = Place::group(&facts.stream, &group.group);
    Some(Finding::new(
        FindingCode::ForeignConsumers,
        Severity::Note,
        place,
        meaning,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::Told;
    use crate::doctor::fixture::{MINUTE, PATIENCE, foreign as other, group, own, row, stream};

    const HOUR: u64 = 60 * MINUTE;

    #[test]
    fn many_that_are_silent_beside_few_at_work_are_a_leak() {
        let facts = stream(9, []);
        let judged = |silent: usize, at_work: usize| {
            let silent = (0..silent).map(|n| other(&format!("old{n}"), HOUR));
            let at_work = (0..at_work).map(|n| other(&format!("new{n}"), 0));
            let group = group("g", 9).with(silent.chain(at_work));
            leaked(&facts, &group, &PATIENCE).map(|found| found.severity)
        };
        assert_eq!(judged(0, 3), None);
        assert_eq!(judged(1, 3), Some(Severity::Note));
        assert_eq!(judged(10, 4), Some(Severity::Warning));
        assert_eq!(judged(10, 5), Some(Severity::Note));
        // A quiet stream with its workers waiting.
        assert_eq!(judged(16, 0), Some(Severity::Note));
        assert_eq!(judged(100, 0), Some(Severity::Warning));
    }

    #[test]
    fn only_who_holds_nothing_and_is_gone_is_removed() {
        let gone = ConsumerFacts {
            idle_ms: HOUR,
            alive: false,
            ..own("gone")
        };
        let waits = ConsumerFacts {
            idle_ms: HOUR,
            ..own("waits")
        };
        let fresh = other("fresh", HOUR - 1);
        let mut group = group("g", 9)
            .with([gone, waits, fresh, other("holds", HOUR), other("old", HOUR)])
            .holding([row(1, "holds", HOUR, 1)]);
        let found = leaked(&stream(9, []), &group, &PATIENCE).unwrap();
        let Some(Fix::RemoveConsumers { names, .. }) = found.fix else {
            panic!("{found:?}");
        };
        assert_eq!(names, ["gone", "old"]);
        group.own = Told::No("no".to_owned());
        assert_eq!(leaked(&stream(9, []), &group, &PATIENCE), None);
    }

    #[test]
    fn leases_clash_only_among_the_living() {
        let lease = |name: &str, lease_ms, alive| ConsumerFacts {
            lease_ms: Some(lease_ms),
            alive,
            ..own(name)
        };
        let judged = |consumers: Vec<ConsumerFacts>| {
            clashing_limits(&stream(9, []), &group("g", 9).with(consumers)).is_some()
        };
        assert!(judged(vec![
            lease("a", 5_000, true),
            lease("b", 30_000, true)
        ]));
        assert!(!judged(vec![
            lease("a", 5_000, false),
            lease("b", 30_000, true)
        ]));
        assert!(!judged(vec![
            lease("a", 30_000, true),
            lease("b", 30_000, true)
        ]));
        assert!(!judged(vec![own("a"), other("p", 0)]));
    }

    #[test]
    fn strangers_are_told_only_beside_redrive() {
        let judged = |consumers: Vec<ConsumerFacts>| {
            foreign(&stream(9, []), &group("g", 9).with(consumers), &PATIENCE)
        };
        let found = judged(vec![own("a"), other("p", 0)]).unwrap();
        assert_eq!(found.severity, Severity::Note);
        assert_eq!(judged(vec![other("p", 0), other("q", 0)]), None);
        assert_eq!(judged(vec![own("a"), other("p", HOUR)]), None);
    }
}
