//! The one schema: what a run was, what its trials were, and what each load saw.
//!
//! `loadgen run --format json` prints one [`Load`], `loadgen capacity` one [`Capacity`], `echobench
//! conformance` one [`Conformance`]. The harness writes `results.jsonl`, one [`Record`] on each
//! line: for a run a [`Run`] first, then a [`Trial`] as each one ends; a [`Conformance`] among
//! them, or alone, followed by a [`CaseResult`] for each result that it does not contain. The same types as a JSON Schema stand in
//! `loadgen/schema/record.schema.json`; a test keeps that file current.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::histogram::{Encoded, Quantiles};

/// The version of the schema that this code writes, and the newest that it reads.
pub const SCHEMA_VERSION: u32 = 3;

/// A line longer than this is not a record of ours: the largest are some 100 KB.
const LONGEST_LINE: usize = 8 << 20;

/// One line of `results.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "a run is seldom, a trial is what there are many of"
)]
pub enum Record {
    /// What is common to all trials of a run: comes before them.
    Run(Run),
    /// One trial.
    Trial(Trial),
    /// What came of the cases that every server must survive. Where there are several, the
    /// last one counts: a run is given the newest.
    Conformance(Conformance),
    /// The outcome of one case on one server, after the [`Conformance`] that it belongs to. The
    /// last outcome of a case on a server counts.
    CaseResult(CaseResult),
}

/// What a `results.jsonl` holds: a run, what came of the conformance cases, or both.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Records {
    /// What was measured.
    pub measured: Option<Measured>,
    /// What came of the conformance cases.
    pub conformance: Option<Conformance>,
}

/// A run and its trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What the trials have in common.
    pub run: Run,
    /// In the order in which they ended.
    pub trials: Vec<Trial>,
}

/// What is common to all trials of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Version of echobench.
    pub version: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// The command line, to run it again.
    pub command: Vec<String>,
    /// Name of the suite, such as `quick`.
    pub suite: String,
    /// What the scenarios were, in the order in which they are shown.
    pub scenarios: Vec<Scenario>,
    /// The servers that were to be compared, in the order of the registry.
    pub servers: Vec<Server>,
    /// How often every server was to be measured in every scenario.
    pub blocks: u32,
    /// Seed of the order within the blocks.
    pub seed: u64,
    /// Which processors did what.
    pub placement: Placement,
    /// The machine.
    pub host: Host,
}

/// A load that every server was put under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Short name, unique in the run: `100-connections`.
    pub name: String,
    /// The question that it answers, for a person.
    pub title: String,
    /// The plan that the load generator was given.
    pub plan: PlanRecord,
}

/// A server, as the registry or the command line named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// What is typed: `epoll`.
    pub name: String,
    /// Its family: `readiness`.
    pub family: String,
    /// One line that says what it is.
    pub summary: String,
    /// What it speaks.
    #[serde(default)]
    pub transport: Transport,
}

/// What a server speaks, and so what a load is sent over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Connections that carry streams of bytes.
    #[default]
    Tcp,
    /// Datagrams: messages on their own, which may be lost.
    Udp,
}

/// Which processors did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Processors that the server was pinned to.
    pub server_cpus: Vec<usize>,
    /// Processors that the generator was pinned to.
    pub generator_cpus: Vec<usize>,
}

impl Placement {
    /// Whether server and generator took time from each other.
    pub fn shared(&self) -> bool {
        self.server_cpus
            .iter()
            .any(|cpu| self.generator_cpus.contains(cpu))
    }
}

/// The machine's fingerprint. What could not be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Kernel release, such as `6.12.0`.
    pub kernel: String,
    /// Architecture, such as `x86_64`.
    pub architecture: String,
    /// Processor model.
    pub cpu_model: Option<String>,
    /// Processors online.
    pub cpus_online: usize,
    /// Processors that the harness may use.
    pub cpus_allowed: Vec<usize>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Frequency governor of the first processor; absent on most virtual machines.
    pub governor: Option<String>,
    /// Name of the hypervisor, if the kernel knows that it has one.
    pub hypervisor: Option<String>,
    /// Mitigations of processor vulnerabilities that are active, by name.
    pub mitigations: BTreeMap<String, String>,
    /// Kernel settings that matter here, by their `sysctl` name.
    pub sysctls: BTreeMap<String, String>,
    /// Most descriptors that one process may open.
    pub descriptor_limit: u64,
    /// Compiler of this program.
    pub compiler: String,
    /// Commit of the source, `-dirty` added when it had changes.
    pub commit: Option<String>,
}

