//! Records -> the numbers that are shown, once. HTML, text, JSON and the figures take
//! them from here, so that they agree to the last digit.

use std::collections::{BTreeMap, BTreeSet};

use record::{Cost, Load, Outcome, Run, Scenario, Server, Transport, Trial};
use serde::Serialize;

use crate::doubts::{self, Doubt};
use crate::format;
use crate::measure::{COMPARED, MEASURES};
use crate::stats::Estimate;
use crate::verdict::{self, Blocks, ToBest, Verdict};

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the suite.
    pub suite: String,
    /// When the run began.
    pub started_at: String,
    /// How many blocks were planned.
    pub blocks: u32,
    /// The servers in the order of the run.
    pub servers: Vec<Server>,
    /// The scenarios in the order of the run.
    pub scenarios: Vec<ScenarioSummary>,
    /// What speaks for and against believing the numbers.
    pub doubts: Vec<Doubt>,
}

/// What one scenario found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioSummary {
    /// Its name.
    pub name: String,
    /// The question that it answers.
    pub title: String,
    /// Connections asked for.
    pub connections: usize,
    /// Bytes in a message.
    pub message_bytes: u64,
    /// Blocks in which every server was measured or failed, but for those that were skipped.
    pub blocks_complete: u32,
    /// A row for every server of the run, measured or not.
    pub rows: Vec<Row>,
    /// Who is best by each of [`COMPARED`].
    pub verdicts: Vec<Verdict>,
    /// Who is left out of the verdicts, and why, in words.
    pub caveats: Vec<String>,
}

impl ScenarioSummary {
    /// The rows that have numbers.
    pub fn measured(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.basis != Basis::Nothing)
    }
}

/// What the numbers of a row rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// On its valid trials; the others are left out.
    Valid,
    /// On trials none of which is valid: shown, and never judged.
    Invalid,
    /// There are no numbers.
    Nothing,
}

/// One server in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub server: String,
    /// Its family.
    pub family: String,
    /// What its trials came to.
    pub trials: Trials,
    /// What the numbers rest on.
    pub basis: Basis,
    /// The numbers by the key of the measure; one that a trial lacks is absent.
    pub numbers: BTreeMap<&'static str, Estimate>,
    /// How it stands to the best, by the key of the measure.
    pub to_best: BTreeMap<&'static str, ToBest>,
    /// What became of the connections; absent without numbers.
    pub connections: Option<Reach>,
    /// Errors over all of its measured trials, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Why it has no part in the verdicts; absent when it has.
    pub left_out: Option<String>,
}

/// How many trials came to what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Trials {
    /// Ran to their end, valid or not.
    pub measured: usize,
    /// Measured, but not to be believed.
    pub invalid: Vec<Incident>,
    /// The server or the load failed.
    pub failed: Vec<Incident>,
    /// The host cannot run the server.
    pub skipped: Vec<Incident>,
}

impl Trials {
    /// Trials in the file, whatever came of them.
    pub fn total(&self) -> usize {
        self.measured + self.failed.len() + self.skipped.len()
    }

    /// In words, such as `4 measured, 1 failed`.
    pub fn words(&self) -> String {
        let parts = [
            (self.measured - self.invalid.len(), "valid"),
            (self.invalid.len(), "not valid"),
            (self.failed.len(), "failed"),
            (self.skipped.len(), "skipped"),
        ];
        let some: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if some.is_empty() {
            "not run".into()
        } else {
            some.join(", ")
        }
    }
}

/// A trial that gave no number to believe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Its block, from 0.
    pub block: u32,
    /// What happened, or why.
    pub reason: String,
    /// The end of the server's standard error; empty when there is none.
    pub stderr: String,
}

/// What became of the connections over trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// How many each trial asked for.
    pub asked: u64,
    /// Established in the trial with the fewest.
    pub open: u64,
    /// Answered in the trial with the fewest.
    pub answered: u64,
    /// Answered in the trial with the most.
    pub answered_at_most: u64,
}

impl Reach {
    /// Whether every connection was answered in every trial.
    pub fn all(&self) -> bool {
        self.answered >= self.asked
    }

    /// In words, such as `1 of 100`.
    pub fn words(&self) -> String {
        let Reach {
            asked,
            answered,
            answered_at_most,
            ..
        } = *self;
        let answered = match answered_at_most {
            most if most == answered => format::thousands(answered as f64),
            most => format!(
                "{} to {}",
                format::thousands(answered as f64),
                format::thousands(most as f64)
            ),
        };
        format!("{answered} of {}", format::thousands(asked as f64))
    }
}

impl Summary {
    /// Sums a run up. Records that [`crate::validate`] refuses give a summary too, of
    /// what in them is listed and is a number.
    pub fn of(run: &Run, trials: &[Trial]) -> Self {
        let servers: Vec<Server> = run.servers.iter().map(plain_server).collect();
        let scenarios: Vec<ScenarioSummary> = run
            .scenarios
            .iter()
            .map(|scenario| {
                let own: Vec<&Trial> = trials
                    .iter()
                    .filter(|trial| trial.scenario == scenario.name)
                    .collect();
                summarise(run, scenario, &own)
            })
            .collect();
        let doubts = doubts::of(run, trials, &scenarios);
        Summary {
            suite: format::plain_line(&run.suite),
            started_at: format::plain_line(&run.started_at),
            blocks: run.blocks,
            servers,
            scenarios,
            doubts,
        }
    }

