//! Outcomes of the conformance cases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::Host;

/// The outcome of a case on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CaseOutcome {
    /// The server passed.
    Pass {
        /// What was observed; empty if the case asks for nothing more than to pass.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        evidence: String,
    },
    /// The server failed.
    Fail {
        /// What was observed, and what was expected.
        evidence: String,
    },
    /// The case does not apply to the server's design.
    NotApplicable {
        /// The exemption, in one line.
        reason: String,
    },
    /// This host cannot run the server, or does not allow what the case needs.
    Skipped {
        /// The reason, from the server's probe or the case.
        reason: String,
    },
}

/// Outcomes of the cases that every server must survive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conformance {
    /// Version of this schema.
    pub schema_version: u32,
    /// Version of the program that ran the cases.
    pub version: String,
    /// Start time, RFC 3339 in UTC.
    pub started_at: String,
    /// The machine.
    pub host: Host,
    /// Whether cases that have a full form ran in it.
    pub full: bool,
    /// Seed of the random choices.
    pub seed: u64,
    /// The cases, in display order.
    pub cases: Vec<CaseDescription>,
    /// The result of each case on each server.
    pub results: Vec<CaseResult>,
}

impl Conformance {
    /// Adds a result. It replaces an earlier result of the same case on the same server.
    pub fn add(&mut self, result: CaseResult) {
        let mut earlier = self.results.iter_mut();
        match earlier.find(|earlier| earlier.case == result.case && earlier.model == result.model) {
            Some(earlier) => *earlier = result,
            None => self.results.push(result),
        }
    }
}

/// A case that every server must survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaseDescription {
    /// Short name, such as `C1`.
    pub id: String,
    /// Name, such as `exact`.
    pub name: String,
    /// The question, in a sentence.
    pub question: String,
}

/// The result of one case on one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// Short name of the case, such as `C1`.
    pub case: String,
    /// Name of the server.
    pub model: String,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: CaseOutcome,
    /// Duration in seconds.
    pub seconds: f64,
}
