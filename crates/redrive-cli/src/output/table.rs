//! Tables that fit the terminal: plain columns, cut where there is no room.

use comfy_table::{ContentArrangement, Row, presets};

use crate::terminal::shown;

/// Rows under headings. Every cell is made safe for a terminal.
pub(crate) struct Table {
    table: comfy_table::Table,
}

impl Table {
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut plain = Self::plain();
        let headings = headings.into_iter().map(str::to_uppercase);
        plain.table.set_header(headings);
        plain
    }

    /// One without headings.
    pub(crate) fn plain() -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        Self { table }
    }

    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row = Row::from(
            cells
                .into_iter()
                .map(|cell| shown(cell.as_ref()).into_owned()),
        );
        // A line a row: what does not fit is cut, and `-o json` has all of it.
        row.max_height(1);
        self.table.add_row(row);
    }

    /// The table as text, within this width where there is one.
    pub(super) fn text(mut self, width: Option<u16>) -> String {
        for column in self.table.column_iter_mut() {
            column.set_padding((0, 2));
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
}
