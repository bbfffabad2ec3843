//! The matrix for a Markdown document.

use super::matrix::{Behaviour, Cell, Mark};
use crate::markdown::{escaped, line};

/// The matrix as a table, and below it everything that did not pass.
pub fn markdown(behaviour: &Behaviour) -> String {
    let heads: Vec<String> = behaviour
        .columns
        .iter()
        .map(|column| escaped(&column.id))
        .collect();
    let mut text = line("server", &heads);
    text += &line("---", &vec![":-:".to_owned(); heads.len()]);
    for row in &behaviour.rows {
        let cells: Vec<String> = row.cells.iter().map(|cell| sign(*cell)).collect();
        text += &line(&format!("`{}`", row.server.replace(['`', '|'], "")), &cells);
    }
    text += &format!("\n{}\n", legend());
    text += &format!("\n{}: {}.\n", behaviour.counts(), escaped(&behaviour.made));
    let remarks: String = [Mark::Fail, Mark::Skipped, Mark::NotApplicable]
        .into_iter()
        .map(|mark| notes(behaviour, mark))
        .collect();
    match remarks.is_empty() {
        true => text,
        false => text + "\n" + &remarks,
    }
}

/// A sign for the usual outcomes, a word for the others.
fn sign(cell: Option<Cell>) -> String {
    match cell.map(|cell| cell.mark) {
        None => String::new(),
        Some(mark @ (Mark::Pass | Mark::NotApplicable)) => mark.icon().into(),
        Some(mark) => format!("**{}**", mark.word()),
    }
}

fn legend() -> String {
    let named = [Mark::Pass, Mark::NotApplicable].map(|mark| format!("{} {}", mark.icon(), mark.word()));
    named.join(", ") + "; an empty cell was not run."
}

fn notes(behaviour: &Behaviour, mark: Mark) -> String {
    let mut text = String::new();
    for column in &behaviour.columns {
        for note in column.notes.iter().filter(|note| note.mark == mark) {
            text += &format!(
                "- **{} {}**, {}: {}. {}.\n",
                escaped(&column.id),
                escaped(&column.name),
                mark.word(),
                escaped(&behaviour.servers_of(note)),
                sentence(&note.text)
            );
        }
    }
    text
}

/// One line that starts with a capital and has no full stop.
fn sentence(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut characters = words.trim_end_matches('.').chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    escaped(&(first.unwrap_or_default() + characters.as_str()))
}
