//! What is wrong with where a group stands: ahead of what comes, past what it was never given, or so
//! far behind that nothing can be trimmed.

use super::Patience;
use super::facts::{GroupFacts, Lag, StreamFacts, Told};
use super::finding::{Finding, FindingCode, Place, Severity, entries, millis, span};

/// How many ids a command names.
const NAMED: usize = 5;

/// A group that stands behind the last id: what is added up to there it is never given.
pub(super) fn ahead(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    if group.last_delivered <= facts.last {
        return None;
    }
    let meaning = format!(
        "the group stands at {}, ahead of the last id of the stream, {}: what is added up to there it is never given, \
         without a word. Set to 0 it is given all that the stream holds, again",
        group.last_delivered, facts.last
    );
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    let place = Place::group(&facts.stream, &group.group);
    let found = Finding::new(FindingCode::GroupAhead, Severity::Critical, place, meaning);
    Some(found.cure(["redis-cli", "XGROUP", "SETID", stream, name, "0"]))
}

/// A group that nobody has used yet, and that stands past entries of the stream.
pub(super) fn unread(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    let unused = group.counts == Some(false)
        && !group.marked
        && group.pending == 0
        && group.consumers.known().is_some_and(Vec::is_empty);
    let first = facts.first.filter(|first| *first <= group.last_delivered)?;
    if !unused || group.last_delivered > facts.last {
        return None;
    }
    let meaning = format!(
        "the group stands at {}, and nothing says that it was ever given the entries from {first} up to there: it was \
         created behind them, or moved by XGROUP SETID. Redis does not keep what was acknowledged",
        group.last_delivered
    );
    let place = Place::group(&facts.stream, &group.group);
    Some(Finding::new(
        FindingCode::UnreadEntries,
        Severity::Note,
        place,
        meaning,
    ))
}

/// Messages that redrive had begun with and did not end, that are in the stream and not pending.
pub(super) fn unsettled(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    let place = Place::group(&facts.stream, &group.group);
    let ids = match &group.unsettled {
        Told::Yes(ids) => ids,
        Told::No(why) => {
            let what = "whether entries are neither pending nor done";
            return Some(Finding::not_checked(place, what, why));
        }
    };
    let first = ids.first()?;
    let foreign = group.consumers().iter().any(|one| one.lease_ms.is_none());
    let severity = if foreign {
        // They may have taken over and acknowledged them, which is their right.
        Severity::Note
    } else {
        Severity::Warning
    };
    let meaning = format!(
        "{} that redrive has begun with and not ended, from {first} on, are in the stream and not pending: somebody \
         else acknowledged them, or XGROUP DELCONSUMER removed them with their consumer, and then they are never run. \
         Made pending again they are",
        entries(ids.len() as u64)
    );
    let (stream, name) = (facts.stream.as_str(), group.group.as_str());
    let words = ["redis-cli", "XCLAIM", stream, name, "redrive-doctor", "0"];
    let mut cure = words.map(str::to_owned).to_vec();
    cure.extend(ids.iter().take(NAMED).map(ToString::to_string));
    cure.extend(["IDLE", "86400000", "FORCE", "JUSTID"].map(str::to_owned));
    Some(Finding::new(FindingCode::UnsettledEntries, severity, place, meaning).cure(cure))
}

/// A lag that cannot be, or that nobody knows: what watches it is misled.
pub(super) fn lag(facts: &StreamFacts, group: &GroupFacts) -> Option<Finding> {
    let at_the_end = group.last_delivered >= facts.last;
    let meaning = match group.lag {
        Lag::NotTold => return None,
        Lag::Unknown if at_the_end => return None,
        Lag::Unknown => "the server does not know the lag of the group: it lost count when entries in the middle were \
             deleted, or the group was set to one of them. It knows again once the group is at the end"
            .to_owned(),
        Lag::Count(lag) if at_the_end && lag > 0 => format!(
            "the server says a lag of {lag}, and the group has been given all there is: it miscounts after trimming"
        ),
        Lag::Count(lag) if lag > facts.length => format!(
            "the server says a lag of {lag}, and the stream holds {}: it miscounts after trimming",
            entries(facts.length)
        ),
        Lag::Count(_) => return None,
    };
    let place = Place::group(&facts.stream, &group.group);
    let cure = [
        "redrive",
        "stats",
        facts.stream.as_str(),
        "-g",
        group.group.as_str(),
    ];
    Some(Finding::new(FindingCode::Lag, Severity::Note, place, meaning).cure(cure))
}

