//! Runs of the harness and their trials.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::host_check::HostCheck;
use crate::load::Load;
use crate::plan::{Plan, Transport, read_plan};
use crate::throttling::Throttling;
use crate::units::{Percent, Time};

/// What all trials of a run have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Schema version of the writer.
    pub schema_version: u32,
    /// Version of echobench.
    pub version: String,
    /// Start time, RFC 3339 in UTC.
    pub started_at: String,
    /// The command line that repeats the run. Bytes that are not UTF-8 are U+FFFD.
    pub command: Vec<String>,
    /// Name of the suite, such as `quick`.
    pub suite: String,
    /// The question that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The scenarios, in display order.
    pub scenarios: Vec<Scenario>,
    /// The servers to compare, in the order of the registry.
    pub servers: Vec<Server>,
    /// The largest number of trials of each server in each scenario.
    pub blocks: u32,
    /// The numbers of trials after which verdicts were to be looked at, in order; a scenario ends
    /// at the first look that decides its verdicts. Empty if they were looked at once, at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<u32>,
    /// How far servers may differ and still be tied.
    #[serde(default)]
    pub margins: Margins,
    /// Seed of the order within blocks.
    pub seed: u64,
    /// Processors of server and generator.
    pub placement: Placement,
    /// The machine.
    pub host: Host,
    /// What was checked on it before the first trial, as far as it concerns this run. Empty if nothing was,
    /// as before there were checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_checks: Vec<HostCheck>,
}

/// How far the values of two servers may differ so that the difference does not matter for a choice: they
/// are equivalent if the whole interval of their ratio lies within the margin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Margins {
    /// Of echoes per second and CPU time per echo.
    pub rates: Percent,
    /// Of percentiles, which vary more from one run to the next.
    pub percentiles: Percent,
}

/// 3% and 10%.
impl Default for Margins {
    fn default() -> Self {
        let percent = |number| Percent::new(number).expect("it is a percentage");
        Margins {
            rates: percent(3.0),
            percentiles: percent(10.0),
        }
    }
}

impl Run {
    /// How many blocks a scenario was to have that ended after `blocks`: it may end at each look.
    pub fn planned_blocks(&self, blocks: u32) -> u32 {
        let next = self.looks.iter().copied().find(|&look| look >= blocks);
        next.unwrap_or(self.blocks)
    }
}

/// A load that every server is measured under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// Short name, unique in the run: `100-connections`.
    pub name: String,
    /// The question that it answers, in words.
    pub title: String,
    /// The load.
    #[serde(deserialize_with = "read_plan")]
    pub plan: Plan,
    /// The shortest length of a slice. All servers of a block run at the same time, and the load moves
    /// between them in slices, which are longer in a block with a server that answers slowly. Absent
    /// if each server has the machine for a whole window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Time>,
    /// How the servers are started for it.
    #[serde(default, skip_serializing_if = "Setup::is_usual")]
    pub setup: Setup,
    /// What a server has to achieve: conditions on its load, such as `p99<10ms`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Condition>,
}

/// How the servers of a scenario are started, where that is not as usual. Only the models can be set up;
/// other servers have no part in such a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// Simulated work for each message: `sleep:1ms` waits as for a backend, `cpu:50us` uses CPU time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// Further options of each server, such as `--workers 8`, one word each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Setup {
    /// Whether the servers are started as they are without options.
    pub fn is_usual(&self) -> bool {
        *self == Setup::default()
    }

    /// The options that a server is started with.
    pub fn arguments(&self) -> Vec<String> {
        let work = self.work.iter().flat_map(|work| ["--work", work.as_str()]);
        work.map(str::to_owned)
            .chain(self.options.iter().cloned())
            .collect()
    }
}

/// A server, as named in the registry or on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// Name on the command line, such as `epoll`.
    pub name: String,
    /// Its family, such as `readiness`.
    pub family: String,
    /// Description in one line.
    pub summary: String,
    /// Its transport.
    #[serde(default)]
    pub transport: Transport,
}

/// Processors of server and generator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Processors that the server is pinned to.
    pub server_cpus: Vec<usize>,
    /// Processors that the generator is pinned to.
    pub generator_cpus: Vec<usize>,
}

impl Placement {
    /// Whether server and generator share a processor, and so take time from each other.
    pub fn shared(&self) -> bool {
        self.server_cpus
            .iter()
            .any(|cpu| self.generator_cpus.contains(cpu))
    }
}