/// One server under one load, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Name of the server.
    pub server: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The block it belongs to, from 0: comparisons are made within a block.
    pub block: u32,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial. No server is silently absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "nearly every trial is measured")]
pub enum Outcome {
    /// The load ran to its end.
    Measured {
        /// What the generator saw.
        load: Load,
        /// What the server cost meanwhile.
        cost: Cost,
    },
    /// The host cannot run this server.
    Skipped {
        /// Why, as the server's probe found.
        reason: String,
    },
    /// The server or the load failed.
    Failed {
        /// What went wrong.
        error: String,
        /// The end of the server's standard error.
        stderr: String,
    },
}

/// What the server's process tree cost within the measured window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// CPU time in seconds, children that ended included.
    pub cpu_s: f64,
    /// CPU time divided by echoes, in microseconds; absent when nothing was echoed.
    pub cpu_us_per_echo: Option<f64>,
    /// Context switches that its threads asked for by blocking; those of threads that
    /// ended within the window are not known.
    pub voluntary_switches: u64,
    /// Context switches that the scheduler forced on them.
    pub involuntary_switches: u64,
    /// Processes at the end of the window.
    pub processes: u32,
    /// Threads at the end of the window, over all processes.
    pub threads: u32,
    /// Proportional set size at the end of the window, over all processes: memory
    /// that forked children share is counted once. Absent where it may not be read.
    pub pss_bytes: Option<u64>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CaseOutcome {
    /// It holds.
    Pass {
        /// What was seen; empty where that is nothing but what the case asks for.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        evidence: String,
    },
    /// It does not.
    Fail {
        /// What was seen, and what was expected.
        evidence: String,
    },
    /// The server's design answers the question differently, and does so properly.
    NotApplicable {
        /// The design, in a line.
        reason: String,
    },
    /// This host cannot run the server, or does not allow what the case needs.
    Skipped {
        /// Why, as the server's probe or the case found.
        reason: String,
    },
}

/// Servers put to the cases that every server must survive: what was asked, and what came
/// of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conformance {
    /// Version of this schema.
    pub schema_version: u32,
    /// Version of the program that ran the cases.
    pub version: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Where it ran.
    pub host: Host,
    /// Whether the cases that have a larger form ran in that one.
    pub full: bool,
    /// Seed of what was chosen at random.
    pub seed: u64,
    /// The cases, in the order in which a table shows them.
    pub cases: Vec<CaseDescription>,
    /// What came of each, on each server.
    pub results: Vec<CaseResult>,
}

/// A case that every server must survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseDescription {
    /// What it is called for short: `C1`.
    pub id: String,
    /// What it is called: `exact`.
    pub name: String,
    /// What it asks, in a sentence.
    pub question: String,
}

/// A server put to a case that every server must survive, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// The case's id: `C1`.
    pub case: String,
    /// Name of the server.
    pub model: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: CaseOutcome,
    /// How long it took.
    pub seconds: f64,
}

impl CaseResult {
    /// What identifies it: the case and the server.
    fn key(&self) -> (String, String) {
        (self.case.clone(), self.model.clone())
    }
}

/// What the load generator was asked for, in plain numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRecord {
    /// When the next message is due.
    pub discipline: Discipline,
    /// Connections held open, or opened again and again; 0 where they arrive by themselves.
    pub connections: usize,
    /// Worker threads of the generator.
    pub threads: usize,
    /// Bytes in a message; the mean, rounded, where they differ.
    pub message_bytes: u64,
    /// How the sizes differ, as it was asked for; absent where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<String>,
    /// Seconds that were run and not counted.
    pub warmup_s: f64,
    /// Seconds that were to be counted.
    pub duration_s: f64,
    /// What the messages were sent over; a connection over UDP is a connected socket.
    #[serde(default)]
    pub transport: Transport,
    /// Closed loop: messages that each connection keeps in flight.
    #[serde(default = "one")]
    pub depth: u32,
    /// Seconds between an answer and the next message, in a closed loop or partly open.
    #[serde(default)]
    pub think_s: f64,
    /// Messages after which a connection is closed; absent where it stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_connection: Option<u64>,
    /// Open loop: how often messages are due over time; partly open: connections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRecord>,
    /// The law of the arrivals; absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// Connections that were open beside the others and sent nothing.
    #[serde(default)]
    pub idle: usize,
    /// Local addresses that the connections came from, in turn; empty: the system chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<IpAddr>,
    /// Seed of everything that was drawn: arrivals and sizes.
    #[serde(default)]
    pub seed: u64,
}

