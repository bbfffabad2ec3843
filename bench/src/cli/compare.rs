//! `echobench compare`: compares two runs, or a run with a baseline.

use std::process::ExitCode;

use clap::Args;
use reports::compare::command;

use crate::results::{baselines, home};

/// Compare two runs: what differs, and what became of each number.
///
/// What makes the comparison doubtful comes first: another machine, kernel, build or way of measuring. Then
/// comes for each server and scenario the ratio of NEW to BASE with its interval, as regressed, improved, no
/// change within the margin, or inconclusive.
#[derive(Debug, Args)]
#[command(after_help = help())]
pub struct CompareRuns {
    /// A run: its folder, its results.jsonl, or the name of a baseline that `run --save-baseline` kept.
    base: String,

    /// The run to compare with it [default: the newest, target/echobench/latest].
    new: Option<String>,

    #[command(flatten)]
    options: command::CompareOptions,
}

const EXAMPLES: &str = "Examples:
  echobench run --save-baseline main
  echobench compare main --reference epoll
  echobench compare main target/echobench/latest --fail-on 'throughput<-5%' --fail-on 'p99>+10%'
  echobench compare old/results.jsonl new --server mine --reference epoll,tokio --format markdown
  echobench compare main --reference epoll --fail-on 'mine@100-connections.cpu>+3%'";

fn help() -> String {
    format!("{EXAMPLES}\n\n{}", command::EXIT_CODES)
}

impl CompareRuns {
    /// Compares the runs.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let base = baselines::find(&self.base)?;
        let new = match &self.new {
            Some(new) => baselines::find(new)?,
            None => home().join("latest"),
        };
        Ok(self.options.carry_out(&base, &new)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        let examples: Vec<Vec<String>> = EXAMPLES
            .lines()
            .skip(1)
            .filter_map(|line| shlex::split(line.trim()))
            .collect();
        assert!(examples.len() >= 5, "{examples:?}");
        for example in examples {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.err().unwrap());
        }
    }
}
