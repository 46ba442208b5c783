//! How often the simulation did each thing: one that has become tame must fail.

use std::collections::BTreeMap;

/// What every seed has to have gone through.
pub(super) const EVERY_SEED: &[&str] = &[
    "receive: reply lost",
    "tend: reply lost",
    "begin: reply lost",
    "begin: never executed",
    "begin: partly executed",
    "renew: reply lost",
    "renew: never executed",
    "settle: reply lost",
    "settle: never executed",
    "settle: partly executed",
    "dead-letter queue refuses",
    "stall",
    "kill",
    "sigterm",
    "left",
    "trim",
    "success",
    "failure",
    "defer",
    "rejected",
    "death",
    "foreign read",
    "foreign ack",
    "foreign claim",
    "foreign death",
    "claimed when due",
    "claimed after the lease",
    "released",
    "lost lease",
];

/// What several seeds together have to have gone through.
pub(super) const TOGETHER: &[&str] = &[
    "begin answered again",
    "put back already",
    "kept by its holder",
    "begun again by its holder",
    "crash booked",
    "crash taken back",
    "begun alone",
    "doubted",
    "came back",
    "crash loop",
    "success after a lost lease",
    "exhausted by its holder",
    "exhausted at claim",
    "tombstone by claim",
    "tombstone by renewal",
    "tombstone by settling",
    "tombstone lifted",
    "tombstone made whole",
    "tombstone told again",
    "tombstone lifted by an ack",
    "untold tombstone made whole",
    "refused",
    "held id claimed again",
];

#[derive(Clone, Debug, Default)]
pub(super) struct Tally(BTreeMap<&'static str, u32>);

impl Tally {
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    #[track_caller]
    pub(super) fn must_hold(&self, wanted: &[&str]) {
        let missing: Vec<_> = wanted
            .iter()
            .filter(|what| !self.0.contains_key(*what))
            .collect();
        assert!(
            missing.is_empty(),
            "never happened: {missing:?} in {self:?}"
        );
    }
}
