//! One scenario in numbers: a row for each server, and who is best.

use std::collections::{BTreeMap, BTreeSet};

use record::histogram::Known;
use record::units::Time;
use record::words::{plain_line, plain_lines};
use record::{
    Finding, Generator, Margins, Outcome, Plan, Run, Saturation, Scenario, Server, Setup, Slice, Throttling,
    Trial,
};
use serde::Serialize;

use crate::achievement::Achievement;
use crate::comparison::{Blocks, ERROR_RATE};
use crate::exclusion;
use crate::metrics::{COMPARED, METRICS, Metric, P99};
use crate::row::{Basis, Caveat, Incident, InvalidTrial, Reach, Row, Trials, Unmetered};
use crate::stats::Estimate;
use crate::values::{MeasuredTrial, values};
use crate::verdict::{self, ToBest, Verdict};

/// One scenario in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioSummary {
    /// Its name.
    pub name: String,
    /// The question that it answers.
    pub title: String,
    /// Connections of the load.
    pub connections: usize,
    /// Bytes in a message, on average; absent if a file lists the sizes and no load was measured.
    pub message_bytes: Option<u64>,
    /// The whole load.
    pub plan: Plan,
    /// How the servers are started for it.
    pub setup: Setup,
    /// Blocks in which every server, except skipped ones, was measured or failed.
    pub blocks_complete: u32,
    /// How many it was to have, at least.
    pub blocks_planned: u32,
    /// The length of the slices; absent if each server had the machine for a whole window.
    pub slice: Option<Time>,
    /// A row for every server of the run, measured or not.
    pub rows: Vec<Row>,
    /// The best server by each of [`COMPARED`].
    pub verdicts: Vec<Verdict>,
    /// What the verdicts leave out, and why.
    pub caveats: Vec<Caveat>,
    /// Which servers achieve what is asked for; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achievement: Option<Achievement>,
}

impl ScenarioSummary {
    /// Summarises the trials of one scenario.
    pub fn of(run: &Run, scenario: &Scenario, trials: &[&Trial]) -> Self {
        let measured: Vec<MeasuredServer<'_>> = run
            .servers
            .iter()
            .map(|server| MeasuredServer::of(trials, &server.name))
            .collect();
        let mut rows: Vec<Row> = run
            .servers
            .iter()
            .zip(&measured)
            .map(|(server, measured)| row(server, measured, trials))
            .collect();
        for (row, server) in rows.iter_mut().zip(&run.servers) {
            row.left_out = exclusion::exclude(row, server, &run.servers);
        }
        let verdicts = judge(&mut rows, &measured, &run.margins, error_rate(&run.looks));
        let loads = measured.iter().flat_map(|server| &server.trials);
        let listed_mean = { loads }.find_map(|trial| trial.load.listed_mean_bytes);
        let mean = scenario.plan.size.mean().or(listed_mean);
        let caveats = rows.iter().filter_map(|row| row.left_out.clone());
        let caveats = caveats.chain(rows.iter().filter_map(exclusion::partly_invalid));
        let caveats = caveats.chain(rows.iter().filter_map(exclusion::latency_withheld));
        let caveats = caveats.chain(rows.iter().filter_map(exclusion::latency_bounded));
        let complete = complete_blocks(run, trials);
        ScenarioSummary {
            name: plain_line(&scenario.name),
            title: plain_line(&scenario.title),
            connections: scenario.plan.connections(),
            message_bytes: mean.map(|mean| mean.round() as u64),
            plan: scenario.plan.clone(),
            setup: scenario.setup.clone(),
            blocks_complete: complete,
            blocks_planned: run.planned_blocks(complete),
            slice: scenario.slice,
            caveats: caveats.collect(),
            achievement: Achievement::of(&scenario.objectives, &rows, |at| &measured[at].trials),
            rows,
            verdicts,
        }
    }

