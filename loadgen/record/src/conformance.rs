//! Outcomes of the conformance cases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::run::Host;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum CaseOutcome {
    /// It holds.
    Pass {
        /// What was seen; empty where that is nothing but what the case asks for.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        evidence: String,
    },
    /// It does not.
    Fail {
        /// What was seen, and what was expected.
        evidence: String,
    },
    /// The server's design answers the question differently, and does so properly.
    NotApplicable {
        /// The design, in a line.
        reason: String,
    },
    /// This host cannot run the server, or does not allow what the case needs.
    Skipped {
        /// Why, as the server's probe or the case found.
        reason: String,
    },
}

/// Servers put to the cases that every server must survive: what was asked, and what came
/// of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conformance {
    /// Version of this schema.
    pub schema_version: u32,
    /// Version of the program that ran the cases.
    pub version: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Where it ran.
    pub host: Host,
    /// Whether the cases that have a larger form ran in that one.
    pub full: bool,
    /// Seed of what was chosen at random.
    pub seed: u64,
    /// The cases, in the order in which a table shows them.
    pub cases: Vec<CaseDescription>,
    /// What came of each, on each server.
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
    /// What it is called for short: `C1`.
    pub id: String,
    /// What it is called: `exact`.
    pub name: String,
    /// What it asks, in a sentence.
    pub question: String,
}

/// A server put to a case that every server must survive, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// The case's id: `C1`.
    pub case: String,
    /// Name of the server.
    pub model: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: CaseOutcome,
    /// How long it took.
    pub seconds: f64,
}
