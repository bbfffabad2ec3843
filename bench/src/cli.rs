//! The command line of `echobench`.

mod compare;
mod conformance;
mod doctor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};
use loadgen::interrupt;
use record::units::{self, Percent};
use record::words::{count, print};
use record::{Record, arguments};

use servers::cli::Format;

use crate::conformance as cases;
use crate::external::External;
use crate::names;
use crate::own_load::OwnLoad;
use crate::participant::Participant;
use crate::results;
use crate::run::{self, Finished, Prepared};
use crate::slicing::Slicing;
use crate::suite::Suite;
use crate::target::Target;

use compare::CompareRuns;
use conformance::ConformanceOptions;
use doctor::DoctorOptions;

/// Exit code of a run with a trial that failed or is not valid.
const INVALID: u8 = 3;

/// Compare echo servers side by side on this machine.
#[derive(Parser)]
#[command(name = "echobench", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 error; 2 usage; 3 a trial failed or is not valid, and the report \
says why, `doctor` found something in the way, or a condition of `compare` cannot be told; 99 a condition of \
`compare` holds; 130 interrupted, and the report has the trials until then.";

#[derive(Subcommand)]
enum Command {
    /// List the models and whether this host can run them.
    List,
    /// Measure the servers of a suite and write the report.
    Run(RunOptions),
    /// Write the report of a run again.
    Report(ReportOptions),
    /// Compare two runs, or a run with a baseline.
    Compare(CompareRuns),
    /// Run the conformance cases against the models or your own server.
    Conformance(ConformanceOptions),
    /// Check what on this host spoils a measurement or stops a model, and how to mend it.
    Doctor(DoctorOptions),
}

/// Measure every server of a suite under each of its loads, in blocks, and write the
/// results and the report to `target/echobench/RUN/`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunOptions {
    /// A suite file, or a suite that is built in: `quick`, `standard` [default: quick].
    suite: Option<PathBuf>,

    #[command(flatten)]
    own_load: OwnLoad,

    /// Show what would be measured, how long it would take and what this host lacks for it, and
    /// measure nothing.
    #[arg(long)]
    dry_run: bool,

    /// Print the suite that the options mean, as a file to change, and measure nothing.
    #[arg(long, conflicts_with = "dry_run")]
    dump_suite: bool,

    /// Models to measure instead of those of the suite, or `all`, or `none`.
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        env = "ECHOBENCH_MODELS", value_parser = models_by_name
    )]
    models: Vec<String>,

    /// Your own echo server, measured beside the models instead of the external servers of
    /// the suite; repeat for several.
    ///
    /// The server must listen on 127.0.0.1 at the port that replaces `{port}` in the command;
    /// `{host}` stands for the address and `{address}` for both. The command is split into words as a
    /// shell does, but no shell runs it. The server is all that the command starts, also in the
    /// background; it is ready when it listens. SIGTERM stops it, and SIGKILL three seconds later.
    #[arg(long, value_name = "NAME=COMMAND", env = "ECHOBENCH_SERVER", value_parser = some_or_none::<External>)]
    server: Vec<Option<External>>,

    /// A server that already runs, measured beside the others instead of the targets of the
    /// suite; repeat for several.
    ///
    /// HOST is a name, an IPv4 address or an IPv6 address in brackets; it is looked up once.
    /// NAME=unix:PATH is a server on a Unix socket. What the server uses of its host is not known. It
    /// is neither started nor stopped.
    #[arg(long, value_name = "NAME=HOST:PORT|NAME=unix:PATH", env = "ECHOBENCH_TARGET", value_parser = some_or_none::<Target>)]
    target: Vec<Option<Target>>,

    /// Allow targets that are not loopback addresses: a load can take a host or a network down
    /// that others use.
    #[arg(long, env = "ECHOBENCH_ALLOW_REMOTE")]
    allow_remote: bool,

    /// Trials of each server under each load, whatever they show; confidence intervals need at least
    /// 2 [default: as many as decide the verdicts, as far as the suite and the budget allow].
    #[arg(long, value_name = "N", env = "ECHOBENCH_BLOCKS", value_parser = clap::value_parser!(u32).range(1..))]
    blocks: Option<u32>,

    /// Time for the whole run: no block begins that would end later.
    #[arg(long, value_name = "TIME", env = "ECHOBENCH_BUDGET", value_parser = units::time)]
    budget: Option<Duration>,

    /// Servers that differ by at most this in echoes per second or CPU time per echo are tied [default:
    /// 3%].
    #[arg(long, value_name = "PERCENT", env = "ECHOBENCH_MARGIN")]
    margin: Option<Percent>,

    /// Servers that differ by at most this in p99 are tied [default: 10%].
    #[arg(long, value_name = "PERCENT", env = "ECHOBENCH_P99_MARGIN")]
    p99_margin: Option<Percent>,

    /// Measured time of each server in each block.
    #[arg(long, value_name = "TIME", env = "ECHOBENCH_DURATION", value_parser = units::time)]
    duration: Option<Duration>,

    /// Time of each load before the measurement.
    #[arg(long, value_name = "TIME", env = "ECHOBENCH_WARMUP", value_parser = units::time)]
    warmup: Option<Duration>,

    /// Length of the slices in which the load moves between the servers of a block, or `auto`, or
    /// `off` for one whole window after the other.
    #[arg(long, value_name = "TIME", env = "ECHOBENCH_SLICE")]
    slice: Option<Slicing>,

    /// Seed of the order of the servers within a block, or `random` [default: random].
    #[arg(long, value_name = "N", env = cases::SEED_VARIABLE, value_parser = cases::seed)]
    seed: Option<u64>,

    /// Folder for the results and the report; must be new or empty [default:
    /// target/echobench/RUN].
    #[arg(short, long, value_name = "FOLDER", env = "ECHOBENCH_OUTPUT")]
    output: Option<PathBuf>,

    /// Keep the results under this name, too, for `compare`; they replace an earlier baseline of that name.
    #[arg(long, value_name = "NAME", env = "ECHOBENCH_SAVE_BASELINE", value_parser = baseline_name)]
    save_baseline: Option<String>,
}

