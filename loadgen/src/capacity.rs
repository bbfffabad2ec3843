//! Finds the highest rate at which a server meets its objectives.
//!
//! A [`Search`] decides which rate to try next and knows nothing of servers. A [`Survey`] checks
//! the loads at these rates against the objectives, and makes a [`Capacity`] of the results. The
//! caller runs the loads.

pub mod search;
pub mod text;

use std::time::Duration;

use record::condition::{Condition, ConditionError};
use record::units::show_rate;
use record::{Capacity, CapacityTrial, Limit, Load, SCHEMA_VERSION};
use search::{Range, Search, Step, TrialResult};

/// The lowest rate that is tried, per second: a server that misses it has no capacity.
const LOWEST_RATE: f64 = 1.0;

/// A shorter trial measures the start of the load rather than its course.
const SHORTEST: Duration = Duration::from_secs(1);

/// A trial sends this many times the messages that the objectives need: arrivals are random,
/// and with the bare number every other trial would have too few.
const SPARE: f64 = 1.5;

/// Every trial should have this many messages: with fewer, none at all becomes likely.
const FEWEST_MESSAGES: u64 = 3;

/// The objectives and the limits of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The conditions that a load has to meet, all of them.
    pub objectives: Vec<Condition>,
    /// The first rate, per second.
    pub first: f64,
    /// The highest rate, per second.
    pub highest: f64,
    /// The length of the longest trial.
    pub longest: Duration,
    /// How many runs verify a rate; at least one.
    pub runs: u32,
}

/// The next trial: an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next {
    /// Messages per second.
    pub rate: f64,
    /// Its length.
    pub duration: Duration,
}

/// A search on one server.
#[derive(Debug, Clone)]
pub struct Survey {
    target: String,
    terms: Terms,
    search: Search,
    trials: Vec<CapacityTrial>,
}

/// Why a text is not an objective, and what to write instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// Not a condition.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// A condition that a lighter load does not meet more easily.
    #[error(
        "`{0}` is not an objective: give an upper bound of a time, errors, unanswered or starved, such as p99<1ms or \
         errors<=0; the search chooses the rate, and connections stay open"
    )]
    Bound(Condition),
}

/// Why there is nothing to search, and what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SurveyError {
    /// The first rate is above the highest.
    #[error("the search begins at {}, above its end at {}: lower --from or raise --to", show_rate(*first), show_rate(*highest))]
    Range {
        /// The first rate, per second.
        first: f64,
        /// The highest, per second.
        highest: f64,
    },
    /// At the highest rate, the longest trial has too few messages for the objectives.
    #[error(
        "at {} a trial of {longest:?} has too few messages for the objectives, which need {samples}: raise --to or \
         --duration",
        show_rate(*highest)
    )]
    Samples {
        /// The highest rate, per second.
        highest: f64,
        /// The longest trial.
        longest: Duration,
        /// Messages that the objectives need.
        samples: u64,
    },
}

/// Parses an objective: a condition that a lighter load meets more easily.
pub fn objective(text: &str) -> Result<Condition, ObjectiveError> {
    let condition: Condition = text.parse()?;
    match condition.is_objective() {
        true => Ok(condition),
        false => Err(ObjectiveError::Bound(condition)),
    }
}

impl Survey {
    /// A survey of `target`. It begins above the first rate if the longest trial would have too
    /// few messages there for the objectives.
    pub fn new(target: String, mut terms: Terms) -> Result<Self, SurveyError> {
        let Terms {
            first,
            highest,
            longest,
            ..
        } = terms;
        if first > highest {
            return Err(SurveyError::Range { first, highest });
        }
        let samples = terms.samples_needed();
        let lowest = (samples as f64 * SPARE / longest.as_secs_f64()).max(LOWEST_RATE.min(first));
        if lowest > highest {
            return Err(SurveyError::Samples {
                highest,
                longest,
                samples,
            });
        }
        terms.first = first.max(lowest);
        let range = Range {
            lowest,
            first: terms.first,
            highest,
        };
        Ok(Survey {
            target,
            search: Search::new(range, terms.runs),
            terms,
            trials: Vec::new(),
        })
    }

    /// The next trial; `None` at the end of the search.
    pub fn next(&self) -> Option<Next> {
        match self.search.next() {
            Step::Try { rate, share } => Some(Next {
                rate,
                duration: self.terms.duration(rate, share),
            }),
            Step::Done => None,
        }
    }

    /// Records the load of the trial that [`Survey::next`] asked for.
    pub fn record(&mut self, load: &Load) -> &CapacityTrial {
        let rate_per_s = self.next().map_or(0.0, |next| next.rate);
        let result = self.terms.check(load);
        self.search.record(&result);
        let (reason, limit) = match result {
            TrialResult::Held => (None, None),
            TrialResult::Missed(reason) => (Some(reason), Some(Limit::Server)),
            TrialResult::GeneratorLimited(reason) => (Some(reason), Some(Limit::Generator)),
        };
        self.trials.push(CapacityTrial {
            rate_per_s,
            held: reason.is_none(),
            reason,
            limit,
            window_s: load.window_s,
            summary: load.summary.clone(),
            generator: load.generator.clone(),
        });
        &self.trials[self.trials.len() - 1]
    }

    /// How long the search takes at most if repeated trials have the same results; `beside` is
    /// the time of a trial outside its window.
    pub fn time(&self, beside: Duration) -> Duration {
        self.search
            .longest(|rate, share| self.terms.duration(rate, share) + beside)
    }

    /// The rate at which the search begins, per second.
    pub fn first(&self) -> f64 {
        self.terms.first
    }

    /// The capacity as far as it is known.
    pub fn capacity(&self) -> Capacity {
        let bracket = self.search.bracket();
        Capacity {
            schema_version: SCHEMA_VERSION,
            target: self.target.clone(),
            objectives: self.terms.objectives.iter().map(Condition::to_string).collect(),
            low_per_s: bracket.low,
            high_per_s: bracket.high,
            limit: bracket.limit,
            verified: bracket.verified,
            of: bracket.of,
            complete: self.search.next() == Step::Done,
            trials: self.trials.clone(),
        }
    }
}

impl Terms {
    /// Messages that a trial needs for all objectives to have a value.
    fn samples_needed(&self) -> u64 {
        let needed = self.objectives.iter().map(Condition::samples_needed);
        needed.fold(FEWEST_MESSAGES, u64::max)
    }

    /// The length of a trial: its share of the longest, or more if it needs more messages.
    fn duration(&self, rate: f64, share: f64) -> Duration {
        let samples_s = self.samples_needed() as f64 * SPARE / rate;
        let wanted = (self.longest.as_secs_f64() * share).max(samples_s);
        Duration::from_secs_f64(wanted).max(SHORTEST).min(self.longest)
    }

    /// Whether a load meets the objectives. If the generator is at fault, a load that misses them
    /// shows nothing about the server.
    fn check(&self, load: &Load) -> TrialResult {
        let findings = &load.summary.findings;
        let is_missed = |objective: &&Condition| objective.holds(load) != Some(true);
        let reason = match self.objectives.iter().find(is_missed) {
            _ if !findings.is_valid() => findings.to_string(),
            Some(objective) => objective.describe_value(load),
            None => return TrialResult::Held,
        };
        match findings.generator_fault() {
            Some(fault) => TrialResult::GeneratorLimited(fault.to_string()),
            None => TrialResult::Missed(reason),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
