//! Tables and escaped text in Markdown.
//!
//! Written by hand: comfy-table's Markdown style pads the cells and cannot centre a column.

/// A row of a table.
pub(crate) fn line(head: &str, cells: &[String]) -> String {
    format!("| {head} | {} |\n", cells.join(" | "))
}

/// Escapes the characters that have a meaning in Markdown.
pub(crate) fn escaped(text: &str) -> String {
    let mut result = String::new();
    for c in text.chars() {
        if "\\`*_[]<>|&~".contains(c) {
            result.push('\\');
        }
        result.push(c);
    }
    result
}