const EXAMPLES: &str = "Examples:
  echobench run
  echobench run --models all
  echobench run --models epoll,tokio --blocks 10 --duration 2s
  echobench run --models epoll --server 'mine=./my-server --port {port}'
  echobench run --models none --target old=127.0.0.1:7007 --target new=127.0.0.1:7008
  echobench run --models none --target tcp=127.0.0.1:7007 --target unix=unix:/tmp/echo.sock
  echobench run my-suite.toml --save-baseline main
  echobench run --connections 5000 --active 10% --work cpu:50us --rate 20k/s --slo 'p99<5ms'
  echobench run --connections 1000 --work sleep:1ms --slo 'p99<10ms' --models all --dry-run";

/// Write the report of a run again from its results, with the newest complete conformance
/// outcome.
#[derive(Debug, Args)]
struct ReportOptions {
    /// Folder of the run [default: the newest, target/echobench/latest].
    run: Option<PathBuf>,
}

/// Runs `echobench` with the arguments of this process.
pub fn main() -> ExitCode {
    let result = match arguments::parse::<Cli>().command {
        Command::List => servers::cli::list(Format::Text).map(|()| ExitCode::SUCCESS),
        Command::Run(options) => options.run(),
        Command::Report(options) => options.write(),
        Command::Compare(options) => options.run(),
        Command::Conformance(options) => options.run(),
        Command::Doctor(options) => options.run(),
    };
    result.unwrap_or_else(|error| {
        record::complain!("echobench: {error:#}");
        ExitCode::FAILURE
    })
}

