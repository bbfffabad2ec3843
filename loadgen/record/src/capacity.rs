//! The highest rate at which a server met its objectives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::load::{Generator, Summary};

/// The highest rate that meets the objectives, as far as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The server, as it was named.
    pub target: String,
    /// What had to hold, all of it, as it was typed.
    pub objectives: Vec<String>,
    /// The highest rate that held; `null` where none did.
    pub low_per_s: Option<f64>,
    /// The lowest rate that did not hold; `null` where all did.
    pub high_per_s: Option<f64>,
    /// What kept the rate from being higher.
    pub limit: Limit,
    /// In how many of the runs that verified it the low rate held.
    pub verified: u32,
    /// How many runs verified it.
    pub of: u32,
    /// Whether the search came to its end.
    pub complete: bool,
    /// The trials, in the order in which they were made.
    pub trials: Vec<CapacityTrial>,
}

/// An open loop at one rate, and whether it met the objectives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapacityTrial {
    /// The rate that was asked for.
    pub rate_per_s: f64,
    /// Whether every objective was met.
    pub held: bool,
    /// Why not; absent where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who is to blame; absent where it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Seconds that were counted.
    pub window_s: f64,
    /// The numbers of the load.
    pub summary: Summary,
    /// The generator that made it.
    pub generator: Generator,
}

/// What kept the rate from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The server, or the path to it.
    Server,
    /// The generator: the server may hold more.
    Generator,
    /// Nothing did: no higher rate was tried.
    NotReached,
}