/// Groups that nobody reads, and that hold back what all others have done with.
pub(super) fn leaked_groups(facts: &StreamFacts, patience: &Patience) -> Vec<Finding> {
    // What the others have done with is known only where all are.
    if facts.groups.len() as u64 != facts.all_groups {
        return Vec::new();
    }
    let judged = facts.groups.iter().filter_map(|group| {
        let others = facts.groups.iter().filter(|other| other.group != group.group);
        let next = others.map(GroupFacts::reach).min()?;
        let silent_ms = millis(patience.silent);
        let left = group.consumers.known().is_some_and(|consumers| {
            !consumers.iter().any(|one| one.is_at_work(silent_ms))
        });
        let oldest = group.rows().first().map(|row| row.idle_ms).max(group.unread_ms)?;
        if group.reach() >= next || !left || oldest < silent_ms {
            return None;
        }
        let meaning = format!(
            "nobody is at work in the group, and it has not done with {} and what follows, for {} at least; every other \
             group has come to {next}. No entry from there on can be trimmed. If nobody comes back to the group, delete it; \
             else work in it",
            group.reach(),
            span(oldest)
        );
        let (stream, name) = (facts.stream.as_str(), group.group.as_str());
        let place = Place::group(&facts.stream, &group.group);
        let found = Finding::new(FindingCode::LeakedGroup, Severity::Warning, place, meaning);
        Some(found.cure(["redrive", "group", "delete", stream, "-g", name]))
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::ConsumerFacts;
    use crate::doctor::fixture::{MINUTE, PATIENCE, foreign, group, id, own, row, stream};

    #[test]
    fn a_group_is_ahead_only_beyond_the_last_id() {
        assert_eq!(ahead(&stream(9, []), &group("g", 9)), None);
        let found = ahead(&stream(9, []), &group("g", 10)).unwrap();
        assert_eq!(found.severity, Severity::Critical);
    }

    #[test]
    fn entries_are_unread_where_a_new_group_stands_past_them() {
        let facts = stream(9, []);
        let mut new = group("g", 9);
        new.counts = Some(false);
        assert_eq!(unread(&facts, &new).unwrap().severity, Severity::Note);
        let mut begun = new.clone();
        begun.last_delivered = id(0);
        let marked = GroupFacts {
            marked: true,
            ..new.clone()
        };
        let counted = group("g", 9);
        for healthy in [begun, marked, counted, new.with([foreign("p", 0)])] {
            assert_eq!(unread(&facts, &healthy), None, "{healthy:?}");
        }
    }

    #[test]
    fn what_redrive_began_and_nobody_holds_is_unsettled() {
        let facts = stream(9, []);
        let mut ill = group("g", 9).with([own("a")]);
        assert_eq!(unsettled(&facts, &ill), None);
        ill.unsettled = Told::Yes(vec![id(3)]);
        let found = unsettled(&facts, &ill).unwrap();
        assert_eq!(found.severity, Severity::Warning);
        let mixed = ill.clone().with([own("a"), foreign("p", 0)]);
        assert_eq!(unsettled(&facts, &mixed).unwrap().severity, Severity::Note);
        ill.unsettled = Told::No("no".to_owned());
        assert_eq!(
            unsettled(&facts, &ill).unwrap().code,
            FindingCode::NotChecked
        );
    }

    #[test]
    fn a_lag_is_wrong_where_it_cannot_be() {
        let judged = |delivered, lag| {
            let mut group = group("g", delivered);
            group.lag = lag;
            lag_of(&group)
        };
        fn lag_of(group: &GroupFacts) -> bool {
            lag(&stream(9, []), group).is_some()
        }
        for (delivered, told, wrong) in [
            (9, Lag::Count(0), false),
            (5, Lag::Count(4), false),
            (9, Lag::Count(4), true),
            (5, Lag::Count(10), true),
            (5, Lag::Unknown, true),
            (9, Lag::Unknown, false),
            (5, Lag::NotTold, false),
        ] {
            assert_eq!(judged(delivered, told), wrong, "{delivered} {told:?}");
        }
    }

    #[test]
    fn a_group_is_leaked_where_it_is_last_and_nobody_is_at_work() {
        let hour = 60 * MINUTE;
        let behind = |unread_ms, consumers: Vec<ConsumerFacts>| {
            let mut group = group("behind", 3).with(consumers);
            group.unread_ms = unread_ms;
            group
        };
        let judged = |behind: GroupFacts, other: u64| {
            let facts = stream(9, [behind, group("other", other)]);
            leaked_groups(&facts, &PATIENCE).len()
        };
        assert_eq!(judged(behind(Some(hour), vec![]), 9), 1);
        assert_eq!(judged(behind(Some(hour), vec![foreign("p", hour)]), 9), 1);
        assert_eq!(judged(behind(Some(hour), vec![foreign("p", MINUTE)]), 9), 0);
        assert_eq!(judged(behind(Some(MINUTE), vec![]), 9), 0);
        assert_eq!(judged(behind(None, vec![]), 9), 0);
        // Another one holds back as much.
        assert_eq!(judged(behind(Some(hour), vec![]), 3), 0);
        let held = behind(None, vec![foreign("p", hour)]).holding([row(1, "p", hour, 1)]);
        assert_eq!(judged(held, 9), 1);
        let mut some = stream(9, [behind(Some(hour), vec![]), group("other", 9)]);
        some.all_groups = 3;
        assert!(leaked_groups(&some, &PATIENCE).is_empty());
    }
}