fn one() -> u32 {
    1
}

/// When the next message of a connection is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Discipline {
    /// When the answer to the one before it is complete: measures capacity.
    Closed,
    /// By a schedule that does not depend on the answers: as independent users do.
    Open,
    /// Connections come by such a schedule; within each the next message is due when the
    /// answer to the one before it is complete.
    PartlyOpen,
}

/// The law by which a schedule draws its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// Evenly spaced.
    Constant,
    /// A Poisson process: exponential gaps, as of many independent users.
    Poisson,
}

/// A part of a schedule: the rate goes evenly from one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// How long it lasts, in seconds.
    pub duration_s: f64,
    /// The rate at its begin, per second.
    pub from_per_s: f64,
    /// The rate at its end, per second.
    pub to_per_s: f64,
}

/// What the load generator saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The address that was loaded.
    pub target: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// What was asked for.
    pub plan: PlanRecord,
    /// The generator itself.
    pub generator: Generator,
    /// Seconds that were counted.
    pub window_s: f64,
    /// The numbers that scripts and people read.
    pub summary: Summary,
    /// One example of each kind of error, as the system worded it.
    pub error_examples: BTreeMap<ErrorKind, String>,
    /// Latencies in nanoseconds.
    pub histograms: Histograms,
    /// The window cut into pieces of equal length, in order; the last also holds what came
    /// after the window for a message that was due within it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
}

impl Load {
    /// Connections that were open and got no answer. Where connections come and go, some are
    /// always on their way when the window ends, which is nothing to count.
    pub fn starved(&self) -> u64 {
        let connections = self.summary.connections;
        match self.plan.messages_per_connection {
            None => connections.open.saturating_sub(connections.answered),
            Some(_) => 0,
        }
    }
}

/// A piece of the measured window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// When it began, in seconds from the begin of the window.
    pub start_s: f64,
    /// How long it was, in seconds.
    pub duration_s: f64,
    /// Messages that came back whole and right within it.
    pub echoes: u64,
    /// The latencies that were complete within it, in nanoseconds: response time where there
    /// is one, else service time. All intervals add up to the histogram of the load.
    pub latency: Encoded,
}

/// The generator that made a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Its version.
    pub version: String,
    /// How it talks to the kernel: `epoll` or `uring`; `mixed` where several did so differently.
    pub engine: String,
    /// What it does when nothing is ready: `sleep`, and its wake-up is in every latency,
    /// `spin`, or `mixed`.
    pub wait: String,
    /// Processors that it was pinned to; empty when it was not.
    pub cpus: Vec<usize>,
    /// CPU time of its workers in the window, divided by the window and their number:
    /// near 1 the generator was the bottleneck.
    pub utilisation: f64,
    /// Share of the window for which its workers could have run and were not let, since
    /// their processors did something else.
    #[serde(default)]
    pub kept_waiting: f64,
    /// Context switches that the scheduler forced on its workers within the window.
    #[serde(default)]
    pub involuntary_switches: u64,
    /// Share of the window that the hypervisor took from its processors; absent where the
    /// kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
}

/// Above this share of its threads' time the generator is taken for saturated: a thread
/// that never waits shows a little less, since the kernel's work for the sockets is in
/// part charged to nobody.
pub const SATURATED: f64 = 0.9;

impl Generator {
    /// Whether it was the bottleneck, so that the server may be faster than what was seen.
    /// One that spins uses a whole processor by design, and this does not tell.
    pub fn is_saturated(&self) -> bool {
        self.wait != "spin" && self.utilisation >= SATURATED
    }

    /// Whether it ran all the time, or would have if it had been let: it may have been too
    /// late for what the server could do.
    pub fn never_slept(&self) -> bool {
        self.wait != "spin" && self.utilisation + self.kept_waiting >= SATURATED
    }
}

