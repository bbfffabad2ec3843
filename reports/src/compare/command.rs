//! The options of `report compare` and `echobench compare`, and what both do.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use record::units::Percent;
use record::words::print;
use record::{Margins, Measured};
use serde::Serialize;

use super::condition::Condition;
use super::judgement::{Judgement, Outcome, judge};
use super::runs::{Request, RequestError, RunComparison};
use super::{markdown, text};
use crate::source;

/// The records in the folder of a run.
const RECORDS: &str = "results.jsonl";

/// A condition cannot be told.
const UNTOLD: u8 = 3;
/// A condition holds, or names what is missing.
const FAILED: u8 = 99;

/// The exit codes of a comparison, for the end of the help.
pub const EXIT_CODES: &str = "Exit codes: 0 no condition holds; 1 error; 2 usage; 3 no condition of --fail-on is known to \
hold, but one cannot be told, and the output says for what; 99 a condition holds, or names a server or a scenario that \
one of the runs does not have.";

/// How to compare two runs.
#[derive(Debug, Args)]
pub struct CompareOptions {
    /// Servers that count as unchanged, such as a model that was not touched: every ratio is relative to
    /// them, so that a machine that has become slower cancels.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    reference: Vec<String>,

    /// Compare only these servers [default: all that both runs have]. Fewer ratios have narrower
    /// intervals.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    server: Vec<String>,

    /// Compare only these scenarios [default: all that both runs have].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    scenario: Vec<String>,

    /// A change of echoes per second or CPU time per echo by at most this does not matter [default: that of
    /// NEW].
    #[arg(long, value_name = "PERCENT")]
    margin: Option<Percent>,

    /// A change of p50 or p99 by at most this does not matter [default: that of NEW].
    #[arg(long, value_name = "PERCENT")]
    p99_margin: Option<Percent>,

    /// Exit with 99 if this condition holds, such as 'throughput<-5%', 'p99>+10%' or
    /// 'epoll@100-connections.cpu>+3%'; can be repeated.
    ///
    /// A metric (throughput, p50, p99 or cpu), one of < <= > >=, and a change in percent of BASE with its
    /// sign, for all that BASE has or after SERVER., @SCENARIO. or SERVER@SCENARIO. for what that names.
    /// A condition holds if the whole interval meets it. If a part does, or there is no interval, it
    /// cannot be told, and the exit code is 3.
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    fail_on: Vec<Condition>,

    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What differs, and a table for each scenario
    Text,
    /// A summary for a pull request
    Markdown,
    /// One JSON object
    Json,
}

/// Why two runs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The records cannot be read.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// There is no run in them.
    #[error("{} has no run, only outcomes of the conformance cases: give the folder or the results.jsonl of a run", .0.display())]
    NoRun(PathBuf),
    /// The runs do not have what was asked for.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A condition on the reference.
    #[error(
        "--fail-on {condition}: {server} is the reference, which counts as unchanged: name another server"
    )]
    OfReference {
        /// The condition.
        condition: String,
        /// The server.
        server: String,
    },
    /// The comparison cannot be printed.
    #[error("cannot print the comparison: {0}")]
    Print(#[from] io::Error),
}

/// A comparison and its conditions as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    comparison: &'a RunComparison,
    conditions: &'a [Judgement],
}

impl CompareOptions {
    /// Compares two runs, each a folder or a file of records, prints the comparison, and returns the exit
    /// code.
    pub fn carry_out(&self, base: &Path, new: &Path) -> Result<u8, CompareError> {
        self.check_conditions()?;
        let (base, new) = (measured(base)?, measured(new)?);
        let comparison = RunComparison::of(&base, &new, &self.request(new.run.margins))?;
        let judgements: Vec<Judgement> = self
            .fail_on
            .iter()
            .map(|condition| judge(&comparison, condition))
            .collect();
        print(&match self.format {
            Format::Text => text(&comparison, &judgements),
            Format::Markdown => markdown(&comparison, &judgements),
            Format::Json => {
                let shown = Shown {
                    comparison: &comparison,
                    conditions: &judgements,
                };
                serde_json::to_string_pretty(&shown).map_err(io::Error::from)? + "\n"
            }
        })?;
        Ok(exit_code(&judgements))
    }

    fn request(&self, own: Margins) -> Request {
        Request {
            servers: self.server.clone(),
            scenarios: self.scenario.clone(),
            reference: self.reference.clone(),
            margins: Some(Margins {
                rates: self.margin.unwrap_or(own.rates),
                percentiles: self.p99_margin.unwrap_or(own.percentiles),
            }),
        }
    }

    fn check_conditions(&self) -> Result<(), CompareError> {
        for condition in &self.fail_on {
            let named = condition.server.as_ref();
            if let Some(server) = named.filter(|name| self.reference.contains(name)) {
                return Err(CompareError::OfReference {
                    condition: condition.to_string(),
                    server: server.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The most serious one.
fn exit_code(judgements: &[Judgement]) -> u8 {
    let outcome = judgements.iter().map(|judgement| judgement.outcome).max();
    match outcome.unwrap_or(Outcome::DoesNotHold) {
        outcome if outcome.fails() => FAILED,
        Outcome::CannotBeTold => UNTOLD,
        _ => 0,
    }
}

/// The run in a folder or a file of records.
fn measured(path: &Path) -> Result<Measured, CompareError> {
    let file = match path.is_dir() {
        true => path.join(RECORDS),
        false => path.to_owned(),
    };
    let records = source::read(&file)?;
    records.measured.ok_or(CompareError::NoRun(file))
}
