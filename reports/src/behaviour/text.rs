//! The matrix for a terminal: one character per cell, to fit thirty cases, and below it everything
//! that did not pass.

use super::matrix::{Behaviour, Column, Mark};
use crate::terminal::{Align, aligned, paragraph};

/// The narrowest terminal in common use.
const WIDTH: usize = 80;

/// The matrix as lines of text.
pub fn text(behaviour: &Behaviour) -> String {
    let mut text = matrix(behaviour);
    text += "\n";
    text += &paragraph(&legend(), "", WIDTH);
    text += &paragraph(&cases(&behaviour.columns), "", WIDTH);
    for mark in [Mark::Fail, Mark::Skipped, Mark::NotApplicable] {
        text += &notes(behaviour, mark);
    }
    text += "\n";
    text += &paragraph(&format!("slowest: {}", behaviour.slowest.join(", ")), "", WIDTH);
    text += &paragraph(&format!("{}: {}", behaviour.counts(), behaviour.made), "", WIDTH);
    text
}

fn matrix(behaviour: &Behaviour) -> String {
    // A column is one character wide, so ids are written downwards.
    let downwards = |column: &Column| {
        let characters: Vec<String> = column.id.chars().map(String::from).collect();
        characters.join("\n")
    };
    let head = std::iter::once(String::new()).chain(behaviour.columns.iter().map(downwards));
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    rows.extend(behaviour.rows.iter().map(|row| {
        let marks = row
            .cells
            .iter()
            .map(|cell| cell.map_or(String::new(), |cell| character(cell.mark).into()));
        std::iter::once(row.server.clone()).chain(marks).collect()
    }));
    aligned(rows, "", " ", |_| Align::Left)
}

/// A pass is inconspicuous, which makes a failure stand out.
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

fn notes(behaviour: &Behaviour, mark: Mark) -> String {
    let mut text = String::new();
    for column in &behaviour.columns {
        for note in column.notes.iter().filter(|note| note.mark == mark) {
            let servers = format!("{}: {}:", column.id, behaviour.servers_of(note));
            let mut lines = note.text.lines();
            let first = lines.next().unwrap_or_default();
            text += &paragraph(&format!("{servers} {first}"), "  ", WIDTH);
            text.extend(lines.map(|line| paragraph(line, "    ", WIDTH)));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{}\n{text}", mark.word()),
    }
}
