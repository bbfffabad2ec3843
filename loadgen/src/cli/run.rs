//! `loadgen run`: one load, printed.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;

use super::load::{self, LOAD, LoadOptions};
use super::{Error, FAILED, Format, INVALID};
use crate::condition::Condition;
use crate::pacer::{self, Pace, Stage};
use crate::plan::{Loop, Request};
use crate::progress::Progress;
use crate::{RunError, export, interrupt, units};
use record::histogram::DecodeError;
use record::{Arrivals, Load};

/// What becomes of what was seen.
const RESULT: &str = "Result";

/// The stages of a schedule. The name keeps clap from taking them for single values.
type Stages = Vec<Stage>;

/// Load a server and print what was seen.
///
/// As it stands the loop is closed: each connection sends its next message when the answer
/// to the one before is complete. That measures capacity; the latencies are service times,
/// not what independent users would see. With --rate or --stages the loop is open: messages
/// are due by a schedule, whatever became of those before, and latency counts from when a
/// message was due. With --connect-rate it is partly open: connections come by a schedule,
/// and each sends its messages one after the other.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunOptions {
    #[command(flatten)]
    load: LoadOptions,

    /// Time that is counted.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::time, help_heading = LOAD)]
    duration: Duration,

    /// Time that is run before and not counted.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time, help_heading = LOAD)]
    warmup: Duration,

    /// Closed loop: messages that each connection keeps in flight.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "schedule", help_heading = LOAD)]
    depth: u32,

    /// Time between an answer and the next message [default: none].
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        hide_default_value = true,
        value_parser = units::time,
        conflicts_with_all = ["rate", "stages"],
        help_heading = LOAD
    )]
    think: Duration,

    /// Close a connection after so many messages and open another [default: never; 1 with
    /// --connect-rate].
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "stages"], help_heading = LOAD)]
    messages_per_connection: Option<u64>,

    /// Open loop: messages per second over all connections, such as 50k/s.
    #[arg(long, value_name = "RATE", value_parser = units::rate, group = "schedule", help_heading = LOAD)]
    rate: Option<f64>,

    /// Open loop: rates one after the other, such as 10s@10k/s,30s@50k/s; a ramp is
    /// 10s@1k/s..50k/s. They last as long as they say, without --duration.
    #[arg(
        long,
        value_name = "TIME@RATE,...",
        value_parser = pacer::stages,
        group = "schedule",
        conflicts_with = "duration",
        help_heading = LOAD
    )]
    stages: Option<Stages>,

    /// Partly open: connections that come per second, such as 500/s. There are as many at
    /// a time as that takes.
    #[arg(
        long,
        value_name = "RATE",
        value_parser = units::rate,
        group = "schedule",
        conflicts_with = "connections",
        help_heading = LOAD
    )]
    connect_rate: Option<f64>,

    /// How a schedule is drawn [default: constant, with --connect-rate poisson].
    #[arg(long, value_parser = load::arrivals(), requires = "schedule", help_heading = LOAD)]
    arrivals: Option<Arrivals>,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = RESULT)]
    format: Format,

    /// Exit with 99 if this holds, such as 'p99>5ms', 'errors>0' or 'rate<10k/s'; can be
    /// given several times.
    ///
    /// Times are p50, p90, p99, p99.9, max and mean of the response time, in a closed loop of
    /// the service time; or of another, as in service.p99, send_lag.p99, connect.p99,
    /// first_byte.p99 and close.p99. Counts are errors, errors.KIND, unanswered and starved,
    /// which are connections without an answer. A time that is not known fails too.
    #[arg(long, value_name = "CONDITION", help_heading = RESULT)]
    fail_on: Vec<Condition>,

    /// Exit as if the measurement were valid when it is not. The result still says why it is
    /// not.
    #[arg(long, help_heading = RESULT)]
    force: bool,

    /// Write the latencies of each interval to this file too, as an HdrHistogram log.
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    hlog: Option<PathBuf>,

    /// Write the distribution of the latency to this file too, for the HdrHistogram plotter.
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    hgrm: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  Capacity: a closed loop.
    loadgen run 127.0.0.1:7007
    loadgen run 127.0.0.1:7007 -c 1000 -d 30s --size 4KiB --threads 2
    loadgen run 127.0.0.1:7007 -c 100 --depth 8 --size uniform:16B..4KiB
  Latency at a rate: an open loop.
    loadgen run 127.0.0.1:7007 --rate 50k/s --arrivals poisson --spin --cpus 1
    loadgen run 127.0.0.1:7007 --stages 10s@1k/s..50k/s,30s@50k/s
  Connections that come and go.
    loadgen run 127.0.0.1:7007 -c 10 --messages-per-connection 1 --source 127.0.0.2-127.0.0.9
    loadgen run 127.0.0.1:7007 --connect-rate 500/s --messages-per-connection 10 --think 20ms
  Other ways.
    loadgen run --udp 127.0.0.1:7007 -c 10 --size 1KiB
    loadgen run --allow-remote 192.0.2.7:7007 -c 50 --idle 1000
    loadgen run 127.0.0.1:7007 --rate 10k/s --fail-on 'p99>5ms' --fail-on 'errors>0'
    loadgen run 127.0.0.1:7007 --format json --hgrm latency.hgrm";

