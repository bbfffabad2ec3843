//! The command line of `loadgen`.

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::{self, Plan, PlanError, Request};
use crate::record::{Load, Transport};
use crate::sizes::Sizes;
use crate::target::{self, TargetError};
use crate::{RunError, interrupt, text, units};

/// The measurement was made and may not be believed.
const INVALID: u8 = 3;
/// The arguments make no sense.
const USAGE: u8 = 2;

/// Put a load on an echo server, check every byte, and say what was seen.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine; 1 error; 2 usage; 3 the measurement is not valid, and the output says \
why; 130 interrupted: what was measured is printed.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one load and print what was seen.
    Run(RunOptions),
}

/// Load a server with a closed loop: each connection sends its next message when the
/// answer to the one before is complete. That measures capacity; the latencies are
/// service times, not what independent users would see.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct RunOptions {
    /// The server, as HOST:PORT.
    target: String,

    /// Send datagrams: each connection is a connected UDP socket with one message on its way.
    #[arg(long)]
    udp: bool,

    /// Connections, held open over the whole run.
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    connections: usize,

    /// Time that is counted.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    duration: Duration,

    /// Time that is run before and not counted.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time)]
    warmup: Duration,

    /// Bytes in a message; over UDP from 8B to 65507B.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = units::size)]
    size: u64,

    /// Worker threads; they share the connections.
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Processors to pin the workers to, in turn, such as 2,3 [default: not pinned].
    #[arg(long, value_name = "CPU,...", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// How long a connection may take to be established; not over UDP.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time, conflicts_with = "udp")]
    connect_timeout: Duration,

    /// Over UDP: how long an answer is waited for; then its message counts as lost, and the
    /// next is sent. A load that lost more than one message in a thousand is not valid
    /// [default: 200ms].
    #[arg(long, value_name = "TIME", value_parser = units::time, requires = "udp")]
    answer_timeout: Option<Duration>,

    /// Permit a target that is not this host. Load only what you may load.
    #[arg(long)]
    allow_remote: bool,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

const EXAMPLES: &str = "Examples:
  loadgen run 127.0.0.1:7007
  loadgen run 127.0.0.1:7007 -c 1000 -d 30s --size 4KiB --threads 2
  loadgen run 127.0.0.1:7007 --format json
  loadgen run --udp 127.0.0.1:7007 -c 10 --size 1KiB
  loadgen run --allow-remote 192.0.2.7:7007 -c 50";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines for a person.
    Text,
    /// One `Load` of the schema.
    Json,
}

/// What went wrong, as far as the exit code depends on it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot print the result: {0}")]
    Print(#[from] std::io::Error),
}

/// Runs `loadgen` with the arguments of this process.
pub fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    match run(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadgen: {error}");
            match error {
                Error::Target(_) | Error::Plan(_) => ExitCode::from(USAGE),
                Error::Run(_) | Error::Print(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn run(options: &RunOptions) -> Result<ExitCode, Error> {
    let plan = plan_of(options)?;
    let stop = interrupt::flag()?;
    let result = crate::run(&plan, &mut (), &stop);
    if stop.load(Relaxed) && result.is_err() {
        eprintln!("loadgen: interrupted before a connection was open");
        return Ok(interrupt::EXIT_CODE.into());
    }
    let load = result?;
    print(&load, options.format)?;
    Ok(match () {
        () if stop.load(Relaxed) => interrupt::EXIT_CODE.into(),
        () if !load.summary.valid => INVALID.into(),
        () => ExitCode::SUCCESS,
    })
}

fn plan_of(options: &RunOptions) -> Result<Plan, Error> {
    let request = Request {
        transport: match options.udp {
            true => Transport::Udp,
            false => Transport::Tcp,
        },
        connections: options.connections,
        threads: options.threads,
        sizes: Sizes::Fixed(options.size),
        warmup: options.warmup,
        duration: options.duration,
        connect_timeout: options.connect_timeout,
        answer_timeout: options.answer_timeout.unwrap_or(plan::ANSWER_TIMEOUT),
        cpus: options.cpus.clone(),
        ..Request::new(target::resolve(&options.target, options.allow_remote)?)
    };
    Ok(request.validate()?)
}

fn print(load: &Load, format: Format) -> std::io::Result<()> {
    text::print(&match format {
        Format::Text => text::describe(load),
        Format::Json => serde_json::to_string_pretty(load)? + "\n",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        for example in EXAMPLES.lines().skip(1).map(str::trim) {
            let parsed = Cli::try_parse_from(example.split(' '));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