/// The numbers of a load under the names that scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Messages that came back whole and right, per second of the window.
    pub echoes_per_s: f64,
    /// Messages that were due per second; `null` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Messages that came back whole and right within the window.
    pub echoes: u64,
    /// From the actual send to the end of the answer, in microseconds.
    pub service_us: Quantiles,
    /// From the intended send to the end of the answer; `null` in a closed loop.
    pub response_us: Option<Quantiles>,
    /// From the intended to the actual send; `null` in a closed loop.
    pub send_lag_us: Option<Quantiles>,
    /// From the call of connect to the established connection; absent where connections
    /// stay open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<Quantiles>,
    /// From the call of connect to the first byte of the first answer; absent where
    /// connections stay open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<Quantiles>,
    /// From the end of our side to that of the server's; absent where connections stay open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_us: Option<Quantiles>,
    /// Connections that were opened, used and closed, per second; absent where they stay
    /// open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_s: Option<f64>,
    /// Messages that were due within the window and not answered when the run ended; they
    /// are missing in the histograms at their upper end. Always 0 in a closed loop.
    #[serde(default)]
    pub unanswered: u64,
    /// Why the latencies should not be compared with others, where it is so: they are mostly
    /// the generator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_withheld: Option<String>,
    /// What happened to the connections.
    pub connections: Connections,
    /// Errors over the whole run, warm-up included, by kind; a kind that did not
    /// occur is absent.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// CPU time of the generator per echo, in microseconds.
    pub cpu_us_per_echo: Option<f64>,
    /// Whether the numbers may be believed.
    pub valid: bool,
    /// Why they may not.
    pub reasons: Vec<String>,
}

/// What happened to the connections of a load. Where they are opened again and again, those
/// that were begun within the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// How many were asked for.
    pub asked: u64,
    /// How many were established.
    pub open: u64,
    /// How many got at least one answer within the window.
    pub answered: u64,
    /// How many were open beside them and sent nothing.
    #[serde(default)]
    pub idle: u64,
}

/// What can go wrong with a connection, or over UDP with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Nobody listens there.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The connection was not established, or not closed by the server, in time.
    TimedOut,
    /// A byte came back that is not the one that was due.
    WrongBytes,
    /// The peer ended the connection while an answer was due.
    EarlyEnd,
    /// No local port was left: a limit of this side, not the server's.
    NoLocalPort,
    /// Too many open files: a limit of this side, not the server's.
    TooManyOpenFiles,
    /// Over UDP: a message had no answer in time, and the next was sent.
    Lost,
    /// Over UDP: an answer to an earlier message came, too late or a second time.
    Stale,
    /// Anything else; the example says what.
    Other,
}

impl ErrorKind {
    /// The name under which it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Refused => "refused",
            ErrorKind::Reset => "reset",
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::WrongBytes => "wrong_bytes",
            ErrorKind::EarlyEnd => "early_end",
            ErrorKind::NoLocalPort => "no_local_port",
            ErrorKind::TooManyOpenFiles => "too_many_open_files",
            ErrorKind::Lost => "lost",
            ErrorKind::Stale => "stale",
            ErrorKind::Other => "other",
        }
    }

    /// Whether it is about one message, and its connection went on.
    pub fn is_of_a_message(self) -> bool {
        matches!(self, ErrorKind::Lost | ErrorKind::Stale)
    }

    /// Whether this side caused it: such an error makes a load invalid.
    pub fn is_ours(self) -> bool {
        matches!(self, ErrorKind::NoLocalPort | ErrorKind::TooManyOpenFiles)
    }
}

/// The latencies of a load, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Histograms {
    /// From the actual send to the end of the answer.
    pub service: Encoded,
    /// From the intended send to the end of the answer; absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Encoded>,
    /// From the intended to the actual send; absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_lag: Option<Encoded>,
    /// From the call of connect to the established connection; absent where connections
    /// stay open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Encoded>,
    /// From the call of connect to the first byte of the first answer; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Encoded>,
    /// From the end of our side to that of the server's; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Encoded>,
}

