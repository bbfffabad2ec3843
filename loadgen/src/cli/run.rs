//! `loadgen run`: makes one load and prints it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use clap::Args;

use super::load::LoadOptions;
use super::{Error, FAILED, Format, INVALID};
use crate::progress::Progress;
use crate::{RunError, export, interrupt};
use record::Load;
use record::condition::Condition;
use record::histogram::DecodeError;

/// The heading of the options for the result.
const RESULT: &str = "Result";

/// Load a server and print the result.
///
/// By default the loop is closed: each connection sends its next message when the answer to the
/// one before is complete. This measures capacity; the latencies are service times, not what
/// independent users would see. With --rate or --stages the loop is open: messages are due by a
/// schedule that does not depend on the answers, and latency counts from when a message was due.
/// With --connect-rate the loop is partly open: connections arrive by a schedule, and each sends
/// its messages one after the other.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunOptions {
    #[command(flatten)]
    load: LoadOptions,

    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = RESULT)]
    format: Format,

    /// Exit with 99 if this condition holds, such as 'p99>5ms', 'errors>0' or 'rate<10k/s'; can
    /// be given several times.
    ///
    /// Times are p50, p90, p99, p99.9, max and mean of the response time, in a closed loop of
    /// the service time; or of another latency, as in service.p99, send_lag.p99, connect.p99,
    /// first_byte.p99 and close.p99. Counts are errors, errors.KIND, unanswered, starved
    /// (connections without an answer) and reconnects. A condition on an unknown time also fails.
    #[arg(long, value_name = "CONDITION", help_heading = RESULT)]
    fail_on: Vec<Condition>,

    /// Exit as if the measurement were valid when it is not. The result still shows why it is
    /// not.
    #[arg(long, help_heading = RESULT)]
    force: bool,

    /// Also write the latencies of each interval to this file, as an HdrHistogram log.
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    hlog: Option<PathBuf>,

    /// Also write the latency distribution to this file, for the HdrHistogram plotter.
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
  Connections that open and close.
    loadgen run 127.0.0.1:7007 -c 10 --messages-per-connection 1 --source 127.0.0.2-127.0.0.9
    loadgen run 127.0.0.1:7007 --connect-rate 500/s --messages-per-connection 10 --think 20ms
  A server that restarts while it is loaded.
    loadgen run 127.0.0.1:7007 --rate 1k/s -d 60s --reconnect
  More.
    loadgen run --udp 127.0.0.1:7007 -c 10 --size 1KiB
    loadgen run unix:/tmp/echo.sock -c 100
    loadgen run --allow-remote 192.0.2.7:7007 -c 50 --idle 1000
    loadgen run 127.0.0.1:7007 --rate 10k/s --fail-on 'p99>5ms' --fail-on 'errors>0'
    loadgen run 127.0.0.1:7007 --format json --hgrm latency.hgrm";

impl RunOptions {
    /// Makes the load; returns the exit code.
    pub(super) fn run(&self) -> Result<u8, Error> {
        let plan = self.load.check(&self.load.plan)?;
        let mut exports = self.exports()?;
        let stop = interrupt::flag().map_err(RunError::Own)?;
        let result = crate::run(&plan, &mut Progress::start(), &stop);
        let interrupted = stop.load(Relaxed);
        if interrupted && result.is_err() {
            record::complain!("loadgen: interrupted before a connection was open");
            return Ok(interrupt::EXIT_CODE);
        }
        let load = result?;
        self.format.print(&load)?;
        for export in &mut exports {
            export.write(&load)?;
        }
        let failures = failures(&self.fail_on, &load);
        for failure in &failures {
            record::complain!("failed: {failure}");
        }
        let code = exit_code(
            interrupted,
            load.summary.is_valid() || self.force,
            failures.is_empty(),
        );
        if code == INVALID {
            record::complain!("{NOT_VALID}");
        }
        Ok(code)
    }

    /// Opens the files before the load, so that one that cannot be written costs no run.
    fn exports(&self) -> Result<Vec<Export>, Error> {
        let forms: [(_, Form); 2] = [(&self.hlog, export::hlog), (&self.hgrm, export::hgrm)];
        let asked = forms
            .into_iter()
            .filter_map(|(path, form)| Some((path.clone()?, form)));
        let exports: Vec<Export> = asked
            .map(|(path, form)| Export::create(path, form))
            .collect::<Result<_, _>>()?;
        match &exports[..] {
            [one, other] if one.replaces.is_some() && one.replaces == other.replaces => {
                Err(Error::SameFile(one.path.clone()))
            }
            _ => Ok(exports),
        }
    }
}

/// A file format of a load.
type Form = fn(&Load) -> Result<String, DecodeError>;

/// A file that the load will be written to.
#[derive(Debug)]
struct Export {
    path: PathBuf,
    file: File,
    form: Form,
    /// The device and the inode of a regular file, whose content is replaced; `None` if the export
    /// streams into a pipe or a device.
    replaces: Option<(u64, u64)>,
}

impl Export {
    fn create(path: PathBuf, form: Form) -> Result<Self, Error> {
        // The old content is kept until there is a load to replace it.
        let open = || -> std::io::Result<_> {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let found = file.metadata()?;
            Ok((file, found.is_file().then(|| (found.dev(), found.ino()))))
        };
        match open() {
            Ok((file, replaces)) => Ok(Export {
                path,
                file,
                form,
                replaces,
            }),
            Err(error) => Err(Error::Export { path, error }),
        }
    }

    fn write(&mut self, load: &Load) -> Result<(), Error> {
        let text = (self.form)(load)?;
        let emptied = self.replaces.map_or(Ok(()), |_| self.file.set_len(0));
        let written = emptied.and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|error| Error::Export {
            path: self.path.clone(),
            error,
        })
    }
}

/// Explains exit code 3.
const NOT_VALID: &str = "loadgen: the measurement is not valid, so the exit code is 3; the result says why. \
With --force the exit code is that of a valid measurement, and the result still says that it is not.";

/// The conditions that hold, and those that cannot be decided.
fn failures(conditions: &[Condition], load: &Load) -> Vec<String> {
    let bad = |condition: &&Condition| condition.holds(load) != Some(false);
    let shown = |condition: &Condition| format!("{condition}: {}", condition.describe_value(load));
    conditions.iter().filter(bad).map(shown).collect()
}

/// The first that applies: interrupted, not valid, a condition that holds.
fn exit_code(interrupted: bool, accepted: bool, passed: bool) -> u8 {
    match () {
        () if interrupted => interrupt::EXIT_CODE,
        () if !accepted => INVALID,
        () if !passed => FAILED,
        () => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, examples};
    use clap::Parser;

    #[test]
    fn the_examples_of_the_help_are_accepted() {
        assert!(examples(EXAMPLES).count() > 5);
        for example in examples(EXAMPLES) {
            let parsed = Cli::try_parse_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn the_most_serious_exit_code_wins() {
        assert_eq!(exit_code(false, true, true), 0);
        assert_eq!(exit_code(false, true, false), 99);
        assert_eq!(exit_code(false, false, true), 3);
        assert_eq!(exit_code(false, false, false), 3);
        assert_eq!(exit_code(true, false, false), 130);
    }
}
