//! What is wrong with what is pending: it is gone, nobody reaches it, nobody comes back to it, or it
//! is taken from who still works on it.

use std::collections::BTreeMap;

use super::Patience;
use super::facts::{ConsumerFacts, GroupFacts, Row, StreamFacts};
use super::finding::{Finding, FindingCode, Place, Severity, entries, millis, span};

/// How far the loops that most people write look from the first pending entry on.
const HEAD: usize = 100;
/// How many leases what one of redrive's consumers had may lie about: others take it over after one.
const LEASES: u64 = 2;
/// After how many deliveries a message is given to one after another to no end.
const DELIVERIES: u64 = 5;
/// How many ids a command names, and how many consumers are told one by one.
const NAMED: usize = 5;
const TOLD: usize = 20;

/// Pending entries that are not in the stream any more.
pub(super) fn ghosts(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    let trimmed = group.rows().iter().map(|row| row.id);
    let mut gone: Vec<_> = trimmed.filter(|id| facts.is_trimmed(*id)).collect();
    gone.extend(&group.deleted);
    gone.sort_unstable();
    gone.dedup();
    let first = gone.first()?;
    let by_redrive = group.consumers().iter().any(|consumer| consumer.alive);
    let (severity, then) = if by_redrive {
        (
            Severity::Warning,
            "redrive's workers put a tombstone into the dead-letter queue for each",
        )
    } else {
        (
            Severity::Critical,
            "whoever takes them over is given nothing, or drops them without a word",
        )
    };
    let meaning = format!(
        "{} that were delivered and not acknowledged are not in the stream any more, from {first} on: trimmed or \
         deleted before they were done, their payload lost; {then}. Trim to what every group has acknowledged",
        entries(gone.len() as u64)
    );
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    let mut cure = ["redis-cli", "XACK", stream, name]
        .map(str::to_owned)
        .to_vec();
    cure.extend(gone.iter().take(NAMED).map(ToString::to_string));
    let place = Place::group(&facts.stream, &group.group);
    Some(Finding::new(FindingCode::Ghosts, severity, place, meaning).cure(cure))
}

/// A head that is claimed over and over, and a tail behind it that nobody looks at: a loop that
/// begins with the first entry each time.
pub(super) fn unreachable_tail(
    facts: &StreamFacts,
    group: &GroupFacts,
    patience: &Patience,
) -> Option<Finding> {
    // Its own keep their place in the list.
    if group.consumers().iter().any(|consumer| consumer.alive) {
        return None;
    }
    let (head, tail) = group.rows().split_at_checked(HEAD)?;
    let old = |row: &&Row| row.idle_ms >= millis(patience.foreign_lease);
    let claimed = head.iter().filter(|row| !old(row) && row.deliveries > 1);
    let claimed = claimed.count();
    let left = tail.iter().filter(old);
    let (mut many, mut longest, mut first) = (0, 0, None);
    for row in left {
        many += 1;
        longest = longest.max(row.idle_ms);
        first = first.or(Some(row.id));
    }
    let first = first?;
    if claimed < HEAD / 2 {
        return None;
    }
    let meaning = format!(
        "of the first {HEAD} pending entries {claimed} are claimed again and again, and {} behind them, from {first} \
         on, lie untouched for up to {}: whoever takes over begins with the first each time (XPENDING or XAUTOCLAIM \
         without the cursor of the call before), and never gets there",
        entries(many),
        span(longest)
    );
    let place = Place::group(&facts.stream, &group.group);
    let found = Finding::new(
        FindingCode::UnreachableTail,
        Severity::Critical,
        place,
        meaning,
    );
    Some(found.cure(worker(facts, group)))
}