/// Why a file of records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Reading failed.
    #[error("line {line}: {error}")]
    Io {
        /// Line number, from 1.
        line: usize,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is not a record.
    #[error("line {line} is not a record of echobench: {error}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// What the parser said.
        error: serde_json::Error,
    },
    /// A line is too long to be a record.
    #[error("line {line} is longer than {LONGEST_LINE} bytes, so it is not a record of echobench")]
    TooLong {
        /// Line number, from 1.
        line: usize,
    },
    /// A line of the file was written by a newer program.
    #[error(
        "the records have schema version {found}; this program reads up to {SCHEMA_VERSION}: use a newer echobench"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// The file does not begin with a [`Run`] or a [`Conformance`].
    #[error(
        "the first line describes neither a run nor conformance cases, so this is not a results.jsonl of echobench"
    )]
    NoRun,
}

/// Reads a `results.jsonl`.
///
/// A last line without its line feed is what an interrupted write leaves behind; it
/// is passed over when it does not parse.
pub fn read(mut input: impl BufRead) -> Result<Records, ReadError> {
    let mut records = Records::default();
    // Indices of the results of the last conformance record, by case and server.
    let mut results: HashMap<(String, String), usize> = HashMap::new();
    for line in 1.. {
        let mut text = Vec::new();
        let limited = &mut std::io::Read::take(&mut input, LONGEST_LINE as u64 + 1);
        let length = limited
            .read_until(b'\n', &mut text)
            .map_err(|error| ReadError::Io { line, error })?;
        if length == 0 {
            break;
        }
        if length > LONGEST_LINE {
            return Err(ReadError::TooLong { line });
        }
        // An outcome may have been added to the records of an older program.
        check_version(&text)?;
        match (serde_json::from_slice(&text), &mut records.measured) {
            (Ok(Record::Run(run)), measured @ None) => {
                let trials = Vec::new();
                *measured = Some(Measured { run, trials });
            }
            (Ok(Record::Trial(trial)), Some(measured)) => measured.trials.push(trial),
            (Ok(Record::Conformance(found)), _) => {
                let place = |(at, result): (usize, &CaseResult)| (result.key(), at);
                results = found.results.iter().enumerate().map(place).collect();
                records.conformance = Some(found);
            }
            (Ok(Record::CaseResult(result)), _) => {
                let Some(conformance) = &mut records.conformance else {
                    return Err(ReadError::NoRun);
                };
                match results.entry(result.key()) {
                    Entry::Occupied(earlier) => conformance.results[*earlier.get()] = result,
                    Entry::Vacant(place) => {
                        place.insert(conformance.results.len());
                        conformance.results.push(result);
                    }
                }
            }
            (Ok(_), _) => return Err(ReadError::NoRun),
            (Err(_), _) if line > 1 && !text.ends_with(b"\n") => break,
            (Err(error), _) => return Err(ReadError::Syntax { line, error }),
        }
    }
    if records == Records::default() {
        return Err(ReadError::NoRun);
    }
    Ok(records)
}

/// Refuses a newer schema by its number, before anything else in the line is looked at.
pub(crate) fn check_version(line: &[u8]) -> Result<(), ReadError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    match serde_json::from_slice(line) {
        Ok(Version {
            schema_version: found,
        }) if found > SCHEMA_VERSION => Err(ReadError::Version { found }),
        _ => Ok(()),
    }
}

