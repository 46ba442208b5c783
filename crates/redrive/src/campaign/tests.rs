//! What is kept of a campaign is read as it was written, and each message is counted once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redrive_testkit::fuzz;

use super::record::Went;
use super::*;
use crate::names::{EntryId, GroupName};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let head = [("v", "1"), ("state", "running"), ("began-at", "7")];
    let all = head.iter().chain(pairs);
    all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn name() -> CampaignName {
    CampaignName::new("again").unwrap()
}

#[test]
fn a_name_is_of_few_signs_and_short() {
    for good in ["a", "A-z_0.9", &"x".repeat(64)] {
        assert_eq!(CampaignName::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "a b", "ä", "a:b", "a\n", "{a}", &"x".repeat(65)] {
        assert!(CampaignName::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_member_is_read_whatever_stands_in_the_names() {
    for (stream, group) in [
        ("orders", Some("billing")),
        ("two words 7", Some("a group of words")),
        ("größer", None),
    ] {
        let stream = StreamKey::new(stream).unwrap();
        let group = group.map(|group| GroupName::new(group).unwrap());
        let text = format!("9-1 - {}", went(&stream, group.as_ref()));
        let record = Record::read(pairs(&[("r:5-0", &text)])).unwrap();
        let expected = Went {
            id: EntryId::new(9, 1),
            original: None,
            stream,
            group,
        };
        assert_eq!(
            record.replayed,
            BTreeMap::from([(EntryId::new(5, 0), expected)])
        );
    }
}

#[test]
fn what_others_wrote_into_it_is_left_out() {
    let odd = [
        ("r:5-0", ""),
        ("r:6-0", "9-1 - 99 orders billing"),
        ("r:x", "9-1 - 6 orders billing"),
        ("r:7-0", "9-1 - 1 ä billing"),
        ("d:5-0", "nothing"),
        ("u:5-0", "?"),
        ("other", "text"),
    ];
    let record = Record::read(pairs(&odd)).unwrap();
    assert!(record.replayed.is_empty() && record.died.is_empty() && record.undone.is_empty());
    assert!(Record::read([("v".to_owned(), "2".to_owned())]).is_none());
    assert!(Record::read([]).is_none());
}

#[test]
fn each_message_is_counted_once() {
    let record = Record::read(pairs(&[
        ("r:1-0", "11-0 - 6 orders billing"),
        ("r:2-0", "12-0 - 6 orders billing"),
        ("r:3-0", "13-0 - 6 orders billing"),
        ("r:4-0", "14-0 - 6 orders billing"),
        ("r:5-0", "15-0 - 6 orders billing"),
        ("r:6-0", "16-0 - 6 orders billing"),
        ("d:2-0", "21-0 aaaa"),
        ("d:3-0", "22-0 -"),
        ("d:6-0", "23-0 aaaa"),
        ("u:4-0", "24-0"),
    ]))
    .unwrap();
    let standing = Standing {
        last_delivered: EntryId::new(15, 0),
        pending: [EntryId::new(11, 0)].into(),
    };
    let groups = BTreeMap::from([(GroupName::new("billing").unwrap(), standing)]);
    let standings = BTreeMap::from([(StreamKey::new("orders").unwrap(), groups)]);
    let told = sample(&name(), &record.read_at(9), &standings);
    let counts = [
        told.replayed,
        told.succeeded,
        told.dead_again,
        told.waiting,
        told.undone,
    ];
    assert_eq!(counts, [6, 1, 3, 1, 1]);
    let causes = told.fingerprints.iter();
    let causes: Vec<_> = causes
        .map(|one| (one.fingerprint.as_deref(), one.count))
        .collect();
    assert_eq!(causes, [(Some("aaaa"), 2), (None, 1)]);
    assert_eq!(
        (told.selected, told.began_at_ms, told.seen_at_ms),
        (6, 7, 7)
    );
    assert_eq!(told.silent_ms, 2);
}

#[test]
fn a_vanished_group_leaves_the_word_to_the_others_and_none_leaves_it_waiting() {
    let record = Record::read(pairs(&[("r:1-0", "11-0 - 6 orders gone")])).unwrap();
    let group = |name: &str, last| {
        let standing = Standing {
            last_delivered: EntryId::new(last, 0),
            ..Standing::default()
        };
        (GroupName::new(name).unwrap(), standing)
    };
    for (groups, waiting) in [
        (vec![], 1),
        (vec![group("a", 11)], 0),
        (vec![group("a", 11), group("b", 10)], 1),
        (vec![group("a", 10), group("gone", 11)], 0),
    ] {
        let groups = groups.into_iter().collect();
        let standings = BTreeMap::from([(StreamKey::new("orders").unwrap(), groups)]);
        assert_eq!(sample(&name(), &record, &standings).waiting, waiting);
    }
}

#[test]
fn what_has_ended_does_not_begin_again() {
    use CampaignState::{Aborted, Done, Paused, Running, Stopped};
    for (from, to, may) in [
        (Running, Paused, true),
        (Paused, Running, true),
        (Running, Aborted, true),
        (Paused, Aborted, true),
        (Paused, Done, false),
        (Aborted, Running, false),
        (Stopped, Running, false),
        (Done, Paused, false),
        (Done, Done, true),
    ] {
        assert_eq!(from.may_become(to), may, "{from:?} {to:?}");
    }
}

/// What a campaign keeps, whoever wrote into it: nothing panics, and what was written is read again,
/// whatever is in the names.
#[test]
fn fuzz_of_campaign_records_panics_0() {
    let names = ("\\PC{1,12}", "\\PC{1,12}", any::<[u64; 3]>());
    let soup = proptest::collection::vec(("[rdu]:[-0-9a]{0,6}", "[-0-9 a-cä]{0,16}"), 0..4);
    fuzz("campaign records", &(names, soup), |(names, soup)| {
        let (stream, group, [id, original, new]) = names;
        let (stream, group) = (StreamKey::new(stream), GroupName::new(group));
        let (Ok(stream), Ok(group)) = (stream, group) else {
            return Err(TestCaseError::fail("a name is refused"));
        };
        let id = EntryId::new(id, 1);
        let original = EntryId::new(original, 2);
        let new = EntryId::new(new, 3);
        let text = format!("{new} {original} {}", went(&stream, Some(&group)));
        let written = (format!("r:{id}"), text);
        let head = pairs(&[]).into_iter();
        let record = Record::read(head.chain(soup).chain([written]));
        let Some(record) = record else {
            return Err(TestCaseError::fail("a record is not read"));
        };
        let expected = Went {
            id: new,
            original: Some(original),
            stream,
            group: Some(group).filter(|group| group.as_str() != "-"),
        };
        prop_assert_eq!(record.replayed.get(&id), Some(&expected));
        Ok(())
    });
}
