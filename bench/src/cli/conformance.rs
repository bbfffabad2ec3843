//! `echobench conformance`: puts servers to the cases, and prints and keeps what came of it.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Context;
use clap::{Args, ValueEnum};
use loadgen::interrupt;
use loadgen::record::Conformance;
use record::words::print;
use reports::behaviour::{self, Behaviour};
use servers::models::{MODELS, Model};

use crate::conformance::{
    CASES, Case, Kept, Outcome, SEED, SEED_VARIABLE, Scale, Settings, Subject, Sweep, find, seed,
};
use crate::external::External;
use crate::names;
use crate::progress::CaseProgress;

/// Most of a case is waiting, and on few processors four still keep their bounds.
const JOBS: NonZero<usize> = NonZero::new(4).unwrap();

/// Put servers to every case, and print which survives what: not applicable is what
/// a design does otherwise, with the reason.
///
/// Every case on every model becomes the outcome that reports show, in
/// target/echobench/conformance; anything less is kept beside it as partial.jsonl, and so
/// are the quick forms where there is an outcome with --full of the same version.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ConformanceOptions {
    /// Models to test [default: all, or none with --server].
    #[arg(long = "model", visible_alias = "models", value_name = "NAME,...", value_delimiter = ',', value_parser = names::model)]
    models: Vec<&'static dyn Model>,

    /// Another echo server to test, as for `run`; can be given several times.
    ///
    /// A case that needs an option of the models is not applicable to it, and how it ends
    /// after SIGTERM is not judged, as long as it does.
    #[arg(long, value_name = "NAME=COMMAND")]
    server: Vec<External>,

    /// Cases to run, by id or name [default: all].
    #[arg(long = "case", visible_alias = "cases", value_name = "CASE,...", value_delimiter = ',', value_parser = case)]
    cases: Vec<&'static Case>,

    /// Run the larger form of the cases that have one: thousands of connections, minutes.
    #[arg(long)]
    full: bool,

    /// Cases at once; those that compare times run alone all the same.
    #[arg(long, value_name = "N", default_value_t = JOBS)]
    jobs: NonZero<usize>,

    /// Seed of the random walk, or `random`: the same seed is the same walk.
    #[arg(long, value_name = "N", env = SEED_VARIABLE, default_value_t = SEED, value_parser = seed)]
    seed: u64,

    /// Folder for the outcome and its report; must be new or empty.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  echobench conformance
  echobench conformance --model epoll,pool --case C13
  echobench conformance --case 'random walk' --full
  echobench conformance --server 'mine=./my-server --port {port}'

Exit codes: 0 fine; 1 a case failed, or an error; 2 usage; 130 interrupted: what has begun is
finished, printed and kept.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A matrix for a person, and below it what did not simply pass.
    Text,
    /// One object for a program.
    Json,
    /// A table for a document.
    Markdown,
}

impl ConformanceOptions {
    /// Runs what was asked for.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sweep = self.sweep()?;
        let mut kept = Kept::begin(&sweep, self.output)?;
        let stop = interrupt::flag()?;
        let progress = CaseProgress::new(sweep.len());
        let ran = sweep.run(&stop, |result| {
            progress.landed(&result);
            kept.add(result)
        });
        progress.finish();
        ran?;
        // What took an hour is shown even where it cannot be kept, and kept where nobody reads.
        let printed = print(&self.format.show(kept.outcome())?);
        eprintln!("echobench: {}", kept.finish()?);
        printed?;
        Ok(match kept.is_finished() {
            false if stop.load(Relaxed) => interrupt::EXIT_CODE.into(),
            _ if fails(kept.outcome()) => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        })
    }

    fn sweep(&self) -> anyhow::Result<Sweep> {
        names::check_distinct(&self.server)?;
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
        let models = models.into_iter().map(Subject::model);
        Ok(Sweep {
            subjects: models.chain(self.server.iter().map(Subject::external)).collect(),
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
