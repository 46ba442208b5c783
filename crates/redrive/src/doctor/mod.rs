//! What goes wrong with streams, judged over what a broker tells: one kind of finding a function,
//! each pure.

mod consumers;
pub(crate) mod facts;
mod finding;
#[cfg(test)]
mod fixture;
mod pending;
mod position;
mod rights;
mod server;
mod stream;

use std::time::Duration;

pub(crate) use finding::Fix;
pub use finding::{Finding, FindingCode, Severity};

use facts::{GroupFacts, ServerFacts, StreamFacts, Told};
use finding::Place;

use crate::names::{GroupName, StreamKey};

/// From when on silence says something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long entries of consumers that are not redrive's may be out.
    pub(crate) foreign_lease: Duration,
    /// How long a consumer or a group is silent before it is taken for left behind.
    pub(crate) silent: Duration,
}

/// Whether something was asked for by its name, or met on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Yes,
    No,
}

/// What is wrong with the server as such.
pub(crate) fn of_server(facts: &ServerFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(server::eviction(&facts.eviction));
    found.extend(server::append_only_file(&facts.journal));
    found.extend(server::client_timeout(&facts.timeout));
    found.extend(server::clocks(&facts.replicas));
    found
}

/// What is wrong with a stream and these groups of it.
pub(crate) fn of_stream(facts: &StreamFacts, named: Named, patience: &Patience) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(stream::no_group(facts, named));
    found.extend(stream::vanished_groups(facts));
    found.extend(stream::unnamed_groups(facts));
    found.extend(stream::untrimmed(facts));
    found.extend(stream::coarse_trimming(facts));
    found.extend(position::leaked_groups(facts, patience));
    if let Some(rights) = &facts.rights {
        found.extend(rights::missing(rights, &facts.stream));
    }
    for group in &facts.groups {
        found.extend(of_group(facts, group, patience));
    }
    found
}

fn of_group(facts: &StreamFacts, group: &GroupFacts, patience: &Patience) -> Vec<Finding> {
    let place = Place::group(&facts.stream, &group.group);
    let mut found = Vec::new();
    found.extend(position::ahead(facts, group));
    found.extend(position::unread(facts, group));
    found.extend(position::unsettled(facts, group));
    found.extend(position::lag(facts, group));
    if let Told::No(why) = &group.own {
        let what = "which consumers are redrive's, and their leases";
        found.push(Finding::not_checked(place.clone(), what, why));
    }
    if let Told::No(why) = &group.consumers {
        found.push(Finding::not_checked(place.clone(), "the consumers", why));
    }
    match &group.rows {
        Told::No(why) => found.push(Finding::not_checked(place, "what is pending", why)),
        Told::Yes(rows) if rows.len() as u64 >= facts::LOOK => {
            let why = format!(
                "more is pending than the {} that are looked at",
                facts::LOOK
            );
            found.push(Finding::not_checked(place, "all that is pending", &why));
        }
        Told::Yes(_) => {}
    }
    if group.unseen > 0 {
        let what = format!(
            "whether {} more pending entries are still there",
            group.unseen
        );
        let place = Place::group(&facts.stream, &group.group);
        found.push(Finding::not_checked(place, &what, "they are too many"));
    }
    found.extend(pending::ghosts(facts, group));
    found.extend(pending::unreachable_tail(facts, group, patience));
    found.extend(pending::held(facts, group, patience));
    found.extend(pending::short_lease(facts, group));
    found.extend(pending::claimed_early(facts, group, patience));
    found.extend(consumers::leaked(facts, group, patience));
    found.extend(consumers::clashing_limits(facts, group));
    found.extend(consumers::foreign(facts, group, patience));
    found
}

/// A group that was asked for by its name, and that nobody knows.
pub(crate) fn no_such_group(facts: &StreamFacts, group: &GroupName) -> Finding {
    let meaning = "the stream has no group of this name: whoever reads with it is refused (NOGROUP), and its work is not \
         done. Created, it begins with the first entry of the stream: check the name first";
    stream::missing(facts, group, meaning)
}

/// Something that could not be looked at.
pub(crate) fn not_checked(stream: Option<&StreamKey>, what: &str, why: &str) -> Finding {
    let place = stream.map_or_else(Place::server, Place::stream);
    Finding::not_checked(place, what, why)
}
