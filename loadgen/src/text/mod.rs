//! A load as a person reads it.

mod hints;
pub(crate) mod layout;
mod numbers;
mod plan;

use record::{Finding, Load};

use layout::{Row, block, row, rows};

/// The load as text: its plan, its numbers, whether it is valid, and hints.
pub fn describe(load: &Load) -> String {
    let blocks = [
        plan::describe(load),
        numbers::describe(load),
        verdict(load),
        rows("try next", hints::hints(load)),
    ];
    let blocks = blocks.into_iter().filter(|rows| !rows.is_empty()).map(block);
    format!("{}\n\n{}", load.target, blocks.collect::<Vec<_>>().join("\n"))
}

/// Whether the load is valid, and what else should be known.
fn verdict(load: &Load) -> Vec<Row> {
    let findings = &load.summary.findings;
    let mut all = match findings.is_valid() {
        true => vec![row("valid", "yes: the load passed every check")],
        false => rows("not valid", findings.reasons().map(Finding::to_string)),
    };
    all.extend(rows("note", findings.notes().map(Finding::to_string)));
    all
}

#[cfg(test)]
mod tests;