    /// Whether any trial gave numbers.
    pub fn measured_anything(&self) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| scenario.measured().next().is_some())
    }
}

fn plain_server(server: &Server) -> Server {
    Server {
        name: format::plain_line(&server.name),
        family: format::plain_line(&server.family),
        summary: format::plain_line(&server.summary),
        transport: server.transport,
    }
}

/// The measured trials of one server in one scenario, and which of them count.
struct Measured<'a> {
    trials: Vec<(u32, &'a Load, &'a Cost)>,
    basis: Basis,
}

impl<'a> Measured<'a> {
    fn of(trials: &[&'a Trial], server: &str) -> Self {
        let all: Vec<(u32, &Load, &Cost)> = trials
            .iter()
            .filter(|trial| trial.server == server)
            .filter_map(|trial| match &trial.outcome {
                Outcome::Measured { load, cost } => Some((trial.block, load, cost)),
                _ => None,
            })
            .collect();
        let valid: Vec<_> = all
            .iter()
            .copied()
            .filter(|(_, load, _)| load.summary.is_valid())
            .collect();
        let basis = match (valid.is_empty(), all.is_empty()) {
            (false, _) => Basis::Valid,
            (true, false) => Basis::Invalid,
            (true, true) => Basis::Nothing,
        };
        let trials = if basis == Basis::Valid { valid } else { all };
        Measured { trials, basis }
    }

    /// One measure by block; empty unless every trial has it.
    fn blocks(&self, read: fn(&Load, &Cost) -> Option<f64>) -> Blocks {
        let values: Option<Blocks> = self
            .trials
            .iter()
            .map(|(block, load, cost)| Some((*block, read(load, cost)?)))
            .collect();
        values.unwrap_or_default()
    }

    fn reach(&self) -> Option<Reach> {
        let all = || self.trials.iter().map(|(_, load, _)| load.summary.connections);
        Some(Reach {
            asked: all().map(|connections| connections.asked).max()?,
            open: all().map(|connections| connections.open).min()?,
            answered: all().map(|connections| connections.answered).min()?,
            answered_at_most: all().map(|connections| connections.answered).max()?,
        })
    }
}

fn summarise(run: &Run, scenario: &Scenario, trials: &[&Trial]) -> ScenarioSummary {
    let measured: Vec<Measured<'_>> = run
        .servers
        .iter()
        .map(|server| Measured::of(trials, &server.name))
        .collect();
    let mut rows: Vec<Row> = run
        .servers
        .iter()
        .zip(&measured)
        .map(|(server, measured)| row(server, measured, trials))
        .collect();
    for (row, server) in rows.iter_mut().zip(&run.servers) {
        row.left_out = left_out(row).or_else(|| unlike(server, &run.servers));
    }
    let verdicts = judge(&mut rows, &measured);
    let caveats = rows
        .iter()
        .filter_map(|row| row.left_out.clone())
        .chain(dropped(&rows))
        .collect();
    ScenarioSummary {
        name: format::plain_line(&scenario.name),
        title: format::plain_line(&scenario.title),
        connections: scenario.plan.connections,
        message_bytes: scenario.plan.message_bytes,
        blocks_complete: complete_blocks(run, trials),
        rows,
        verdicts,
        caveats,
    }
}

fn row(server: &Server, measured: &Measured<'_>, trials: &[&Trial]) -> Row {
    let numbers = MEASURES.iter().filter_map(|measure| {
        let values: Vec<f64> = measured.blocks(measure.read).into_values().collect();
        Some((measure.key, Estimate::of(&values)?))
    });
    let own: Vec<&Trial> = trials
        .iter()
        .copied()
        .filter(|trial| trial.server == server.name)
        .collect();
    Row {
        server: format::plain_line(&server.name),
        family: format::plain_line(&server.family),
        trials: outcomes(&own),
        basis: measured.basis,
        numbers: numbers.collect(),
        to_best: BTreeMap::new(),
        connections: measured.reach(),
        errors: errors(&own),
        left_out: None,
    }
}

fn outcomes(trials: &[&Trial]) -> Trials {
    let mut found = Trials::default();
    for trial in trials {
        let incident = |reason: &str, stderr: &str| Incident {
            block: trial.block,
            reason: format::plain_line(reason),
            stderr: format::plain_lines(stderr.trim_end()),
        };
        match &trial.outcome {
            Outcome::Measured { load, .. } => {
                found.measured += 1;
                if !load.summary.is_valid() {
                    let reason = match load.summary.reasons().as_slice() {
                        [] => "the generator gave no reason".to_owned(),
                        reasons => reasons.join("; "),
                    };
                    found.invalid.push(incident(&reason, ""));
                }
            }
            Outcome::Skipped { reason } => found.skipped.push(incident(reason, "")),
            Outcome::Failed { error, stderr } => found.failed.push(incident(error, stderr)),
        }
    }
    found
}

fn errors(trials: &[&Trial]) -> BTreeMap<&'static str, u64> {
    let mut sum = BTreeMap::new();
    for trial in trials {
        if let Outcome::Measured { load, .. } = &trial.outcome {
            for (kind, count) in &load.summary.errors {
                let total: &mut u64 = sum.entry(kind.name()).or_default();
                *total = total.saturating_add(*count);
            }
        }
    }
    sum
}