impl RunOptions {
    /// Runs the load; returns the exit code.
    pub(super) fn run(&self) -> Result<u8, Error> {
        let plan = self.request()?.validate()?;
        let mut exports = self.exports()?;
        let stop = interrupt::flag().map_err(RunError::Own)?;
        let result = crate::run(&plan, &mut Progress::start(), &stop);
        let interrupted = stop.load(Relaxed);
        if interrupted && result.is_err() {
            eprintln!("loadgen: interrupted before a connection was open");
            return Ok(interrupt::EXIT_CODE);
        }
        let load = result?;
        self.format.print(&load)?;
        for export in &mut exports {
            export.write(&load)?;
        }
        let failures = failures(&self.fail_on, &load);
        for failure in &failures {
            eprintln!("failed: {failure}");
        }
        let code = exit_code(
            interrupted,
            load.summary.is_valid() || self.force,
            failures.is_empty(),
        );
        if code == INVALID {
            eprintln!("{NOT_VALID}");
        }
        Ok(code)
    }

    /// Opens the files before the load, so that one that cannot be written costs no run.
    fn exports(&self) -> Result<Vec<Export>, Error> {
        let forms: [(_, Form); 2] = [(&self.hlog, export::hlog), (&self.hgrm, export::hgrm)];
        let asked = forms
            .into_iter()
            .filter_map(|(path, form)| Some((path.clone()?, form)));
        asked.map(|(path, form)| Export::create(path, form)).collect()
    }

    fn request(&self) -> Result<Request, Error> {
        Ok(Request {
            discipline: self.discipline(),
            warmup: self.warmup,
            duration: self.duration,
            ..self.load.request()?
        })
    }

    fn discipline(&self) -> Loop {
        let pace = |stages, usual| Pace {
            stages,
            arrivals: self.arrivals.unwrap_or(usual),
        };
        let steady = |rate| vec![Stage::steady(self.duration, rate)];
        match (self.rate.map(steady).or(self.stages.clone()), self.connect_rate) {
            (Some(stages), _) => Loop::Open(pace(stages, Arrivals::Constant)),
            (None, Some(rate)) => Loop::PartlyOpen {
                pace: pace(steady(rate), Arrivals::Poisson),
                think: self.think,
                messages_per_connection: self.messages_per_connection.unwrap_or(1),
            },
            (None, None) => Loop::Closed {
                depth: self.depth,
                think: self.think,
                messages_per_connection: self.messages_per_connection,
            },
        }
    }
}

/// What a load is written as.
type Form = fn(&Load) -> Result<String, DecodeError>;

/// A file that a load is to be written to.
#[derive(Debug)]
struct Export {
    path: PathBuf,
    file: File,
    form: Form,
}

impl Export {
    fn create(path: PathBuf, form: Form) -> Result<Self, Error> {
        // What is there is lost when there is something to take its place, and not before.
        match File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
        {
            Ok(file) => Ok(Export { path, file, form }),
            Err(error) => Err(Error::Export { path, error }),
        }
    }

    fn write(&mut self, load: &Load) -> Result<(), Error> {
        let text = (self.form)(load)?;
        let written = self
            .file
            .set_len(0)
            .and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|error| Error::Export {
            path: self.path.clone(),
            error,
        })
    }
}

/// What is printed where the exit code says that the load is not valid.
const NOT_VALID: &str = "loadgen: the measurement is not valid, so the exit code is 3; the result says why. \
With --force the exit code is that of a valid one, and the result still says that it is not.";

