//! A cell of a comparison: one metric of one server under one load in both runs.

use record::Margins;
use record::units::Percent;
use serde::Serialize;

use crate::metrics::{Better, CPU, ECHOES, METRICS, Metric, P50, P99};
use crate::stats::{Estimate, Relation};

/// A metric that two runs are compared by.
#[derive(Debug)]
pub struct Compared {
    /// Its name in a condition.
    pub name: &'static str,
    /// Its key in [`METRICS`].
    pub key: &'static str,
    /// The head of its rows.
    pub title: &'static str,
    /// Which of two values is better.
    pub better: Better,
    /// Whether it is a latency.
    pub is_latency: bool,
    /// The margin within which a change does not matter.
    pub margin: fn(&Margins) -> Percent,
}

/// The metrics that two runs are compared by, in the order of the rows.
pub static COMPARED: [Compared; 4] = [
    Compared {
        name: "throughput",
        key: ECHOES,
        title: "echoes/s",
        better: Better::Higher,
        is_latency: false,
        margin: |margins| margins.rates,
    },
    Compared {
        name: "p50",
        key: P50,
        title: "p50 µs",
        better: Better::Lower,
        is_latency: true,
        margin: |margins| margins.percentiles,
    },
    Compared {
        name: "p99",
        key: P99,
        title: "p99 µs",
        better: Better::Lower,
        is_latency: true,
        margin: |margins| margins.percentiles,
    },
    Compared {
        name: "cpu",
        key: CPU,
        title: "CPU µs/echo",
        better: Better::Lower,
        is_latency: false,
        margin: |margins| margins.rates,
    },
];

impl Compared {
    /// The metric itself.
    pub fn metric(&self) -> &'static Metric {
        let mut all = METRICS.iter();
        all.find(|metric| metric.key == self.key)
            .expect("a test checks that every key is a metric")
    }

    /// What the interval of a ratio shows.
    pub fn class(&self, ratio: &Estimate, margin: f64) -> Class {
        match (ratio.relation(margin), self.better) {
            (None | Some(Relation::Inconclusive), _) => Class::Inconclusive,
            (Some(Relation::Tied), _) => Class::NoChange,
            (Some(Relation::Greater), Better::Higher) | (Some(Relation::Less), Better::Lower) => {
                Class::Improved
            }
            (Some(Relation::Less), Better::Higher) | (Some(Relation::Greater), Better::Lower) => {
                Class::Regressed
            }
        }
    }
}

/// What became of a metric from BASE to NEW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Worse, by the whole interval.
    Regressed,
    /// Better, by the whole interval.
    Improved,
    /// The whole interval lies within the margin.
    NoChange,
    /// The interval contains 1 and reaches beyond the margin, or there is no interval.
    Inconclusive,
    /// There is no ratio; the reason is beside it.
    NotCompared,
    /// The server is the reference, which counts as unchanged; its ratio is its own.
    Reference,
}

impl Class {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Class::Regressed => "regressed",
            Class::Improved => "improved",
            Class::NoChange => "no change",
            Class::Inconclusive => "inconclusive",
            Class::NotCompared => "not compared",
            Class::Reference => "reference",
        }
    }
}

/// One metric of one server under one load in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The key of the metric.
    pub metric: &'static str,
    /// Its number in BASE, as in the report of that run.
    pub base: Option<Estimate>,
    /// Its number in NEW.
    pub new: Option<Estimate>,
    /// NEW divided by BASE; relative to the reference, if there is one. It is taken from blocks and turns, so it is not
    /// exactly the quotient of the numbers.
    pub ratio: Option<Estimate>,
    /// Blocks of BASE that the ratio rests on.
    pub base_blocks: usize,
    /// Blocks of NEW that the ratio rests on.
    pub new_blocks: usize,
    /// A change of at most this share does not matter.
    pub margin: f64,
    /// What became of it.
    pub class: Class,
    /// Why there is no ratio, or no interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Cell {
    /// How it is compared.
    pub fn compared(&self) -> &'static Compared {
        let mut all = COMPARED.iter();
        all.find(|compared| compared.key == self.metric)
            .expect("a cell is one of these metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ConfidenceInterval;

    #[test]
    fn every_key_is_a_metric() {
        for compared in &COMPARED {
            assert_eq!(compared.metric().key, compared.key);
        }
    }

    #[test]
    fn a_change_is_classed_by_its_interval_and_by_what_is_better() {
        let class = |compared: &Compared, low: f64, high: f64| {
            let interval = Some(ConfidenceInterval { low, high });
            let ratio = Estimate {
                value: (low * high).sqrt(),
                interval,
                samples: 10,
                at_least: false,
            };
            compared.class(&ratio, 0.03)
        };
        let [throughput, .., cpu] = &COMPARED;
        assert_eq!(class(throughput, 0.85, 0.95), Class::Regressed);
        assert_eq!(class(cpu, 0.85, 0.95), Class::Improved);
        assert_eq!(class(throughput, 1.05, 1.2), Class::Improved);
        assert_eq!(class(cpu, 1.05, 1.2), Class::Regressed);
        assert_eq!(class(cpu, 0.98, 1.02), Class::NoChange);
        assert_eq!(class(cpu, 0.98, 0.99), Class::NoChange, "too small to matter");
        assert_eq!(class(cpu, 0.9, 1.02), Class::Inconclusive);
        let alone = Estimate {
            value: 0.5,
            interval: None,
            samples: 2,
            at_least: false,
        };
        assert_eq!(throughput.class(&alone, 0.03), Class::Inconclusive);
    }
}
