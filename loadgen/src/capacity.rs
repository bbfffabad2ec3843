//! The highest rate at which a server meets its objectives.
//!
//! A [`Search`] decides which rate to try next and knows nothing of servers. A [`Survey`]
//! puts the objectives to the loads that were run at these rates, and makes a [`Capacity`]
//! of what it saw. Neither runs a load: that is left to the caller.

pub mod search;
pub mod text;

use std::time::Duration;

use crate::condition::{Condition, ConditionError};
use record::units::show_rate;
use record::{Capacity, CapacityTrial, Limit, Load, SCHEMA_VERSION};
use search::{Range, Search, Step, Verdict};

/// The lowest rate that is tried, per second: a server that does not hold it holds nothing.
const LOWEST_RATE: f64 = 1.0;

/// A shorter trial says more about how the load began than about how it went on.
const SHORTEST: Duration = Duration::from_secs(1);

/// So many times the messages are sent that the objectives need: arrivals are random, and
/// without some to spare every other trial would have too few.
const SPARE: f64 = 1.5;

/// Messages that every trial should have: with fewer, none at all becomes likely.
const FEWEST_MESSAGES: u64 = 3;

/// What is searched for, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// What has to hold, all of it.
    pub objectives: Vec<Condition>,
    /// The rate that is tried first, per second.
    pub first: f64,
    /// The highest that is tried, per second.
    pub highest: f64,
    /// How long the longest trial lasts.
    pub longest: Duration,
    /// How many runs verify what was found; at least one.
    pub runs: u32,
}

/// A trial that is to be run: an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next {
    /// Messages per second.
    pub rate: f64,
    /// How long.
    pub duration: Duration,
}

/// The search put to a server.
#[derive(Debug, Clone)]
pub struct Survey {
    target: String,
    terms: Terms,
    search: Search,
    trials: Vec<CapacityTrial>,
}

/// Why a text is not an objective; says what to write instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ObjectiveError {
    /// Not a condition at all.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// One that a lighter load does not meet more easily.
    #[error(
        "`{0}` is not an objective: bound a time, errors, unanswered or starved from above, such as p99<1ms or \
         errors<=0; the rate is what is searched, and connections stay open"
    )]
    Bound(Condition),
}

/// Why there is nothing to search; says what to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SurveyError {
    /// The rates are the wrong way round.
    #[error("the search begins at {}, above {}, where it ends: lower --from or raise --to", show_rate(*first), show_rate(*highest))]
    Range {
        /// The first rate, per second.
        first: f64,
        /// The highest, per second.
        highest: f64,
    },
    /// The longest trial has too few messages for the objectives at any rate.
    #[error(
        "at {} a trial of {longest:?} has too few messages for the objectives, which need {samples}: \
         raise --to or --duration",
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

/// Reads an objective: a condition that a lighter load meets more easily.
pub fn objective(text: &str) -> Result<Condition, ObjectiveError> {
    let condition: Condition = text.parse()?;
    match condition.is_objective() {
        true => Ok(condition),
        false => Err(ObjectiveError::Bound(condition)),
    }
}

impl Survey {
    /// A survey of `target`. It begins above the first rate where the longest trial would
    /// have too few messages there for the objectives.
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

    /// The trial to run now; nothing when the search is at its end.
    pub fn next(&self) -> Option<Next> {
        match self.search.next() {
            Step::Try { rate, share } => Some(Next {
                rate,
                duration: self.terms.duration(rate, share),
            }),
            Step::Done => None,
        }
    }

