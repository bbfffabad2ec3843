//! A comparison as plain text: what makes it doubtful, the changes, then every ratio.

use crate::format;
use crate::stats::Estimate;
use crate::terminal::{Align, aligned, paragraph};

use super::cell::Cell;
use super::judgement::Judgement;
use super::runs::{RunComparison, ScenarioComparison};
use super::sentences;

/// Columns of text.
const WIDTH: usize = 100;

/// The comparison and its conditions as lines of text.
pub fn text(comparison: &RunComparison, judgements: &[Judgement]) -> String {
    let mut text = format!("BASE  {}\n", sentences::side(&comparison.base));
    text += &format!("NEW   {}\n\n", sentences::side(&comparison.new));
    text += &differences(comparison);
    for doubt in sentences::doubts(comparison) {
        text += &paragraph(&doubt, "  ", WIDTH);
    }
    for scenario in &comparison.scenarios {
        text += &format!("\n{}: {} ({})\n", scenario.name, scenario.title, scenario.load);
        text += &of_scenario(scenario);
    }
    text.push('\n');
    for line in sentences::only_in_one(comparison) {
        text += &paragraph(&line, "", WIDTH);
    }
    text += &paragraph(&format!("result: {}", sentences::headline(comparison)), "", WIDTH);
    for sentence in sentences::method(comparison) {
        text += &paragraph(&sentence, "  ", WIDTH);
    }
    for judgement in judgements {
        let line = format!("--fail-on {}: {}", judgement.condition, judgement.outcome.words());
        text += &paragraph(&line, "", WIDTH);
        for evidence in sentences::first(&judgement.evidence) {
            text += &paragraph(&evidence, "  ", WIDTH);
        }
    }
    text
}

fn differences(comparison: &RunComparison) -> String {
    if comparison.differences.is_empty() {
        return String::new();
    }
    let head = ["differs", "", "BASE", "NEW"].map(str::to_owned).to_vec();
    let rows = comparison.differences.iter().map(|difference| {
        vec![
            difference.group.word().to_owned(),
            difference.what.clone(),
            difference.base.clone(),
            difference.new.clone(),
        ]
    });
    aligned(std::iter::once(head).chain(rows).collect(), "", "  ", |_| {
        Align::Left
    }) + "\n"
}

fn of_scenario(scenario: &ScenarioComparison) -> String {
    if let Some(reason) = &scenario.refused {
        return paragraph(&format!("not compared: {reason}"), "  ", WIDTH);
    }
    let head = ["server", "", "BASE", "NEW", "NEW/BASE", "change"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for server in &scenario.servers {
        if let Some(reason) = &server.refused {
            notes.push(format!("{} is not compared: {reason}", server.server));
        }
        for (index, cell) in server.cells.iter().enumerate() {
            let name = if index == 0 {
                server.server.clone()
            } else {
                String::new()
            };
            lines.push(row(name, cell));
            if let Some(reason) = &cell.reason {
                notes.push(format!(
                    "{} of {}: {reason}",
                    cell.compared().title,
                    server.server
                ));
            }
        }
    }
    let align = |column| match column {
        2 | 3 => Align::Right,
        _ => Align::Left,
    };
    let table = if lines.len() > 1 {
        aligned(lines, "  ", "  ", align)
    } else {
        String::new()
    };
    let notes: String = notes.iter().map(|note| paragraph(note, "  ", WIDTH)).collect();
    table + &notes
}

fn row(name: String, cell: &Cell) -> Vec<String> {
    let shown = |estimate: &Option<Estimate>| {
        let scale = cell.compared().metric().scale;
        estimate.map_or("-".into(), |estimate| format::value(&estimate, scale))
    };
    vec![
        name,
        cell.compared().title.into(),
        shown(&cell.base),
        shown(&cell.new),
        sentences::ratio(cell),
        cell.class.word().into(),
    ]
}