impl RunOptions {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut suite = match (&self.suite, self.own_load.keys()) {
            (Some(name), None) => Suite::named(name)?,
            (Some(name), Some(_)) => bail!(
                "a suite has its own loads: give `{}`, or the options of a load, such as --connections",
                name.display()
            ),
            (None, Some(keys)) => Suite::own(keys)?,
            (None, None) => Suite::quick()?,
        };
        if self.dump_suite {
            self.adapt(&mut suite)?;
            print(&suite.to_toml()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.dry_run {
            self.adapt(&mut suite)?;
            let participants = self.participants(&suite)?;
            let seed = self.seed.unwrap_or_default();
            print(&run::preview(&suite, &participants, seed)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        carry_out(self.prepare(suite)?)
    }

    /// Replaces the servers of the suite by those of the command line.
    pub fn choose_servers(&self, suite: &mut Suite) -> anyhow::Result<()> {
        let names = given(&self.models);
        if !names.is_empty() {
            suite.select(&names)?;
        }
        let externals: Vec<External> = self.server.iter().flatten().cloned().collect();
        if !externals.is_empty() {
            suite.select_external(externals)?;
        }
        let targets: Vec<Target> = self.target.iter().flatten().cloned().collect();
        if !targets.is_empty() {
            suite.select_targets(targets)?;
        }
        Ok(())
    }

    /// The servers of a suite that may be measured.
    pub fn participants(&self, suite: &Suite) -> anyhow::Result<Vec<Participant>> {
        suite.participants(self.allow_remote)
    }

    /// Prepares a run of a suite; these options override its values.
    pub fn prepare(self, mut suite: Suite) -> anyhow::Result<Prepared> {
        self.adapt(&mut suite)?;
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        let participants = self.participants(&suite)?;
        let mut prepared = run::prepare(suite, participants, seed, self.output)?;
        prepared.baseline = self.save_baseline.filter(|name| !name.is_empty());
        Ok(prepared)
    }

    /// Replaces the values of a suite by those of the options.
    fn adapt(&self, suite: &mut Suite) -> anyhow::Result<()> {
        self.choose_servers(suite)?;
        if let Some(blocks) = self.blocks {
            suite.set_blocks(blocks);
        }
        suite.budget = self.budget.or(suite.budget);
        suite.margins.rates = self.margin.unwrap_or(suite.margins.rates);
        suite.margins.percentiles = self.p99_margin.unwrap_or(suite.margins.percentiles);
        if let Some(duration) = self.duration {
            suite.set_duration(duration);
        }
        if let Some(warmup) = self.warmup {
            suite.set_warmup(warmup);
        }
        if let Some(slicing) = self.slice {
            suite.set_slicing(slicing);
        }
        ensure!(suite.blocks > 0, "a suite needs at least 1 block, better 5");
        Ok(())
    }
}

/// Carries out a run and prints its results.
pub fn carry_out(prepared: Prepared) -> anyhow::Result<ExitCode> {
    let stop = interrupt::flag()?;
    let baseline = prepared.baseline.clone();
    let finished = run::carry_out(prepared, &stop)?;
    if let Err(error) = print(&describe(&finished)) {
        // The results are complete, and in the report.
        let report = finished.report.display();
        record::complain!("echobench: the results cannot be printed ({error}); the report is {report}");
    }
    if let Some(name) = baseline {
        keep(&name, &finished)?;
    }
    Ok(match finished {
        Finished {
            interrupted: true, ..
        } => interrupt::EXIT_CODE.into(),
        Finished { bad: 1.., .. } => INVALID.into(),
        Finished { .. } => ExitCode::SUCCESS,
    })
}

/// Keeps a run as a baseline. A part of a run replaces none.
fn keep(name: &str, finished: &Finished) -> anyhow::Result<()> {
    if finished.interrupted {
        record::complain!("echobench: the run was interrupted, so it is not kept as the baseline `{name}`");
        return Ok(());
    }
    let folder = finished.report.parent().context("the report has a folder")?;
    let kept = results::baselines::save(name, folder)?;
    record::complain!("echobench: kept as the baseline `{name}`: {}", kept.display());
    Ok(())
}

fn describe(finished: &Finished) -> String {
    let mut text = format!("{}\n", finished.text.trim_end());
    if finished.interrupted {
        text += "\ninterrupted: these are the trials until then\n";
    }
    if finished.bad > 0 {
        text += &format!(
            "\nfailed or not valid: {}; the report says why\n",
            count(finished.bad as u64, "trial")
        );
    }
    text + &format!("\nreport: {}\n", finished.report.display())
}

impl ReportOptions {
    fn write(self) -> anyhow::Result<ExitCode> {
        let folder = self.run.unwrap_or_else(|| results::home().join("latest"));
        let path = folder.join(results::RECORDS);
        let mut records = reports::read(&path)?;
        let known = records
            .conformance
            .as_ref()
            .map(|known| known.started_at.as_str());
        if let Some(newest) =
            cases::results::newest().filter(|newest| Some(newest.started_at.as_str()) > known)
        {
            results::append(&path, &Record::Conformance(newest.clone()))?;
            records.conformance = Some(newest);
        }
        let report = results::write_report(&folder, &records)?;
        print(&format!("report: {}\n", report.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The names without the empty ones.
fn given(names: &[String]) -> Vec<String> {
    names.iter().filter(|name| !name.is_empty()).cloned().collect()
}

/// Checks a name. An empty one is removed later: an empty variable counts as unset.
fn models_by_name(name: &str) -> anyhow::Result<String> {
    match name.trim() {
        "" | "all" | "none" => {}
        name => drop(names::model(name)?),
    }
    Ok(name.trim().to_owned())
}

/// Checks the name of a baseline. An empty one is removed later.
fn baseline_name(name: &str) -> anyhow::Result<String> {
    match name.trim() {
        "" => {}
        name => results::baselines::check(name)?,
    }
    Ok(name.trim().to_owned())
}

/// `None` if the text is empty, as an empty variable counts as unset.
fn some_or_none<T: FromStr<Err = anyhow::Error>>(text: &str) -> anyhow::Result<Option<T>> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(value: &str) -> Result<Option<u64>, clap::Error> {
        let parsed = Cli::try_parse_from(["echobench", "run", "--seed", value])?;
        match parsed.command {
            Command::Run(options) => Ok(options.seed),
            _ => unreachable!("the command is `run`"),
        }
    }

    #[test]
    fn a_seed_is_a_number_or_random() {
        assert_eq!(seed("42").unwrap(), Some(42));
        assert!(seed("random").unwrap().is_some());
        assert!(seed("dice").unwrap_err().to_string().contains("`dice`"));
    }
}
