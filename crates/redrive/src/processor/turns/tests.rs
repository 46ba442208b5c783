//! The turns of keys, by example and by law.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::Turns;
use crate::message::Fields;
use crate::names::EntryId;

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u64) -> EntryId {
    EntryId::new(number, 0)
}

fn of(key: &str) -> Fields {
    let pairs = [("n", "1"), ("customer", key), ("customer", "other")];
    pairs
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

fn ordered() -> Turns {
    Turns::new(Some("customer".into()))
}

#[test]
fn of_one_key_the_first_may_start_and_then_the_next() {
    let mut turns = ordered();
    for number in [3, 5, 4] {
        turns.join(id(number), &of("a"));
    }
    turns.join(id(9), &of("b"));
    let may = |turns: &Turns| {
        let all = [3, 4, 5, 9].into_iter();
        all.filter(|number| turns.may_start(id(*number)))
            .collect::<Vec<_>>()
    };
    assert_eq!(may(&turns), [3, 9]);
    turns.start(id(3));
    turns.start(id(9));
    // Whoever has the turn may be started again: its begin was refused.
    assert_eq!(may(&turns), [3, 9]);
    assert_eq!(turns.leave(id(3)), Some(id(4)));
    assert_eq!(turns.leave(id(9)), None);
    turns.start(id(4));
    // Lost while it was queued: nobody may start because of that.
    assert_eq!(turns.leave(id(5)), None);
    assert_eq!(turns.leave(id(4)), None);
    assert!(turns.lines.is_empty() && turns.keys.is_empty());
}

#[test]
fn what_waits_keeps_the_others_of_its_key_and_no_others() {
    let mut turns = ordered();
    let now = Instant::now();
    for (number, key) in [(1, "a"), (2, "a"), (3, "b")] {
        turns.join(id(number), &of(key));
    }
    turns.start(id(1));
    assert_eq!(turns.wait(id(1), now + SECOND), None);
    assert!(turns.is_delayed(id(1)) && !turns.may_start(id(1)));
    assert!(!turns.may_start(id(2)) && turns.may_start(id(3)));
    assert_eq!(turns.next_due(), Some(now + SECOND));
    assert!(turns.due(now).is_empty());
    assert_eq!(turns.due(now + SECOND), [id(1)]);
    assert_eq!(turns.next_due(), None);
    assert!(turns.may_start(id(1)) && !turns.may_start(id(2)));
}

#[test]
fn one_that_comes_late_goes_before_those_behind_it() {
    let mut turns = ordered();
    let now = Instant::now();
    turns.join(id(5), &of("a"));
    turns.join(id(6), &of("a"));
    turns.start(id(5));
    turns.join(id(2), &of("a"));
    // Never two at once: it waits for the one that runs, and for nothing else.
    assert!(!turns.may_start(id(2)));
    assert_eq!(turns.wait(id(5), now), Some(id(2)));
    turns.start(id(2));
    assert_eq!(turns.due(now), []);
    assert_eq!(turns.leave(id(2)), Some(id(5)));
    // It comes before one that waits, too.
    turns.start(id(5));
    assert_eq!(turns.wait(id(5), now + SECOND), None);
    turns.join(id(3), &of("a"));
    assert!(turns.may_start(id(3)) && !turns.may_start(id(6)));
}

#[test]
fn what_leaves_while_it_waits_lets_the_next_go() {
    let mut turns = ordered();
    let now = Instant::now();
    turns.join(id(1), &of("a"));
    turns.join(id(2), &of("a"));
    turns.start(id(1));
    turns.wait(id(1), now + SECOND);
    assert_eq!(turns.leave(id(1)), Some(id(2)));
    assert_eq!(turns.next_due(), None);
    assert!(!turns.is_delayed(id(1)));
}

#[test]
fn without_the_field_or_without_an_order_everything_may_start() {
    let mut turns = ordered();
    for number in [1, 2] {
        turns.join(id(number), &Fields::from_iter([("order", "a")]));
        turns.start(id(number));
    }
    assert!(turns.may_start(id(1)) && turns.may_start(id(2)) && !turns.has_key(id(1)));
    assert_eq!(turns.leave(id(1)), None);

    let mut turns = Turns::new(None);
    for number in [1, 2] {
        turns.join(id(number), &of("a"));
        turns.start(id(number));
    }
    assert!(turns.may_start(id(1)) && turns.may_start(id(2)) && !turns.has_key(id(1)));
    assert_eq!(turns.leave(id(1)), None);
    assert!(turns.lines.is_empty() && turns.keys.is_empty());
}

#[test]
fn an_empty_key_and_one_that_is_not_text_are_keys() {
    let mut turns = ordered();
    for (number, key) in [(1, &b""[..]), (2, b""), (3, b"\xff\0"), (4, b"\xff\0")] {
        turns.join(id(number), &Fields::from_iter([(&b"customer"[..], key)]));
    }
    let may: Vec<_> = (1..=4).filter(|one| turns.may_start(id(*one))).collect();
    assert_eq!(may, [1, 3]);
}

/// What happens to the messages of a few keys.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// One that is not held comes, wherever in the stream.
    Comes(u64),
    /// The first one in the queue is started.
    Starts,
    /// The run of one is over: it is done, or waits for so many seconds.
    Ends(usize, Option<u64>),
    /// One that was not started is gone.
    Goes(usize),
    Passes(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || 0..50_usize;
    let step = prop_oneof![
        4 => (0..24_u64).prop_map(Step::Comes),
        6 => Just(Step::Starts),
        4 => (which(), proptest::option::of(0..5_u64)).prop_map(|(one, wait)| Step::Ends(one, wait)),
        1 => which().prop_map(Step::Goes),
        2 => (0..3_u64).prop_map(Step::Passes),
    ];
    vec(step, 0..120)
}

/// The loop around the turns as far as they know it: a queue of what was called, and what runs.
struct Model {
    turns: Turns,
    now: Instant,
    held: BTreeSet<u64>,
    queue: Vec<u64>,
    running: BTreeSet<u64>,
    delayed: BTreeMap<u64, Instant>,
    done: BTreeSet<u64>,
}

/// Messages of four keys; every sixth has none.
fn key(number: u64) -> Option<u64> {
    (!number.is_multiple_of(6)).then_some(number % 4)
}

impl Model {
    fn new() -> Self {
        Self {
            turns: ordered(),
            now: Instant::now(),
            held: BTreeSet::new(),
            queue: Vec::new(),
            running: BTreeSet::new(),
            delayed: BTreeMap::new(),
            done: BTreeSet::new(),
        }
    }

    fn call(&mut self, called: impl IntoIterator<Item = EntryId>) {
        self.queue.extend(called.into_iter().map(EntryId::millis));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Comes(number) => {
                if !self.done.contains(&number) && self.held.insert(number) {
                    let fields = key(number).map(|key| of(&key.to_string()));
                    self.turns.join(id(number), &fields.unwrap_or_default());
                    if self.turns.may_start(id(number)) {
                        self.queue.push(number);
                    }
                }
            }
            Step::Starts => self.start(),
            Step::Ends(one, wait) => {
                let Some(&number) = self.running.iter().nth(one) else {
                    return;
                };
                self.running.remove(&number);
                match wait {
                    Some(seconds) if key(number).is_some() => {
                        let until = self.now + Duration::from_secs(seconds);
                        self.delayed.insert(number, until);
                        let called = self.turns.wait(id(number), until);
                        self.call(called);
                    }
                    _ => self.leave(number),
                }
            }
            Step::Goes(one) => {
                let queued = self.held.difference(&self.running).copied().nth(one);
                if let Some(number) = queued {
                    self.queue.retain(|other| *other != number);
                    self.leave(number);
                }
            }
            Step::Passes(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.delayed.retain(|_, until| *until > self.now);
                let called = self.turns.due(self.now);
                self.call(called);
            }
        }
    }

    fn leave(&mut self, number: u64) {
        self.held.remove(&number);
        self.delayed.remove(&number);
        self.done.insert(number);
        let called = self.turns.leave(id(number));
        self.call(called);
    }

    fn start(&mut self) {
        while !self.queue.is_empty() {
            let number = self.queue.remove(0);
            let queued = self.held.contains(&number) && !self.running.contains(&number);
            if !queued || !self.turns.may_start(id(number)) {
                continue;
            }
            assert!(!self.delayed.contains_key(&number), "{number} still waits");
            if key(number).is_some() {
                let same = |other: &&u64| key(**other) == key(number);
                let beside = self.running.iter().find(same);
                assert_eq!(beside, None, "{number} is started beside");
                let lowest = self.held.iter().find(same);
                assert_eq!(lowest, Some(&number), "{number} goes before");
            }
            self.turns.start(id(number));
            self.running.insert(number);
            return;
        }
    }
}

proptest! {
    #[test]
    fn never_two_of_one_key_always_the_lowest_and_each_in_the_end(steps in steps()) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        // From here on everything succeeds, and all that was held is called without being asked for.
        for _ in 0..200 {
            model.step(Step::Passes(5));
            while !model.queue.is_empty() {
                model.start();
            }
            model.step(Step::Ends(0, None));
        }
        prop_assert_eq!(&model.held, &BTreeSet::new());
        prop_assert!(model.turns.lines.is_empty() && model.turns.keys.is_empty());
        prop_assert_eq!(model.turns.next_due(), None);
    }
}
