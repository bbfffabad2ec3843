//! What the load generator was asked for.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
