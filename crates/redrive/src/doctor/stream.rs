//! What is wrong with a stream: nobody consumes it, or nobody removes what is done.

use super::Named;
use super::facts::{Purpose, StreamFacts, Told};
use super::finding::{Finding, FindingCode, Fix, Place, Severity, counted, entries};
use crate::names::{GroupName, Source};

/// How many entries that are done may lie about.
const MANY: u64 = 10_000;
/// How many of them are too many where nothing was ever removed.
const TOO_MANY: u64 = 100_000;
/// So many times as long as what is not done.
const TIMES: u64 = 10;
/// How many entries a node holds where trimming to whole nodes is coarse. 100 is the default.
const COARSE: u64 = 10_000;

/// Entries, and nobody who consumes them. Where a group has vanished, that is what is said.
pub(super) fn no_group(facts: &StreamFacts, named: Named) -> Option<Finding> {
    let vanished = matches!(&facts.vanished, Told::Yes(groups) if !groups.is_empty());
    if facts.all_groups > 0 || facts.length == 0 || facts.purpose == Purpose::Record || vanished {
        return None;
    }
    let severity = match named {
        Named::Yes => Severity::Warning,
        // It may be a log that is read without groups.
        Named::No => Severity::Note,
    };
    let meaning = format!(
        "the stream holds {} and has no group: nobody is given them, and nothing says what is done",
        entries(facts.length)
    );
    let stream = facts.stream.as_str();
    let cure = ["redrive", "run", stream, "-g", "GROUP", "--", "COMMAND"];
    let place = Place::stream(&facts.stream);
    Some(Finding::new(FindingCode::MissingGroup, severity, place, meaning).cure(cure))
}

/// Groups that redrive has worked in, and that are gone.
pub(super) fn vanished_groups(facts: &StreamFacts) -> Vec<Finding> {
    match &facts.vanished {
        Told::Yes(groups) => groups.iter().map(|group| vanished(facts, group)).collect(),
        Told::No(why) => {
            let place = Place::stream(&facts.stream);
            let what = "whether a group of redrive's has vanished";
            vec![Finding::not_checked(place, what, why)]
        }
    }
}

fn vanished(facts: &StreamFacts, group: &GroupName) -> Finding {
    let meaning = "redrive has worked in this group, and it is gone: nobody is given what was still to do. Created \
         again it begins where redrive knows that all is done, else with the first entry: nothing is skipped";
    missing(facts, group, meaning)
}

/// A group that was asked for by its name, and is not there.
pub(crate) fn missing(facts: &StreamFacts, group: &GroupName, meaning: &str) -> Finding {
    let (stream, name) = (facts.stream.as_str(), group.as_str());
    let cure = ["redrive", "doctor", stream, "-g", name, "--fix"];
    let place = Place::group(&facts.stream, group);
    Finding::new(
        FindingCode::MissingGroup,
        Severity::Critical,
        place,
        meaning,
    )
    .cure(cure)
    .fix(Fix::CreateGroup(Source {
        stream: facts.stream.clone(),
        group: group.clone(),
    }))
}

pub(super) fn unnamed_groups(facts: &StreamFacts) -> Option<Finding> {
    let why = "their names are not UTF-8";
    let what = counted(facts.unnamed, "group", "groups");
    let place = Place::stream(&facts.stream);
    (facts.unnamed > 0).then(|| Finding::not_checked(place, &what, why))
}

/// Far more entries than anybody still needs.
pub(super) fn untrimmed(facts: &StreamFacts) -> Option<Finding> {
    // Without all groups nobody knows what is done.
    if facts.all_groups == 0 || facts.groups.len() as u64 != facts.all_groups {
        return None;
    }
    let open = facts.groups.iter().map(|group| open(facts, group)).max()?;
    let done = facts.length.saturating_sub(open);
    if done < MANY || done < open.saturating_mul(TIMES) {
        return None;
    }
    let never = facts.added == Some(facts.length);
    let severity = if never && done >= TOO_MANY {
        Severity::Warning
    } else {
        Severity::Note
    };
    let how = if never {
        "nothing was ever removed from it, and it will grow until the memory is used up"
    } else {
        "it takes the memory of all of them"
    };
    let meaning = format!(
        "the stream holds {}, and {done} of them are done in every group: {how}",
        entries(facts.length)
    );
    let place = Place::stream(&facts.stream);
    let cure = ["redrive", "trim", facts.stream.as_str(), "--dry-run"];
    Some(Finding::new(FindingCode::Untrimmed, severity, place, meaning).cure(cure))
}

