//! Runs a suite: every trial in a fair order, each result written as soon as it exists.

mod budget;
mod command_line;
mod order;
mod preview;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use loadgen::limits::{hard_limit, threads_can_own_descriptors};
use loadgen::plan::CheckedPlan;
use record::units::Time;
use record::words::count;
use record::{self, Conformance, Measured, Outcome, Records, Run, SCHEMA_VERSION, Server, Transport, Trial};
use reports::scenario::ScenarioSummary;
use servers::sys::process::raise_descriptor_limit;

use crate::conformance;
use crate::doctor::{self, Needs, Root};
use crate::host::{affinity, fingerprint};
use crate::participant::Participant;
use crate::progress::Progress;
use crate::results::{self, Results};
use crate::suite::Suite;
use crate::trial::sliced::Block;
use crate::trial::{self, Entry};

use budget::Budget;
use command_line::command_line;
use order::{Group, order};

/// The result of a run.
#[derive(Debug)]
pub struct Finished {
    /// The file of the report.
    pub report: PathBuf,
    /// The summary for the terminal.
    pub text: String,
    /// Number of trials that failed or are not valid.
    pub bad: usize,
    /// Whether it was interrupted.
    pub interrupted: bool,
}

/// A run that can start: its suite is valid on this host, and its folder exists.
#[derive(Debug)]
pub struct Prepared {
    /// The name of the baseline that its results are kept as, too.
    pub baseline: Option<String>,
    suite: Suite,
    participants: Vec<Participant>,
    description: Run,
    conformance: Option<Conformance>,
    results: Results,
}

/// Checks a suite before anything is measured, and makes the folder of its results: this one, which must
/// be new or empty, or one that is named by the time.
pub fn prepare(
    suite: Suite,
    participants: Vec<Participant>,
    seed: u64,
    folder: Option<PathBuf>,
) -> anyhow::Result<Prepared> {
    // External servers inherit the limit, so it must be the same for the first as for the last.
    raise_descriptor_limit();
    let description = describe(&suite, seed, &participants)?;
    let folder = folder.map_or_else(results::new_folder, Ok)?;
    let mut results = Results::create(&folder)?;
    results.begin(&description)?;
    // A copy, so that the report needs only the folder of the run.
    let conformance = conformance::results::newest();
    if let Some(newest) = &conformance {
        results.add_conformance(newest)?;
    }
    Ok(Prepared {
        baseline: None,
        suite,
        participants,
        description,
        conformance,
        results,
    })
}

/// What a run of the suite would do, without doing it.
pub fn preview(suite: &Suite, participants: &[Participant], seed: u64) -> anyhow::Result<String> {
    let description = describe(suite, seed, participants)?;
    Ok(preview::preview(suite, &description, participants))
}

/// Measures every server of the suite, and writes the results and the report.
pub fn carry_out(prepared: Prepared, stop: &AtomicBool) -> anyhow::Result<Finished> {
    let Prepared {
        suite,
        participants,
        description,
        conformance,
        mut results,
        ..
    } = prepared;
    let suite = &suite;
    record::complain!(
        "{}",
        preview::preview(suite, &description, &participants).trim_end()
    );

    let progress = Progress::new(
        suite.trials(participants.len()),
        suite.time(&description.scenarios, participants.len()),
    );
    let mut run = Measuring {
        suite,
        description: &description,
        results: &mut results,
        progress: &progress,
        trials: Vec::new(),
        decided: HashSet::new(),
        not_needed: HashMap::new(),
    };
    let groups = order(
        suite.blocks,
        suite.scenarios.len(),
        &participants,
        description.seed,
    );
    let mut budget = Budget::start(suite.budget);
    for mut group in groups {
        // A block of another load may be shorter.
        if run.decided.contains(&group.scenario) || !budget.is_enough_for(group.scenario) {
            continue;
        }
        run.leave_out(&mut group)?;
        if !run.measure(&group, stop)? {
            break;
        }
        budget.spent_on(group.scenario);
        run.look(&group);
    }
    let trials = run.trials;
    progress.finish();
    let bad = trials.iter().filter(|trial| is_bad(&trial.outcome)).count();
    let text = reports::text::table(&reports::summary::Summary::of(&description, &trials));
    let run = description;
    let records = Records {
        measured: Some(Measured { run, trials }),
        conformance,
    };
    let report = results::write_report(results.folder(), &records)?;
    if let Err(error) = results::point_latest_at(results.folder()) {
        // The results are complete.
        record::complain!("echobench: {error:#}");
    }
    Ok(Finished {
        report,
        text,
        bad,
        interrupted: stop.load(Relaxed),
    })
}

