//! What was measured, and whether that is enough; pure.

use serde::Serialize;

/// Below this part of a core the server was not what held two connections up.
const FULL: f64 = 0.95;

/// One line of the table: something measured, beside a raw loop where there is one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Its name, for `--only` and for programs: letters, digits, hyphens.
    pub(crate) name: String,
    pub(crate) what: &'static str,
    /// The median over all rounds: of the ratios, where there is a raw loop to compare with.
    pub(crate) value: Option<f64>,
    pub(crate) unit: Unit,
    pub(crate) target: Option<Target>,
    pub(crate) verdict: Verdict,
    /// The medians of both sides, in `side_unit`. They tell of the machine, not of redrive.
    pub(crate) redrive: Option<f64>,
    pub(crate) raw: Option<f64>,
    pub(crate) side_unit: Unit,
    /// Every round, in the order in which they were run.
    pub(crate) rounds: Vec<Round>,
    /// What redrive cost the server, in the round in the middle.
    pub(crate) cost: Option<Cost>,
    pub(crate) note: Option<String>,
}

/// Both sides, one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) redrive: f64,
    pub(crate) raw: Option<f64>,
}

/// What a path costs, for each message, as the server counted it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// Commands, those that scripts call included.
    pub(crate) commands: f64,
    /// How often the server read from a connection: once for all that is sent together, but for what
    /// is larger than its buffer.
    pub(crate) round_trips: f64,
    /// Bytes to the server.
    pub(crate) bytes_in: f64,
    /// Bytes from the server.
    pub(crate) bytes_out: f64,
    /// Microseconds of the server's core.
    pub(crate) server_us: f64,
    /// What part of the time the server's core was busy.
    pub(crate) server_core: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "× raw")]
    TimesRaw,
    #[serde(rename = "messages/s")]
    PerSecond,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "MiB")]
    MiB,
    #[serde(rename = "% of a core")]
    PercentOfACore,
    #[serde(rename = "commands/s")]
    CommandsPerSecond,
}

impl Unit {
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::TimesRaw => "× raw",
            Self::PerSecond => "messages/s",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::MiB => "MiB",
            Self::PercentOfACore => "% of a core",
            Self::CommandsPerSecond => "commands/s",
        }
    }
}

/// What the value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    pub(crate) fn shown(self) -> String {
        match self {
            Self::AtLeast(value) => format!("≥ {}", number(value)),
            Self::AtMost(value) => format!("≤ {}", number(value)),
        }
    }

    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    /// How good a value is: 1 is just good enough, 2 is twice as good.
    pub(crate) fn part(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(least) => value / least,
            Self::AtMost(most) => most / value.max(f64::MIN_POSITIVE),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Measured under conditions that prove nothing; the note says which.
    Invalid,
    /// It could not be measured here; the note says why.
    Unknown,
    /// Nothing is asked of it: it is there to compare with.
    None,
}

impl Verdict {
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::None => "",
        }
    }
}

impl Row {
    /// A row of ratios of rates: how much of the raw loop's speed is redrive's.
    pub(crate) fn of_rates(name: &str, what: &'static str, rounds: Vec<Round>) -> Self {
        let ratios = rounds
            .iter()
            .filter_map(|round| Some(round.redrive / round.raw?));
        Self::new(
            name,
            what,
            Unit::TimesRaw,
            median(ratios),
            Unit::PerSecond,
            rounds,
        )
    }

    /// A row of ratios of durations: how many times the raw loop's time is redrive's.
    pub(crate) fn of_durations(
        name: &str,
        what: &'static str,
        side: Unit,
        rounds: Vec<Round>,
    ) -> Self {
        let ratios = rounds
            .iter()
            .filter_map(|round| Some(round.redrive / round.raw?));
        Self::new(name, what, Unit::TimesRaw, median(ratios), side, rounds)
    }

    /// A row of values that stand for themselves; a raw side is there to compare with.
    pub(crate) fn of_values(
        name: &str,
        what: &'static str,
        unit: Unit,
        rounds: Vec<Round>,
    ) -> Self {
        let values = median(rounds.iter().map(|round| round.redrive));
        Self::new(name, what, unit, values, unit, rounds)
    }

