//! The matrix for a terminal: a character for each cell, so that thirty cases fit, and below
//! it what did not simply pass.

use super::{Behaviour, Column, Mark, Row};
use crate::text::wrapped;

/// Columns of text that fit the narrowest terminal in use.
const WIDTH: usize = 80;

/// The matrix as lines of text.
pub fn text(behaviour: &Behaviour) -> String {
    let mut text = matrix(behaviour);
    text += &wrapped(&legend(), "", WIDTH);
    text += &wrapped(&cases(&behaviour.columns), "", WIDTH);
    for (mark, head) in [
        (Mark::Fail, "fail"),
        (Mark::Skipped, "skipped"),
        (Mark::NotApplicable, "not applicable"),
    ] {
        text += &notes(behaviour, mark, head);
    }
    text += "\n";
    text += &wrapped(&format!("slowest: {}", behaviour.slowest.join(", ")), "", WIDTH);
    text += &wrapped(&format!("{}: {}", behaviour.counts(), behaviour.made), "", WIDTH);
    text
}

fn matrix(behaviour: &Behaviour) -> String {
    let names = behaviour.rows.iter().map(|row| row.server.chars().count());
    let width = names.max().unwrap_or(0);
    let ids: Vec<Vec<char>> = behaviour
        .columns
        .iter()
        .map(|column| column.id.chars().collect())
        .collect();
    let mut text = String::new();
    // An id is read downwards.
    for line in 0..ids.iter().map(Vec::len).max().unwrap_or(0) {
        let characters = ids.iter().map(|id| *id.get(line).unwrap_or(&' '));
        text += &row("", width, characters);
    }
    for Row { server, cells } in &behaviour.rows {
        let marks = cells
            .iter()
            .map(|cell| cell.map_or(' ', |cell| character(cell.mark)));
        text += &row(server, width, marks);
    }
    text + "\n"
}

fn row(head: &str, width: usize, cells: impl Iterator<Item = char>) -> String {
    let cells: String = cells.flat_map(|cell| [' ', cell]).collect();
    format!("{head:width$}{cells}").trim_end().to_owned() + "\n"
}

/// What holds is quiet, so that a failure is seen.
fn character(mark: Mark) -> char {
    match mark {
        Mark::Pass => '.',
        Mark::Fail => 'F',
        Mark::NotApplicable => 'n',
        Mark::Skipped => 's',
    }
}

fn legend() -> String {
    let each = Mark::ALL.map(|mark| format!("{} {}", character(mark), mark.word()));
    each.join(", ") + "; blank: not run"
}

fn cases(columns: &[Column]) -> String {
    let each: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", column.id, column.name))
        .collect();
    each.join(", ")
}

fn notes(behaviour: &Behaviour, mark: Mark, head: &str) -> String {
    let mut text = String::new();
    for column in &behaviour.columns {
        for note in column.notes.iter().filter(|note| note.mark == mark) {
            let whose = format!("{}: {}:", column.id, behaviour.whose(note));
            let mut lines = note.text.lines();
            let first = lines.next().unwrap_or_default();
            text += &wrapped(&format!("{whose} {first}"), "  ", WIDTH);
            text.extend(lines.map(|line| wrapped(line, "    ", WIDTH)));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{head}\n{text}"),
    }
}