/// Work that is held by who is no more, or by who does not come back to it.
pub(super) fn held(facts: &StreamFacts, group: &GroupFacts, patience: &Patience) -> Vec<Finding> {
    let mut by_consumer: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in group.rows() {
        by_consumer.entry(&row.consumer).or_default().push(row);
    }
    let judged = by_consumer.iter().filter_map(|(name, rows)| {
        let consumer = group.consumer(name)?;
        held_by(facts, group, consumer, rows, patience)
    });
    let mut found: Vec<Finding> = judged.collect();
    if found.len() > TOLD {
        let more = found.split_off(TOLD).len();
        let place = Place::group(&facts.stream, &group.group);
        let meaning = format!("{more} more consumers hold work that nobody does");
        found.push(
            Finding::new(FindingCode::DeadConsumer, Severity::Warning, place, meaning)
                .cure(worker(facts, group)),
        );
    }
    found
}

fn held_by(
    facts: &StreamFacts,
    group: &GroupFacts,
    consumer: &ConsumerFacts,
    rows: &[&Row],
    patience: &Patience,
) -> Option<Finding> {
    let foreign_ms = millis(patience.foreign_lease);
    let limit = match consumer.lease_ms {
        // It renews, or cannot: another finding.
        Some(_) if consumer.alive => return None,
        Some(lease_ms) => lease_ms.saturating_mul(LEASES),
        None => foreign_ms,
    };
    let overdue = rows.iter().filter(|row| row.idle_ms >= limit);
    let (many, longest) = overdue.fold((0, 0), |(many, longest), row| {
        (many + 1, row.idle_ms.max(longest))
    });
    if many == 0 {
        return None;
    }
    let (what, longest) = (entries(many), span(longest));
    let place = Place::group(&facts.stream, &group.group).consumer(&consumer.name);
    if consumer.lease_ms.is_none() && consumer.idle_ms < foreign_ms {
        let meaning = format!(
            "the consumer is at work, and holds {what} for up to {longest} without an acknowledgement: it reads new \
             ones only and does not come back to these, or its handler takes that long"
        );
        let found = Finding::new(FindingCode::StuckEntries, Severity::Warning, place, meaning);
        return Some(found.cure(worker(facts, group)));
    }
    let others = group
        .consumers()
        .iter()
        .any(|other| other.name != consumer.name && other.is_at_work(foreign_ms));
    let (severity, then) = if others {
        (Severity::Warning, "nobody has taken them over")
    } else {
        (
            Severity::Critical,
            "nobody else is at work in the group to take them over",
        )
    };
    let meaning =
        format!("the consumer gives no sign of life and holds {what} for up to {longest}; {then}");
    let found = Finding::new(FindingCode::DeadConsumer, severity, place, meaning);
    Some(found.cure(worker(facts, group)))
}

/// A consumer of redrive's that lives, and does not renew what it holds within its lease.
pub(super) fn short_lease(facts: &StreamFacts, group: &GroupFacts) -> Vec<Finding> {
    let living = group.consumers().iter().filter(|consumer| consumer.alive);
    let judged = living.filter_map(|consumer| {
        let lease_ms = consumer.lease_ms?;
        let held = group.rows().iter().filter(|row| row.consumer == consumer.name);
        let longest = held.map(|row| row.idle_ms).max()?;
        if longest < lease_ms.saturating_mul(LEASES) {
            return None;
        }
        let meaning = format!(
            "the consumer lives, and what it holds was not renewed for {}, at a lease of {}: it is stopped for longer \
             than that, or its renewals do not get through, and others run its messages a second time",
            span(longest),
            span(lease_ms)
        );
        let place = Place::group(&facts.stream, &group.group).consumer(&consumer.name);
        let lease = format!("{}s", longest.saturating_mul(LEASES).div_ceil(1_000));
        let (stream, name) = (facts.stream.as_str(), group.group.as_str());
        let cure = [
            "redrive", "run", stream, "-g", name, "--lease", &lease, "--", "COMMAND",
        ];
        Some(Finding::new(FindingCode::ShortLease, Severity::Warning, place, meaning).cure(cure))
    });
    judged.take(TOLD).collect()
}

