//! Tables that fit the terminal: plain columns, long texts cut where there is no room.

use std::borrow::Cow;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Width, presets};

use crate::terminal::{clipped, shown};

/// Columns whose cells are all this narrow are never cut: names, counts, usual ids.
const NARROW: u16 = 17;

/// How many bytes of a text stand in a cell, be there no terminal to fit: errors and names of other systems
/// are of any length.
const MOST: usize = 1_000;

/// Rows under headings. Every cell is made safe for a terminal.
pub(crate) struct Table {
    headings: Vec<String>,
    table: comfy_table::Table,
    /// Of each column, whether all of its cells are numbers or ids, however long.
    exact: Vec<bool>,
}

impl Table {
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings = headings.into_iter().map(str::to_uppercase);
        Self {
            headings: headings.collect(),
            ..Self::plain()
        }
    }

    /// One without headings.
    pub(crate) fn plain() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        Self {
            headings: Vec::new(),
            table,
            exact: Vec::new(),
        }
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells
            .into_iter()
            .map(|text| shown(&cut(text.as_ref())).into_owned())
            .collect();
        self.exact.resize(self.exact.len().max(cells.len()), true);
        for (exact, cell) in self.exact.iter_mut().zip(&cells) {
            *exact &= cell.chars().all(|c| c.is_ascii_digit() || "-~".contains(c));
        }
        let mut row = Row::from(cells);
        // A line a row: what does not fit is cut, and `-o json` has all of it.
        row.max_height(1);
        self.table.add_row(row);
    }

    /// The table as text, within this width where there is one. A number, an id or a heading that
    /// is cut says something else: where these alone are wider, the lines are longer.
    pub(super) fn text(mut self, width: Option<u16>) -> String {
        let cells = self.table.column_max_content_widths();
        if !self.headings.is_empty() {
            self.table.set_header(&self.headings);
        }
        let all = self.table.column_max_content_widths();
        let keeps = |column: usize| {
            self.exact.get(column) == Some(&true)
                || cells.get(column).is_none_or(|widest| *widest <= NARROW)
        };
        let heading = |column: usize| {
            let heading = self.headings.get(column).map_or(1, String::len);
            u16::try_from(heading).unwrap_or(u16::MAX)
        };
        let least: Vec<u16> = all
            .iter()
            .enumerate()
            .map(|(column, widest)| {
                if keeps(column) {
                    *widest
                } else {
                    heading(column)
                }
            })
            .collect();
        let gaps = u32::try_from(least.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let tight = least.iter().map(|least| u32::from(*least)).sum::<u32>() + 2 * gaps;
        let gap = match width {
            Some(width) if tight > u32::from(width) => 1,
            _ => 2,
        };
        let last = least.len().saturating_sub(1);
        for (index, column) in self.table.column_iter_mut().enumerate() {
            let gap = if index == last { 0 } else { gap };
            column.set_padding((0, gap));
            column.set_constraint(if keeps(index) {
                ColumnConstraint::ContentWidth
            } else {
                // With what stands beside it.
                ColumnConstraint::LowerBoundary(Width::Fixed(heading(index).saturating_add(gap)))
            });
        }
        self.table.set_truncation_indicator("…");
        if let Some(width) = width {
            self.table.set_width(width);
            self.table
                .set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            self.table
                .set_content_arrangement(ContentArrangement::Disabled);
        }
        let mut text = String::new();
        for line in self.table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// As much of a text as stands in a cell; of what is cut already, the same.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    match clipped(text, MOST) {
        all if all.len() == text.len() => text.into(),
        some => format!("{some}…").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["id", "error"]);
        table.row(["1-0", "a b c d e f g h i j k l m n o p q r s t u v w x y z"]);
        table.row(["2-0", "\u{1b}[2J\nnext"]);
        table
    }

    #[test]
    fn a_table_is_a_line_a_row_and_steers_nothing() {
        let text = table().text(None);
        assert_eq!(
            text,
            "ID   ERROR\n\
             1-0  a b c d e f g h i j k l m n o p q r s t u v w x y z\n\
             2-0  \\u{1b}[2J\\nnext\n"
        );
    }

    /// `dlq groups` in a pipe wrote an error of a MiB into a line of it, and as much of padding into each other.
    #[test]
    fn without_a_terminal_a_cell_is_a_thousand_bytes_at_most() {
        let mut table = Table::new(["error", "id"]);
        let long = "é".repeat(1 << 20);
        for error in [long.as_str(), "short"] {
            table.row([error, "1-0"]);
        }
        let text = table.text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!("{}…  1-0", "é".repeat(500)));
        assert_eq!(lines[2].len(), 501 + 2 + 3);
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let text = table().text(Some(30));
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.lines().all(|line| line.chars().count() <= 30),
            "{text}"
        );
        assert!(text.contains('…'), "{text}");
    }

    /// What must stand in a table whole, whatever its width.
    fn assert_whole(text: &str, words: &[&str]) {
        for word in words {
            let whole = text
                .lines()
                .any(|line| line.split(' ').any(|found| found == *word));
            assert!(whole, "{word} is not whole:\n{text}");
        }
    }

    fn widest(text: &str) -> usize {
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or_default()
    }

    fn dead_letters() -> Table {
        let mut table = Table::new([
            "id", "died", "stream", "group", "reason", "attempts", "error",
        ]);
        for (id, error) in [
            (
                "1795324222405-0",
                "card service answered 503 Service Unavailable",
            ),
            (
                "1795324222405-123456",
                "field \"data\": expected value at line 1 column 1",
            ),
        ] {
            table.row([
                id,
                "4m ago",
                "orders",
                "billing",
                "attempts_exhausted",
                "3",
                error,
            ]);
        }
        table
    }

    const HEADINGS: [&str; 7] = [
        "ID", "DIED", "STREAM", "GROUP", "REASON", "ATTEMPTS", "ERROR",
    ];

    #[test]
    fn dead_letters_keep_their_ids_and_headings_in_a_narrow_terminal() {
        for width in [80, 60] {
            let text = dead_letters().text(Some(width));
            assert_eq!(text.lines().count(), 3, "{text}");
            assert_whole(
                &text,
                &[
                    "1795324222405-0",
                    "1795324222405-123456",
                    "orders",
                    "billing",
                ],
            );
            assert_whole(&text, &HEADINGS);
            assert!(text.contains('…'), "{text}");
        }
        assert!(widest(&dead_letters().text(Some(80))) <= 80);
        // As short as it can be with all of these whole.
        assert_eq!(widest(&dead_letters().text(Some(60))), 64);
    }

    #[test]
    fn the_numbers_of_an_overview_are_whole_in_a_narrow_terminal() {
        let overview = || {
            let mut table = Table::new([
                "stream",
                "group",
                "state",
                "length",
                "pending",
                "waiting",
                "lag",
                "oldest",
                "consumers",
                "dead",
            ]);
            table.row([
                "orders", "billing", "ok", "15000", "150", "12", "14850", "47m", "16", "1204",
            ]);
            table.row([
                "sg:stream:inbound-of-a-very-long-name",
                "-",
                "no group",
                "3",
                "-",
                "-",
                "-",
                "-",
                "-",
                "-",
            ]);
            table
        };
        for width in [80, 60] {
            let text = overview().text(Some(width));
            assert_eq!(text.lines().count(), 3, "{text}");
            let numbers = [
                "15000", "150", "12", "14850", "47m", "16", "1204", "billing",
            ];
            assert_whole(&text, &numbers);
            assert_whole(
                &text,
                &["LENGTH", "PENDING", "WAITING", "CONSUMERS", "DEAD"],
            );
        }
        assert!(widest(&overview().text(Some(80))) <= 80);
        assert_eq!(
            overview().text(Some(60)),
            "STREAM GROUP   STATE    LENGTH PENDING WAITING LAG   OLDEST CONSUMERS DEAD\n\
             orders billing ok       15000  150     12      14850 47m    16        1204\n\
             sg:st… -       no group 3      -       -       -     -      -         -\n"
        );
    }

    #[test]
    fn what_is_pending_is_whole_in_a_narrow_terminal() {
        for width in [80, 60] {
            let mut table = Table::new([
                "id",
                "consumer",
                "idle",
                "deliveries",
                "failures",
                "crashes",
                "due in",
                "error",
            ]);
            table.row([
                "1795324225000-0",
                "consumer_0a1b2c3d",
                "47m",
                "15000",
                "2",
                "0",
                "4m",
                "card service answered 503",
            ]);
            let text = table.text(Some(width));
            assert_eq!(text.lines().count(), 2, "{text}");
            assert_whole(
                &text,
                &[
                    "1795324225000-0",
                    "consumer_0a1b2c3d",
                    "15000",
                    "DELIVERIES",
                ],
            );
            assert!(text.contains("DUE IN"), "{text}");
        }
    }
}