/// The conditions that hold, and those that cannot be told: what is not known is not fine.
fn failures(conditions: &[Condition], load: &Load) -> Vec<String> {
    let bad = |condition: &&Condition| condition.holds(load) != Some(false);
    let shown = |condition: &Condition| format!("{condition}: {}", condition.describe_value(load));
    conditions.iter().filter(bad).map(shown).collect()
}

/// The first that applies: ended early, not to be believed, a condition that holds.
fn exit_code(interrupted: bool, believed: bool, passed: bool) -> u8 {
    match () {
        () if interrupted => interrupt::EXIT_CODE,
        () if !believed => INVALID,
        () if !passed => FAILED,
        () => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, examples};
    use clap::Parser;

    fn parse(options: &str) -> Result<RunOptions, clap::Error> {
        let words = ["loadgen", "run", "127.0.0.1:7"].into_iter();
        match Cli::try_parse_from(words.chain(options.split_whitespace()))?.command {
            Command::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    fn request(options: &str) -> Request {
        parse(options).unwrap().request().unwrap()
    }

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        assert!(examples(EXAMPLES).count() > 5);
        for example in examples(EXAMPLES) {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn what_is_not_said_is_as_in_a_new_request() {
        let new = Request::new("127.0.0.1:7".parse().unwrap());
        assert_eq!(format!("{:?}", request("")), format!("{new:?}"));
    }

    #[test]
    fn without_a_rate_the_loop_is_closed() {
        let closed = Loop::Closed {
            depth: 8,
            think: Duration::from_millis(20),
            messages_per_connection: Some(3),
        };
        assert_eq!(
            request("--depth 8 --think 20ms --messages-per-connection 3").discipline,
            closed
        );
    }

    #[test]
    fn a_rate_opens_it_for_the_duration() {
        let open = |arrivals| Loop::open(50e3, Duration::from_secs(3), arrivals);
        assert_eq!(request("--rate 50k/s -d 3s").discipline, open(Arrivals::Constant));
        assert_eq!(
            request("--rate 50k/s -d 3s --arrivals poisson").discipline,
            open(Arrivals::Poisson)
        );
    }

    #[test]
    fn stages_last_as_long_as_they_say() {
        let request = request("--stages 10s@1k/s..5k/s,2s@5k/s");
        let Loop::Open(pace) = &request.discipline else {
            panic!("{request:?}")
        };
        assert_eq!(pace.stages.len(), 2);
        assert_eq!(pace.arrivals, Arrivals::Constant);
        let plan = request.validate().unwrap();
        assert_eq!(plan.request().duration, Duration::from_secs(12));
    }

    #[test]
    fn a_rate_of_connections_is_partly_open_with_one_message_each() {
        let partly_open = |arrivals, think, messages_per_connection| Loop::PartlyOpen {
            pace: Pace {
                stages: vec![Stage::steady(Duration::from_secs(10), 500.0)],
                arrivals,
            },
            think,
            messages_per_connection,
        };
        assert_eq!(
            request("--connect-rate 500/s").discipline,
            partly_open(Arrivals::Poisson, Duration::ZERO, 1)
        );
        assert_eq!(
            request("--connect-rate 500/s --arrivals constant --think 1s --messages-per-connection 9")
                .discipline,
            partly_open(Arrivals::Constant, Duration::from_secs(1), 9)
        );
    }

    #[test]
    fn of_several_exit_codes_the_gravest_is_taken() {
        assert_eq!(exit_code(false, true, true), 0);
        assert_eq!(exit_code(false, true, false), 99);
        assert_eq!(exit_code(false, false, true), 3);
        assert_eq!(exit_code(false, false, false), 3);
        assert_eq!(exit_code(true, false, false), 130);
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for options in [
            "--rate 1k/s --stages 1s@1k/s",
            "--rate 1k/s --connect-rate 1/s",
            "--stages 1s@1k/s --connect-rate 1/s",
            "--stages 1s@1k/s --duration 1s",
            "--connect-rate 1/s -c 5",
            "--arrivals poisson",
            "--rate 1k/s --depth 2",
            "--stages 1s@1k/s --depth 2",
            "--connect-rate 1/s --depth 2",
            "--rate 1k/s --think 1s",
            "--rate 1k/s --messages-per-connection 1",
            "--stages 1s@1k/s --messages-per-connection 1",
        ] {
            assert!(parse(options).is_err(), "{options}");
        }
    }
}
