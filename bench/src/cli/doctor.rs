//! `echobench doctor`: what on this host spoils a measurement or stops a model.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use record::words::print;
use record::{HostChecks, SCHEMA_VERSION};

use super::{given, models_by_name};
use crate::doctor::{self, Needs, Root};
use crate::host::affinity;
use crate::results;
use crate::suite::Suite;

/// Exit code if something is in the way of a measurement.
const IN_THE_WAY: u8 = 3;

/// Check what on this host spoils a measurement or stops a model, and how to mend it.
///
/// Each check says what was read and where, why it matters and what it affects: `stops` means that a
/// server or a load cannot run, `spoils` that numbers are not those of the servers alone, `note` that it
/// is worth knowing. What the host does not tell is `not known`. Nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorOptions {
    /// A suite that is to be measured: a file, or one that is built in [default: quick].
    suite: Option<PathBuf>,

    /// Models to measure, or `all`, or `none` [default: those of the suite, or all].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = models_by_name)]
    models: Vec<String>,

    /// Connections that one server is to have at once [default: the most that the suite asks for].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    connections: Option<u32>,

    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  echobench doctor
  echobench doctor --models fork,thread --connections 10000
  echobench doctor my-suite.toml
  echobench doctor --format json

Exit codes: 0 nothing stands in the way of a measurement; 1 error; 2 usage; 3 something stops a server
or a load, or spoils numbers.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The worst first, and a summary at the end.
    Text,
    /// One JSON object.
    Json,
}

impl DoctorOptions {
    /// Checks the host and prints what was found.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let checks = doctor::examine(&Root::host(), &self.needs()?);
        let in_the_way = doctor::is_anything_in_the_way(&checks);
        print(&match self.format {
            Format::Text => doctor::show(&checks),
            Format::Json => {
                let checks = HostChecks {
                    schema_version: SCHEMA_VERSION,
                    version: env!("CARGO_PKG_VERSION").into(),
                    checked_at: results::now(),
                    checks,
                };
                serde_json::to_string_pretty(&checks)? + "\n"
            }
        })?;
        Ok(match in_the_way {
            true => IN_THE_WAY.into(),
            false => ExitCode::SUCCESS,
        })
    }

    fn needs(&self) -> anyhow::Result<Needs> {
        let mut suite = match &self.suite {
            Some(name) => Suite::named(name)?,
            None => Suite::quick()?,
        };
        let mut models = given(&self.models);
        if models.is_empty() && self.suite.is_none() {
            models.push("all".into());
        }
        if !models.is_empty() {
            suite.select(&models)?;
        }
        let placement = affinity::split(&affinity::usable()?);
        let plans = suite.scenarios.iter().map(|scenario| &scenario.plan);
        let mut needs = Needs::of(&placement, plans, &suite.local_participants()?, true);
        if let Some(connections) = self.connections {
            needs.connections = connections as usize;
        }
        Ok(needs)
    }
}
