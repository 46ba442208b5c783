//! What was done to a stream and what came of it, and the verdict: a pure function of both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a message is known by in every account: the number that its producer gave it. An entry's id would not do: it
/// is not known where the answer to `XADD` was lost, and a replay gives another one.
pub type Number = u64;

/// How often the handler of one message began, and how often it came to the end of a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Runs that began.
    pub started: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
}

/// How a worker was hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// It is dead: whatever was running in it has crashed.
    Killed,
    /// It was silent for longer than its lease, or its broker was: nothing has crashed.
    Stalled,
}

/// One moment at which a worker was hurt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How.
    pub hurt: Hurt,
    /// What it held then.
    pub held: BTreeSet<Number>,
    /// Of these, what it had begun to run.
    pub running: BTreeSet<Number>,
    /// Leases that it said it had lost, without saying whose.
    pub unnamed: u64,
}

/// A dead letter as it stands in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The message; `None` where its payload is gone.
    pub number: Option<Number>,
    /// The reason, as it is stored.
    pub reason: String,
}

/// All that the verdict is drawn from.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// What a producer tried to add.
    pub attempted: BTreeSet<Number>,
    /// What of it Redis acknowledged.
    pub acknowledged: BTreeSet<Number>,
    /// Runs, counted outside of whatever was hurt.
    pub runs: BTreeMap<Number, Runs>,
    /// How many runs a message needs when nothing is hurt, where that is not one.
    pub planned: BTreeMap<Number, u64>,
    /// Messages that end the process that runs them.
    pub killers: BTreeSet<Number>,
    /// Messages that are to be dead-lettered for what their handler says.
    pub doomed: BTreeSet<Number>,
    /// The dead-letter queue at the end.
    pub dead: Vec<Dead>,
    /// What is pending, or was never read, at the end.
    pub pending: BTreeSet<Number>,
    /// Who was hurt, and when.
    pub faults: Vec<Fault>,
    /// How many crashes are too many.
    pub max_crashes: u64,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and neither handled nor dead nor pending.
    Lost(u64),
    /// Still pending, or never read.
    Stuck(u64),
    /// Dead-lettered `crash_loop` although they were running at fewer kills than are too many, the one at which they
    /// had been read and not yet begun among them.
    Innocent(u64),
    /// Dead-lettered although their handler never said so.
    WronglyDead(u64),
    /// Dead letters beside the first one of the same message.
    Doubled(u64),
    /// More runs beyond the planned ones than what hurt workers held.
    ExtraRuns {
        /// So many.
        extra: u64,
        /// The most that the faults explain.
        allowed: u64,
    },
    /// Messages that kill their process were started more often than crashes are allowed.
    Overrun(u64),
    /// Handled or dead, and never sent by anybody.
    Invented(u64),
    /// To be dead-lettered, and not.
    Spared(u64),
}

/// The verdict on a run: printed as one line of `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that a producer tried to add.
    pub attempted: u64,
    /// Messages that Redis acknowledged.
    pub acknowledged: u64,
    /// Acknowledged messages whose handler succeeded at least once.
    pub handled: u64,
    /// Acknowledged messages of which nothing is known any more.
    pub lost: u64,
    /// Messages that were run or died though Redis never acknowledged them: the answer was lost.
    pub unexpected: u64,
    /// Runs beyond the planned ones.
    pub duplicated: u64,
    /// Messages that a hurt worker held, and that were handled.
    pub recovered: u64,
    /// Dead letters with a payload.
    pub dead: u64,
    /// Tombstones: entries that were trimmed while pending.
    pub tombstoned: u64,
    /// What is left pending or unread.
    pub pending: u64,
    /// The most extra runs that the faults explain: what hurt workers held, added up.
    pub explained: u64,
    /// What must not be, if anything.
    pub violations: Vec<Violation>,
}

