//! `loadgen merge`: merges the loads of several generators and prints the sum.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Error, Format, INVALID};
use crate::merge::{self, MergeError, Part};

/// Merge the results of several generators that loaded one server at the same time.
///
/// Each file holds the output of one `loadgen run --format json`. Counts and rates add, and
/// histograms add exactly: the quantiles are those of all messages together. The sum is
/// valid if all loads are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MergeOptions {
    /// Two files or more, one for each generator; - is standard input.
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    files: Vec<PathBuf>,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  loadgen merge first.json second.json
  loadgen merge --format json first.json second.json third.json
  loadgen merge - second.json

A load from two hosts:
  ssh second loadgen run --allow-remote 192.0.2.7:7007 --format json > second.json &
  loadgen run --allow-remote 192.0.2.7:7007 --format json > first.json; wait
  loadgen merge first.json second.json";

impl MergeOptions {
    /// Merges the loads; returns the exit code.
    pub(super) fn run(&self) -> Result<u8, Error> {
        let parts = self.files.iter().map(|path| read(path));
        let sum = merge::merge(&parts.collect::<Result<Vec<_>, _>>()?)?;
        for warning in &sum.warnings {
            record::complain!("loadgen: warning: {warning}");
        }
        self.format.print(&sum.load)?;
        Ok(if sum.load.summary.is_valid() { 0 } else { INVALID })
    }
}

fn read(path: &Path) -> Result<Part, MergeError> {
    if path == Path::new("-") {
        return Part::read("standard input", io::stdin().lock());
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Part::read(name, file),
        Err(error) => Err(MergeError::Io { name, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, examples};
    use clap::Parser;

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        for example in examples(EXAMPLES).filter(|words| words[1] == "merge") {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn a_merge_needs_two_files() {
        assert!(Cli::try_parse_from(["loadgen", "merge", "a.json"]).is_err());
        assert!(Cli::try_parse_from(["loadgen", "merge"]).is_err());
    }
}
