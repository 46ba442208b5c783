//! What is told of a run: the table, the document, the part of the page.

use std::fmt::Write as _;

use serde::Serialize;

use super::row::{Cost, Row, Target, Unit, Verdict, number};
use crate::failure::Failure;
use crate::output::Table;

const BEGIN: &str = "<!-- redrive bench: begin -->\n";
const END: &str = "<!-- redrive bench: end -->\n";

/// All of a run, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    /// Whether the verdicts count: measured by an optimised build.
    pub(crate) optimised: bool,
    pub(crate) cores: Option<usize>,
    pub(crate) rounds: usize,
    pub(crate) took_ms: u64,
    pub(crate) met: usize,
    pub(crate) missed: usize,
    pub(crate) invalid: usize,
    pub(crate) unknown: usize,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn of(rows: Vec<Row>, rounds: usize, took_ms: u64) -> Self {
        let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            rounds,
            took_ms,
            met: count(Verdict::Met),
            missed: count(Verdict::Missed),
            invalid: count(Verdict::Invalid),
            unknown: count(Verdict::Unknown),
            rows,
        }
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new([
            "name", "value", "target", "verdict", "redrive", "raw", "what",
        ]);
        for row in &self.rows {
            let [redrive, raw] = sides(row);
            let what = match &row.note {
                Some(note) => format!("{} ({note})", row.what),
                None => row.what.to_owned(),
            };
            let target = row.target.map(Target::shown).unwrap_or_default();
            let verdict = row.verdict.shown().to_owned();
            table.row([
                row.name.clone(),
                value(row),
                target,
                verdict,
                redrive,
                raw,
                what,
            ]);
        }
        table
    }

    /// What the server was asked for each message, where it was counted.
    pub(crate) fn costs(&self) -> Option<Table> {
        let mut table = Table::new(HEADINGS);
        for (row, cost) in self.with_costs() {
            table.row(cells(row, cost));
        }
        self.with_costs().next().map(|_| table)
    }

    /// How it went, in a line.
    pub(crate) fn sum(&self) -> String {
        let (met, missed, invalid, unknown) = (self.met, self.missed, self.invalid, self.unknown);
        format!("{met} met, {missed} missed, {invalid} invalid, {unknown} unknown")
    }

    /// What was measured with what, in a line.
    pub(crate) fn about(&self) -> String {
        let cores = self
            .cores
            .map_or_else(|| "?".to_owned(), |cores| cores.to_string());
        let rounds = self.rounds;
        format!(
            "redrive {}, {cores} cores shared with the server, median of {rounds} rounds",
            self.version
        )
    }

    fn with_costs(&self) -> impl Iterator<Item = (&Row, Cost)> {
        self.rows.iter().filter_map(|row| Some((row, row.cost?)))
    }

    /// The page with its generated part made anew.
    pub(crate) fn renewed(&self, page: &str) -> Result<String, Failure> {
        let parts = page
            .split_once(BEGIN)
            .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let Some((before, after)) = parts else {
            return Err(
                Failure::usage("the page has no generated part").hint(format!(
                    "it begins with the line {} and ends with {}",
                    BEGIN.trim_end(),
                    END.trim_end()
                )),
            );
        };
        let mut made = format!("{}: {}.\n\n", self.about(), self.sum());
        made.push_str("| name | value | target | verdict | redrive | raw | what |\n|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let [redrive, raw] = sides(row);
            let target = row.target.map(Target::shown).unwrap_or_default();
            let note = row
                .note
                .as_ref()
                .map(|note| format!(" ({note})"))
                .unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                made,
                "| `{}` | {} | {target} | {} | {redrive} | {raw} | {}{note} |",
                row.name,
                value(row),
                row.verdict.shown(),
                row.what,
            );
        }
        let _ = write!(
            made,
            "\n| {} |\n|---|---|---|---|---|---|---|\n",
            HEADINGS.join(" | ")
        );
        for (row, cost) in self.with_costs() {
            let _ = writeln!(made, "| {} |", cells(row, cost).join(" | "));
        }
        Ok(format!("{before}{BEGIN}{made}{END}{after}"))
    }
}

const HEADINGS: [&str; 7] = [
    "for each message",
    "commands",
    "round trips",
    "bytes in",
    "bytes out",
    "server time",
    "server busy",
];

fn cells(row: &Row, cost: Cost) -> [String; 7] {
    [
        row.name.clone(),
        number(cost.commands),
        number(cost.round_trips),
        number(cost.bytes_in),
        number(cost.bytes_out),
        format!("{} µs", number(cost.server_us)),
        format!("{:.0} %", cost.server_core * 100.0),
    ]
}

/// A value with its unit.
pub(crate) fn value(row: &Row) -> String {
    row.value
        .map_or_else(|| "unknown".to_owned(), |value| with_unit(value, row.unit))
}

/// Both sides, where there are two or where the one is not the value itself.
fn sides(row: &Row) -> [String; 2] {
    let shown = |side: Option<f64>| {
        side.map(|side| with_unit(side, row.side_unit))
            .unwrap_or_default()
    };
    match row.raw {
        None => [String::new(), String::new()],
        Some(raw) => [shown(row.redrive), shown(Some(raw))],
    }
}

fn with_unit(value: f64, unit: Unit) -> String {
    format!("{} {}", number(value), unit.shown())
}

#[cfg(test)]
mod tests {
    use super::super::row::Round;
    use super::*;

    fn report() -> Report {
        let sides = |redrive, raw| {
            vec![Round {
                redrive,
                raw: Some(raw),
            }]
        };
        let met =
            Row::of_rates("drain-one", "drain", sides(90.0, 100.0)).target(Target::AtLeast(0.85));
        let missed = Row::of_values("memory", "peak", Unit::MiB, sides(64.0, 1.0))
            .target(Target::AtMost(32.0));
        let unknown =
            Row::of_values("idle", "idle", Unit::Seconds, Vec::new()).target(Target::AtMost(1.0));
        Report::of(vec![met, missed, unknown], 5, 1_000)
    }

    #[test]
    fn verdicts_are_counted_and_programs_get_every_round() {
        let report = report();
        assert_eq!(report.sum(), "1 met, 1 missed, 0 invalid, 1 unknown");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["verdict"], "met");
        assert_eq!(json["rows"][0]["target"]["at_least"], 0.85);
        assert_eq!(json["rows"][0]["rounds"][0]["raw"], 100.0);
        assert!(json["rows"][2]["value"].is_null());
    }

    #[test]
    fn only_the_generated_part_of_a_page_changes() {
        let page = format!("# Speed\n\n{BEGIN}old\n{END}\nthe end\n");
        let made = report().renewed(&page).unwrap();
        assert!(
            made.starts_with("# Speed\n\n") && made.ends_with("\nthe end\n"),
            "{made}"
        );
        assert!(!made.contains("old\n"), "{made}");
        assert!(
            made.contains("| `drain-one` | 0.9 × raw | ≥ 0.85 | met |"),
            "{made}"
        );
        // Made again it is the same page.
        assert_eq!(report().renewed(&made).unwrap(), made);
        assert!(report().renewed("# Speed\n").is_err());
    }
}