    /// Takes note of the load of the trial that [`Survey::next`] asked for.
    ///
    /// `ours` says what the generator did wrong, if it did: then what did not hold is not
    /// the server's fault.
    pub fn record(&mut self, load: &Load, ours: Option<String>) -> &CapacityTrial {
        let rate_per_s = self.next().map_or(0.0, |next| next.rate);
        let verdict = self.terms.verdict(load, ours);
        self.search.record(&verdict);
        let (reason, limit) = match verdict {
            Verdict::Held => (None, None),
            Verdict::Broke(reason) => (Some(reason), Some(Limit::Server)),
            Verdict::Ours(reason) => (Some(reason), Some(Limit::Generator)),
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

    /// How long it takes at most as long as nothing happens by chance; `beside` is what a
    /// trial takes beside the time that is counted.
    pub fn time(&self, beside: Duration) -> Duration {
        self.search
            .longest(|rate, share| self.terms.duration(rate, share) + beside)
    }

    /// The rate at which the search begins, per second.
    pub fn first(&self) -> f64 {
        self.terms.first
    }

    /// What is known so far.
    pub fn capacity(&self) -> Capacity {
        let finding = self.search.finding();
        Capacity {
            schema_version: SCHEMA_VERSION,
            target: self.target.clone(),
            objectives: self.terms.objectives.iter().map(Condition::to_string).collect(),
            low_per_s: finding.low,
            high_per_s: finding.high,
            limit: finding.limit,
            verified: finding.verified,
            of: finding.of,
            complete: self.search.next() == Step::Done,
            trials: self.trials.clone(),
        }
    }
}

impl Terms {
    /// Messages without which a trial says nothing about some objective.
    fn samples_needed(&self) -> u64 {
        let needed = self.objectives.iter().map(Condition::samples_needed);
        needed.fold(FEWEST_MESSAGES, u64::max)
    }

    /// How long a trial lasts: its share of the longest, or longer if it needs that.
    fn duration(&self, rate: f64, share: f64) -> Duration {
        let samples_s = self.samples_needed() as f64 * SPARE / rate;
        let wanted = (self.longest.as_secs_f64() * share).max(samples_s);
        Duration::from_secs_f64(wanted).max(SHORTEST).min(self.longest)
    }

    fn verdict(&self, load: &Load, ours: Option<String>) -> Verdict {
        let missed = self
            .objectives
            .iter()
            .find(|objective| objective.holds(load) != Some(true));
        let reason = match missed {
            _ if !load.summary.valid => load.summary.reasons.join("; "),
            Some(objective) => objective.seen(load),
            None => return Verdict::Held,
        };
        match ours {
            Some(ours) => Verdict::Ours(ours),
            None => Verdict::Broke(reason),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::condition::tests::load;
    use crate::gates::own_fault;
    use record::ErrorKind;
    use record::histogram::{self, Quantiles};

    pub(crate) fn terms(objectives: &[&str]) -> Terms {
        Terms {
            objectives: objectives.iter().map(|text| objective(text).unwrap()).collect(),
            first: 1e3,
            highest: 1e6,
            longest: Duration::from_secs(8),
            runs: 3,
        }
    }

    /// The load of an open loop whose responses all took so long.
    pub(crate) fn response(micros: u64) -> Load {
        let mut load = load(Some(1000));
        let mut times = histogram::empty();
        times.saturating_record_n(micros * 1000, 1000);
        load.summary.response_us = Some(Quantiles::of(&times));
        load
    }

    /// A survey of a server whose responses take 1 us for each message per second.
    pub(crate) fn survey(terms: Terms, ours: impl Fn(f64) -> Option<String>) -> Survey {
        let mut survey = Survey::new("127.0.0.1:7007".into(), terms).unwrap();
        while let Some(Next { rate, .. }) = survey.next() {
            survey.record(&response(rate as u64), ours(rate));
        }
        survey
    }

    #[test]
    fn the_rate_that_meets_all_objectives_is_found() {
        let found = survey(terms(&["p99<50ms", "p50<20ms", "mean<90ms"]), |_| None).capacity();
        let (low, high) = (found.low_per_s.unwrap(), found.high_per_s.unwrap());
        assert!(low <= 20_001.0 && 19_999.0 < high, "{low} to {high}");
        assert_eq!(
            (found.limit, found.verified, found.of, found.complete),
            (Limit::Server, 3, 3, true)
        );
        assert_eq!(found.objectives, ["p99<50ms", "p50<20ms", "mean<90ms"]);
        assert!(found.trials.iter().any(|trial| {
            let reason = trial.reason.as_deref().unwrap_or_default();
            !trial.held && trial.limit == Some(Limit::Server) && reason.starts_with("p50 is ")
        }));
    }

    #[test]
    fn what_the_generator_did_wrong_is_not_held_against_the_server() {
        let saturated = |rate| (rate > 5e3).then(|| "saturated".to_owned());
        let found = survey(terms(&["p99<5ms"]), saturated).capacity();
        assert_eq!(found.limit, Limit::Generator);
        assert!(found.low_per_s.unwrap() <= 5e3);
    }

    #[test]
    fn what_held_holds_whatever_the_generator_was_like() {
        let found = survey(terms(&["p99<5ms"]), |rate| (rate < 5e3).then(|| "busy".into())).capacity();
        assert_eq!(found.limit, Limit::Server);
        assert!(
            found
                .trials
                .iter()
                .all(|trial| trial.held == trial.reason.is_none())
        );
    }

    #[test]
    fn a_load_that_is_not_valid_does_not_hold() {
        let mut load = response(10);
        load.summary.valid = false;
        load.summary.reasons = vec!["too few".into(), "too late".into()];
        let terms = terms(&["p99<1s"]);
        assert_eq!(
            terms.verdict(&load, None),
            Verdict::Broke("too few; too late".into())
        );
        assert_eq!(
            terms.verdict(&load, Some("busy".into())),
            Verdict::Ours("busy".into())
        );
    }

    #[test]
    fn an_objective_that_cannot_be_told_is_not_met() {
        let terms = terms(&["p99.9<1s"]);
        let verdict = terms.verdict(&response(10), None);
        assert_eq!(
            verdict,
            Verdict::Broke("p99.9 is not known from 1000 samples".into())
        );
    }

    #[test]
    fn a_trial_is_long_enough_for_the_objectives_if_the_longest_is() {
        for (objective, messages) in [
            ("p50<1s", 20.0),
            ("p99<1s", 1e3),
            ("p99.9<1s", 1e4),
            ("errors<1", 1.0),
        ] {
            let mut survey = Survey::new("a server".into(), terms(&[objective])).unwrap();
            while let Some(Next { rate, duration }) = survey.next() {
                assert!(rate * duration.as_secs_f64() > messages, "{objective} at {rate}");
                assert!((SHORTEST..=Duration::from_secs(8)).contains(&duration));
                survey.record(&response(2_000_000), None);
            }
            assert_eq!(survey.capacity().low_per_s, None);
        }
    }

    #[test]
    fn a_search_that_makes_no_sense_says_what_to_change() {
        let error = |terms| Survey::new("a server".into(), terms).unwrap_err().to_string();
        let upside_down = Terms {
            first: 2e6,
            ..terms(&["p99<1s"])
        };
        assert!(error(upside_down).contains("lower --from or raise --to"));
        let too_short = Terms {
            longest: Duration::from_millis(1),
            ..terms(&["p99<1s"])
        };
        assert!(error(too_short).contains("need 1000"));
        assert!(
            objective("p99>1ms")
                .unwrap_err()
                .to_string()
                .contains("from above")
        );
        assert!(
            objective("p98<1ms")
                .unwrap_err()
                .to_string()
                .contains("not a metric")
        );
    }

    #[test]
    fn the_faults_of_the_generator_are_told_from_those_of_the_server() {
        let mut load = response(10);
        load.plan.rate = record::units::Rate::new(10.0);
        load.summary.errors = [(ErrorKind::Reset, 3)].into();
        assert_eq!(own_fault(&load), None);
        load.summary.latency_withheld = Some("mostly ours".into());
        assert_eq!(own_fault(&load).unwrap(), "mostly ours");
        load.generator.utilisation = 1.0;
        assert!(own_fault(&load).unwrap().contains("saturated"));
        load.summary.errors.insert(ErrorKind::NoLocalPort, 2);
        assert!(own_fault(&load).unwrap().contains("2 errors"));
    }

    #[test]
    fn what_was_found_is_read_back() {
        let found = survey(terms(&["p99<5ms"]), |_| None).capacity();
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Capacity>(&json).unwrap(), found);
    }
}
