//! Paragraphs and aligned columns for a terminal.

use comfy_table::{CellAlignment, Table};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A paragraph in lines of at most `width` columns, if its words allow; all lines but the first
/// are indented further.
pub(crate) fn paragraph(text: &str, indent: &str, width: usize) -> String {
    let hanging = format!("{indent}  ");
    // Server names and no-break spaces must stay whole, so lines break at spaces only.
    let options = Options::new(width)
        .initial_indent(indent)
        .subsequent_indent(&hanging)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options) + "\n"
}

/// Rows as columns without rules: `indent` before the first column, `gap` before the others.
pub(crate) fn aligned(
    rows: Vec<Vec<String>>,
    indent: &str,
    gap: &str,
    align: impl Fn(usize) -> Align,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).add_rows(rows);
    let columns = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
    for (index, column) in table.column_iter_mut().enumerate() {
        let before = if index == 0 { indent } else { gap };
        column.set_padding((columns(before), 0));
        column.set_cell_alignment(match align(index) {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_hangs_and_breaks_at_spaces_only() {
        let text = "alpha-beta 84.2\u{a0}µs gamma";
        let lines = "  alpha-beta\n    84.2\u{a0}µs\n    gamma\n";
        assert_eq!(paragraph(text, "  ", 15), lines);
        assert_eq!(
            paragraph("a-word-that-is-too-long", "", 5),
            "a-word-that-is-too-long\n"
        );
    }

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let rows = [["server", "n", "trials"], ["a", "10", "5"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let align = |column| if column == 1 { Align::Right } else { Align::Left };
        assert_eq!(
            aligned(rows, "  ", "  ", align),
            "  server   n  trials\n  a       10  5\n"
        );
    }
}