    /// Whether more blocks would change no verdict.
    pub fn is_decided(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.decision.is_final())
    }

    /// The servers that further blocks would tell nothing new about, each with the reason.
    pub fn not_needed(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let is_behind = |row: &Row| {
            let mut verdicts = self.verdicts.iter();
            verdicts.all(|verdict| !verdict.evidence.needs(&row.server))
        };
        self.rows.iter().filter_map(move |row| {
            let reason = match &row.left_out {
                // It costs no time.
                _ if row.trials.measured + row.trials.failed.len() == 0 => return None,
                Some(_) => "the verdicts leave it out",
                None if is_behind(row) => "it is clearly behind by every verdict",
                None => return None,
            };
            Some((row.server.as_str(), reason))
        })
    }

    /// The rows that have numbers.
    pub fn measured(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.basis != Basis::Nothing)
    }

    /// The servers whose use of CPU time and memory is not known, with the reason.
    pub fn unmetered(&self) -> impl Iterator<Item = (&str, Unmetered)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row.server.as_str(), row.unmetered?)))
    }
}

/// The trials of one server in one scenario that its numbers rest on.
pub(crate) struct MeasuredServer<'a> {
    /// The valid ones, or all if none is valid.
    pub(crate) trials: Vec<MeasuredTrial<'a>>,
    basis: Basis,
}

impl<'a> MeasuredServer<'a> {
    pub(crate) fn of(trials: &[&'a Trial], server: &str) -> Self {
        let all: Vec<MeasuredTrial> = trials
            .iter()
            .filter(|trial| trial.server == server)
            .filter_map(|trial| match &trial.outcome {
                Outcome::Measured { load, cost, slices } => Some(MeasuredTrial {
                    block: trial.block,
                    load,
                    cost: cost.as_ref(),
                    slices,
                }),
                _ => None,
            })
            .collect();
        let is_valid = |trial: &&MeasuredTrial| trial.load.summary.is_valid();
        let valid: Vec<_> = all.iter().filter(is_valid).copied().collect();
        let basis = match (valid.is_empty(), all.is_empty()) {
            (false, _) => Basis::Valid,
            (true, false) => Basis::Invalid,
            (true, true) => Basis::Nothing,
        };
        let trials = if basis == Basis::Valid { valid } else { all };
        MeasuredServer { trials, basis }
    }

    /// One metric of each trial; nothing unless every trial has it.
    fn of_trials(&self, metric: &Metric) -> Vec<Known> {
        let values = self.trials.iter();
        let values: Option<_> = values
            .map(|trial| (metric.read)(trial.load, trial.cost))
            .collect();
        values.unwrap_or_default()
    }

    /// Judges the generator by its mean utilisation.
    fn saturation(&self) -> Option<Saturation> {
        let all = || self.trials.iter().map(|trial| &trial.load.generator);
        let mean = |of: fn(&Generator) -> f64| all().map(of).sum::<f64>() / self.trials.len() as f64;
        let spinning = all().find(|generator| generator.spins());
        let mean = Generator {
            utilisation: mean(|generator| generator.utilisation),
            kept_waiting: mean(|generator| generator.kept_waiting),
            throttling: Some(Throttling {
                share: mean(Generator::throttled),
                ..Throttling::default()
            }),
            ..spinning.or(all().next())?.clone()
        };
        Some(mean.saturation())
    }

    /// Whether it is known in every trial what the server used.
    fn is_metered(&self) -> bool {
        self.trials.iter().all(|trial| trial.cost.is_some())
    }

    fn withheld(&self) -> Option<&'a Finding> {
        let mut all = self.trials.iter();
        all.find_map(|trial| trial.load.summary.findings.withheld().next())
    }

    /// `None` also where connections open and close: some are always unanswered when the window
    /// ends.
    fn reach(&self) -> Option<Reach> {
        let first = self.trials.first()?.load;
        if first.plan.messages_per_connection().is_some() {
            return None;
        }
        let all = || self.trials.iter().map(|trial| trial.load.summary.connections);
        Some(Reach {
            asked: all().map(|connections| connections.asked).max()?,
            open: all().map(|connections| connections.open).min()?,
            answered: all().map(|connections| connections.answered).min()?,
            answered_at_most: all().map(|connections| connections.answered).max()?,
        })
    }
}

fn row(server: &Server, measured: &MeasuredServer<'_>, trials: &[&Trial]) -> Row {
    let numbers = METRICS
        .iter()
        .filter_map(|metric| Some((metric.key, Estimate::of_known(&measured.of_trials(metric))?)));
    let own: Vec<&Trial> = trials
        .iter()
        .copied()
        .filter(|trial| trial.server == server.name)
        .collect();
    Row {
        server: plain_line(&server.name),
        family: plain_line(&server.family),
        trials: outcomes(&own),
        basis: measured.basis,
        numbers: numbers.collect(),
        to_best: BTreeMap::new(),
        connections: measured.reach(),
        withheld: measured.withheld().cloned(),
        saturation: measured.saturation(),
        unmetered: (!measured.is_metered()).then(|| Unmetered::of_family(&server.family)),
        errors: errors(&own),
        left_out: None,
    }
}

