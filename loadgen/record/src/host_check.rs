//! What was checked on a host: whether it spoils a measurement, or stops a server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The checks of a host at one moment: what `echobench doctor --format json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostChecks {
    /// Schema version of the writer.
    pub schema_version: u32,
    /// Version of echobench.
    pub version: String,
    /// When the host was checked, RFC 3339 in UTC.
    pub checked_at: String,
    /// The checks, the most important findings first.
    pub checks: Vec<HostCheck>,
}

/// One property of the host, and what it means for a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostCheck {
    /// What was checked, such as `frequency governor`.
    pub name: String,
    /// How the host fares.
    pub state: HostState,
    /// What was read, as a sentence without its full stop.
    pub found: String,
    /// Where it was read.
    pub read_from: String,
    /// Why it matters, as a sentence without its full stop.
    pub why: String,
    /// The models or measures that it affects.
    pub affects: String,
    /// How to mend it; absent if nothing need be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

/// How the host fares in a check, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// A server or a load cannot run.
    Stops,
    /// Numbers are not those of the servers alone.
    Spoils,
    /// Worth knowing; comparisons hold.
    Note,
    /// The host does not tell.
    Unknown,
    /// As it should be.
    Good,
}

impl HostState {
    /// The word for it: `stops`.
    pub fn word(self) -> &'static str {
        match self {
            HostState::Stops => "stops",
            HostState::Spoils => "spoils",
            HostState::Note => "note",
            HostState::Unknown => "not known",
            HostState::Good => "good",
        }
    }

    /// Whether it stands in the way of a measurement.
    pub fn is_in_the_way(self) -> bool {
        matches!(self, HostState::Stops | HostState::Spoils)
    }
}

/// How to mend what a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// A command for a shell on this host.
    Command(String),
    /// It cannot be mended from here: why, and what to do instead, as a sentence without its full stop.
    Elsewhere(String),
}