/// A run under way.
struct Measuring<'a> {
    suite: &'a Suite,
    description: &'a Run,
    results: &'a mut Results,
    progress: &'a Progress,
    trials: Vec<Trial>,
    /// Scenarios whose verdicts further blocks would not change.
    decided: HashSet<usize>,
    /// Why further blocks of a scenario need not have a server.
    not_needed: HashMap<(usize, String), String>,
}

impl Measuring<'_> {
    /// Measures the servers of a block under one load; false if it was interrupted.
    fn measure(&mut self, group: &Group<Participant>, stop: &AtomicBool) -> anyhow::Result<bool> {
        match self.description.scenarios[group.scenario].slice {
            Some(slice) => self.in_slices(group, slice.0, stop),
            None => self.one_by_one(group, stop),
        }
    }

    /// Looks at the verdicts of a scenario, if it is time to.
    fn look(&mut self, group: &Group<Participant>) {
        let blocks = group.block + 1;
        if !self.description.looks.contains(&blocks) {
            return;
        }
        let scenario = &self.description.scenarios[group.scenario];
        let own = self.trials.iter().filter(|trial| trial.scenario == scenario.name);
        let summary = ScenarioSummary::of(self.description, scenario, &own.collect::<Vec<_>>());
        let left = (self.suite.blocks - blocks) as usize;
        if summary.is_decided() {
            self.decided.insert(group.scenario);
            self.progress.shorten(left * group.servers.len());
            return;
        }
        for (server, reason) in summary.not_needed() {
            let reason = format!("after {}, {reason}", count(blocks.into(), "block"));
            let place = (group.scenario, server.to_owned());
            self.not_needed.entry(place).or_insert_with(|| {
                self.progress.shorten(left);
                reason
            });
        }
    }

    /// Takes out of a group the servers that it need not have. The record says why.
    fn leave_out(&mut self, group: &mut Group<Participant>) -> anyhow::Result<()> {
        let reason = |participant: &Participant| {
            let place = (group.scenario, participant.name().to_owned());
            self.not_needed.get(&place).cloned()
        };
        let (needed, others): (Vec<_>, Vec<_>) = group
            .servers
            .drain(..)
            .map(|participant| (participant, reason(participant)))
            .partition(|(_, reason)| reason.is_none());
        group.servers = needed.into_iter().map(|(participant, _)| participant).collect();
        for (participant, reason) in others {
            let reason = reason.unwrap_or_default();
            self.write(group, participant, results::now(), Outcome::NotNeeded { reason })?;
        }
        Ok(())
    }

    fn in_slices(
        &mut self,
        group: &Group<Participant>,
        slice: Duration,
        stop: &AtomicBool,
    ) -> anyhow::Result<bool> {
        let scenario = &self.suite.scenarios[group.scenario];
        let entry = |participant| Entry {
            participant,
            log: self.log(group, participant),
        };
        let entries: Vec<Entry> = group.servers.iter().copied().map(entry).collect();
        let block = Block {
            scenario,
            slice,
            placement: &self.description.placement,
            seed: group.seed,
        };
        self.progress.begin(group.block, &scenario.name, "in slices");
        let started_at = results::now();
        let Some(outcomes) = block.run(&entries, stop) else {
            return Ok(false);
        };
        for (entry, outcome) in entries.iter().zip(outcomes) {
            self.keep(group, entry, started_at.clone(), outcome)?;
        }
        Ok(true)
    }

    fn one_by_one(&mut self, group: &Group<Participant>, stop: &AtomicBool) -> anyhow::Result<bool> {
        let scenario = &self.suite.scenarios[group.scenario];
        for &participant in &group.servers {
            self.progress
                .begin(group.block, &scenario.name, participant.name());
            let started_at = results::now();
            let entry = Entry {
                participant,
                log: self.log(group, participant),
            };
            let Some(outcome) = trial::run(scenario, &entry, &self.description.placement, stop) else {
                return Ok(false);
            };
            self.keep(group, &entry, started_at, outcome)?;
        }
        Ok(true)
    }

    fn log(&self, group: &Group<Participant>, participant: &Participant) -> PathBuf {
        let scenario = &self.suite.scenarios[group.scenario];
        self.results.log(participant.name(), &scenario.name, group.block)
    }

    /// Writes and keeps the outcome of a trial.
    fn keep(
        &mut self,
        group: &Group<Participant>,
        entry: &Entry,
        started_at: String,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let scenario = &self.suite.scenarios[group.scenario];
        let server = entry.participant.name();
        if let Outcome::Failed { error, stderr } = &outcome {
            self.progress
                .warn(&format!("{server} under {}: {error}\n{stderr}", scenario.name));
        }
        self.write(group, entry.participant, started_at, outcome)?;
        self.results.remove_empty_log(&entry.log)?;
        self.progress.done();
        Ok(())
    }

    fn write(
        &mut self,
        group: &Group<Participant>,
        participant: &Participant,
        started_at: String,
        outcome: Outcome,
    ) -> anyhow::Result<()> {
        let trial = Trial {
            server: participant.name().to_owned(),
            scenario: self.suite.scenarios[group.scenario].name.clone(),
            block: group.block,
            started_at,
            outcome,
        };
        self.results.add(&trial)?;
        self.trials.push(trial);
        Ok(())
    }
}

