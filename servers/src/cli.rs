//! The command line of `echo-server`: parses the options and binds the listener.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytesize::ByteSize;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::config::{Config, Workers};
use crate::listener::{Address, Listener, Options, Transport};
use crate::models::{self, MODELS, Model, NOT_BUILT};
use crate::sys::{process, terminal};
use crate::work::Work;
use crate::{conn, panics, stop};

/// The default backlog: enough for a thousand clients at once, and the usual value of
/// net.core.somaxconn.
pub const BACKLOG: i32 = 4096;

/// The longest write deadline: the kernel stores it as 31 bits of milliseconds.
const LONGEST_DEADLINE: Duration = Duration::from_millis(i32::MAX as u64);

/// The largest sensible buffer: each connection may hold one.
const LARGEST_BUFFER: u64 = 64 << 20;

/// Run an echo server built on one concurrency model.
///
/// Prints one line on standard output, `ready ADDRESS`, once it answers connections. SIGTERM,
/// SIGINT or, on a terminal, `q` and Enter stop it: it accepts no new connections, gives open
/// ones the drain time to end, and exits with status 0. A second signal ends it at once.
#[derive(Debug, Parser)]
#[command(name = "echo-server", version, after_help = EXAMPLES, args_override_self = true)]
pub struct Cli {
    /// The model to run; `--list` shows them.
    #[arg(value_parser = model_names(), hide_possible_values = true, required_unless_present = "list")]
    model: Option<String>,

    /// List the models, and the reason if this host cannot run one.
    #[arg(long)]
    list: bool,

    /// Format of the list.
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "list")]
    format: Format,

    /// Address and port to listen on, where port 0 picks a free one; or unix:PATH, a Unix socket
    /// that only your user can connect to. It is removed at the stop, and replaced at the start if
    /// nobody listens on it.
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH", default_value = "127.0.0.1:7007")]
    listen: OsString,

    /// Number of workers, for models that have workers [default: 64 if a worker serves one
    /// connection at a time; otherwise the number of available processors, and at least two if
    /// workers share the connections].
    #[arg(long, value_name = "N")]
    workers: Option<NonZero<usize>>,

    /// Connections that the kernel queues until the server accepts them, capped at
    /// net.core.somaxconn [default: 4096].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    backlog: Option<i32>,

    /// Bytes per read, and the most that the server holds for a client that does not read; over
    /// UDP, the longest datagram that it answers.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = buffer_size)]
    buffer: usize,

    /// Maximum of open connections; the server closes any further one at once [default: no
    /// limit].
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZero<usize>>,

    /// Time for open connections to end after a stop; the server then cuts off the rest.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    drain: Duration,

    /// Probe the peer of an idle connection after TIME, and again at intervals of TIME; three
    /// unanswered probes, about four times TIME in all, end the connection (SO_KEEPALIVE)
    /// [default: no probes].
    #[arg(long, value_name = "TIME", value_parser = keepalive_time)]
    keepalive: Option<Duration>,

    /// Cut off a client that takes no output for this long (TCP_USER_TIMEOUT). Progress means that
    /// the client's system takes a whole segment, up to 64 KiB. With --keepalive, this time also
    /// replaces the number of probes after which an idle peer counts as gone [default: never].
    #[arg(long, value_name = "TIME", value_parser = write_deadline)]
    write_deadline: Option<Duration>,

    /// Send small writes at once instead of gathering them (TCP_NODELAY) [default: true].
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    nodelay: Option<bool>,

    /// Over UDP: permit a --listen address that is not loopback. Senders can forge their
    /// address, and the server sends its answers there.
    #[arg(long)]
    allow_remote: bool,

    /// Simulated work for each read that returns data, before the echo: `cpu:50us` uses CPU
    /// time, `sleep:5ms` waits as for a backend [default: none].
    #[arg(long, value_name = "KIND:TIME")]
    work: Option<Work>,
}

const EXAMPLES: &str = "Examples:
  echo-server epoll
  echo-server pool --workers 16 --listen 127.0.0.1:0
  echo-server thread --work sleep:5ms
  echo-server epoll --listen unix:/tmp/echo.sock
  echo-server --list --format json";

/// The format of the list.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// One line per model.
    Text,
    /// A JSON array of objects.
    Json,
}

