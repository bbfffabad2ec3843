//! One server in one scenario: its trials, its numbers, and why it is not compared.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use record::numbers::{micros, thousands};
use record::words::{counted, plain_line};
use record::{Finding, Findings, Saturation};
use serde::{Serialize, Serializer};

use crate::stats::Estimate;
use crate::verdict::ToBest;

/// One server in one scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the server.
    pub server: String,
    /// Its family.
    pub family: String,
    /// The outcomes of its trials.
    pub trials: Trials,
    /// The trials that the numbers rest on.
    pub basis: Basis,
    /// Estimates by the key of the metric; absent unless every trial has the metric.
    pub numbers: BTreeMap<&'static str, Estimate>,
    /// Ratios to the best server, by the key of the metric.
    pub to_best: BTreeMap<&'static str, ToBest>,
    /// How many connections were answered; absent without numbers, and where connections open and
    /// close.
    pub connections: Option<Reach>,
    /// Why the latencies should not be compared; absent when they may. JSON has it as a caveat.
    #[serde(skip)]
    pub withheld: Option<Finding>,
    /// Whether the generator had time to spare, on average over trials; absent without numbers.
    #[serde(skip)]
    pub saturation: Option<Saturation>,
    /// Why the numbers do not include what the server used; absent when they do, and without
    /// numbers.
    pub unmetered: Option<Unmetered>,
    /// Errors over all measured trials, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Why the verdicts leave the server out; absent when they do not.
    pub left_out: Option<Caveat>,
}

impl Row {
    /// How many connections were answered: `64 of 100`, or `–`.
    pub fn answered(&self) -> String {
        self.connections.map_or("–".into(), |reach| reach.to_string())
    }

    /// Whether only a lower bound of a metric is known.
    pub fn is_bounded(&self, key: &str) -> bool {
        self.numbers.get(key).is_some_and(|estimate| estimate.at_least)
    }

    /// The errors by kind: `3 reset, 1 wrong bytes`, or `none`.
    pub fn errors_by_kind(&self) -> String {
        let each: Vec<String> = self
            .errors
            .iter()
            .map(|(kind, count)| format!("{} {}", thousands(*count as f64), kind.replace('_', " ")))
            .collect();
        if each.is_empty() {
            "none".into()
        } else {
            each.join(", ")
        }
    }
}

/// The trials that the numbers of a row rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The valid trials.
    Valid,
    /// Measured trials of which none is valid: shown, but never compared.
    Invalid,
    /// No trial was measured, so there are no numbers.
    Nothing,
}

/// Why it is not known what a server used. Its `Display` is the end of a sentence about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmetered {
    /// It was not started for the run, and may run on another host.
    RanAlready,
    /// The host of the run does not show it.
    Unreadable,
}

impl Unmetered {
    /// The reason for a server of this family.
    pub fn of_family(family: &str) -> Self {
        match family {
            "target" => Unmetered::RanAlready,
            _ => Unmetered::Unreadable,
        }
    }
}

impl Display for Unmetered {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unmetered::RanAlready => "is not metered: it was running already",
            Unmetered::Unreadable => "is not metered: this host does not show what all its processes use",
        })
    }
}

impl Serialize for Unmetered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The outcomes of the trials of a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trials {
    /// Trials that ran to their end, valid or not.
    pub measured: usize,
    /// Measured, but not valid.
    pub invalid: Vec<InvalidTrial>,
    /// The server or the load failed.
    pub failed: Vec<Incident>,
    /// The host cannot run the server.
    pub skipped: Vec<Incident>,
    /// Left out of a block, since they would have told nothing new.
    pub not_needed: usize,
}

impl Trials {
    /// All trials that had their turn, whatever their outcome.
    pub fn total(&self) -> usize {
        self.measured + self.failed.len() + self.skipped.len()
    }
}

/// `4 valid, 1 failed`, or `not run`.
impl Display for Trials {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.measured - self.invalid.len(), "valid"),
            (self.invalid.len(), "not valid"),
            (self.failed.len(), "failed"),
            (self.skipped.len(), "skipped"),
            (self.not_needed, "not needed"),
        ];
        let some: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        f.write_str(if some.is_empty() { "not run" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}

/// A trial that was measured and is not valid.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidTrial {
    /// Its block, from 0.
    pub block: u32,
    /// What the gates found.
    pub findings: Findings,
}

/// As an [`Incident`].
impl Serialize for InvalidTrial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Incident::from(self).serialize(serializer)
    }
}

impl From<&InvalidTrial> for Incident {
    fn from(trial: &InvalidTrial) -> Self {
        Incident {
            block: trial.block,
            reason: in_one_line(&trial.findings),
            stderr: String::new(),
        }
    }
}

/// Findings quote text from outside: error messages and, in older records, whole sentences.
fn in_one_line(finding: &impl ToString) -> String {
    plain_line(&finding.to_string())
}

