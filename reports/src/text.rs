//! The summary as plain text for a terminal: verdicts, then the most asked-for numbers.

use record::Records;

use crate::behaviour::{self, Behaviour};
use crate::doubts::Weight;
use crate::format;
use crate::html;
use crate::measure::{ECHOES, MEASURES};
use crate::summary::{Row, ScenarioSummary, Summary};

/// The measures that have a column, with its head; the report has them all.
const COLUMNS: [(&str, &str); 5] = [
    ("p50_us", "p50 µs"),
    ("p99_us", "p99 µs"),
    ("p99_9_us", "p99.9 µs"),
    ("cpu_us_per_echo", "CPU µs/echo"),
    ("pss_bytes", "MiB"),
];

/// Columns of text: the table is about as wide.
const WIDTH: usize = 100;

/// All that records hold: the summary of what was measured, the matrix of the cases.
pub fn describe(records: &Records) -> String {
    let measured = records.measured.as_ref();
    let summary = measured.map(|measured| table(&Summary::of(&measured.run, &measured.trials)));
    let conformance = records.conformance.as_ref();
    let matrix = conformance.map(|conformance| behaviour::text(&Behaviour::of(conformance)));
    [summary, matrix]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// The summary as lines of text.
pub fn table(summary: &Summary) -> String {
    let mut text = String::new();
    if !summary.measured_anything() {
        text += "Nothing was measured.\n\n";
    }
    for scenario in &summary.scenarios {
        text += &of_scenario(scenario);
        text.push('\n');
    }
    for doubt in summary
        .doubts
        .iter()
        .filter(|doubt| doubt.weight == Weight::Warning)
    {
        text += &wrapped(
            &format!("warning: {}: {}", doubt.subject.to_lowercase(), doubt.text),
            "",
            WIDTH,
        );
    }
    text
}

fn of_scenario(scenario: &ScenarioSummary) -> String {
    let mut text = format!("{}: {}\n", scenario.name, scenario.title);
    text += &aligned(&rows(scenario));
    for verdict in &scenario.verdicts {
        let what = if verdict.measure == ECHOES {
            "most echoes"
        } else {
            "lowest p99"
        };
        let words = [verdict.decision.word().to_owned(), format::list(&verdict.leaders)];
        text += &wrapped(
            &format!("{what}: {}. {}", words.join(" ").trim_end(), verdict.reason),
            "  ",
            WIDTH,
        );
    }
    for caveat in &scenario.caveats {
        text += &wrapped(&format!("left out: {caveat}"), "  ", WIDTH);
    }
    text
}

/// A paragraph in lines no longer than `width` characters, as far as its words are not; all
/// lines but the first stand further in.
pub(crate) fn wrapped(paragraph: &str, indent: &str, width: usize) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in paragraph.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        let fresh = line <= indent.len();
        if !fresh && line + 1 + word.chars().count() > width {
            lines.push(format!("{indent}  {word}"));
        } else if let Some(line) = lines.last_mut() {
            *line += if fresh { "" } else { " " };
            *line += word;
        }
    }
    lines.join("\n") + "\n"
}

fn rows(scenario: &ScenarioSummary) -> Vec<Vec<String>> {
    let head = ["server", "echoes/s", "99% interval", "to the best"].into_iter();
    let head = head
        .chain(COLUMNS.map(|(_, head)| head))
        .chain(["answered", "trials"]);
    let mut rows = vec![head.map(str::to_owned).collect()];
    rows.extend(scenario.rows.iter().map(cells));
    rows
}

fn cells(row: &Row) -> Vec<String> {
    let dash = || "-".to_owned();
    let number = |key: &str| {
        let measure = MEASURES.iter().find(|measure| measure.key == key);
        let estimate = measure.and_then(|measure| Some((measure.scale, row.numbers.get(key)?)));
        estimate.map_or_else(dash, |(scale, estimate)| format::number(estimate.value / scale))
    };
    let ends = row.numbers.get(ECHOES).and_then(|estimate| estimate.interval);
    let ratio = row
        .to_best
        .get(ECHOES)
        .map(|to_best| format::number(to_best.ratio.value));
    let mut cells = vec![
        row.server.clone(),
        number(ECHOES),
        ends.map_or_else(dash, |ends| format::interval(&ends, 1.0)),
        ratio.unwrap_or_else(dash),
    ];
    cells.extend(COLUMNS.map(|(key, _)| number(key)));
    cells.extend([html::answered(row).replace('–', "-"), row.trials.words()]);
    cells
}

/// Columns two spaces apart: the first to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |cell: &String| cell.chars().count();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(length)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                last if last + 1 == columns => cell.clone(),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text += &format!("  {}\n", cells.join("  ").trim_end());
    }
    text
}
