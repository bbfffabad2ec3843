//! A load: what the generator measured.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error_kind::ErrorKind;
use crate::finding::Finding;
use crate::findings::Findings;
use crate::histogram::Encoded;
use crate::plan::{Engine, MessageSize, Plan, Wait, older_mean_bytes, read_plan};
use crate::span::{Histograms, Latencies, Span};
use crate::throttling::Throttling;

/// What precedes the path in the address of a Unix socket.
pub const UNIX_PREFIX: &str = "unix:";

/// What the generator measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
// Derives functions, which the implementations below call.
#[serde(remote = "Self")]
#[schemars(!remote)]
pub struct Load {
    /// Schema version of the writer.
    pub schema_version: u32,
    /// The address of the server: ADDRESS:PORT, or unix:PATH for a Unix socket.
    pub target: String,
    /// Its start, RFC 3339 in UTC.
    pub started_at: String,
    /// The ids of the loads that were merged into this one; absent if one generator made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// The plan of the load, with all defaults filled in.
    #[serde(deserialize_with = "read_plan")]
    pub plan: Plan,
    /// Mean of the sizes that the plan's file lists, in bytes; absent where the plan itself
    /// determines the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_mean_bytes: Option<f64>,
    /// The generator itself.
    pub generator: Generator,
    /// Seconds that were measured.
    pub window_s: f64,
    /// The numbers for scripts and people.
    pub summary: Summary,
    /// One example of each kind of error, in the words of the system.
    pub error_examples: BTreeMap<ErrorKind, String>,
    /// Latencies in nanoseconds.
    pub histograms: Histograms,
    /// Latencies that had not ended, each with the time in nanoseconds that it had lasted when the
    /// run ended, its message was given up, or its connection failed. A number in `summary` that
    /// they could raise is a lower bound. Absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Histograms>,
    /// Intervals of equal length that make up the window, in order; the last one also holds the
    /// latencies of messages that were due within the window and answered after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
}

impl Serialize for Load {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Load::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Load {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let older_mean = older_mean_bytes(&value["plan"]);
        let mut load = Load::deserialize(value).map_err(D::Error::custom)?;
        if let MessageSize::Listed(_) = load.plan.size {
            load.listed_mean_bytes = load.listed_mean_bytes.or(older_mean);
        }
        Ok(load)
    }
}

impl Load {
    /// Whether the server was connected to over a Unix socket.
    pub fn is_over_unix_socket(&self) -> bool {
        self.target.starts_with(UNIX_PREFIX)
    }

    /// The latencies of a span that had not ended, if there are any.
    pub fn unfinished(&self, span: Span) -> Option<&Encoded> {
        self.unfinished.as_ref()?[span].as_ref()
    }

    /// Connections that were open and got no answer within the window. Where connections come and
    /// go, some have always just begun when the window ends: there it counts those that replace
    /// each other and of which none was ever answered.
    pub fn starved(&self) -> u64 {
        let connections = self.summary.connections;
        match self.plan.messages_per_connection() {
            None => connections.open.saturating_sub(connections.answered),
            Some(_) => connections.never_served,
        }
    }
}

/// An interval of the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Its start, in seconds from the start of the window.
    pub start_s: f64,
    /// Its length in seconds.
    pub duration_s: f64,
    /// Messages that came back complete and correct within it.
    pub echoes: u64,
    /// The latencies of messages answered within it, in nanoseconds: response time if there is
    /// one, else service time. All intervals add up to the histogram of the load.
    pub latency: Encoded,
    /// Connections that were opened again within it; absent if there were none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reconnects: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The generator that made a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// Its version.
    pub version: String,
    /// Its I/O backend.
    pub engine: Engine,
    /// What it does while nothing is ready.
    pub wait: Wait,
    /// Processors that it was pinned to; empty if it was not.
    pub cpus: Vec<usize>,
    /// CPU time of its workers in the window, divided by the window and their number:
    /// near 1, the generator was the bottleneck.
    pub utilisation: f64,
    /// Share of the window for which its workers were ready to run while other threads had
    /// their processors, or while a quota throttled them.
    #[serde(default)]
    pub kept_waiting: f64,
    /// Context switches that the scheduler forced on its workers within the window.
    #[serde(default)]
    pub involuntary_switches: u64,
    /// Share of the window that the hypervisor took from its processors; absent if the kernel
    /// does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<f64>,
    /// What its processor quota did in the window, and between slices, if there is one that can be
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}

impl Generator {
    /// Share of the window for which a quota throttled its workers.
    pub fn throttled(&self) -> f64 {
        self.throttling.map_or(0.0, |throttling| throttling.share)
    }

    /// Share of the window for which its workers were ready to run while other threads had their
    /// processors.
    pub fn kept_waiting_by_others(&self) -> f64 {
        (self.kept_waiting - self.throttled()).max(0.0)
    }
}

/// The numbers of a load. Scripts may rely on their names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Messages that came back complete and correct, per second of the window.
    pub echoes_per_s: f64,
    /// Messages that were due per second; `null` in a closed loop.
    pub offered_per_s: Option<f64>,
    /// Messages that came back whole and right within the window.
    pub echoes: u64,
    /// Latencies in microseconds: `service_us`, `response_us` and so on.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// Connections that were opened, used and closed, per second; absent if they stay open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_per_s: Option<f64>,
    /// Messages that were due within the window, or in a closed loop outstanding in it, and had no
    /// answer when the run ended. They are in `unfinished`, with messages that were lost over UDP.
    #[serde(default)]
    pub unanswered: u64,
    /// The connections.
    pub connections: Connections,
    /// Connections that were lost and opened again; absent without `reconnect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnects: Option<Reconnects>,
    /// Errors of the whole run, including the warm-up, by kind; a kind without errors is absent.
    /// With `reconnect` each loss of a connection is one, and failed attempts to open it again are not.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// CPU time of the generator per echo, in microseconds.
    pub cpu_us_per_echo: Option<f64>,
    /// What the gates found: `valid`, `reasons`, `latency_withheld` and `findings`.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Summary {
    /// Whether the load is valid.
    pub fn is_valid(&self) -> bool {
        self.findings.is_valid()
    }

    /// Why the load is not valid, in words.
    pub fn reasons(&self) -> Vec<String> {
        self.findings.reasons().map(Finding::to_string).collect()
    }
}

/// The connections that were lost, with `reconnect`, over the whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reconnects {
    /// Connections that were lost, or could not be opened at the start; each loss counts.
    pub lost: u64,
    /// How many of them were opened again.
    pub reopened: u64,
    /// Attempts to open one again that failed.
    pub failed_attempts: u64,
    /// Messages that were on their way when their connection was lost, and had to be sent again.
    pub messages_lost: u64,
    /// The longest time from the loss of a connection to the first answer on the one that replaced
    /// it, in seconds.
    pub longest_s: f64,
}

/// The connections of a load; where they come and go, those begun within the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// How many were asked for.
    pub asked: u64,
    /// How many were established.
    pub open: u64,
    /// How many got at least one answer within the window.
    pub answered: u64,
    /// How many additional connections were open and sent nothing.
    #[serde(default)]
    pub idle: u64,
    /// Churn: of the connections held open at a time, how many were never answered, nor any
    /// before that they replace, in the whole run. Otherwise 0.
    #[serde(default)]
    pub never_served: u64,
}
