//! Carries out a suite: every trial in a fair order, each result kept as it lands.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;
use fastrand::Rng;
use indicatif::HumanDuration;
use loadgen::record::{
    self, Conformance, Measured, Outcome, Records, Run, SCHEMA_VERSION, Server, Transport, Trial,
};
use loadgen::text::count;
use servers::models::{self, MODELS, NOT_BUILT};

use crate::conformance;
use crate::host::{affinity, fingerprint};
use crate::participant::Participant;
use crate::progress::Progress;
use crate::results::{self, Results};
use crate::suite::Suite;
use crate::trial::{self, Spec};

/// What came of a run.
#[derive(Debug)]
pub struct Finished {
    /// Where the report is.
    pub report: PathBuf,
    /// The summary for the terminal.
    pub text: String,
    /// Trials that failed or may not be believed.
    pub bad: usize,
    /// Whether it was ended before its end.
    pub interrupted: bool,
}

/// A run that can begin: the suite makes sense here, and its folder is made.
#[derive(Debug)]
pub struct Prepared {
    suite: Suite,
    description: Run,
    conformance: Option<Conformance>,
    results: Results,
}

/// Checks what can be checked before anything is measured, and makes the folder.
pub fn prepare(suite: Suite, seed: u64, folder: &Path) -> anyhow::Result<Prepared> {
    let description = describe(&suite, seed, &suite.participants()?)?;
    let mut results = Results::create(folder)?;
    results.begin(&description)?;
    // A copy, so that the folder of a run is all that its report needs.
    let conformance = conformance::results::newest();
    if let Some(newest) = &conformance {
        results.add_conformance(newest)?;
    }
    Ok(Prepared {
        suite,
        description,
        conformance,
        results,
    })
}

/// Measures every server of the suite, and writes results and report as it goes.
pub fn carry_out(prepared: Prepared, stop: &AtomicBool) -> anyhow::Result<Finished> {
    let Prepared {
        suite,
        description,
        conformance,
        mut results,
    } = prepared;
    let suite = &suite;
    let participants = suite.participants()?;
    announce(suite, &description);

    let mut trials = Vec::new();
    let progress = Progress::new(suite.trials(participants.len()), suite.time(participants.len()));
    for (block, scenario, participant) in order(suite, &participants, description.seed) {
        let scenario = &suite.scenarios[scenario];
        progress.begin(block, &scenario.name, participant.name());
        let log = results.log(participant.name(), &scenario.name, block);
        let started_at = results::now();
        let spec = Spec {
            suite,
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
        Outcome::Measured { load, .. } => !load.summary.valid,
        Outcome::Skipped { .. } => false,
        Outcome::Failed { .. } => true,
    }
}

/// Who is measured when: a block holds every server once under every load, and the
/// servers under one load follow each other closely, in an order of the seed's choice.
/// So a slow phase of the machine meets all of them, and none of them always first.
fn order<'a>(
    suite: &'a Suite,
    participants: &'a [Participant],
    seed: u64,
) -> impl Iterator<Item = (u32, usize, &'a Participant)> + 'a {
    let mut random = Rng::with_seed(seed);
    let groups = (0..suite.blocks).flat_map(|block| (0..suite.scenarios.len()).map(move |at| (block, at)));
    groups.flat_map(move |(block, scenario)| {
        let mut participants: Vec<_> = participants.iter().collect();
        random.shuffle(&mut participants);
        let place = move |participant| (block, scenario, participant);
        participants.into_iter().map(place)
    })
}

fn describe(suite: &Suite, seed: u64, participants: &[Participant]) -> anyhow::Result<Run> {
    let placement = affinity::split(&affinity::allowed()?);
    let mut scenarios = Vec::new();
    for scenario in &suite.scenarios {
        let plan = trial::request(suite, scenario, &placement, Transport::Tcp).validate();
        let plan = plan.with_context(|| format!("the scenario `{}` cannot be run", scenario.name))?;
        let (name, title) = (scenario.name.clone(), scenario.title.clone());
        scenarios.push(record::Scenario {
            name,
            title,
            plan: plan.record(),
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
        seed,
        placement,
        host: fingerprint::read(),
    })
}

/// What to type to run it again: the variables that matter, and the program by its name
/// alone, since where it was built is nobody's business.
fn command_line() -> Vec<String> {
    let variables = env::vars().filter(|(name, _)| name.starts_with("ECHOBENCH_"));
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    variables.chain(as_typed(env::args().collect())).collect()
}

/// Cargo adds `--bench` when it starts a bench target, whose file name is made up.
fn as_typed(mut arguments: Vec<String>) -> Vec<String> {
    let by_cargo = arguments.iter().any(|argument| argument == "--bench");
    let program = match arguments.is_empty() {
        true => String::new(),
        false => arguments
            .remove(0)
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    if !by_cargo {
        arguments.insert(0, program);
        return arguments;
    }
    arguments.retain(|argument| argument != "--bench");
    let cargo = ["cargo", "bench", "--"].map(str::to_owned);
    let words = if arguments.is_empty() { 2 } else { 3 };
    cargo.into_iter().take(words).chain(arguments).collect()
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
    // Whoever asks for all models is told which are not among them.
    let named = |name: &str| run.servers.iter().any(|server| server.name == name);
    let all = MODELS.iter().all(|model| named(model.name()));
    for name in NOT_BUILT.iter().filter(|_| all) {
        eprintln!("without {name}: {}", models::left_out(name).unwrap_or_default());
    }
    if run.placement.shared() {
        eprintln!(
            "one processor only: server and generator take time from each other, so rates are \
             about half of what two processors give, and latencies hold the wait for the other side"
        );
    }
    if run.blocks < 2 {
        eprintln!("one block only: there are no intervals, so no server can be called faster");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn places(seed: u64) -> Vec<(u32, usize, String)> {
        let suite = Suite::quick().unwrap();
        let participants = suite.participants().unwrap();
        order(&suite, &participants, seed)
            .map(|(block, scenario, participant)| (block, scenario, participant.name().to_owned()))
            .collect()
    }

    #[test]
    fn every_server_is_measured_once_in_every_block_and_scenario() {
        let suite = Suite::quick().unwrap();
        let models = suite.participants().unwrap().len();
        let places = places(1);
        assert_eq!(places.len(), suite.trials(models));
        let mut seen = HashMap::new();
        places
            .iter()
            .for_each(|place| *seen.entry(place).or_insert(0) += 1);
        assert!(seen.values().all(|&count| count == 1));
        for group in places.chunks(models) {
            assert!(
                group
                    .iter()
                    .all(|(block, scenario, _)| (*block, *scenario) == (group[0].0, group[0].1))
            );
        }
    }

    #[test]
    fn the_command_is_what_was_typed() {
        let typed = |line: &str| as_typed(line.split(' ').map(str::to_owned).collect()).join(" ");
        assert_eq!(typed("/a/b/echobench run --blocks 2"), "echobench run --blocks 2");
        assert_eq!(typed("/t/deps/echobench-0123 --bench"), "cargo bench");
        assert_eq!(
            typed("/t/deps/echobench-0123 --quick --bench"),
            "cargo bench -- --quick"
        );
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(places(7), places(7));
        assert_ne!(places(7), places(8));
        let models = Suite::quick().unwrap().participants().unwrap().len();
        let firsts: Vec<_> = places(7).chunks(models).map(|group| group[0].2.clone()).collect();
        assert!(
            firsts.iter().any(|first| *first != firsts[0]),
            "nobody is always first"
        );
    }
}
