//! Prints how often verdicts on real servers are wrong, and what they find: from runs in which most
//! servers are equal, and those named `slower-N` are slower by N percent of the CPU time per echo.
//!
//! `cargo run --release -p reports --example calibration RESULTS...`; `scripts/calibrate` measures.
//! Each ten blocks are judged as a run of seven servers: once the first seven equal ones, and once
//! for each slower server this one and the first six.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use record::{Measured, Outcome, Run, Scenario, Trial};
use reports::metrics::{COMPARED, CPU, METRICS};
use reports::row::Row;
use reports::scenario::ScenarioSummary;

/// Blocks of a verdict.
const BLOCKS: u32 = 10;

/// Servers of a verdict.
const SERVERS: usize = 7;

const SLOWER: &str = "slower-";

/// What the verdicts by one metric said.
#[derive(Default)]
struct Seen {
    verdicts: usize,
    /// Verdicts on equal servers that call any two different.
    claims: usize,
    half_widths: Vec<f64>,
    /// By the name of a slower server: the verdicts that find it, and those that call any other
    /// server different.
    found: BTreeMap<String, (usize, usize)>,
}

fn main() -> Result<()> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    ensure!(!paths.is_empty(), "give the results.jsonl of a run, or several");
    let mut runs = Vec::new();
    for path in &paths {
        let measured = reports::read(path)?.measured;
        runs.push(measured.with_context(|| format!("{} has no measurements", path.display()))?);
    }
    let scenarios: Vec<Scenario> = runs[0].run.scenarios.clone();
    for scenario in &scenarios {
        study(&runs, scenario)?;
    }
    Ok(())
}

fn study(runs: &[Measured], scenario: &Scenario) -> Result<()> {
    let names = runs[0].run.servers.iter().map(|server| server.name.as_str());
    let (slower, equal): (Vec<&str>, Vec<&str>) = names.partition(|name| name.starts_with(SLOWER));
    ensure!(equal.len() >= SERVERS, "{SERVERS} equal servers are needed");
    let mut all: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut window_s = Vec::new();
    let cost = |row: &Row| Some(row.numbers.get(CPU)?.value);
    let (mut usual, mut costs) = (Vec::new(), BTreeMap::<&str, Vec<f64>>::new());
    for Measured { run, trials } in runs {
        for first in (0..run.blocks).step_by(BLOCKS as usize) {
            let own = |trial: &&Trial| {
                trial.scenario == scenario.name && (first..first + BLOCKS).contains(&trial.block)
            };
            let trials: Vec<&Trial> = trials.iter().filter(own).collect();
            let judge = |names: &[&str]| judge(run, scenario, &trials, names);
            let Some(summary) = judge(&equal[..SERVERS]) else {
                continue;
            };
            window_s.push(measuring_time(&trials, &equal[..SERVERS]));
            usual.extend(summary.rows.iter().filter_map(cost));
            for verdict in &summary.verdicts {
                let seen = all.entry(verdict.metric).or_default();
                seen.verdicts += 1;
                seen.claims += usize::from(!verdict.evidence.beaten.is_empty());
                let rivals = verdict.evidence.rivals();
                seen.half_widths
                    .extend(rivals.filter_map(|rival| rival.ratio.half_width()));
            }
            for &name in &slower {
                let names = [&equal[..SERVERS - 1], &[name]].concat();
                let Some(summary) = judge(&names) else { continue };
                let own = summary.rows.iter().filter(|row| row.server == name);
                costs.entry(name).or_default().extend(own.filter_map(cost));
                for verdict in &summary.verdicts {
                    let found = &mut all.entry(verdict.metric).or_default().found;
                    let (finds, claims) = found.entry(name.into()).or_default();
                    let beaten = || verdict.evidence.beaten.iter();
                    *finds += usize::from(beaten().any(|rival| rival.name == name));
                    *claims += usize::from(beaten().any(|rival| rival.name != name));
                }
            }
        }
    }
    print(scenario, &all, median(&mut window_s));
    let usual = median(&mut usual);
    for name in slower {
        let cost = costs.get_mut(name).map_or(f64::NAN, |costs| median(costs));
        println!(
            "{name}: {:.1}% more CPU time per echo, measured",
            (cost / usual - 1.0) * 100.0
        );
    }
    println!();
    Ok(())
}

/// A verdict on some servers over some blocks; `None` unless each has all blocks.
fn judge(run: &Run, scenario: &Scenario, trials: &[&Trial], names: &[&str]) -> Option<ScenarioSummary> {
    let is_named = |name: &str| names.contains(&name);
    let run = Run {
        servers: { run.servers.iter() }
            .filter(|server| is_named(&server.name))
            .cloned()
            .collect(),
        blocks: BLOCKS,
        looks: Vec::new(),
        ..run.clone()
    };
    let trials: Vec<&Trial> = trials
        .iter()
        .copied()
        .filter(|trial| is_named(&trial.server))
        .collect();
    let summary = ScenarioSummary::of(&run, scenario, &trials);
    (summary.blocks_complete == BLOCKS).then_some(summary)
}

/// Seconds that these servers were measured in all.
fn measuring_time(trials: &[&Trial], names: &[&str]) -> f64 {
    let windows = trials
        .iter()
        .filter(|trial| names.contains(&trial.server.as_str()));
    let windows = windows.map(|trial| match &trial.outcome {
        Outcome::Measured { load, .. } => load.window_s,
        _ => 0.0,
    });
    windows.sum()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(scenario: &Scenario, all: &BTreeMap<&str, Seen>, window_s: f64) {
    println!("{}: verdicts on {window_s:.1} s of measuring each", scenario.name);
    let slower: Vec<&String> = all
        .values()
        .next()
        .map_or(Vec::new(), |seen| seen.found.keys().collect());
    let found: String = slower.iter().map(|name| format!(" {name} found |")).collect();
    println!(
        "| metric | verdicts | claims on equal servers | half-width |{found} false claims beside them |"
    );
    println!("| --- | --- | --- | --- |{} --- |", " --- |".repeat(slower.len()));
    for compared in &COMPARED {
        let Some(seen) = all.get(compared.key) else {
            continue;
        };
        let mut widths = seen.half_widths.clone();
        let found: String = slower
            .iter()
            .map(|name| format!(" {} |", seen.found[*name].0))
            .collect();
        let beside: usize = seen.found.values().map(|(_, claims)| claims).sum();
        let title = METRICS
            .iter()
            .find(|metric| metric.key == compared.key)
            .map_or("", |metric| metric.title);
        println!(
            "| {title} | {} | {} | {:.1}% |{found} {beside} |",
            seen.verdicts,
            seen.claims,
            median(&mut widths) * 100.0
        );
    }
}
