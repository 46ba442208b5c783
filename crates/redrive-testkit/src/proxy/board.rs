//! What the proxy knows and is told: shared by the test's threads and the proxy's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::label::{Fault, Label, Moment, Target, Times};
use super::request::Scripts;

/// What becomes of what passes, on all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    Partition,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    Armed,
    Struck,
    GoOn,
    Cut,
}

/// What is to be done to one request.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) moment: Moment,
    pub(super) fault: Fault,
    pub(super) progress: Arc<watch::Sender<Progress>>,
}

struct Rule {
    target: Target,
    seen: u64,
    order: Order,
}

struct Chance {
    one_in: u32,
    dice: fastrand::Rng,
}

#[derive(Default)]
struct Known {
    seen: BTreeMap<Label, u64>,
    scripts: Arc<Scripts>,
    rules: Vec<Rule>,
    chance: Option<Chance>,
    connections: u64,
    open: u64,
    malformed: u64,
    resets: u64,
}

/// All of it, under one lock that is never held across an await.
pub(super) struct Board {
    known: Mutex<Known>,
    pub(super) weather: watch::Sender<Weather>,
    /// Goes up when all connections are to be reset.
    pub(super) cut: watch::Sender<u64>,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            weather: watch::Sender::new(Weather::Fair),
            cut: watch::Sender::new(0),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing in it is left half done by a panic.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn arm(&self, target: Target, moment: Moment, fault: Fault) -> Order {
        let moment = match fault {
            Fault::CloseInReply(_) => Moment::Executed,
            _ => moment,
        };
        let order = Order {
            moment,
            fault,
            progress: Arc::new(watch::Sender::new(Progress::Armed)),
        };
        self.known().rules.push(Rule {
            target,
            seen: 0,
            order: order.clone(),
        });
        order
    }

    pub(super) fn disarm(&self, progress: &Arc<watch::Sender<Progress>>) {
        let rules = &mut self.known().rules;
        rules.retain(|rule| !Arc::ptr_eq(&rule.order.progress, progress));
    }

    pub(super) fn reset_at_random(&self, one_in: u32, seed: u64) {
        self.known().chance = (one_in > 0).then(|| Chance {
            one_in,
            dice: fastrand::Rng::with_seed(seed),
        });
    }

    pub(super) fn name_script(&self, hash: String, name: String) {
        let mut known = self.known();
        Arc::make_mut(&mut known.scripts).insert(hash, name);
    }

    pub(super) fn scripts(&self) -> Arc<Scripts> {
        Arc::clone(&self.known().scripts)
    }

    /// A request has been seen: what is to become of it, if anything.
    pub(super) fn saw(&self, label: &Label) -> Option<Order> {
        let mut known = self.known();
        match known.seen.get_mut(label) {
            Some(count) => *count += 1,
            None => {
                known.seen.insert(label.clone(), 1);
            }
        }
        let mut order = None;
        for rule in &mut known.rules {
            if rule.target.label.as_ref().is_some_and(|l| l != label) {
                continue;
            }
            rule.seen += 1;
            let is_it = rule.target.times == Times::Always || rule.seen == rule.target.nth;
            if is_it && order.is_none() {
                order = Some(rule.order.clone());
            }
        }
        order.or_else(|| known.by_chance())
    }

    pub(super) fn opened(&self) {
        let mut known = self.known();
        known.connections += 1;
        known.open += 1;
    }

    pub(super) fn closed(&self) {
        self.known().open -= 1;
    }

    pub(super) fn lost_track(&self) {
        self.known().malformed += 1;
    }

    pub(super) fn seen(&self) -> BTreeMap<Label, u64> {
        self.known().seen.clone()
    }

    pub(super) fn forget(&self) {
        self.known().seen.clear();
    }

    pub(super) fn connections(&self) -> u64 {
        self.known().connections
    }

    pub(super) fn open(&self) -> u64 {
        self.known().open
    }

    pub(super) fn malformed(&self) -> u64 {
        self.known().malformed
    }

    pub(super) fn resets(&self) -> u64 {
        self.known().resets
    }
}

impl Known {
    fn by_chance(&mut self) -> Option<Order> {
        let chance = self.chance.as_mut()?;
        if chance.dice.u32(..chance.one_in) != 0 {
            return None;
        }
        let moment = if chance.dice.bool() {
            Moment::Arrived
        } else {
            Moment::Executed
        };
        self.resets += 1;
        Some(Order {
            moment,
            fault: Fault::Reset,
            progress: Arc::new(watch::Sender::new(Progress::Armed)),
        })
    }
}