fn outcomes(trials: &[&Trial]) -> Trials {
    let mut found = Trials::default();
    for trial in trials {
        let incident = |reason: &str, stderr: &str| Incident {
            block: trial.block,
            reason: plain_line(reason),
            stderr: plain_lines(stderr.trim_end()),
        };
        match &trial.outcome {
            Outcome::Measured { load, .. } => {
                found.measured += 1;
                if !load.summary.is_valid() {
                    found.invalid.push(InvalidTrial {
                        block: trial.block,
                        findings: load.summary.findings.clone(),
                    });
                }
            }
            Outcome::Skipped { reason } => found.skipped.push(incident(reason, "")),
            Outcome::NotNeeded { .. } => found.not_needed += 1,
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

/// The verdicts; fills in each row's ratio to the best.
fn judge(
    rows: &mut [Row],
    measured: &[MeasuredServer<'_>],
    margins: &Margins,
    error_rate: f64,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let block_s = block_s(measured);
    for compared in &COMPARED {
        let Some(metric) = METRICS.iter().find(|metric| metric.key == compared.key) else {
            continue;
        };
        let is_candidate = |row: &Row| {
            let has_latency = row.withheld.is_none() && !row.is_bounded(P99);
            row.left_out.is_none() && (metric.key != P99 || has_latency)
        };
        let trials = |at: &usize| &measured[*at].trials[..];
        let candidates: Vec<usize> = (0..rows.len()).filter(|&at| is_candidate(&rows[at])).collect();
        let blocks = values(&candidates.iter().map(trials).collect::<Vec<_>>(), metric);
        let named = candidates.iter().map(|&at| rows[at].server.as_str()).zip(&blocks);
        let named: Vec<(&str, &Blocks)> = named.filter(|(_, blocks)| !blocks.is_empty()).collect();
        let mut verdict = verdict::decide(compared, margins, &named, error_rate);
        verdict.evidence.block_s = block_s;
        let lacks = |(at, blocks): (&usize, &Blocks)| {
            (blocks.is_empty() && !measured[*at].trials.is_empty()).then(|| rows[*at].server.clone())
        };
        verdict.evidence.without = candidates.iter().zip(&blocks).filter_map(lacks).collect();
        if let Some(best) = rows
            .iter()
            .position(|row| Some(&row.server) == verdict.leaders.first())
        {
            for (at, row) in rows.iter_mut().enumerate() {
                let pair = || {
                    let pair = values(&[trials(&at), trials(&best)], metric);
                    verdict::compare(&pair[0], &pair[1], error_rate)
                };
                let Some(ratio) = verdict.evidence.ratio(&row.server).or_else(pair) else {
                    continue;
                };
                let to_best = ToBest {
                    best: verdict.leaders[0].clone(),
                    ratio,
                    relation: ratio.relation((compared.margin)(margins).share()),
                };
                row.to_best.insert(compared.key, to_best);
            }
        }
        verdicts.push(verdict);
    }
    verdicts
}

/// The approximate time of a further block in seconds: it has the servers of the last one.
fn block_s(measured: &[MeasuredServer<'_>]) -> Option<f64> {
    let trials = || measured.iter().flat_map(|server| &server.trials);
    let last = trials().map(|trial| trial.block).max()?;
    let time = |trial: &MeasuredTrial| {
        let window_s = trial.load.window_s;
        let settling_s = if trial.slices.is_empty() {
            0.0
        } else {
            window_s / f64::from(Slice::SETTLING)
        };
        Trial::BESIDE.as_secs_f64() + trial.load.plan.warmup.seconds() + settling_s + window_s
    };
    Some(trials().filter(|trial| trial.block == last).map(time).sum())
}

/// The error rate of each look at the verdicts. Looking
/// several times must not raise the error rate, so each look has its share of it.
fn error_rate(looks: &[u32]) -> f64 {
    ERROR_RATE / looks.len().max(1) as f64
}

/// Blocks in which no trial is missing. A server that was always skipped is not missing, however
/// many skips are recorded.
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
