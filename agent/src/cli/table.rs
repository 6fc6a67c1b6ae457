//! Tables without borders: a header, aligned columns, nothing behind the last one.
//!
//! On a terminal the last column is wrapped to the width that is left; elsewhere a row is one line, so that `grep`
//! and `awk` work on it.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement};

/// Blanks between columns.
const GAP: u16 = 3;

/// What the last column needs at least to be wrapped.
const LEAST: u16 = 16;

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
}

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(NOTHING);
        inner.set_header(columns.iter().map(|(name, _)| Cell::new(name)));
        let last = columns.len().saturating_sub(1);
        for (index, (_, align)) in columns.iter().enumerate() {
            if let Some(column) = inner.column_mut(index) {
                column.set_padding((0, if index == last { 0 } else { GAP }));
                column.set_cell_alignment(match align {
                    Align::Left => CellAlignment::Left,
                    Align::Right => CellAlignment::Right,
                });
            }
        }
        inner.set_content_arrangement(ContentArrangement::Disabled);
        Self { inner }
    }

    /// Adds a row; empty cells are shown as `-`, so that columns can be counted.
    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        self.inner.add_row(cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }

    /// Whether the last column would get a width that can be read. Where not, the terminal's own wrapping does better.
    fn leaves_room(&self, width: u16) -> bool {
        let widths = self.inner.column_max_content_widths();
        let others: u16 = widths.iter().rev().skip(1).map(|w| w.saturating_add(GAP)).sum();
        others.saturating_add(LEAST) <= width
    }

    /// The text, each line ended, wrapped to `width` columns where that is given.
    pub(crate) fn render(mut self, width: Option<u16>) -> String {
        if let Some(width) = width.filter(|width| self.leaves_room(*width)) {
            self.inner.set_width(width);
            self.inner.set_content_arrangement(ContentArrangement::Dynamic);
            // Only the last column gives way: an id that is broken over two lines cannot be copied.
            let last = self.inner.column_count().saturating_sub(1);
            for index in 0..last {
                if let Some(column) = self.inner.column_mut(index) {
                    column.set_constraint(comfy_table::ColumnConstraint::ContentWidth);
                }
            }
        }
        let mut text = self.inner.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
        text.push('\n');
        text
    }
}

/// Named facts, one a line, their values aligned; empty ones are left out.
pub(crate) fn facts(lines: &[(&str, String)]) -> String {
    let shown = || lines.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    shown().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("ID", Align::Left), ("CPU", Align::Right), ("REASON", Align::Left)]);
        table.row(["0af3".to_owned(), "1024".to_owned(), String::new()]);
        table.row(["1".to_owned(), "256".to_owned(), "stopped by the operator".to_owned()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        assert_eq!(
            sample().render(None),
            "ID      CPU   REASON\n0af3   1024   -\n1       256   stopped by the operator\n"
        );
    }

    #[test]
    fn a_terminal_without_room_for_the_last_column_gets_whole_lines() {
        assert_eq!(sample().render(Some(20)), sample().render(None));
    }

    #[test]
    fn only_the_last_column_is_wrapped_to_a_terminal() {
        let text = sample().render(Some(32));
        assert!(text.lines().all(|line| line.chars().count() <= 32), "{text}");
        assert!(text.contains("0af3   1024   -\n"), "{text}");
        assert!(text.contains("stopped by"), "{text}");
    }
}