fn is_bad(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Measured { load, .. } => !load.summary.is_valid(),
        Outcome::Skipped { .. } | Outcome::NotNeeded { .. } => false,
        Outcome::Failed { .. } => true,
    }
}

fn describe(suite: &Suite, seed: u64, participants: &[Participant]) -> anyhow::Result<Run> {
    let mut placement = affinity::split(&affinity::usable()?);
    // Every trial needs it.
    affinity::with(&placement.generator_cpus, || ())?;
    // Targets run elsewhere; the generator keeps its half, so that runs remain comparable.
    if participants
        .iter()
        .all(|participant| participant.program().is_none())
    {
        placement.server_cpus.clear();
    }
    // Where lanes share them, all servers of a block must fit.
    let shared_descriptors = (!threads_can_own_descriptors()).then(hard_limit);
    let mut scenarios = Vec::new();
    for scenario in &suite.scenarios {
        let plan = trial::plan(scenario, &placement, Transport::Tcp);
        let plan = CheckedPlan::new(&plan, trial::NO_TARGET);
        let cannot = || format!("the scenario `{}` cannot be run", scenario.name);
        let plan = plan.with_context(cannot)?;
        let slice = scenario
            .slicing
            .slice(&plan, participants.len(), shared_descriptors);
        let (name, title) = (scenario.name.clone(), scenario.title.clone());
        scenarios.push(record::Scenario {
            name,
            title,
            plan: plan.words().clone(),
            slice: slice.with_context(cannot)?.map(Time),
            setup: scenario.setup.clone(),
            objectives: scenario.objectives.clone(),
        });
    }
    let server = |participant: &Participant| Server {
        name: participant.name().into(),
        family: participant.family(),
        summary: participant.summary().into(),
        transport: trial::transport(participant),
    };
    let plans = scenarios.iter().map(|scenario| &scenario.plan);
    let at_once = scenarios.iter().any(|scenario| scenario.slice.is_some());
    let needs = Needs::of(&placement, plans, participants, at_once);
    let host_checks = doctor::examine_for_run(&Root::host(), &needs);
    Ok(Run {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: results::now(),
        command: command_line(),
        suite: suite.name.clone(),
        question: suite.question.clone(),
        scenarios,
        servers: participants.iter().map(server).collect(),
        blocks: suite.blocks,
        looks: suite.looks.clone(),
        margins: suite.margins,
        seed,
        placement,
        host: fingerprint::read(),
        host_checks,
    })
}