/// Messages that go from one living consumer to the next: claimed before the one is done.
pub(super) fn claimed_early(
    facts: &StreamFacts,
    group: &GroupFacts,
    patience: &Patience,
) -> Option<Finding> {
    // With redrive in the group, it counts failures and crashes, and ends it.
    if group
        .consumers()
        .iter()
        .any(|consumer| consumer.lease_ms.is_some())
    {
        return None;
    }
    let foreign_ms = millis(patience.foreign_lease);
    let at_work = |row: &&Row| {
        let consumer = group.consumer(&row.consumer);
        consumer.is_some_and(|consumer| consumer.idle_ms < foreign_ms)
    };
    let again = group
        .rows()
        .iter()
        .filter(|row| row.deliveries >= DELIVERIES && row.idle_ms < foreign_ms && at_work(row));
    let (many, most) = again.fold((0, 0), |(many, most), row| {
        (many + 1, row.deliveries.max(most))
    });
    if many == 0 {
        return None;
    }
    let meaning = format!(
        "{} were delivered up to {most} times to consumers that live, and are not done: the idle time after which they \
         are claimed is shorter than their handler runs, so that it runs again beside itself; or it fails each time, \
         and nothing gives up",
        entries(many)
    );
    let place = Place::group(&facts.stream, &group.group);
    let found = Finding::new(FindingCode::ShortLease, Severity::Warning, place, meaning);
    Some(found.cure(worker(facts, group)))
}

