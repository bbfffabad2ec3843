//! Compares the table of a report with an independent calculation from the raw records.
//!
//! The records are read as plain JSON and the page as plain text. `ECHOBENCH_RESULTS=FOLDER` checks
//! the run in that folder instead of the committed ones: the example, and a run of the first version of
//! the schema, whose windows were not sliced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Two-sided 99% Student's t by degrees of freedom, from a printed table.
const STUDENT: [f64; 9] = [63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250];

/// The compared metrics: the attribute in the page, and the path in a record.
const METRICS: [(&str, &str); 4] = [
    ("echoes_per_s", "/outcome/load/summary/echoes_per_s"),
    ("p50_us", "/outcome/load/summary/service_us/p50"),
    ("p99_us", "/outcome/load/summary/service_us/p99"),
    ("cpu_us_per_echo", "/outcome/cost/cpu_us_per_echo"),
];

fn folders() -> Vec<PathBuf> {
    match std::env::var_os("ECHOBENCH_RESULTS") {
        Some(folder) => vec![folder.into()],
        None => ["examples", "tests/first_version"]
            .map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .into(),
    }
}

/// The valid trials by scenario and server, each with its block.
fn trials(records: &str) -> BTreeMap<(String, String), Vec<(u64, Value)>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in records.lines().skip(1) {
        let trial: Value = serde_json::from_str(line).unwrap();
        if trial.pointer("/outcome/load/summary/valid") == Some(&Value::Bool(true)) {
            let name = |key: &str| trial[key].as_str().unwrap().to_owned();
            let block = trial["block"].as_u64().unwrap();
            found
                .entry((name("scenario"), name("server")))
                .or_default()
                .push((block, trial));
        }
    }
    found
}

/// The text between `from` and `to`.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let rest = page
        .split_once(from)
        .unwrap_or_else(|| panic!("there is no {from}"))
        .1;
    rest.split_once(to)
        .unwrap_or_else(|| panic!("there is no {to} after {from}"))
        .0
}

/// A number of a trial, or its lower bound; and whether it is one.
fn value(trial: &Value, place: &str) -> Option<(f64, bool)> {
    if let Some(number) = trial.pointer(place)?.as_f64() {
        return Some((number, false));
    }
    let (numbers, name) = place.rsplit_once('/')?;
    let bound = trial.pointer(&format!("{numbers}/at_least/{name}"))?;
    Some((bound.as_f64()?, true))
}

/// Whether a cell of the table says that its number is a lower bound.
fn says_bound(page: &str, scenario: &str, server: &str, metric: &str) -> bool {
    start_of_cell(page, scenario, server, metric).contains("data-bound=\"lower\"")
}

/// The numbers in a cell of the table: value, lower end and upper end, if present.
fn cell(page: &str, scenario: &str, server: &str, metric: &str) -> [Option<f64>; 3] {
    let cell = start_of_cell(page, scenario, server, metric);
    ["data-value=\"", "data-low=\"", "data-high=\""].map(|name| {
        cell.contains(name)
            .then(|| between(cell, name, "\"").parse().unwrap())
    })
}

fn start_of_cell<'a>(page: &'a str, scenario: &str, server: &str, metric: &str) -> &'a str {
    let table = between(
        page,
        &format!("<table class=\"numbers\" data-scenario=\"{scenario}\">"),
        "</table>",
    );
    let row = between(table, &format!("<tr data-server=\"{server}\""), "</tr>");
    between(row, &format!("data-measure=\"{metric}\""), ">")
}

fn assert_near(seen: Option<f64>, expected: f64, what: &str) {
    let seen = seen.unwrap_or_else(|| panic!("{what} is not shown"));
    // The printed table of Student's t has four digits.
    assert!(
        (seen / expected - 1.0).abs() < 2e-3,
        "{what}: {seen} is shown, {expected} is right"
    );
}

#[test]
fn the_tables_agree_with_the_raw_records() {
    folders().iter().for_each(|folder| table_agrees(folder));
}

fn table_agrees(folder: &Path) {
    let records = fs::read_to_string(folder.join("results.jsonl")).unwrap();
    let page = fs::read_to_string(folder.join("report.html")).unwrap_or_else(|_| {
        reports::html::render(&reports::read(&folder.join("results.jsonl")).unwrap()).unwrap()
    });
    let trials = trials(&records);
    assert!(!trials.is_empty(), "no trial was measured");
    for ((scenario, server), blocks) in &trials {
        for (metric, place) in METRICS {
            let values: Option<Vec<(f64, bool)>> =
                blocks.iter().map(|(_, trial)| value(trial, place)).collect();
            let [shown, low, high] = cell(&page, scenario, server, metric);
            let what = format!("{metric} of {server} in {scenario}");
            let Some(values) = values else {
                assert_eq!(shown, None, "{what}: not every trial has it");
                continue;
            };
            let logs: Vec<f64> = values.iter().map(|(value, _)| value.ln()).collect();
            let n = logs.len() as f64;
            let mean = logs.iter().sum::<f64>() / n;
            assert_near(shown, mean.exp(), &what);
            let is_bound = values.iter().any(|(_, is_bound)| *is_bound);
            assert_eq!(says_bound(&page, scenario, server, metric), is_bound, "{what}");
            if is_bound {
                assert_eq!((low, high), (None, None), "{what} is a bound");
            } else if logs.len() > 1 && logs.len() <= STUDENT.len() + 1 {
                let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (n - 1.0);
                let half = STUDENT[logs.len() - 2] * (variance / n).sqrt();
                // The exponential magnifies the rounding of the printed table: compare logarithms.
                assert!(
                    (low.unwrap().ln() - (mean - half)).abs() < 2e-3 * (1.0 + half),
                    "{what}: {low:?}"
                );
                assert!(
                    (high.unwrap().ln() - (mean + half)).abs() < 2e-3 * (1.0 + half),
                    "{what}: {high:?}"
                );
            }
        }
    }
}

