//! The report as plain text for a terminal: verdicts and the most important numbers.

use record::numbers::number;
use record::words::list;
use record::{LoopKind, Records};

use crate::achievement::Achievement;
use crate::behaviour::{self, Behaviour};
use crate::diagnostics::Weight;
use crate::format;
use crate::metrics::{self, ECHOES, METRICS, SERVICE_P99};
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::summary::Summary;
use crate::terminal::{Align, aligned, paragraph};

/// The metrics that have a column here, with its head; the HTML shows them all.
const COLUMNS: [(&str, &str); 6] = [
    ("p50_us", "p50 µs"),
    ("p99_us", "p99 µs"),
    ("p99_9_us", "p99.9 µs"),
    (SERVICE_P99, "service p99"),
    ("cpu_us_per_echo", "CPU µs/echo"),
    ("pss_bytes", "MiB"),
];

/// Columns of text; the table is about as wide.
const WIDTH: usize = 100;

/// What the records hold: the summary of the measurements and the conformance matrix.
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
    let all = summary.diagnostics.iter();
    for warning in all.filter(|diagnostic| diagnostic.weight() == Weight::Warning) {
        let subject = warning.subject().to_lowercase();
        text += &paragraph(&format!("warning: {subject}: {warning}"), "", WIDTH);
    }
    text
}

fn of_scenario(scenario: &ScenarioSummary) -> String {
    let mut text = format!("{}: {}\n", scenario.name, scenario.title);
    text += &numbers(&scenario.rows, scenario.plan.loop_kind());
    for (server, reason) in scenario.unmetered() {
        text += &paragraph(&format!("{server} {reason}."), "  ", WIDTH);
    }
    for verdict in &scenario.verdicts {
        let what = verdict.title();
        let words = format!("{} {}", verdict.decision.word(), list(&verdict.leaders));
        let verdict = format!("{what}: {}. {}", words.trim_end(), verdict.evidence);
        text += &paragraph(&verdict, "  ", WIDTH);
    }
    for sentence in { scenario.achievement.iter() }.flat_map(Achievement::sentences) {
        text += &paragraph(&sentence, "  ", WIDTH);
    }
    for caveat in &scenario.caveats {
        text += &paragraph(&format!("left out: {caveat}"), "  ", WIDTH);
    }
    text
}

fn numbers(rows: &[Row], kind: LoopKind) -> String {
    let columns: Vec<_> = { COLUMNS.into_iter() }
        .filter(|(key, _)| metrics::of_loop(kind).any(|metric| metric.key == *key))
        .collect();
    let head = ["server", "echoes/s", "99% interval", "vs best"].into_iter();
    let head = head
        .chain(columns.iter().map(|(_, head)| *head))
        .chain(["answered", "trials"]);
    let mut lines: Vec<Vec<String>> = vec![head.map(str::to_owned).collect()];
    lines.extend(rows.iter().map(|row| cells(row, &columns)));
    let last = lines[0].len() - 1;
    let align = |column| match column {
        0 => Align::Left,
        column if column == last => Align::Left,
        _ => Align::Right,
    };
    aligned(lines, "  ", "  ", align)
}

fn cells(row: &Row, columns: &[(&str, &str)]) -> Vec<String> {
    let dash = || "-".to_owned();
    let of = |key: &str| {
        let metric = METRICS.iter().find(|metric| metric.key == key);
        let estimate = metric.and_then(|metric| Some((metric.scale, row.numbers.get(key)?)));
        estimate.map_or_else(dash, |(scale, estimate)| format::value(estimate, scale))
    };
    let ends = row.numbers.get(ECHOES).and_then(|estimate| estimate.interval);
    let to_best = row.to_best.get(ECHOES);
    let mut cells = vec![
        row.server.clone(),
        of(ECHOES),
        ends.map_or_else(dash, |ends| format::interval(&ends, 1.0)),
        to_best.map_or_else(dash, |to_best| number(to_best.ratio.value)),
    ];
    cells.extend(columns.iter().map(|(key, _)| of(key)));
    cells.extend([row.answered().replace('–', "-"), row.trials.to_string()]);
    cells
}
