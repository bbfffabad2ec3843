//! Which servers achieve what a scenario asks for, and which of them costs least.
//!
//! A server achieves an objective if it holds in each of its blocks, and fails it if it holds in none. In
//! between the answer is not certain. So a server that is near the limit is not called good by one lucky block.

use record::condition::Condition;
use record::numbers::number;
use record::words::{counted, list};
use serde::Serialize;

use crate::exclusion::unfit;
use crate::metrics::{CPU, METRICS};
use crate::row::{Caveat, Row};
use crate::values::MeasuredTrial;

/// The metric of memory.
const MEMORY: &str = "pss_bytes";

/// The answer to the objectives of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Achievement {
    /// What is asked for: all of them.
    pub objectives: Vec<Condition>,
    /// The servers, in the order of the run.
    pub servers: Vec<Standing>,
    /// The servers that achieve it at the least cost, by metric; none if none achieves it or no cost is known.
    pub cheapest: Vec<Cheapest>,
}

/// One server against the objectives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Its name.
    pub server: String,
    /// Whether it achieves them.
    pub result: Achieves,
    /// The worst block in numbers, or why there are none.
    pub why: String,
}

/// Whether a server achieves all objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Achieves {
    /// In each of its blocks.
    Yes,
    /// In none.
    No,
    /// In some of its blocks, or it is not known.
    Uncertain,
    /// It has no valid result.
    Unable,
}

/// The least cost by one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cheapest {
    /// Key of the metric.
    pub metric: &'static str,
    /// The server with the least.
    pub server: String,
    /// What it uses, with the unit.
    pub shown: String,
    /// Servers whose interval overlaps with its own.
    pub or: Vec<String>,
}

impl Achievement {
    /// The answer for servers and their valid trials; `None` if nothing is asked for.
    pub fn of<'a>(
        objectives: &[Condition],
        rows: &[Row],
        trials: impl Fn(usize) -> &'a [MeasuredTrial<'a>],
    ) -> Option<Self> {
        if objectives.is_empty() {
            return None;
        }
        let servers: Vec<Standing> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| standing(objectives, row, trials(at)))
            .collect();
        let achieving = |row: &&Row| {
            let mut all = servers.iter();
            all.any(|standing| standing.server == row.server && standing.result == Achieves::Yes)
        };
        let candidates: Vec<&Row> = rows.iter().filter(achieving).collect();
        Some(Achievement {
            objectives: objectives.to_vec(),
            cheapest: [CPU, MEMORY]
                .into_iter()
                .filter_map(|key| cheapest(key, &candidates))
                .collect(),
            servers,
        })
    }

    /// The answer for a person.
    pub fn sentences(&self) -> Vec<String> {
        let asked: Vec<String> = self.objectives.iter().map(Condition::to_string).collect();
        let asked = list(&asked);
        let of = |result| -> Vec<&Standing> {
            let all = self.servers.iter();
            all.filter(|standing| standing.result == result).collect()
        };
        let each = |standings: &[&Standing]| -> String {
            let each = standings
                .iter()
                .map(|standing| format!("{} ({})", standing.server, standing.why));
            list(&each.collect::<Vec<_>>())
        };
        let achieving = of(Achieves::Yes);
        let mut sentences = vec![match achieving.len() {
            0 => format!("No server achieves {asked} in every block."),
            number => format!(
                "{number} of {} achieve {asked} in every block: {}.",
                counted(self.servers.len(), "server"),
                each(&achieving)
            ),
        }];
        for cheapest in &self.cheapest {
            let what = match cheapest.metric {
                CPU => "CPU time",
                _ => "memory",
            };
            let mut sentence = format!(
                "Of these, {} costs least in {what}: {}",
                cheapest.server, cheapest.shown
            );
            if !cheapest.or.is_empty() {
                sentence += &format!(", not told apart from {}", list(&cheapest.or));
            }
            sentences.push(sentence + ".");
        }
        for (result, begin) in [
            (Achieves::No, "Not achieved by"),
            (Achieves::Uncertain, "Not certain:"),
            (Achieves::Unable, "Without a valid result:"),
        ] {
            let standings = of(result);
            if !standings.is_empty() {
                sentences.push(format!("{begin} {}.", each(&standings)));
            }
        }
        sentences
    }
}

fn standing(objectives: &[Condition], row: &Row, trials: &[MeasuredTrial<'_>]) -> Standing {
    let of = |result, why| Standing {
        server: row.server.clone(),
        result,
        why,
    };
    // One that is only not compared with the others, by its transport, may serve.
    if let Some(cause) = unfit(row) {
        let server = row.server.clone();
        let text = Caveat { server, cause }.to_string();
        let text = text.strip_prefix(&row.server).unwrap_or(&text).trim();
        return of(Achieves::Unable, text.trim_end_matches('.').to_owned());
    }
    let is =
        |objective: &Condition, trial: &&MeasuredTrial<'_>, holds| objective.holds(trial.load) == Some(holds);
    let achieves = |trial: &&MeasuredTrial<'_>| objectives.iter().all(|objective| is(objective, trial, true));
    // A block that one objective fails, fails, even if another is not known there.
    let fails = |trial: &&MeasuredTrial<'_>| objectives.iter().any(|objective| is(objective, trial, false));
    let achieved = trials.iter().filter(achieves).count();
    let failed = trials.iter().filter(fails).count();
    let why = worst(objectives, trials);
    let blocks = counted(trials.len() + row.trials.invalid.len(), "block");
    match row.trials.invalid.len() {
        0 if achieved == trials.len() => of(Achieves::Yes, why),
        _ if failed == trials.len() => of(Achieves::No, why),
        _ => of(Achieves::Uncertain, format!("in {achieved} of {blocks}; {why}")),
    }
}

/// What the objectives are about in the block that comes nearest to failing each, or fails it most.
fn worst(objectives: &[Condition], trials: &[MeasuredTrial<'_>]) -> String {
    let each = objectives.iter().filter_map(|objective| {
        let badness = |trial: &&MeasuredTrial<'_>| {
            objective.value(trial.load).map_or(f64::INFINITY, |value| {
                if objective.is_upper() {
                    value.value()
                } else {
                    -value.value()
                }
            })
        };
        let worst = trials
            .iter()
            .max_by(|one, other| badness(one).total_cmp(&badness(other)))?;
        Some(objective.describe_value(worst.load))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn cheapest(key: &'static str, candidates: &[&Row]) -> Option<Cheapest> {
    let metric = METRICS.iter().find(|metric| metric.key == key)?;
    let estimates = candidates
        .iter()
        .filter_map(|row| Some((*row, row.numbers.get(key)?)));
    let (least, estimate) =
        { estimates.clone() }.min_by(|one, other| one.1.value.total_cmp(&other.1.value))?;
    let high = estimate.interval.map_or(estimate.value, |ends| ends.high);
    let overlaps = |row: &Row, other: &crate::stats::Estimate| {
        let low = other.interval.map_or(other.value, |ends| ends.low);
        row.server != least.server && low <= high
    };
    Some(Cheapest {
        metric: key,
        server: least.server.clone(),
        shown: format!("{} {}", number(estimate.value / metric.scale), metric.unit),
        or: estimates
            .filter(|(row, other)| overlaps(row, other))
            .map(|(row, _)| row.server.clone())
            .collect(),
    })
}