/// Echoes per second of a trial: by turn, with whether other programs disturbed it, or of the whole
/// window.
fn rates(trial: &Value) -> BTreeMap<u64, (f64, bool)> {
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let outcome = &trial["outcome"];
    let Some(slices) = outcome["slices"].as_array() else {
        return [(0, (number(&outcome["load"]["summary"], "echoes_per_s"), false))].into();
    };
    let intervals = outcome["load"]["intervals"].as_array().unwrap();
    let slices = slices.iter().zip(intervals);
    slices
        .map(|(slice, interval)| {
            let rate = number(interval, "echoes").max(0.5) / number(interval, "duration_s");
            let disturbed = slice["foreign_cpu"].as_f64().is_some_and(|share| share > 0.1);
            (slice["turn"].as_u64().unwrap(), (rate, disturbed))
        })
        .collect()
}

/// The rates of a server by turn: those that were not disturbed, or all where too many were.
fn kept(rates: &BTreeMap<u64, (f64, bool)>) -> BTreeMap<u64, f64> {
    let disturbed = rates.values().filter(|(_, disturbed)| *disturbed).count();
    let all = 2 * (rates.len() - disturbed) < rates.len();
    let kept = rates.iter().filter(|(_, (_, disturbed))| all || !disturbed);
    kept.map(|(turn, (rate, _))| (*turn, *rate)).collect()
}

/// The mean over a group of the median over turns of the logarithm of the ratio of two rates, in the turns
/// that both have.
fn location(own: &BTreeMap<u64, (f64, bool)>, group: &[BTreeMap<u64, (f64, bool)>]) -> f64 {
    let own = kept(own);
    let difference = |other: &BTreeMap<u64, (f64, bool)>| {
        let other = kept(other);
        let common = own.iter().filter(|(turn, _)| other.contains_key(turn));
        middle(common.map(|(turn, rate)| (rate / other[turn]).ln()).collect())
    };
    group.iter().map(difference).sum::<f64>() / group.len() as f64
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

#[test]
fn ratios_are_taken_within_turns_and_blocks() {
    folders().iter().for_each(|folder| ratios_agree(folder));
}

fn ratios_agree(folder: &Path) {
    let records = fs::read_to_string(folder.join("results.jsonl")).unwrap();
    let read = reports::read(&folder.join("results.jsonl")).unwrap();
    let page = reports::html::render(&read).unwrap();
    let run = read.measured.unwrap().run;
    let trials = trials(&records);
    let mut compared = 0;
    for scenario in &run.scenarios {
        let of = |server: &str| trials.get(&(scenario.name.clone(), server.to_owned()));
        let ratio = |server: &str| cell(&page, &scenario.name, server, "to_best")[0];
        let is_best = |name: &&str| ratio(name) == Some(1.0);
        let is_judged = |name: &str| {
            let table = between(
                &page,
                &format!("<table class=\"numbers\" data-scenario=\"{}\">", scenario.name),
                "</table>",
            );
            !between(table, &format!("<tr data-server=\"{name}\""), ">").contains("out")
        };
        let is_judged_name = |name: &&str| is_judged(name);
        let names: Vec<&str> = run.servers.iter().map(|server| server.name.as_str()).collect();
        let Some(best) = names.iter().copied().find(is_best).and_then(of) else {
            continue;
        };
        let judged = names.iter().copied().filter(is_judged_name).filter_map(of);
        let counts: Vec<usize> = judged.map(Vec::len).collect();
        if counts.windows(2).any(|pair| pair[0] != pair[1]) {
            // A server without some of the blocks may be set aside, or leave the others fewer.
            continue;
        }
        for server in names.iter().copied().filter(|name| !is_best(name)) {
            let Some(own) = of(server) else { continue };
            // A server that is left out is compared with the best alone.
            let group: Vec<_> = match is_judged(server) {
                true => names
                    .iter()
                    .copied()
                    .filter(is_judged_name)
                    .filter_map(of)
                    .collect(),
                false => vec![own, best],
            };
            let logs: Vec<f64> = own
                .iter()
                .filter_map(|(block, _)| {
                    let of_block = |trials: &&Vec<(u64, Value)>| {
                        let found = trials.iter().find(|(theirs, _)| theirs == block)?;
                        Some(rates(&found.1))
                    };
                    let group: Option<Vec<_>> = group.iter().map(of_block).collect();
                    let group = group?;
                    Some(location(&of_block(&own)?, &group) - location(&of_block(&best)?, &group))
                })
                .collect();
            let expected = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
            assert_near(
                ratio(server),
                expected,
                &format!("{server} to the best in {}", scenario.name),
            );
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing was compared");
}
