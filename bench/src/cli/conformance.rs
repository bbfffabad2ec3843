//! `echobench conformance`: runs the cases on servers, prints and stores the outcomes.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;
use clap::{Args, ValueEnum};
use loadgen::interrupt;
use record::Conformance;
use record::words::print;
use reports::behaviour::{self, Behaviour};
use servers::models::{MODELS, Model};

use crate::conformance::results::SweepResults;
use crate::conformance::{CASES, Case, Outcome, SEED, SEED_VARIABLE, Scale, Settings, Sweep, find, seed};
use crate::external::External;
use crate::names;
use crate::participant::Participant;
use crate::progress::CaseProgress;

/// Cases mostly wait, and four at a time keep their time limits even on few processors.
const JOBS: NonZero<usize> = NonZero::new(4).unwrap();

/// Run the conformance cases on servers and print the outcomes.
///
/// A case is not applicable to a server whose design is exempt, for a stated reason.
///
/// A run of every case on every model is stored in target/echobench/conformance, and reports
/// include it. A smaller run is stored beside it as partial.jsonl, as are quick forms if there is
/// an outcome with --full of the same version.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ConformanceOptions {
    /// Models to test [default: all, or none with --server].
    #[arg(long = "model", visible_alias = "models", value_name = "NAME,...", value_delimiter = ',', value_parser = names::model)]
    models: Vec<&'static dyn Model>,

    /// Another echo server to test, as for `run`; can be repeated.
    ///
    /// Cases that need an option of the models are not applicable to it. It must end after
    /// SIGTERM, with any status.
    #[arg(long, value_name = "NAME=COMMAND")]
    server: Vec<External>,

    /// Cases to run, by id or name [default: all].
    #[arg(long = "case", visible_alias = "cases", value_name = "CASE,...", value_delimiter = ',', value_parser = case)]
    cases: Vec<&'static Case>,

    /// Run the full form of the cases that have one: thousands of connections, minutes.
    #[arg(long)]
    full: bool,

    /// Cases that run at the same time; those that compare times always run alone.
    #[arg(long, value_name = "N", default_value_t = JOBS)]
    jobs: NonZero<usize>,

    /// Seed of the random cases, or `random`. The same seed gives the same schedules.
    #[arg(long, value_name = "N", env = SEED_VARIABLE, default_value_t = SEED, value_parser = seed)]
    seed: u64,

    /// Folder for the results and their report; must be new or empty.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  echobench conformance
  echobench conformance --model epoll,pool --case C13
  echobench conformance --case 'random walk' --full
  echobench conformance --server 'mine=./my-server --port {port}'

Exit codes: 0 fine; 1 a case failed, or an error; 2 usage; 130 interrupted: cases that run
are finished, printed and stored.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A matrix, and below it everything that did not simply pass.
    Text,
    /// One JSON object.
    Json,
    /// A Markdown table.
    Markdown,
}

impl ConformanceOptions {
    /// Runs the cases.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sweep = self.sweep()?;
        let mut results = SweepResults::create(&sweep, self.output)?;
        let stop = interrupt::flag()?;
        let progress = CaseProgress::new(sweep.len());
        let ran = sweep.run(&stop, |result| {
            progress.landed(&result);
            results.add(result)
        });
        progress.finish();
        ran?;
        // Printed even if storing fails, and stored even if printing fails.
        let printed = print(&self.format.show(results.outcome())?);
        record::complain!("echobench: {}", results.finish()?);
        printed?;
        Ok(match results.is_complete() {
            false if stop.load(Relaxed) => interrupt::EXIT_CODE.into(),
            _ if fails(results.outcome()) => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        })
    }

    fn sweep(&self) -> anyhow::Result<Sweep> {
        names::check_distinct(self.server.iter().map(External::name))?;
        self.server.iter().try_for_each(External::check)?;
        let mut models: Vec<&dyn Model> = Vec::new();
        for model in &self.models {
            if !models.iter().any(|other| other.name() == model.name()) {
                models.push(*model);
            }
        }
        if models.is_empty() && self.server.is_empty() {
            models = MODELS.to_vec();
        }
        let mut cases: Vec<&Case> = Vec::new();
        for case in &self.cases {
            if !cases.iter().any(|other| other.id() == case.id()) {
                cases.push(case);
            }
        }
        if cases.is_empty() {
            cases = CASES.iter().collect();
        }
        let models = models.into_iter().map(Participant::Model);
        let servers = self.server.iter().cloned().map(Participant::External);
        Ok(Sweep {
            participants: models.chain(servers).collect(),
            cases,
            settings: Settings {
                scale: if self.full { Scale::Full } else { Scale::Quick },
                seed: self.seed,
            },
            jobs: self.jobs,
        })
    }
}

impl Format {
    fn show(self, outcome: &Conformance) -> anyhow::Result<String> {
        Ok(match self {
            Format::Text => behaviour::text(&Behaviour::of(outcome)),
            Format::Json => serde_json::to_string_pretty(outcome)? + "\n",
            Format::Markdown => behaviour::markdown(&Behaviour::of(outcome)),
        })
    }
}

fn fails(outcome: &Conformance) -> bool {
    let mut outcomes = outcome.results.iter().map(|result| &result.outcome);
    outcomes.any(|outcome| matches!(outcome, Outcome::Fail { .. }))
}

fn case(id: &str) -> anyhow::Result<&'static Case> {
    find(id).with_context(|| {
        let all: Vec<String> = CASES
            .iter()
            .map(|case| format!("{} ({})", case.id(), case.name()))
            .collect();
        format!(
            "there is no case `{id}`{} (there are {})",
            nearest(id),
            all.join(", ")
        )
    })
}

fn nearest(id: &str) -> String {
    let names = CASES.iter().flat_map(|case| [case.id(), case.name()]);
    names::suggestion(id, names)
}
