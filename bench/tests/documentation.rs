//! Checks the documents about the cases against the registries of cases and models.

use std::fs;
use std::path::Path;

use bench::conformance::{CASES, Case};
use reports::behaviour::Mark;
use servers::models::MODELS;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of the first table after a heading, as cells; the first row is the head.
fn table(text: &str, after: &str) -> Vec<Vec<String>> {
    let part = text
        .split(after)
        .nth(1)
        .unwrap_or_else(|| panic!("there is no {after:?}"));
    let lines = part.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let inner = line.trim_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_matrix_has_a_row_for_each_model_and_a_column_for_each_case() {
    let matrix = table(&read("servers/README.md"), "\n## What they survive\n");
    let ids: Vec<&str> = CASES.iter().map(Case::id).collect();
    assert_eq!(matrix[0][1..], ids, "regenerate it with scripts/conformance");
    for model in MODELS {
        let name = format!("`{}`", model.name());
        let row = matrix.iter().find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("{name} is missing: regenerate it with scripts/conformance"));
        assert_eq!(row.len(), 1 + CASES.len(), "{name}");
    }
}

#[test]
fn every_cell_of_the_matrix_passes_or_is_not_applicable() {
    let matrix = table(&read("servers/README.md"), "\n## What they survive\n");
    let is_fine = |cell: &str| [Mark::Pass, Mark::NotApplicable].map(Mark::icon).contains(&cell);
    for row in &matrix[2..] {
        for (case, cell) in matrix[0].iter().zip(row).skip(1) {
            let place = format!("{} {case} is {cell:?}", row[0]);
            assert!(
                is_fine(cell),
                "{place}: fix it and regenerate it with scripts/conformance"
            );
        }
    }
}

#[test]
fn every_check_of_the_host_is_explained_in_the_order_of_the_registry() {
    let text = read("bench/README.md");
    let section = text.split("\n## What a host spoils").nth(1).unwrap();
    let rows = table(section, "wrong\nusage.");
    let explained: Vec<&str> = rows.iter().skip(2).map(|row| row[0].as_str()).collect();
    let names: Vec<String> = bench::doctor::names().map(|name| format!("**{name}**")).collect();
    assert_eq!(explained, names);
}

#[test]
fn every_case_is_explained_in_the_order_of_the_registry() {
    let rows = table(&read("bench/README.md"), "\n### The cases\n");
    let explained: Vec<&str> = rows.iter().skip(2).map(|row| row[0].as_str()).collect();
    let names: Vec<String> = CASES
        .iter()
        .map(|case| format!("**{}** {}", case.id(), case.name()))
        .collect();
    assert_eq!(explained, names);
}
