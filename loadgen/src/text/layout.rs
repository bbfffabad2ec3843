//! How text is laid out: names at the left, wrapped text beside them, and tables.

use std::fmt::Display;
use std::iter;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

/// Columns of a screen. A fixed width keeps the output of a run independent of the terminal.
const WIDTH: usize = 100;

/// Columns of the name before a text.
const NAME_WIDTH: usize = 14;

const INDENT: &str = "  ";

/// The least width of a number: times have up to six characters, and tables of several loads
/// should look alike.
const CELL_WIDTH: u16 = 6;

/// A line of text and its name, which is empty on continuation lines.
pub type Row = (&'static str, String);

/// A line with a name.
pub fn row(name: &'static str, text: impl Display) -> Row {
    (name, text.to_string())
}

/// Lines, of which the first has the name.
pub fn rows(name: &'static str, lines: impl IntoIterator<Item = String>) -> Vec<Row> {
    iter::once(name).chain(iter::repeat("")).zip(lines).collect()
}

/// The lines of a block, each wrapped to the width of a screen. A deeper indentation shows where a
/// line goes on.
pub fn block(rows: Vec<Row>) -> String {
    let indent = " ".repeat(2 * INDENT.len() + NAME_WIDTH);
    let lines = rows.into_iter().map(|(name, text)| {
        let first = format!("{INDENT}{name:NAME_WIDTH$}");
        wrap(&text, &first, &indent) + "\n"
    });
    lines.collect()
}

/// Wraps a text to the width of a screen behind an indentation.
pub fn wrap(text: &str, first: &str, others: &str) -> String {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(others)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// The lines of a table of numbers, aligned to the right; text in columns beyond the last
/// header is wrapped and aligned to the left.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(header)
        .add_rows(rows);
    table.discover_columns();
    for (index, column) in table.column_iter_mut().enumerate() {
        let before = if index == 0 { 0 } else { 3 };
        column.set_padding((before, 0));
        if index < N {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(CELL_WIDTH + before)));
        }
    }
    table.trim_fmt().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_continues_behind_its_name() {
        let text = "a word ".repeat(30);
        let block = block(rows("name", [text.trim().into(), "next".into()]));
        let lines: Vec<_> = block.lines().collect();
        assert!(lines[0].starts_with("  name          a word"), "{block}");
        assert!(lines[1].starts_with("                  a word"), "{block}");
        assert_eq!(lines.last().unwrap(), &"                next");
        assert!(lines.iter().all(|line| line.len() <= WIDTH), "{block}");
    }

    #[test]
    fn an_option_is_not_broken_at_its_hyphens() {
        let option = "--messages-per-connection";
        for width in 60..WIDTH {
            let text = format!("{} {option}", "x".repeat(width));
            assert!(wrap(&text, "", "").contains(option));
        }
    }

    #[test]
    fn the_cells_of_a_table_end_below_the_ends_of_their_headers() {
        let cells = |cells: [&str; 2]| cells.map(String::from).to_vec();
        let lines = table(
            ["p50", "p99"],
            [cells(["1.0us", "-"]), cells(["10.0us", "1.00s"])],
        );
        assert_eq!(lines, ["   p50      p99", " 1.0us        -", "10.0us    1.00s"]);
    }

    #[test]
    fn text_beside_a_table_is_wrapped() {
        let reason = "some reason ".repeat(20).trim().to_owned();
        let lines = table(["p50"], [vec!["1.0us".into(), reason.clone()]]);
        assert!(
            lines.len() > 2 && lines.iter().all(|line| line.len() <= WIDTH),
            "{lines:?}"
        );
        let words = lines[1..].join(" ");
        let words: Vec<_> = words.split_whitespace().skip(1).collect();
        assert_eq!(words.join(" "), reason);
    }
}
