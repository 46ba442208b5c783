//! The counts that are committed, and how those of now compare with them; pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

/// More than this part above the baseline fails.
const TOLERANCE: f64 = 0.05;
/// Names of the counts that are not made everywhere begin so.
pub(crate) const INSTRUCTIONS: &str = "instructions/";

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, f64>;

/// What is in the file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    /// The tools whose change changes counts, in one line.
    pub(crate) made_with: String,
    pub(crate) counts: Counts,
}

impl Baseline {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut baseline = Self::default();
        for line in text.lines() {
            if let Some(tools) = line.strip_prefix("# made with: ") {
                tools.clone_into(&mut baseline.made_with);
            }
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(count), None) = (words.next(), words.next(), words.next()) else {
                bail!("not a name and a count: {line}");
            };
            let count: f64 = count
                .parse()
                .with_context(|| format!("the count of {name}"))?;
            if !count.is_finite() || count < 0.0 {
                bail!("the count of {name} is {count}");
            }
            if baseline.counts.insert(name.to_owned(), count).is_some() {
                bail!("{name} stands there twice");
            }
        }
        if baseline.counts.is_empty() {
            bail!("there are no counts");
        }
        Ok(baseline)
    }

    pub(crate) fn write(&self) -> String {
        let mut text = String::from(
            "# What a message costs. `make counts` fails where a count is more than 5 % above the one here;\n\
             # `make counts-baseline` writes this file. What the names mean: CONTRIBUTING.md.\n",
        );
        let _ = writeln!(text, "# made with: {}", self.made_with);
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{name:<32}{:>12}", shown(*count));
        }
        text
    }
}

/// Instructions are whole, commands a part of one.
fn shown(count: f64) -> String {
    if count >= 100.0 {
        format!("{count:.0}")
    } else {
        format!("{count:.4}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    More,
    Less,
    /// The baseline does not know it.
    Unknown,
    /// Only the baseline knows it.
    Missing,
    /// It is not made on this machine.
    NotHere,
}

#[derive(Debug)]
pub(crate) struct Line {
    name: String,
    before: Option<f64>,
    now: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// The lowest of each count. What goes by the clock only ever adds some.
pub(crate) fn lowest(all: &[Counts]) -> Counts {
    each(all, |sorted| sorted.first().copied())
}

/// The highest of each count: what chance may add without being called a change.
pub(crate) fn highest(all: &[Counts]) -> Counts {
    each(all, |sorted| sorted.last().copied())
}

fn each(all: &[Counts], pick: impl Fn(&[f64]) -> Option<f64>) -> Counts {
    let mut picked = Counts::new();
    for name in all.iter().flat_map(Counts::keys) {
        let mut some: Vec<f64> = all
            .iter()
            .filter_map(|one| one.get(name).copied())
            .collect();
        some.sort_by(f64::total_cmp);
        picked.extend(pick(&some).map(|count| (name.clone(), count)));
    }
    picked
}

/// Every count that is in either, in the order of their names.
pub(crate) fn compare(before: &Counts, now: &Counts, instructions: bool) -> Vec<Line> {
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &String| {
        let (before, now) = (before.get(name).copied(), now.get(name).copied());
        let verdict = match (before, now) {
            (Some(before), Some(now)) if now > before * (1.0 + TOLERANCE) => Verdict::More,
            (Some(before), Some(now)) if now < before * (1.0 - TOLERANCE) => Verdict::Less,
            (Some(_), Some(_)) => Verdict::Same,
            (None, _) => Verdict::Unknown,
            (Some(_), None) if name.starts_with(INSTRUCTIONS) && !instructions => Verdict::NotHere,
            (Some(_), None) => Verdict::Missing,
        };
        Line {
            name: name.clone(),
            before,
            now,
            verdict,
        }
    };
    names.into_iter().map(line).collect()
}

pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<32}{:>12}{:>12}{:>10}\n",
        "count per message", "baseline", "now", "change"
    );
    for line in lines {
        let number = |count: Option<f64>| count.map_or_else(|| "-".to_owned(), shown);
        let change = match (line.before, line.now) {
            (Some(before), Some(now)) if before > 0.0 => {
                format!("{:+.1} %", (now / before - 1.0) * 100.0)
            }
            _ => "-".to_owned(),
        };
        let said = match line.verdict {
            Verdict::Same => "",
            Verdict::More => "  TOO MUCH",
            Verdict::Less => "  less",
            Verdict::Unknown => "  not in the baseline",
            Verdict::Missing => "  was not counted",
            Verdict::NotHere => "  NOT COUNTED HERE",
        };
        let (before, now) = (number(line.before), number(line.now));
        let _ = writeln!(
            text,
            "{:<32}{before:>12}{now:>12}{change:>10}{said}",
            line.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    fn verdicts(before: &Counts, now: &Counts, instructions: bool) -> Vec<Verdict> {
        let lines = compare(before, now, instructions);
        lines.iter().map(|line| line.verdict).collect()
    }

    #[test]
    fn five_percent_more_is_too_much_and_five_percent_less_is_said() {
        let before = counts(&[
            ("a", 1_000.0),
            ("b", 1_000.0),
            ("c", 1_000.0),
            ("d", 1_000.0),
        ]);
        let now = counts(&[("a", 1_050.0), ("b", 1_051.0), ("c", 950.0), ("d", 949.0)]);
        assert_eq!(
            verdicts(&before, &now, true),
            [Verdict::Same, Verdict::More, Verdict::Same, Verdict::Less]
        );
        let table = table(&compare(&before, &now, true));
        assert!(table.contains("+5.1 %  TOO MUCH"), "{table}");
    }

    #[test]
    fn of_several_the_lowest_and_the_highest_are_told_for_each_by_itself() {
        let all = [
            counts(&[("a", 3.0), ("b", 10.0)]),
            counts(&[("a", 1.0), ("b", 30.0)]),
            counts(&[("a", 2.0), ("b", 20.0), ("c", 5.0)]),
        ];
        assert_eq!(lowest(&all), counts(&[("a", 1.0), ("b", 10.0), ("c", 5.0)]));
        assert_eq!(
            highest(&all),
            counts(&[("a", 3.0), ("b", 30.0), ("c", 5.0)])
        );
    }

    #[test]
    fn what_is_counted_on_one_side_only_is_never_passed_over() {
        let before = counts(&[("commands/a", 1.0), ("instructions/a", 1.0)]);
        let now = counts(&[("commands/b", 1.0)]);
        assert_eq!(
            verdicts(&before, &now, true),
            [Verdict::Missing, Verdict::Unknown, Verdict::Missing]
        );
        assert_eq!(verdicts(&before, &now, false)[2], Verdict::NotHere);
    }

    #[test]
    fn anything_is_too_much_where_there_was_nothing() {
        let (none, some) = (counts(&[("a", 0.0)]), counts(&[("a", 0.01)]));
        assert_eq!(verdicts(&none, &some, true), [Verdict::More]);
        assert_eq!(verdicts(&none, &none, true), [Verdict::Same]);
    }

    #[test]
    fn what_was_written_is_read() {
        let baseline = Baseline {
            made_with: "rustc 1.2.3, valgrind-3.4".to_owned(),
            counts: counts(&[
                ("commands/drain/sent", 0.0213),
                ("instructions/all", 21_500.0),
            ]),
        };
        assert_eq!(Baseline::read(&baseline.write()).unwrap(), baseline);
        for wrong in ["", "a", "a b", "a 1 2", "a 1\na 2", "a NaN", "a -1"] {
            assert!(Baseline::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
