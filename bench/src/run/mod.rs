//! Runs a suite: every trial in a fair order, each result written as soon as it exists.

mod command_line;
mod order;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use indicatif::HumanDuration;
use loadgen::plan::CheckedPlan;
use record::words::count;
use record::{self, Conformance, Measured, Outcome, Records, Run, SCHEMA_VERSION, Server, Transport, Trial};
use servers::models::{self, MODELS, NOT_BUILT};
use servers::sys::process::raise_descriptor_limit;

use crate::conformance;
use crate::host::{affinity, fingerprint};
use crate::participant::Participant;
use crate::progress::Progress;
use crate::results::{self, Results};
use crate::suite::Suite;
use crate::trial::{self, Spec};

use command_line::command_line;
use order::order;

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
    suite: Suite,
    participants: Vec<Participant>,
    description: Run,
    conformance: Option<Conformance>,
    results: Results,
}

/// Checks a suite before anything is measured, and makes the folder of its results.
pub fn prepare(
    suite: Suite,
    participants: Vec<Participant>,
    seed: u64,
    folder: &Path,
) -> anyhow::Result<Prepared> {
    // External servers inherit the limit, so it must be the same for the first as for the last.
    raise_descriptor_limit();
    let description = describe(&suite, seed, &participants)?;
    let mut results = Results::create(folder)?;
    results.begin(&description)?;
    // A copy, so that the report needs only the folder of the run.
    let conformance = conformance::results::newest();
    if let Some(newest) = &conformance {
        results.add_conformance(newest)?;
    }
    Ok(Prepared {
        suite,
        participants,
        description,
        conformance,
        results,
    })
}

/// Measures every server of the suite, and writes the results and the report.
pub fn carry_out(prepared: Prepared, stop: &AtomicBool) -> anyhow::Result<Finished> {
    let Prepared {
        suite,
        participants,
        description,
        conformance,
        mut results,
    } = prepared;
    let suite = &suite;
    announce(suite, &description);

    let mut trials = Vec::new();
    let progress = Progress::new(suite.trials(participants.len()), suite.time(participants.len()));
    let order = order(
        suite.blocks,
        suite.scenarios.len(),
        &participants,
        description.seed,
    );
    for (block, scenario, participant) in order {
        let scenario = &suite.scenarios[scenario];
        progress.begin(block, &scenario.name, participant.name());
        let log = results.log(participant.name(), &scenario.name, block);
        let started_at = results::now();
        let spec = Spec {
            scenario,
            participant,
            placement: &description.placement,
            log,
        };
        let Some(outcome) = trial::run(&spec, stop) else {
            break;
        };
        if let Outcome::Failed { error, stderr } = &outcome {
            progress.warn(&format!(
                "{} under {}: {error}\n{stderr}",
                participant.name(),
                scenario.name
            ));
        }
        let server = participant.name().to_owned();
        let trial = Trial {
            server,
            scenario: scenario.name.clone(),
            block,
            started_at,
            outcome,
        };
        results.add(&trial)?;
        results.remove_empty_log(&spec.log)?;
        trials.push(trial);
        progress.done();
    }
    progress.finish();
    let bad = trials.iter().filter(|trial| is_bad(&trial.outcome)).count();
    let text = reports::text::table(&reports::summary::Summary::of(&description, &trials));
    let run = description;
    let records = Records {
        measured: Some(Measured { run, trials }),
        conformance,
    };
    let report = results::write_report(results.folder(), &records)?;
    results::point_latest_at(results.folder())?;
    Ok(Finished {
        report,
        text,
        bad,
        interrupted: stop.load(Relaxed),
    })
}

fn is_bad(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Measured { load, .. } => !load.summary.is_valid(),
        Outcome::Skipped { .. } => false,
        Outcome::Failed { .. } => true,
    }
}

fn describe(suite: &Suite, seed: u64, participants: &[Participant]) -> anyhow::Result<Run> {
    let mut placement = affinity::split(&affinity::allowed()?);
    // Targets run elsewhere; the generator keeps its half, so that runs remain comparable.
    if participants
        .iter()
        .all(|participant| participant.program().is_none())
    {
        placement.server_cpus.clear();
    }
    let mut scenarios = Vec::new();
    for scenario in &suite.scenarios {
        let plan = trial::plan(scenario, &placement, Transport::Tcp);
        let plan = CheckedPlan::new(&plan, trial::NO_TARGET);
        let plan = plan.with_context(|| format!("the scenario `{}` cannot be run", scenario.name))?;
        let (name, title) = (scenario.name.clone(), scenario.title.clone());
        scenarios.push(record::Scenario {
            name,
            title,
            plan: plan.words().clone(),
            slice: None,
        });
    }
    let server = |participant: &Participant| Server {
        name: participant.name().into(),
        family: participant.family(),
        summary: participant.summary().into(),
        transport: trial::transport(participant),
    };
    Ok(Run {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: results::now(),
        command: command_line(),
        suite: suite.name.clone(),
        scenarios,
        servers: participants.iter().map(server).collect(),
        blocks: suite.blocks,
        looks: Vec::new(),
        seed,
        placement,
        host: fingerprint::read(),
    })
}

fn announce(suite: &Suite, run: &Run) {
    let participants = run.servers.len();
    eprintln!(
        "{}: {}, {}, {}: {}, about {}; seed {}",
        suite.name,
        count(participants as u64, "server"),
        count(suite.scenarios.len() as u64, "load"),
        count(suite.blocks.into(), "block"),
        count(suite.trials(participants) as u64, "trial"),
        HumanDuration(suite.time(participants)),
        run.seed,
    );
    // A run of all models names those that this build lacks.
    let named = |name: &str| run.servers.iter().any(|server| server.name == name);
    let all = MODELS.iter().all(|model| named(model.name()));
    for name in NOT_BUILT.iter().filter(|_| all) {
        eprintln!("without {name}: {}", models::left_out(name).unwrap_or_default());
    }
    if run.placement.shared() {
        eprintln!(
            "one processor only: server and generator share it, so rates are about half of those \
             on two processors, and latencies include the wait for the other side"
        );
    }
    if run.blocks < 2 {
        eprintln!("one block only: without confidence intervals no server can be called faster");
    }
}