/// Why a server has no part in the verdicts: they compare like with like.
fn left_out(row: &Row) -> Option<String> {
    let (name, trials) = (&row.server, &row.trials);
    if let Some(first) = trials.failed.first() {
        let (failed, total) = (trials.failed.len(), trials.total());
        return Some(format!(
            "{name} failed in {failed} of {}: {}.",
            format::counted(total, "trial"),
            first.reason
        ));
    }
    if let (0, Some(first)) = (trials.measured, trials.skipped.first()) {
        return Some(format!("{name} was skipped: {}.", first.reason));
    }
    if row.basis == Basis::Nothing {
        return Some(format!("{name} was not run."));
    }
    if let (Basis::Invalid, Some(first)) = (row.basis, trials.invalid.first()) {
        return Some(format!("No trial of {name} is valid: {}.", first.reason));
    }
    if row.errors.contains_key("wrong_bytes") {
        return Some(format!("{name} answered with wrong bytes."));
    }
    let reach = row.connections.filter(|reach| !reach.all())?;
    Some(format!("{name} answered {} connections.", reach.words()))
}

/// Why a server that did its work is no candidate beside those that did more.
fn unlike(server: &Server, all: &[Server]) -> Option<String> {
    let others = all.iter().any(|other| other.transport == Transport::Tcp);
    (server.transport == Transport::Udp && others).then(|| {
        format!(
            "{} speaks UDP, which keeps no connection and sends nothing again: it is shown, and not compared \
             with servers over TCP.",
            format::plain_line(&server.name)
        )
    })
}

/// Trials that were left out of servers that are judged.
fn dropped(rows: &[Row]) -> Vec<String> {
    let judged = rows.iter().filter(|row| row.left_out.is_none());
    judged
        .filter_map(|row| {
            let first = row.trials.invalid.first()?;
            let (some, total) = (
                row.trials.invalid.len(),
                format::counted(row.trials.total(), "trial"),
            );
            Some(format!(
                "{some} of {total} of {} left out as not valid: {}.",
                row.server, first.reason
            ))
        })
        .collect()
}

/// The verdicts, and in each row how it stands to the best.
fn judge(rows: &mut [Row], measured: &[Measured<'_>]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (key, better) in COMPARED {
        let Some(measure) = MEASURES.iter().find(|measure| measure.key == key) else {
            continue;
        };
        let blocks: Vec<Blocks> = measured
            .iter()
            .map(|measured| measured.blocks(measure.read))
            .collect();
        let candidates: Vec<(&str, &Blocks)> = rows
            .iter()
            .zip(&blocks)
            .filter(|(row, blocks)| row.left_out.is_none() && !blocks.is_empty())
            .map(|(row, blocks)| (row.server.as_str(), blocks))
            .collect();
        let verdict = verdict::decide(key, better, &candidates);
        let best = verdict.leaders.first().cloned();
        verdicts.push(verdict);
        let Some(best) = best else { continue };
        let Some(own) = rows
            .iter()
            .position(|row| row.server == best)
            .map(|index| &blocks[index])
        else {
            continue;
        };
        for (row, blocks) in rows.iter_mut().zip(&blocks) {
            if let Some(ratio) = verdict::compare(blocks, own) {
                let relation = ratio.relation();
                row.to_best.insert(
                    key,
                    ToBest {
                        best: best.clone(),
                        ratio,
                        relation,
                    },
                );
            }
        }
    }
    verdicts
}

/// Blocks in which nothing is missing. A server that the host cannot run is not missing,
/// in how many blocks so ever that is recorded.
fn complete_blocks(run: &Run, trials: &[&Trial]) -> u32 {
    let own = |name: &str| -> Vec<&Trial> {
        trials
            .iter()
            .copied()
            .filter(|trial| trial.server == name)
            .collect()
    };
    let skipped = |name: &str| {
        let own = own(name);
        !own.is_empty()
            && own
                .iter()
                .all(|trial| matches!(trial.outcome, Outcome::Skipped { .. }))
    };
    let expected: Vec<&str> = run
        .servers
        .iter()
        .map(|server| server.name.as_str())
        .filter(|name| !skipped(name))
        .collect();
    let Some(first) = expected.first() else { return 0 };
    let full = |block: u32| {
        expected
            .iter()
            .all(|name| own(name).iter().any(|trial| trial.block == block))
    };
    let blocks: BTreeSet<u32> = own(first).iter().map(|trial| trial.block).collect();
    blocks.into_iter().filter(|&block| full(block)).map(|_| 1).sum()
}
