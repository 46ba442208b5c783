//! One case of the sweep: a scenario, and what is done to which of its commands.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redrive_testkit::{Fault, Label, Moment};

/// What is done to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Harm {
    NeverArrives,
    ReplyLost,
    Late,
    KilledBefore,
    KilledAfter,
}

impl Harm {
    pub(super) const ALL: [Self; 5] = [
        Self::NeverArrives,
        Self::ReplyLost,
        Self::Late,
        Self::KilledBefore,
        Self::KilledAfter,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NeverArrives => "never-arrives",
            Self::ReplyLost => "reply-lost",
            Self::Late => "late",
            Self::KilledBefore => "killed-before",
            Self::KilledAfter => "killed-after",
        }
    }

    pub(super) fn is_kill(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter)
    }

    /// Longer than a lease.
    pub(super) fn fault(self, lease: Duration) -> (Moment, Fault) {
        match self {
            Self::NeverArrives => (Moment::Arrived, Fault::Close),
            Self::ReplyLost => (Moment::Executed, Fault::Close),
            Self::Late => (Moment::Arrived, Fault::Delay(lease * 2)),
            Self::KilledBefore => (Moment::Arrived, Fault::Hold),
            Self::KilledAfter => (Moment::Executed, Fault::Hold),
        }
    }
}

/// A command as a scenario sends it: which process of it, which start of that process, which command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) step: usize,
    pub(super) again: usize,
    pub(super) label: Label,
}

/// What is done to the n-th command of this kind at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strike {
    pub(super) place: Place,
    pub(super) nth: u64,
    pub(super) harm: Harm,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { step, again, label } = &self.place;
        let (nth, harm) = (self.nth, self.harm.name());
        write!(f, "{step}.{again}:{label}#{nth}/{harm}")
    }
}

impl FromStr for Strike {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (place, harm) = text.rsplit_once('/')?;
            let (step, label) = place.split_once(':')?;
            let (step, again) = step.split_once('.')?;
            let (label, nth) = label.rsplit_once('#')?;
            Some(Self {
                place: Place {
                    step: step.parse().ok()?,
                    again: again.parse().ok()?,
                    label: Label::from(label),
                },
                nth: nth.parse().ok()?,
                harm: Harm::ALL.into_iter().find(|known| known.name() == harm)?,
            })
        };
        parsed().ok_or_else(|| format!("not STEP.AGAIN:LABEL#NTH/HARM: {text}"))
    }
}

/// A scenario by its name, with what is done to it; nothing for a run without faults.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Case {
    pub(super) scenario: &'static str,
    pub(super) strikes: Vec<Strike>,
}

impl Case {
    pub(super) fn undisturbed(scenario: &'static str) -> Self {
        Self {
            scenario,
            strikes: Vec::new(),
        }
    }

    /// Reads what a violation prints; `scenarios` are the known names.
    pub(super) fn read(text: &str, scenarios: &[&'static str]) -> Result<Self, String> {
        let (name, strikes) = text.split_once('/').ok_or("a case is SCENARIO/STRIKE")?;
        let scenario = scenarios
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| format!("no scenario is called {name}"))?;
        let strikes: Result<_, _> = strikes.split('+').map(str::parse).collect();
        Ok(Self {
            scenario,
            strikes: strikes?,
        })
    }

    /// How often a message may run more than it should: once for each kill, and for each lost lease.
    pub(super) fn runs_explained(&self) -> usize {
        let strikes = self.strikes.iter();
        strikes
            .filter(|strike| strike.harm.is_kill() || strike.harm == Harm::Late)
            .count()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scenario)?;
        for (index, strike) in self.strikes.iter().enumerate() {
            write!(f, "{}{strike}", if index == 0 { "/" } else { "+" })?;
        }
        Ok(())
    }
}

#[test]
fn a_case_is_read_as_it_is_written() {
    let text = "replay/1.0:MULTI XADD#2/reply-lost+1.1:EVALSHA claim#1/killed-after";
    let case = Case::read(text, &["success", "replay"]).unwrap();
    assert_eq!(case.strikes.len(), 2);
    assert_eq!(case.to_string(), text);
    assert!(Case::read("nothing/x", &["success"]).is_err());
}