/// Runs `echo-server` with the arguments of this process.
pub fn main() -> ExitCode {
    panics::end_the_process();
    match run(&parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("echo-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the arguments of this process; exits if they are wrong.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| name_argument(error, env::args_os()).exit())
}

/// Clap does not say which argument is not UTF-8. Only the path of a Unix socket may have other bytes.
fn name_argument(error: clap::Error, mut arguments: impl Iterator<Item = OsString>) -> clap::Error {
    if error.kind() != ErrorKind::InvalidUtf8 {
        return error;
    }
    let is_wrong = |argument: &OsString| {
        let bytes = argument.as_bytes();
        let listen = bytes.strip_prefix(b"--listen=").unwrap_or(bytes);
        argument.to_str().is_none() && !listen.starts_with(b"unix:")
    };
    match arguments.find(is_wrong) {
        Some(argument) => {
            Cli::command().error(error.kind(), format!("the argument {argument:?} is not UTF-8"))
        }
        None => error,
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    if cli.list {
        return list(cli.format);
    }
    let name = cli.model.as_deref().unwrap_or_default();
    let model = models::find(name).with_context(|| match models::left_out(name) {
        Some(reason) => format!("cannot run `{name}`: {reason}"),
        None => format!("there is no model `{name}`"),
    })?;
    let address = Address::resolve(&cli.listen)?;
    cli.check(model, address.is_unix())?;
    model
        .probe()
        .with_context(|| format!("this host cannot run `{name}`"))?;
    conn::buffer(cli.buffer).context("--buffer is too large")?;
    process::raise_descriptor_limit();
    let listener = bind(cli, model, address)?;
    let config = Config {
        workers: cli.workers,
        buffer: cli.buffer,
        work: cli.work.unwrap_or_default(),
    };
    stop::on_signals(listener.as_fd(), cli.drain)?;
    terminal::stop_on_q()?;
    if io::stdin().is_terminal() {
        complain!("echo-server: type q and Enter to stop");
    }
    Ok(model.serve(listener, &config)?)
}

/// Whether a model takes these options; an error names the first that it does not take. The address to
/// listen on is not among them.
pub fn check(model: &dyn Model, options: &[String]) -> anyhow::Result<()> {
    let words = ["echo-server", model.name()].map(str::to_owned);
    let cli = Cli::try_parse_from(words.iter().chain(options)).map_err(|error| {
        // Advice about the use of the program follows.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        anyhow!("{}", first.trim_start_matches("error: "))
    })?;
    cli.check(model, false)
}

fn bind(cli: &Cli, model: &dyn Model, address: Address) -> anyhow::Result<Listener> {
    let name = model.name();
    match (model.transport(), address) {
        (Transport::Stream, address) => Listener::bind(&Options {
            address,
            backlog: cli.backlog.unwrap_or(BACKLOG),
            keepalive: cli.keepalive,
            write_deadline: cli.write_deadline,
            nodelay: cli.nodelay.unwrap_or(true),
            max_connections: cli.max_connections.map(NonZero::get),
        }),
        (Transport::Datagram, Address::Unix(_)) => {
            bail!("`{name}` uses UDP, which a Unix socket does not carry: give --listen ADDRESS:PORT")
        }
        (Transport::Datagram, Address::Internet(address)) => {
            if !address.ip().is_loopback() && !cli.allow_remote {
                bail!(
                    "{address} is not a loopback address, and forged source addresses could make the server \
                     send datagrams to other hosts: give --allow-remote to let `{name}` listen there anyway"
                );
            }
            Listener::bind_datagram(address)
        }
    }
}

impl Cli {
    /// Refuses options that mean nothing to a model.
    fn check(&self, model: &dyn Model, is_unix: bool) -> anyhow::Result<()> {
        let name = model.name();
        if self.workers.is_some() && model.workers() == Workers::Fixed {
            bail!("`{name}` has a fixed number of workers: omit --workers");
        }
        if model.transport() == Transport::Datagram {
            let of_connections = [
                ("--backlog", self.backlog.is_some()),
                ("--max-connections", self.max_connections.is_some()),
            ];
            if let Some(option) = first_given(&of_connections).or_else(|| self.first_of_tcp()) {
                bail!("`{name}` uses UDP and has no connections: omit {option}");
            }
            return Ok(());
        }
        if self.allow_remote {
            bail!(
                "--allow-remote is for models over UDP: `{name}` uses TCP, where --listen permits any address"
            );
        }
        if is_unix && let Some(option) = self.first_of_tcp() {
            bail!("{option} sets an option of TCP, which a Unix socket does not have: omit it");
        }
        Ok(())
    }

    /// The first option that is given and sets one of TCP.
    fn first_of_tcp(&self) -> Option<&'static str> {
        first_given(&[
            ("--keepalive", self.keepalive.is_some()),
            ("--write-deadline", self.write_deadline.is_some()),
            ("--nodelay", self.nodelay.is_some()),
        ])
    }
}

fn first_given(options: &[(&'static str, bool)]) -> Option<&'static str> {
    options
        .iter()
        .find(|(_, given)| *given)
        .map(|(option, _)| *option)
}

/// Prints the registry, with the reason for each model that this host cannot run.
pub fn list(format: Format) -> anyhow::Result<()> {
    let built = MODELS.iter().map(|model| Line {
        name: model.name(),
        family: Some(model.family().to_string()),
        transport: Some(model.transport().to_string()),
        summary: Some(model.summary()),
        unavailable: model.probe().err().map(|reason| reason.to_string()),
    });
    let left_out = NOT_BUILT.iter().map(|name| Line {
        name,
        family: None,
        transport: None,
        summary: None,
        unavailable: models::left_out(name),
    });
    let lines = built.chain(left_out);
    let text = match format {
        Format::Text => lines.map(Line::text).collect(),
        Format::Json => {
            let models: Vec<_> = lines.map(Line::json).collect();
            serde_json::to_string_pretty(&models)? + "\n"
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has closed the pipe early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot print the list"),
    }
}

/// An entry of the list. A build without the model does not know its details.
struct Line {
    name: &'static str,
    family: Option<String>,
    transport: Option<String>,
    summary: Option<&'static str>,
    unavailable: Option<String>,
}

impl Line {
    fn text(self) -> String {
        let (family, summary) = (self.family.unwrap_or_default(), self.summary.unwrap_or_default());
        let line = format!("{:15} {family:10} {summary}", self.name);
        let line = line.trim_end();
        match self.unavailable {
            None => format!("{line}\n"),
            Some(reason) => format!("{line}\n{:15} cannot run here: {reason}\n", ""),
        }
    }

    fn json(self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "family": self.family,
            "transport": self.transport,
            "summary": self.summary,
            "unavailable": self.unavailable,
        })
    }
}

/// All model names, so that clap suggests the nearest one. Models that are not built are
/// accepted here, because their error message comes later.
fn model_names() -> PossibleValuesParser {
    let built = MODELS
        .iter()
        .map(|model| PossibleValue::new(model.name()).help(model.summary()));
    let left_out = NOT_BUILT.iter().map(|name| PossibleValue::new(*name).hide(true));
    built.chain(left_out).collect::<Vec<_>>().into()
}

fn buffer_size(text: &str) -> Result<usize, String> {
    let form = "give a size with its unit from 1B to 64MiB, such as 16KiB";
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form.into());
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes @ 1..=LARGEST_BUFFER)) => Ok(bytes as usize),
        _ => Err(form.into()),
    }
}

/// The kernel's maximum, in whole seconds (MAX_TCP_KEEPIDLE).
const LONGEST_KEEPALIVE: u64 = 32_767;

fn keepalive_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (1..=LONGEST_KEEPALIVE).contains(&time.as_secs()) => Ok(time),
        Ok(_) => Err(format!(
            "give 1s to {LONGEST_KEEPALIVE}s: the kernel counts in seconds"
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Zero is not allowed: to the kernel it means its default of more than 15 minutes.
fn write_deadline(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_millis(1)..=LONGEST_DEADLINE).contains(&time) => Ok(time),
        Ok(_) => Err("give 1ms to 24days: the kernel counts in milliseconds".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_in_the_help_are_valid() {
        let examples = EXAMPLES.lines().skip(1).map(str::trim);
        for example in examples {
            let parsed = Cli::try_parse_from(example.split(' '));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
