//! A run of the harness: what its trials have in common, and each trial.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::plan::{Plan, Transport, read_plan};

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
    #[serde(deserialize_with = "read_plan")]
    pub plan: Plan,
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