/// A worker of redrive's, which reaches and ends all of it.
fn worker<'a>(facts: &'a StreamFacts, group: &'a GroupFacts) -> [&'a str; 7] {
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    ["redrive", "run", stream, "-g", name, "--", "COMMAND"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fixture::{MINUTE, PATIENCE, foreign, group, id, own, row, stream};

    #[test]
    fn ghosts_are_what_was_trimmed_or_deleted_and_nothing_else() {
        let held = [row(3, "p", 0, 1), row(5, "p", 0, 1), row(7, "p", 0, 1)];
        let mut ill = group("g", 9).with([foreign("p", 0)]).holding(held);
        let mut facts = stream(9, []);
        assert_eq!(ghosts(&facts, &ill), None);
        facts.first = Some(id(5));
        let found = ghosts(&facts, &ill).unwrap();
        assert_eq!(found.severity, Severity::Critical);
        assert_eq!(
            found.cure.unwrap(),
            ["redis-cli", "XACK", "orders", "g", "3-0"]
        );
        ill.deleted = vec![id(7)];
        let found = ghosts(&facts, &ill).unwrap();
        assert!(found.meaning.starts_with("2 entries"), "{}", found.meaning);
        // An empty stream has none of them.
        facts.first = None;
        assert!(
            ghosts(&facts, &ill)
                .unwrap()
                .meaning
                .starts_with("3 entries")
        );
        let tended = ill.with([own("p")]);
        assert_eq!(ghosts(&facts, &tended).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn a_tail_is_unreachable_where_the_head_is_claimed_over_and_over() {
        let facts = stream(300, []);
        let rows = |head: (u64, u64), tail: u64| {
            (1..=150).map(move |n| match n {
                1..=100 => row(n, "p", head.0, head.1),
                n => row(n, "p", tail, 1),
            })
        };
        let judged = |consumer, head, tail| {
            let group = group("g", 200).with([consumer]).holding(rows(head, tail));
            unreachable_tail(&facts, &group, &PATIENCE)
        };
        let found = judged(foreign("p", 0), (MINUTE, 9), 60 * MINUTE).unwrap();
        assert!(
            found
                .meaning
                .contains("50 entries behind them, from 101-0 on")
        );
        // New work of a busy group; a head as old as its tail; a tail as fresh as its head; redrive.
        assert_eq!(judged(foreign("p", 0), (MINUTE, 1), 60 * MINUTE), None);
        assert_eq!(judged(foreign("p", 0), (60 * MINUTE, 9), 60 * MINUTE), None);
        assert_eq!(judged(foreign("p", 0), (MINUTE, 9), MINUTE), None);
        assert_eq!(judged(own("p"), (MINUTE, 9), 60 * MINUTE), None);
        let short = group("g", 200).holding([row(1, "p", 0, 9)]);
        assert_eq!(unreachable_tail(&facts, &short, &PATIENCE), None);
    }

    #[test]
    fn who_holds_work_and_is_silent_is_dead_and_who_is_not_silent_is_stuck() {
        let facts = stream(9, []);
        let judged = |consumers: Vec<ConsumerFacts>, idle| {
            let group = group("g", 9)
                .with(consumers)
                .holding([row(1, "a", idle, 1)]);
            let found = held(&facts, &group, &PATIENCE);
            found.first().map(|one| (one.code, one.severity))
        };
        let (dead, stuck) = (FindingCode::DeadConsumer, FindingCode::StuckEntries);
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        let hour = 60 * MINUTE;
        assert_eq!(judged(vec![foreign("a", 0)], 4 * MINUTE), None);
        assert_eq!(
            judged(vec![foreign("a", 0)], 5 * MINUTE),
            Some((stuck, warning))
        );
        assert_eq!(
            judged(vec![foreign("a", hour)], hour),
            Some((dead, critical))
        );
        let beside = vec![foreign("a", hour), foreign("b", 0)];
        assert_eq!(judged(beside, hour), Some((dead, warning)));
        let gone = || ConsumerFacts {
            alive: false,
            ..own("a")
        };
        assert_eq!(judged(vec![gone()], MINUTE - 1), None);
        assert_eq!(judged(vec![gone()], MINUTE), Some((dead, critical)));
        assert_eq!(
            judged(vec![gone(), own("b")], MINUTE),
            Some((dead, warning))
        );
        // What lives renews, or is judged as such.
        assert_eq!(judged(vec![own("a")], hour), None);
    }

    #[test]
    fn of_very_many_dead_consumers_the_rest_is_counted() {
        let names: Vec<String> = (0..TOLD + 7).map(|n| format!("c{n:02}")).collect();
        let consumers = names.iter().map(|name| foreign(name, 60 * MINUTE));
        let rows = names
            .iter()
            .zip(1..)
            .map(|(name, n)| row(n, name, 60 * MINUTE, 1));
        let group = group("g", 99).with(consumers).holding(rows);
        let found = held(&stream(99, []), &group, &PATIENCE);
        assert_eq!(found.len(), TOLD + 1);
        assert!(found[TOLD].meaning.starts_with("7 more"));
    }

    #[test]
    fn a_lease_is_short_where_the_living_do_not_renew_within_it() {
        let facts = stream(9, []);
        let judged = |consumer, idle| {
            let group = group("g", 9)
                .with([consumer])
                .holding([row(1, "a", idle, 1)]);
            short_lease(&facts, &group)
        };
        assert!(judged(own("a"), MINUTE - 1).is_empty());
        let found = judged(own("a"), MINUTE).remove(0);
        assert_eq!(found.code, FindingCode::ShortLease);
        assert!(found.cure.unwrap().contains(&"120s".to_owned()));
        assert!(judged(foreign("a", 0), 60 * MINUTE).is_empty());
    }

    #[test]
    fn what_the_living_hand_to_each_other_is_claimed_too_early() {
        let facts = stream(9, []);
        let judged = |consumer, deliveries| {
            let group = group("g", 9)
                .with([consumer])
                .holding([row(1, "a", 0, deliveries)]);
            claimed_early(&facts, &group, &PATIENCE).is_some()
        };
        assert!(judged(foreign("a", 0), 5));
        assert!(!judged(foreign("a", 0), 4));
        assert!(!judged(foreign("a", 60 * MINUTE), 5));
        assert!(!judged(own("a"), 5));
    }
}