/// A trial that failed or was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// Its block, from 0.
    pub block: u32,
    /// What happened, or why.
    pub reason: String,
    /// The end of the server's standard error; may be empty.
    pub stderr: String,
}

/// How many connections were answered over the trials of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Requested in each trial.
    pub asked: u64,
    /// Established in the trial with the fewest.
    pub open: u64,
    /// Answered in the trial with the fewest.
    pub answered: u64,
    /// Answered in the trial with the most.
    pub answered_at_most: u64,
}

impl Reach {
    /// Whether every connection was answered in every trial.
    pub fn all(&self) -> bool {
        self.answered >= self.asked
    }
}

/// `1 of 100`, or `60 to 64 of 100` where the trials differ.
impl Display for Reach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let number = |count: u64| thousands(count as f64);
        write!(f, "{}", number(self.answered))?;
        if self.answered_at_most != self.answered {
            write!(f, " to {}", number(self.answered_at_most))?;
        }
        write!(f, " of {}", number(self.asked))
    }
}

/// A server, or some of its trials, that the verdicts leave out.
#[derive(Debug, Clone, PartialEq)]
pub struct Caveat {
    /// Name of the server.
    pub server: String,
    /// Why.
    pub cause: Cause,
}

/// Why the verdicts leave a server or some of its trials out.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// Some trials failed.
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        trials: usize,
        /// The first error.
        error: String,
    },
    /// The host cannot run the server.
    Skipped {
        /// Why.
        reason: String,
    },
    /// There is no trial of it.
    NotRun,
    /// No trial is valid.
    Invalid {
        /// Why the first one is not.
        findings: Findings,
    },
    /// Some answers had wrong bytes.
    WrongBytes,
    /// Not every connection was answered in every trial.
    Unanswered(Reach),
    /// The server speaks UDP and others speak TCP.
    OtherTransport,
    /// The server is compared without its trials that are not valid.
    PartlyInvalid {
        /// How many are not.
        invalid: usize,
        /// Of how many.
        trials: usize,
        /// Why the first one is not.
        findings: Findings,
    },
    /// The verdict on latency leaves the server out, because the latencies of some trials should
    /// not be compared.
    LatencyWithheld {
        /// Why those of the first one should not.
        finding: Finding,
    },
    /// The verdict on latency leaves the server out, because messages without an answer could raise
    /// its p99.
    LatencyBounded {
        /// The p99 is this or more, in microseconds.
        p99_us: f64,
    },
}

impl Display for Caveat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = &self.server;
        match &self.cause {
            Cause::Failed {
                failed,
                trials,
                error,
            } => write!(
                f,
                "{name} failed in {failed} of {}: {error}.",
                counted(*trials, "trial")
            ),
            Cause::Skipped { reason } => write!(f, "{name} was skipped: {reason}."),
            Cause::NotRun => write!(f, "{name} was not run."),
            Cause::Invalid { findings } => {
                write!(f, "No trial of {name} is valid: {}.", in_one_line(findings))
            }
            Cause::WrongBytes => write!(f, "{name} answered with wrong bytes."),
            Cause::Unanswered(reach) => write!(f, "{name} answered {reach} connections."),
            Cause::OtherTransport => write!(
                f,
                "{name} speaks UDP, which has no connections and does not retransmit: it is shown, but not \
                 compared with TCP servers."
            ),
            Cause::PartlyInvalid {
                invalid,
                trials,
                findings,
            } => write!(
                f,
                "{invalid} of {} of {name} not valid: {}.",
                counted(*trials, "trial"),
                in_one_line(findings)
            ),
            Cause::LatencyBounded { p99_us } => write!(
                f,
                "{name} is left out of the verdict on p99: it is {} or more, since messages had no answer.",
                micros(*p99_us)
            ),
            Cause::LatencyWithheld { finding } => write!(
                f,
                "{name} is left out of the verdict on p99: {}.",
                in_one_line(finding)
            ),
        }
    }
}

impl Serialize for Caveat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_answered_connections_is_shown_where_trials_differ() {
        let reach = |answered, answered_at_most| Reach {
            asked: 1000,
            open: 1000,
            answered,
            answered_at_most,
        };
        assert_eq!(reach(1000, 1000).to_string(), "1,000 of 1,000");
        assert_eq!(reach(60, 64).to_string(), "60 to 64 of 1,000");
    }

    #[test]
    fn a_caveat_is_a_sentence_that_names_its_server() {
        let server = || "pool".to_owned();
        let cause = Cause::Failed {
            failed: 1,
            trials: 5,
            error: "exit status 101".into(),
        };
        let caveat = Caveat {
            server: server(),
            cause,
        };
        assert_eq!(
            caveat.to_string(),
            "pool failed in 1 of 5 trials: exit status 101."
        );
        assert_eq!(
            serde_json::to_value(Caveat {
                server: server(),
                cause: Cause::NotRun
            })
            .unwrap(),
            "pool was not run."
        );
    }
}