/// The machine's fingerprint. Values that could not be read are absent.
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
    /// Name of the hypervisor, if the kernel detects one.
    pub hypervisor: Option<String>,
    /// Active mitigations of processor vulnerabilities, by name.
    pub mitigations: BTreeMap<String, String>,
    /// Kernel settings that affect the results, by `sysctl` name.
    pub sysctls: BTreeMap<String, String>,
    /// Limit of open descriptors per process.
    pub descriptor_limit: u64,
    /// Compiler of this program.
    pub compiler: String,
    /// Cargo's profile that it was built with, `release` or `debug`; absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Commit of the source, with `-dirty` appended if it had uncommitted changes.
    pub commit: Option<String>,
}

/// One measurement of one server under one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Name of the server.
    pub server: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Its block, from 0. Servers are compared within a block.
    pub block: u32,
    /// Start time, RFC 3339 in UTC.
    pub started_at: String,
    /// The outcome.
    pub outcome: Outcome,
}

impl Trial {
    /// About what it takes beside its load: starting and stopping the server, connecting.
    pub const BESIDE: Duration = Duration::from_millis(120);
}

/// The outcome of a trial. Every planned trial has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "nearly every trial is measured")]
pub enum Outcome {
    /// The load ran to its end.
    Measured {
        /// What the generator measured.
        load: Load,
        /// What the server used in the measured window; absent if it runs where that cannot be
        /// read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Cost>,
        /// The slices of the window, in order: one for each interval of the load. Empty if the
        /// window was not sliced.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        slices: Vec<Slice>,
    },
    /// The host cannot run this server.
    Skipped {
        /// The reason, from the server's probe.
        reason: String,
    },
    /// It would have told nothing new: the blocks before it showed where this server stands, so the time went
    /// to the servers whose verdicts were still open.
    NotNeeded {
        /// The reason.
        reason: String,
    },
    /// The server or the load failed.
    Failed {
        /// The error.
        error: String,
        /// The last lines of the server's standard error.
        stderr: String,
    },
}

/// A slice of a window: a short time in which one server of a block had the load. The echoes and
/// latencies are those of the interval of the load with the same number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slice {
    /// Its turn: in each turn every server of the block has one slice. Values of different servers
    /// in the same turn are compared.
    pub turn: u32,
    /// When it began to be measured, in seconds since the first slice of the block.
    pub start_s: f64,
    /// Messages that were answered in it, those while it settled and drained included: what the
    /// server's CPU time was used for.
    pub served: u64,
    /// CPU time of the server's process tree in it, from before its first message until after its
    /// last answer, in seconds; absent if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
    /// Share of the time of the processors of server and generator that other programs used; absent
    /// if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_cpu: Option<f64>,
    /// Share of that time that the hypervisor took, in steps of 10 ms; absent if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
    /// Share of the slice in which some task of the host waited for a processor (PSI), perhaps one of
    /// the server; absent if it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<f64>,
    /// Context switches that the scheduler forced on the generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_switches: Option<u64>,
    /// Frequency of the first processor of the server after the slice, in MHz; absent if it cannot be
    /// read, as on most virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mhz: Option<f64>,
}

impl Slice {
    /// The part of a slice before it is measured is this part of the measured one: by then each
    /// connection has its messages in flight.
    pub const SETTLING: u32 = 5;
}

/// What the server's process tree used within the measured window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// CPU time in seconds, including children that exited.
    pub cpu_s: f64,
    /// The messages that it was used for; absent if they are those of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<u64>,
    /// CPU time per echo in microseconds; absent without echoes.
    pub cpu_us_per_echo: Option<f64>,
    /// Context switches of threads that blocked. Those of threads that ended within the window
    /// are not known.
    pub voluntary_switches: u64,
    /// Context switches forced by the scheduler.
    pub involuntary_switches: u64,
    /// Processes at the end of the window.
    pub processes: u32,
    /// Threads at the end of the window, over all processes.
    pub threads: u32,
    /// Proportional set size at the end of the window, over all processes: memory shared by
    /// forked children counts once. Absent if it may not be read.
    pub pss_bytes: Option<u64>,
    /// What the processor quota of the server did in the window, and between slices, if there is one
    /// that can be read. If it is that of the harness, server and generator share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}
