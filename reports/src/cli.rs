//! The options of `report`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use reports::compare::command::{CompareOptions, EXIT_CODES};

/// Draw the report of a run from its records.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// The output format, or the check.
    #[command(subcommand)]
    pub action: Action,
}

/// The examples at the end of the help, in the order of use.
pub const EXAMPLES: &str = "Examples:
  report html target/echobench/latest/results.jsonl
  report text target/echobench/latest/results.jsonl
  report html load.json --output load.html
  report check target/echobench/latest/report.html target/echobench/latest/results.jsonl
  report compare before/results.jsonl target/echobench/latest/results.jsonl --reference epoll";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Write the report as one HTML file that needs no network
    Html {
        /// Records of the run
        #[command(flatten)]
        records: Records,
        /// Output file [default: report.html beside the records]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the verdicts and a table as text
    Text(Records),
    /// Print all numbers of the report as JSON
    Json(Records),
    /// Check that a report agrees with its records and needs no network
    Check {
        /// The report.html of a run
        html: PathBuf,
        /// Records of the run
        #[command(flatten)]
        records: Records,
    },
    /// Compare two runs: what differs, and what became of each number
    #[command(after_help = EXIT_CODES)]
    Compare {
        /// The earlier run: its folder or its results.jsonl
        base: PathBuf,
        /// The later run
        new: PathBuf,
        /// How to compare them
        #[command(flatten)]
        options: CompareOptions,
    },
}

/// The records of a run.
#[derive(Debug, Args)]
pub struct Records {
    /// The results.jsonl of a run, or one load of `loadgen --format json`
    #[arg(value_name = "RESULTS")]
    pub path: PathBuf,
}
