//! What the load generator saw.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error_kind::ErrorKind;
use crate::finding::Finding;
use crate::findings::Findings;
use crate::histogram::Encoded;
use crate::plan::PlanRecord;
use crate::span::{Histograms, Latencies};

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

/// The numbers of a load under the names that scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Messages that came back whole and right, per second of the window.
    pub echoes_per_s: f64,
    /// Messages that were due per second; `null` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Messages that came back whole and right within the window.
    pub echoes: u64,
    /// Latencies in microseconds: `service_us`, `response_us` and so on.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// Connections that were opened, used and closed, per second; absent where they stay
    /// open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_s: Option<f64>,
    /// Messages that were due within the window and not answered when the run ended; they
    /// are missing in the histograms at their upper end. Always 0 in a closed loop.
    #[serde(default)]
    pub unanswered: u64,
    /// What happened to the connections.
    pub connections: Connections,
    /// Errors over the whole run, warm-up included, by kind; a kind that did not
    /// occur is absent.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// CPU time of the generator per echo, in microseconds.
    pub cpu_us_per_echo: Option<f64>,
    /// What the gates found: `valid`, `reasons`, `latency_withheld` and `findings`.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Summary {
    /// Whether the numbers may be believed.
    pub fn is_valid(&self) -> bool {
        self.findings.is_valid()
    }

    /// Why the numbers may not be believed, in words.
    pub fn reasons(&self) -> Vec<String> {
        self.findings.reasons().map(Finding::to_string).collect()
    }
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