    fn new(
        name: &str,
        what: &'static str,
        unit: Unit,
        value: Option<f64>,
        side_unit: Unit,
        rounds: Vec<Round>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            what,
            value,
            unit,
            target: None,
            verdict: if value.is_some() {
                Verdict::None
            } else {
                Verdict::Unknown
            },
            redrive: median(rounds.iter().map(|round| round.redrive)),
            raw: median(rounds.iter().filter_map(|round| round.raw)),
            side_unit,
            rounds,
            cost: None,
            note: None,
        }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self.verdict = match self.value {
            Some(value) if target.is_met(value) => Verdict::Met,
            Some(_) => Verdict::Missed,
            None => Verdict::Unknown,
        };
        self
    }

    pub(crate) fn cost(mut self, cost: Option<Cost>) -> Self {
        self.cost = cost;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(match self.note.take() {
            Some(before) => format!("{before}; {}", note.into()),
            None => note.into(),
        });
        self
    }

    /// What two raw connections have to do to the server: else something else held them up, and the
    /// comparison flatters.
    pub(crate) fn only_with_a_full_core(mut self, busy: &[f64]) -> Self {
        let Some(busy) = median(busy.iter().copied()) else {
            return self;
        };
        if busy < FULL {
            self.verdict = Verdict::Invalid;
        }
        self.note(format!(
            "two raw connections kept the server's core {:.0} % busy",
            busy * 100.0
        ))
    }

    /// A row whose sides were measured under conditions that prove nothing.
    pub(crate) fn invalid(mut self, why: impl Into<String>) -> Self {
        self.verdict = Verdict::Invalid;
        self.note(why)
    }
}

/// The one in the middle; the lower of two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

/// The smallest value that this part of all do not exceed.
pub(crate) fn quantile(values: &mut [f64], part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let index = ((values.len() as f64 * part).ceil() as usize).saturating_sub(1);
    values.get(index.min(values.len().checked_sub(1)?)).copied()
}

/// With as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        ..0.095 if value != 0.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(sides: &[(f64, f64)]) -> Vec<Round> {
        let round = |(redrive, raw): &(f64, f64)| Round {
            redrive: *redrive,
            raw: Some(*raw),
        };
        sides.iter().map(round).collect()
    }

    #[test]
    fn a_row_of_rates_compares_round_by_round() {
        // A machine that slows down in the middle hits both sides of a round.
        let row = Row::of_rates(
            "x",
            "x",
            rounds(&[(80.0, 100.0), (40.0, 50.0), (9.0, 10.0)]),
        );
        assert_eq!(row.value, Some(0.8));
        assert_eq!(
            row.clone().target(Target::AtLeast(0.8)).verdict,
            Verdict::Met
        );
        assert_eq!(row.target(Target::AtLeast(0.81)).verdict, Verdict::Missed);
    }

    #[test]
    fn what_was_not_measured_is_unknown_and_never_met() {
        let row = Row::of_values("x", "x", Unit::Seconds, Vec::new()).target(Target::AtMost(1.0));
        assert_eq!((row.value, row.verdict), (None, Verdict::Unknown));
    }

    #[test]
    fn a_comparison_with_an_idle_server_is_invalid() {
        let row = Row::of_rates("x", "x", rounds(&[(2.0, 1.0)])).target(Target::AtLeast(0.8));
        let busy = row.clone().only_with_a_full_core(&[0.99, 0.97, 0.2]);
        assert_eq!(busy.verdict, Verdict::Met);
        let idle = row.only_with_a_full_core(&[0.99, 0.94, 0.2]);
        assert_eq!(idle.verdict, Verdict::Invalid);
        assert!(idle.note.unwrap().contains("94 %"));
    }

    #[test]
    fn medians_and_quantiles_are_values_that_were_seen() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0]), Some(1.0));
        assert_eq!(median([f64::NAN, 3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(quantile(&mut [], 0.5), None);
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), Some(50.0));
        assert_eq!(quantile(&mut values, 0.99), Some(99.0));
        assert_eq!(quantile(&mut values, 1.0), Some(100.0));
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        for (value, shown) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (0.851, "0.85"),
            (2.0, "2"),
            (31.96, "32"),
            (412_345.6, "412346"),
        ] {
            assert_eq!(number(value), shown);
        }
    }

    #[test]
    fn twice_as_good_is_two_whichever_way_the_target_points() {
        assert!((Target::AtLeast(0.5).part(1.0) - 2.0).abs() < 1e-9);
        assert!((Target::AtMost(1.0).part(0.5) - 2.0).abs() < 1e-9);
    }
}