/// The JSON Schema of what is written: a line of `results.jsonl`, or a [`Load`].
pub fn json_schema() -> serde_json::Value {
    #[derive(JsonSchema)]
    #[schemars(
        untagged,
        title = "echobench record",
        description = "A line of results.jsonl, or what `loadgen run`, `loadgen merge`, `loadgen capacity` and `echobench conformance` print with `--format json`."
    )]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Written {
        Line(Record),
        Load(Load),
        Capacity(Capacity),
        Conformance(Conformance),
    }
    schemars::schema_for!(Written).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram;
    use proptest::prelude::*;

    fn run() -> Run {
        Run {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            command: vec!["echobench".into(), "run".into()],
            suite: "quick".into(),
            scenarios: Vec::new(),
            servers: vec![Server {
                name: "epoll".into(),
                family: "readiness".into(),
                summary: "one thread".into(),
                transport: Transport::Tcp,
            }],
            blocks: 5,
            seed: 7,
            placement: Placement {
                server_cpus: vec![0],
                generator_cpus: vec![1],
            },
            host: Host::default(),
        }
    }

    fn trial(outcome: Outcome) -> Trial {
        Trial {
            server: "epoll".into(),
            scenario: "1-connection".into(),
            block: 0,
            started_at: "2026-01-01T00:00:01Z".into(),
            outcome,
        }
    }

    fn load(rate: f64, samples: &[u64], errors: BTreeMap<ErrorKind, u64>) -> Load {
        let mut service = histogram::empty();
        samples.iter().for_each(|&ns| service.saturating_record(ns));
        Load {
            schema_version: SCHEMA_VERSION,
            target: "127.0.0.1:7007".into(),
            started_at: "2026-01-01T00:00:01Z".into(),
            plan: PlanRecord {
                discipline: Discipline::Closed,
                connections: 1,
                threads: 1,
                message_bytes: 64,
                sizes: Some("uniform:1B..127B".into()),
                warmup_s: 0.2,
                duration_s: 1.0,
                transport: Transport::Udp,
                depth: 3,
                think_s: 0.5,
                messages_per_connection: Some(4),
                stages: vec![StageRecord {
                    duration_s: 1.0,
                    from_per_s: rate,
                    to_per_s: 10.0,
                }],
                arrivals: Some(Arrivals::Poisson),
                idle: 9,
                sources: vec!["127.0.0.2".parse().unwrap()],
                seed: 7,
            },
            generator: Generator {
                version: "1.2.3".into(),
                engine: "epoll".into(),
                wait: "sleep".into(),
                cpus: vec![1],
                utilisation: 0.5,
                kept_waiting: 0.25,
                involuntary_switches: 3,
                steal: Some(0.125),
            },
            window_s: 1.0,
            summary: Summary {
                echoes_per_s: rate,
                offered_per_s: None,
                echoes: service.len(),
                service_us: Quantiles::of(&service),
                response_us: Some(Quantiles::of(&service)),
                send_lag_us: None,
                connect_us: None,
                first_byte_us: None,
                close_us: Some(Quantiles::of(&service)),
                connections_per_s: Some(rate),
                unanswered: 5,
                latency_withheld: Some("because".into()),
                connections: Connections {
                    asked: 1,
                    open: 1,
                    answered: 1,
                    idle: 9,
                },
                errors,
                cpu_us_per_echo: Some(rate),
                valid: false,
                reasons: vec!["because".into()],
            },
            error_examples: BTreeMap::from([(ErrorKind::Reset, "reset \"by\" peer".into())]),
            histograms: Histograms {
                service: Encoded::new(&service),
                response: Some(Encoded::new(&service)),
                send_lag: None,
                connect: None,
                first_byte: None,
                close: Some(Encoded::new(&service)),
            },
            intervals: vec![Interval {
                start_s: 0.0,
                duration_s: 1.0,
                echoes: service.len(),
                latency: Encoded::new(&service),
            }],
        }
    }

    fn measured(lines: &[u8]) -> Measured {
        read(lines).unwrap().measured.unwrap()
    }

    fn lines(records: &[Record]) -> Vec<u8> {
        records
            .iter()
            .flat_map(|record| [serde_json::to_vec(record).unwrap(), b"\n".to_vec()].concat())
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rate in 0.0..1e9f64,
            samples in prop::collection::vec(1u64..10_000_000_000, 0..50),
            resets in 0u64..5,
            reason in "\\PC*",
        ) {
            let load = load(rate, &samples, BTreeMap::from([(ErrorKind::Reset, resets)]));
            let trials = [
                trial(Outcome::Measured { load, cost: Cost { cpu_s: rate, ..Cost::default() } }),
                trial(Outcome::Skipped { reason: reason.clone() }),
                trial(Outcome::Failed { error: reason, stderr: "line\nline".into() }),
            ];
            let mut records = vec![Record::Run(run())];
            records.extend(trials.iter().cloned().map(Record::Trial));
            let Measured { run: found, trials: read } = measured(&lines(&records));
            prop_assert_eq!(found, run());
            prop_assert_eq!(read, trials);
        }
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_passed_over() {
        let whole = lines(&[
            Record::Run(run()),
            Record::Trial(trial(Outcome::Skipped { reason: "x".into() })),
        ]);
        assert!(measured(&whole[..whole.len() - 9]).trials.is_empty());
        assert_eq!(measured(&whole).trials.len(), 1);
    }

    #[test]
    fn conformance_stands_alone_or_in_a_run_and_the_last_one_counts() {
        let conformance = |seed| Conformance {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            host: Host::default(),
            full: false,
            seed,
            cases: Vec::new(),
            results: Vec::new(),
        };
        let line = |seed| Record::Conformance(conformance(seed));
        let alone = read(&lines(&[line(1)])[..]).unwrap();
        assert_eq!((alone.measured, alone.conformance), (None, Some(conformance(1))));
        let skipped = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        let within = lines(&[Record::Run(run()), line(1), skipped, line(2)]);
        let within = read(&within[..]).unwrap();
        assert_eq!(within.measured.unwrap().trials.len(), 1);
        assert_eq!(within.conformance, Some(conformance(2)));
        let older = Run {
            schema_version: 1,
            ..run()
        };
        let added = read(&lines(&[Record::Run(older), line(3)])[..]).unwrap();
        assert_eq!(added.conformance, Some(conformance(3)));
    }

    #[test]
    fn results_of_cases_are_lines_and_the_last_one_of_a_case_on_a_server_counts() {
        let result = |case: &str, seconds| CaseResult {
            case: case.into(),
            model: "epoll".into(),
            outcome: CaseOutcome::Skipped { reason: "x".into() },
            seconds,
        };
        let header = Conformance {
            schema_version: SCHEMA_VERSION,
            version: "1.2.3".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            host: Host::default(),
            full: false,
            seed: 1,
            cases: Vec::new(),
            results: vec![result("C1", 0.0)],
        };
        let written = lines(&[
            Record::Conformance(header),
            Record::CaseResult(result("C2", 1.0)),
            Record::CaseResult(result("C1", 2.0)),
            Record::CaseResult(result("C2", 3.0)),
        ]);
        let results = |text: &[u8]| read(text).unwrap().conformance.unwrap().results;
        assert_eq!(results(&written), [result("C1", 2.0), result("C2", 3.0)]);
        let cut_off = &written[..written.len() - 9];
        assert_eq!(results(cut_off), [result("C1", 2.0), result("C2", 1.0)]);
        let alone = lines(&[Record::CaseResult(result("C1", 1.0))]);
        assert!(matches!(read(&alone[..]), Err(ReadError::NoRun)));
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let trial = Record::Trial(trial(Outcome::Skipped { reason: "x".into() }));
        assert!(matches!(read(&b""[..]), Err(ReadError::NoRun)));
        assert!(matches!(
            read(&lines(std::slice::from_ref(&trial))[..]),
            Err(ReadError::NoRun)
        ));
        assert!(matches!(
            read(&b"<html>\n"[..]),
            Err(ReadError::Syntax { line: 1, .. })
        ));
        let broken = [lines(&[Record::Run(run())]), b"{}\n".to_vec(), lines(&[trial])].concat();
        assert!(matches!(
            read(&broken[..]),
            Err(ReadError::Syntax { line: 2, .. })
        ));
        let long = vec![b'x'; LONGEST_LINE + 2];
        assert!(matches!(read(&long[..]), Err(ReadError::TooLong { line: 1 })));
    }

    #[test]
    fn a_newer_schema_is_named_whatever_else_it_holds() {
        let text = br#"{"kind":"run","schema_version":99,"something":"new"}"#;
        let error = read(&text[..]).unwrap_err();
        assert!(matches!(error, ReadError::Version { found: 99 }), "{error}");
        let first = lines(&[Record::Run(Run {
            schema_version: 1,
            ..run()
        })]);
        let added = br#"{"kind":"conformance","schema_version":99,"something":"new"}"#;
        let error = read(&[&first, &added[..], b"\n"].concat()[..]).unwrap_err();
        assert!(matches!(error, ReadError::Version { found: 99 }), "{error}");
    }

    #[test]
    fn a_result_is_one_flat_object() {
        let result = CaseResult {
            case: "C3".into(),
            model: "iterative".into(),
            outcome: CaseOutcome::NotApplicable {
                reason: "one at a time".into(),
            },
            seconds: 0.5,
        };
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "case": "C3", "model": "iterative", "outcome": "not_applicable",
                "reason": "one at a time", "seconds": 0.5
            })
        );
        assert_eq!(serde_json::from_value::<CaseResult>(json).unwrap(), result);
    }
}
