//! Numbers that several findings share, with their words.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error_kind::ErrorKind;
use crate::units::show_rate;
use crate::words::{count, show_micros};

/// Connections with a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AffectedConnections {
    /// How many.
    pub connections: u64,
    /// Of how many; absent where connections come and go, since errors are counted over more
    /// of them than the window has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// Messages with a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AffectedMessages {
    /// How many.
    pub messages: u64,
    /// How many came back as they should.
    pub echoes: u64,
}

/// The offered and the achieved rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Per second.
    pub offered_per_s: f64,
    /// Per second.
    pub achieved_per_s: f64,
}

/// The p99 of the send lag beside that of the response time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lag {
    /// In microseconds.
    pub send_lag_us: f64,
    /// In microseconds.
    pub response_us: f64,
}

/// `4 reset, 60 early_end`.
pub fn errors(errors: &BTreeMap<ErrorKind, u64>) -> String {
    let shown = errors
        .iter()
        .map(|(kind, count)| format!("{count} {}", kind.name()));
    shown.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for AffectedConnections {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.of {
            Some(all) => write!(f, "{} of {}", self.connections, count(all, "connection")),
            None => f.write_str(&count(self.connections, "connection")),
        }
    }
}

impl fmt::Display for AffectedMessages {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let all = self.messages.saturating_add(self.echoes);
        write!(f, "{} of {all} messages", self.messages)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (achieved, offered) = (show_rate(self.achieved_per_s), show_rate(self.offered_per_s));
        write!(f, "{achieved} came back of {offered} that were offered")
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (lag, response) = (show_micros(self.send_lag_us), show_micros(self.response_us));
        write!(
            f,
            "the p99 of the send lag is {lag} of a response time of {response}"
        )
    }
}
