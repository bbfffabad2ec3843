//! The highest rate at which a server met its objectives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::{Generator, Summary};

/// The highest rate that meets the objectives, as far as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// Schema version of the writer.
    pub schema_version: u32,
    /// The server, as named on the command line.
    pub target: String,
    /// The conditions that had to hold, all of them, as typed.
    pub objectives: Vec<String>,
    /// The highest rate that held; `null` if none did.
    pub low_per_s: Option<f64>,
    /// The lowest rate that did not hold; `null` if all did.
    pub high_per_s: Option<f64>,
    /// Why the rate is not higher.
    pub limit: Limit,
    /// How many of the runs that verified the low rate met the objectives.
    pub verified: u32,
    /// How many runs verified it.
    pub of: u32,
    /// Whether the search was completed.
    pub complete: bool,
    /// The trials, in the order in which they ran.
    pub trials: Vec<CapacityTrial>,
}

/// An open loop at one rate, and whether it met the objectives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacityTrial {
    /// The rate asked for.
    pub rate_per_s: f64,
    /// Whether every objective was met.
    pub held: bool,
    /// Why not; absent if all were met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which side was the limit; absent if all objectives were met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Seconds that were measured.
    pub window_s: f64,
    /// The numbers of the load.
    pub summary: Summary,
    /// The generator that made it.
    pub generator: Generator,
}

/// Why the rate is not higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The server, or the path to it.
    Server,
    /// The generator or its host: the server may hold more.
    Generator,
    /// No higher rate was tried.
    NotReached,
}
