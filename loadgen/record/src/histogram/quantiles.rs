//! The plain numbers of a distribution of latencies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::censored::{Censored, Known};
use super::{Histogram, SAMPLES_BEYOND};

/// A number of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 99th percentile.
    P99,
    /// 99.9th percentile.
    P999,
    /// Largest sample.
    Max,
    /// Mean.
    Mean,
}

impl Statistic {
    /// All of them, in the order of tables.
    pub const ALL: [Statistic; 6] = [
        Statistic::P50,
        Statistic::P90,
        Statistic::P99,
        Statistic::P999,
        Statistic::Max,
        Statistic::Mean,
    ];

    /// The name in conditions and tables: `p99.9`.
    pub const fn name(self) -> &'static str {
        match self {
            Statistic::P50 => "p50",
            Statistic::P90 => "p90",
            Statistic::P99 => "p99",
            Statistic::P999 => "p99.9",
            Statistic::Max => "max",
            Statistic::Mean => "mean",
        }
    }

    /// The statistic of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Statistic::ALL
            .into_iter()
            .find(|statistic| statistic.name() == name)
    }

    /// The share of the samples that it does not exceed, for a quantile.
    pub const fn share(self) -> Option<f64> {
        match self {
            Statistic::P50 => Some(0.5),
            Statistic::P90 => Some(0.9),
            Statistic::P99 => Some(0.99),
            Statistic::P999 => Some(0.999),
            Statistic::Max | Statistic::Mean => None,
        }
    }

    /// How many samples it needs.
    pub fn samples_needed(self) -> u64 {
        let beyond = self.share().map(|share| 1.0 - share);
        beyond.map_or(1, |beyond| (SAMPLES_BEYOND / beyond).round() as u64)
    }
}

/// The plain numbers of a distribution, in microseconds.
///
/// A quantile that fewer than ten samples exceed is `null`. So is a number that is not known
/// exactly, because latencies that had not ended could raise it: `at_least` has its bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p99_9: Option<f64>,
    /// Largest sample; `null` without samples.
    pub max: Option<f64>,
    /// Mean; `null` without samples.
    pub mean: Option<f64>,
    /// Number of samples.
    pub count: u64,
    /// Bounds of the numbers that are `null` because latencies that had not ended could raise
    /// them: each is this or more. Absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<LowerBounds>,
}

/// Lower bounds in microseconds of the numbers that are not known exactly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LowerBounds {
    /// Median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 90th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_9: Option<f64>,
    /// Largest latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
}

impl Quantiles {
    /// The numbers of latencies in nanoseconds that have all ended.
    pub fn of(ended: &Histogram) -> Self {
        Quantiles::with_unfinished(ended, None)
    }

    /// The numbers of latencies in nanoseconds, of which some had not ended: those are in the second
    /// histogram, with the time that they had lasted.
    pub fn with_unfinished(ended: &Histogram, unfinished: Option<&Histogram>) -> Self {
        let latencies = Censored::new(ended, unfinished);
        let mut at_least = LowerBounds::default();
        let mut micros = |statistic| match latencies.statistic(statistic)?.map(|ns| ns / 1e3) {
            Known::Exactly(micros) => Some(micros),
            Known::AtLeast(micros) => {
                *at_least.place(statistic) = Some(micros);
                None
            }
        };
        Quantiles {
            p50: micros(Statistic::P50),
            p90: micros(Statistic::P90),
            p99: micros(Statistic::P99),
            p99_9: micros(Statistic::P999),
            max: micros(Statistic::Max),
            mean: micros(Statistic::Mean),
            count: ended.len(),
            at_least: (at_least != LowerBounds::default()).then_some(at_least),
        }
    }

    /// A number in microseconds, as far as it is known; `None` if there are too few samples.
    pub fn known(&self, statistic: Statistic) -> Option<Known> {
        let exactly = match statistic {
            Statistic::P50 => self.p50,
            Statistic::P90 => self.p90,
            Statistic::P99 => self.p99,
            Statistic::P999 => self.p99_9,
            Statistic::Max => self.max,
            Statistic::Mean => self.mean,
        };
        let bound = || *self.at_least.clone()?.place(statistic);
        exactly
            .map(Known::Exactly)
            .or_else(|| bound().map(Known::AtLeast))
    }
}

impl LowerBounds {
    fn place(&mut self, statistic: Statistic) -> &mut Option<f64> {
        match statistic {
            Statistic::P50 => &mut self.p50,
            Statistic::P90 => &mut self.p90,
            Statistic::P99 => &mut self.p99,
            Statistic::P999 => &mut self.p99_9,
            Statistic::Max => &mut self.max,
            Statistic::Mean => &mut self.mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::of;
    use serde_json::json;

    #[test]
    fn statistics_are_found_by_their_names() {
        for statistic in Statistic::ALL {
            assert_eq!(Statistic::from_name(statistic.name()), Some(statistic));
        }
        assert_eq!(Statistic::from_name("p98"), None);
    }

    #[test]
    fn a_number_that_is_not_known_exactly_is_null_and_has_a_bound() {
        let (ended, unfinished) = (of(&[1000; 990]), of(&[4_000_000_000; 10]));
        let numbers = Quantiles::with_unfinished(&ended, Some(&unfinished));
        let json = serde_json::to_value(&numbers).unwrap();
        assert_eq!((&json["p50"], &json["p99"]), (&json!(1.0), &json!(1.0)));
        assert_eq!((&json["max"], &json["count"]), (&json!(null), &json!(990)));
        let bounds = json["at_least"].as_object().unwrap();
        assert_eq!(bounds.keys().collect::<Vec<_>>(), ["max", "mean"]);
        assert!((bounds["max"].as_f64().unwrap() / 4e6 - 1.0).abs() < 1e-3);
        assert_eq!(serde_json::from_value::<Quantiles>(json).unwrap(), numbers);
        assert_eq!(numbers.known(Statistic::P50), Some(Known::Exactly(1.0)));
        let max = numbers.known(Statistic::Max).unwrap();
        assert!(!max.is_exact() && max.value() > 3.9e6, "{max:?}");
        assert_eq!(numbers.known(Statistic::P999), None, "too few samples");
    }

    #[test]
    fn without_unfinished_latencies_all_numbers_are_exact() {
        let ended = of(&(1..=100_000).collect::<Vec<_>>());
        let numbers = Quantiles::with_unfinished(&ended, Some(&of(&[])));
        assert_eq!(numbers, Quantiles::of(&ended));
        assert_eq!(numbers.at_least, None);
        for statistic in Statistic::ALL {
            assert!(numbers.known(statistic).is_some_and(Known::is_exact));
        }
        assert_eq!(Quantiles::of(&of(&[])).known(Statistic::Max), None);
    }
}