/// How many entries a group may still need: from the first that it has not done with on, guessed
/// from above where the server does not count.
fn open(facts: &StreamFacts, group: &super::facts::GroupFacts) -> u64 {
    use super::facts::Lag;
    if group.last_delivered >= facts.last {
        return group.pending;
    }
    match group.lag {
        Lag::Count(lag) => lag.saturating_add(group.pending).min(facts.length),
        Lag::Unknown | Lag::NotTold => facts.length,
    }
}

/// Nodes so large that trimming to about a length leaves far more.
pub(super) fn coarse_trimming(facts: &StreamFacts) -> Option<Finding> {
    let nodes = facts.nodes.filter(|nodes| *nodes > 0)?;
    let each = facts.length / nodes;
    if each < COARSE {
        return None;
    }
    let meaning = format!(
        "a node of the stream holds {each} entries, and XADD or XTRIM with MAXLEN ~ removes whole nodes only: to a \
         length of less than that it removes nothing. New nodes are as large as stream-node-max-entries says"
    );
    let place = Place::stream(&facts.stream);
    let cure = [
        "redis-cli",
        "CONFIG",
        "SET",
        "stream-node-max-entries",
        "100",
    ];
    Some(
        Finding::new(
            FindingCode::CoarseTrimming,
            Severity::Warning,
            place,
            meaning,
        )
        .cure(cure),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::Lag;
    use crate::doctor::fixture::{group, id, stream};

    #[test]
    fn a_stream_that_nobody_consumes_is_as_bad_as_it_was_meant() {
        let mut facts = stream(3, []);
        assert_eq!(
            no_group(&facts, Named::Yes).unwrap().severity,
            Severity::Warning
        );
        assert_eq!(
            no_group(&facts, Named::No).unwrap().severity,
            Severity::Note
        );
        facts.purpose = Purpose::Record;
        assert_eq!(no_group(&facts, Named::Yes), None);
        assert_eq!(no_group(&stream(0, []), Named::Yes), None);
        assert_eq!(no_group(&stream(3, [group("g", 3)]), Named::Yes), None);
    }

    #[test]
    fn a_group_that_vanished_can_be_created_again() {
        let mut facts = stream(3, []);
        facts.vanished = Told::Yes(vec![GroupName::new("g").unwrap()]);
        assert_eq!(no_group(&facts, Named::Yes), None);
        let found = vanished_groups(&facts);
        assert_eq!(found.len(), 1);
        assert!(found[0].fixable() && found[0].severity == Severity::Critical);
        facts.vanished = Told::No("no".to_owned());
        assert_eq!(vanished_groups(&facts)[0].code, FindingCode::NotChecked);
    }

    #[test]
    fn a_stream_is_too_long_where_next_to_all_is_done_in_every_group() {
        let judged = |length, delivered: &[u64], added| {
            let groups = delivered.iter().enumerate().map(|(n, delivered)| {
                let mut group = group(&format!("g{n}"), *delivered);
                group.lag = Lag::Count(length - delivered);
                group
            });
            let mut facts = stream(length, groups);
            facts.added = added;
            untrimmed(&facts).map(|finding| finding.severity)
        };
        assert_eq!(judged(9_999, &[9_999], Some(9_999)), None);
        assert_eq!(
            judged(10_000, &[10_000], Some(10_000)),
            Some(Severity::Note)
        );
        assert_eq!(
            judged(100_000, &[100_000], Some(100_000)),
            Some(Severity::Warning)
        );
        // It is trimmed to that length, or nobody knows.
        assert_eq!(
            judged(100_000, &[100_000], Some(700_000)),
            Some(Severity::Note)
        );
        assert_eq!(judged(100_000, &[100_000], None), Some(Severity::Note));
        // One group still needs them.
        assert_eq!(judged(100_000, &[100_000, 50_000], Some(100_000)), None);
        let mut hidden = stream(100_000, [group("g", 100_000)]);
        hidden.all_groups = 2;
        assert_eq!(untrimmed(&hidden), None);
        // A group in the middle of whose lag nothing is known may need all.
        let mut lost = group("g", 50_000);
        lost.lag = Lag::Unknown;
        assert_eq!(untrimmed(&stream(100_000, [lost])), None);
    }

    #[test]
    fn nodes_are_coarse_from_ten_thousand_entries_on() {
        let judged = |length, nodes| {
            let mut facts = stream(length, [group("g", id(length).millis())]);
            facts.nodes = Some(nodes);
            coarse_trimming(&facts).is_some()
        };
        assert!(judged(10_000, 1) && judged(30_000, 3));
        assert!(!judged(9_999, 1) && !judged(30_000, 300) && !judged(0, 0));
    }
}
