//! Which cases to run: every command that was seen, in every way, until nothing new is seen.

use std::collections::{BTreeMap, BTreeSet};

use redrive_testkit::Label;

use super::case::{Case, Harm, Place, Strike};
use super::lanes::Verdict;

/// How often a way to harm a command is tried at most, where it does not meet it.
const TRIES: usize = 6;

/// How much of what could be run is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Each command in each way; what changes something in two scenarios, where there are two.
    Choice,
    /// Each command in each way, in each place where it was seen.
    All,
}

/// A place in a case: what was done to get there, and what was seen there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    before: Case,
    place: Place,
}

/// What is known of a command in one way.
#[derive(Default)]
struct Way {
    tried: BTreeSet<(Site, u64)>,
    met: usize,
}

/// What has been seen, and what has been done about it.
pub(super) struct Plan {
    size: Size,
    sites: BTreeMap<Label, BTreeMap<Site, u64>>,
    ways: BTreeMap<(Label, Harm), Way>,
}

impl Plan {
    pub(super) fn new(size: Size) -> Self {
        Self {
            size,
            sites: BTreeMap::new(),
            ways: BTreeMap::new(),
        }
    }

    /// Takes in what was seen. What is new only after a harm is a site behind that harm.
    pub(super) fn learn(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            let strikes = &verdict.case.strikes;
            for index in &verdict.struck {
                let strike = &strikes[*index];
                let way = (strike.place.label.clone(), strike.harm);
                self.ways.entry(way).or_default().met += 1;
            }
        }
        for verdict in verdicts {
            let is_known = |label: &Label| {
                let sites = self.sites.get(label);
                sites.is_some_and(|sites| sites.keys().any(|site| site.before.strikes.is_empty()))
            };
            let new: Vec<_> = (verdict.seen.iter())
                .filter(|(place, _)| verdict.case.strikes.is_empty() || !is_known(&place.label))
                .collect();
            for (place, count) in new {
                let site = Site {
                    before: verdict.case.clone(),
                    place: place.clone(),
                };
                let sites = self.sites.entry(place.label.clone()).or_default();
                // A few ways to get there are enough.
                if verdict.case.strikes.is_empty() || sites.len() < TRIES {
                    sites.insert(site, *count);
                }
            }
        }
    }

    /// The next cases; none when everything seen has been done.
    pub(super) fn next(&mut self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (label, sites) in &self.sites {
            for (turn, harm) in Harm::ALL.into_iter().enumerate() {
                let way = self.ways.entry((label.clone(), harm)).or_default();
                let wanted = match self.size {
                    Size::All if way.tried.is_empty() => usize::MAX,
                    Size::Choice if way.tried.is_empty() && changes(label) && spread(sites) > 1 => {
                        2
                    }
                    _ if way.met == 0 && way.tried.len() < TRIES => 1,
                    _ => 0,
                };
                let places = ordered(sites, self.size, turn);
                let untried = places.into_iter().filter(|one| !way.tried.contains(one));
                let untried: Vec<_> = untried.take(wanted).collect();
                for (site, nth) in untried {
                    let mut case = site.before.clone();
                    let place = site.place.clone();
                    case.strikes.push(Strike { place, nth, harm });
                    cases.push(case);
                    way.tried.insert((site, nth));
                }
            }
        }
        cases
    }

    pub(super) fn labels(&self) -> BTreeSet<&str> {
        self.sites.keys().map(Label::as_str).collect()
    }

    /// What was seen, and never met in one of the ways.
    pub(super) fn not_swept(&self) -> Vec<String> {
        let ways = self
            .sites
            .keys()
            .flat_map(|label| Harm::ALL.map(|harm| (label, harm)));
        ways.filter(|(label, harm)| {
            let way = self.ways.get(&((*label).clone(), *harm));
            way.is_none_or(|way| way.met == 0)
        })
        .map(|(label, harm)| format!("{label} {}", harm.name()))
        .collect()
    }
}

/// Whether a command may change something, as scripts do, or only looks or prepares.
fn changes(label: &Label) -> bool {
    let names = ["EVALSHA", "XACK", "XADD", "XDEL", "XREADGROUP", "EXEC"];
    let first = label.as_str().split(' ').next();
    first.is_some_and(|first| names.contains(&first))
}

/// In how many scenarios, but for the longest, which is for what only it does.
fn spread(sites: &BTreeMap<Site, u64>) -> usize {
    let scenarios: BTreeSet<_> = sites.keys().map(|site| site.before.scenario).collect();
    scenarios.iter().filter(|name| **name != "demo").count()
}

/// Where to harm a command, the first choice first: another scenario with each way, the first such command at each
/// place, and a later one where there are many.
fn ordered(sites: &BTreeMap<Site, u64>, size: Size, turn: usize) -> Vec<(Site, u64)> {
    let mut scenarios: Vec<&str> = sites.keys().map(|site| site.before.scenario).collect();
    scenarios.dedup();
    let how_many = scenarios.len().max(1);
    scenarios.rotate_left(turn * 2 % how_many);
    scenarios.sort_by_key(|name| *name == "demo");
    let rank = |site: &Site| {
        let place = scenarios
            .iter()
            .position(|name| *name == site.before.scenario);
        (place, site.place.clone())
    };
    let mut all: Vec<_> = sites.iter().collect();
    all.sort_by_key(|(site, _)| rank(site));
    let mut places: Vec<(Site, u64)> = Vec::new();
    let mut later = Vec::new();
    for (site, count) in all {
        let is_first_of_scenario = places
            .iter()
            .all(|(known, _)| known.before.scenario != site.before.scenario);
        let nth = (count / 2).max(2);
        let has_many = *count >= 4;
        if is_first_of_scenario || size == Size::All {
            // Of many, each second choice is a later one: it is the first one that differs.
            if has_many && size == Size::Choice && turn % 2 == places.len() % 2 {
                places.push((site.clone(), nth));
                later.push((site.clone(), 1));
            } else {
                places.push((site.clone(), 1));
                if has_many {
                    later.push((site.clone(), nth));
                }
            }
        } else {
            later.push((site.clone(), 1));
        }
    }
    places.extend(later);
    places
}