impl Account {
    /// Draws the verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let handled = |number: &Number| self.runs_of(*number).succeeded > 0;
        let died: BTreeSet<Number> = self.dead.iter().filter_map(|dead| dead.number).collect();
        let tombstones = self.dead.iter().filter(|dead| dead.reason == "trimmed");
        let tombstoned = count(tombstones);
        // A tombstone has no payload, so no number: each excuses one message that is gone.
        let nameless = count(self.dead.iter().filter(|dead| dead.number.is_none()));
        let gone = count(self.acknowledged.iter().filter(|number| {
            !handled(number) && !died.contains(number) && !self.pending.contains(number)
        }));
        let lost = gone.saturating_sub(nameless);
        let seen: BTreeSet<Number> = self.runs.keys().chain(&died).copied().collect();
        let recovered: BTreeSet<Number> = self
            .faults
            .iter()
            .flat_map(|fault| fault.held.iter().copied())
            .filter(handled)
            .collect();
        let extra = self.extra_runs();
        let explained = self
            .faults
            .iter()
            .map(|fault| count(&fault.held) + fault.unnamed)
            .sum();
        let mut violations = Vec::new();
        let mut check = |wrong: u64, violation: fn(u64) -> Violation| {
            if wrong > 0 {
                violations.push(violation(wrong));
            }
        };
        check(lost, Violation::Lost);
        check(count(&self.pending), Violation::Stuck);
        check(self.innocents(), Violation::Innocent);
        check(self.wrongly_dead(), Violation::WronglyDead);
        check(self.doubled(), Violation::Doubled);
        check(self.overrun(), Violation::Overrun);
        check(count(seen.difference(&self.attempted)), Violation::Invented);
        check(self.spared(&died), Violation::Spared);
        if extra > explained {
            violations.push(Violation::ExtraRuns {
                extra,
                allowed: explained,
            });
        }
        Verdict {
            attempted: count(&self.attempted),
            acknowledged: count(&self.acknowledged),
            handled: count(self.acknowledged.iter().filter(|number| handled(number))),
            lost,
            unexpected: count(seen.difference(&self.acknowledged)),
            duplicated: extra,
            recovered: count(recovered),
            dead: count(&self.dead) - tombstoned,
            tombstoned,
            pending: count(&self.pending),
            explained,
            violations,
        }
    }

    fn runs_of(&self, number: Number) -> Runs {
        self.runs.get(&number).copied().unwrap_or_default()
    }

    fn extra_runs(&self) -> u64 {
        let beyond = |(number, runs): (&Number, &Runs)| {
            let planned = match self.killers.contains(number) {
                true => self.max_crashes,
                false => self.planned.get(number).copied().unwrap_or(1),
            };
            runs.started.saturating_sub(planned)
        };
        self.runs.iter().map(beyond).sum()
    }

    /// How many crashes a message may be charged with: the kills at which it was running, and one at which it had
    /// been read and did not run, if that was before it first ran. Redis charges a message when it is read; whatever comes
    /// after that is charged when it begins.
    fn charges_of(&self, number: Number) -> u64 {
        let mut charges = 0;
        for fault in &self.faults {
            let is_charged =
                fault.running.contains(&number) || (charges == 0 && fault.held.contains(&number));
            if fault.hurt == Hurt::Killed && is_charged {
                charges += 1;
            }
        }
        charges
    }

    fn innocents(&self) -> u64 {
        let convicted = self.dead.iter().filter(|dead| dead.reason == "crash_loop");
        count(convicted.filter(|dead| {
            dead.number.is_none_or(|number| {
                // A killer is guilty. What it was read for and not run at is among its crashes, so it
                // may have been run less often; but never convicted unheard.
                if self.killers.contains(&number) {
                    self.runs_of(number).started == 0
                } else {
                    self.charges_of(number) < self.max_crashes
                }
            })
        }))
    }

    fn wrongly_dead(&self) -> u64 {
        let by_their_handler = self
            .dead
            .iter()
            .filter(|dead| !matches!(dead.reason.as_str(), "crash_loop" | "trimmed"));
        count(by_their_handler.filter(|dead| {
            let doomed = |number| self.doomed.contains(&number);
            !dead.number.is_some_and(doomed)
        }))
    }

    fn doubled(&self) -> u64 {
        let mut known = BTreeSet::new();
        let numbers = self.dead.iter().filter_map(|dead| dead.number);
        count(numbers.filter(|number| !known.insert(*number)))
    }

    fn overrun(&self) -> u64 {
        let overrun = |number: &&Number| self.runs_of(**number).started > self.max_crashes;
        count(self.killers.iter().filter(overrun))
    }

    /// What should have died and is not in the queue, unless it is pending: then it is stuck.
    fn spared(&self, died: &BTreeSet<Number>) -> u64 {
        let to_die = self.doomed.union(&self.killers);
        let acknowledged = to_die.filter(|number| self.acknowledged.contains(number));
        count(acknowledged.filter(|number| {
            // One whose payload is gone is in nobody's account of the dead.
            !died.contains(number)
                && !self.pending.contains(number)
                && self.runs_of(**number).started > 0
        }))
    }
}

impl Verdict {
    /// Whether nothing is that must not be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempted={} acknowledged={} handled={} lost={} unexpected={} duplicated={} \
             recovered={} dead={} tombstoned={} pending={}",
            self.attempted,
            self.acknowledged,
            self.handled,
            self.lost,
            self.unexpected,
            self.duplicated,
            self.recovered,
            self.dead,
            self.tombstoned,
            self.pending
        )
    }
}

fn count(items: impl IntoIterator) -> u64 {
    items.into_iter().fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests;
