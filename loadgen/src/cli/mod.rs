//! The command line of `loadgen`: its commands, their errors and exit codes.

mod capacity;
mod load;
mod merge;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::capacity::SurveyError;
use crate::merge::MergeError;
use crate::plan::PlanError;
use crate::target::TargetError;
use crate::{RunError, text};
use record::histogram::DecodeError;
use record::{Load, arguments, words};

/// The measurement is not valid.
const INVALID: u8 = 3;
/// A condition of --fail-on holds, or no rate meets the objectives.
const FAILED: u8 = 99;
/// The arguments are wrong, or this host cannot carry out the plan.
const USAGE: u8 = 2;

/// Load an echo server, check every byte, and report throughput and latency.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine; 1 error; 2 usage; 3 the measurement is not valid, and the output says \
why; 99 a condition of --fail-on holds, or no rate meets the objectives; 130 interrupted, and the output has the result \
so far.";

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
enum Command {
    Run(run::RunOptions),
    Merge(merge::MergeOptions),
    Capacity(capacity::CapacityOptions),
}

/// How to print a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines of text
    Text,
    /// One JSON object
    Json,
}

impl Format {
    fn print(self, load: &Load) -> std::io::Result<()> {
        words::print(&match self {
            Format::Text => text::describe(load),
            Format::Json => serde_json::to_string_pretty(load)? + "\n",
        })
    }
}

/// The errors of all commands, by exit code.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("--{} cannot be used with `capacity`: {reason}", field.replace('_', "-"))]
    Decided {
        field: &'static str,
        reason: &'static str,
    },
    #[error(transparent)]
    Survey(#[from] SurveyError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot print the result: {0}")]
    Print(#[from] std::io::Error),
    #[error("cannot write {}: {error}", path.display())]
    Export { path: PathBuf, error: std::io::Error },
    #[error("--hlog and --hgrm name the same file, {}: give each its own", .0.display())]
    SameFile(PathBuf),
    #[error("cannot export the load: {0}")]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Error::Target(_)
            | Error::Plan(_)
            | Error::Decided { .. }
            | Error::Survey(_)
            | Error::SameFile(_) => USAGE,
            Error::Run(RunError::Unprepared(_)) => USAGE,
            Error::Run(_) | Error::Print(_) | Error::Export { .. } | Error::Decode(_) | Error::Merge(_) => 1,
        }
    }
}

/// Runs `loadgen` with the arguments of this process.
pub fn main() -> ExitCode {
    let result = match arguments::parse::<Cli>().command {
        Command::Run(options) => options.run(),
        Command::Merge(options) => options.run(),
        Command::Capacity(options) => options.run(),
    };
    let code = result.unwrap_or_else(|error| {
        record::complain!("loadgen: {error}");
        error.exit_code()
    });
    code.into()
}

/// The examples of a help text, each as the words of a command line.
#[cfg(test)]
fn examples(help: &str) -> impl Iterator<Item = Vec<String>> {
    let lines = help.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("loadgen "))
        .map(|line| shlex::split(line).expect("the quotes are closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
