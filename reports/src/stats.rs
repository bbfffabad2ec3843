//! Estimates with their intervals, and what the interval of a ratio shows.
//!
//! The interval of one quantity is Student's t interval about the mean of logarithms over trials:
//! the exponential of the mean is a geometric mean, and its interval stays above zero. Ratios
//! come from [`crate::comparison`].

use record::histogram::Known;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence level of the interval of one quantity.
pub const CONFIDENCE: f64 = 0.99;

/// The ends of a confidence interval at [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ConfidenceInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl ConfidenceInterval {
    /// Whether `value` lies between the ends, or on one.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// A number and its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Geometric mean; the arithmetic mean where a sample is zero.
    pub value: f64,
    /// Absent for one sample, and if a sample is zero and has no logarithm.
    pub interval: Option<ConfidenceInterval>,
    /// The number of samples.
    pub samples: usize,
    /// Whether the value is a lower bound, since of some sample only a lower bound is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

impl Estimate {
    /// Half the width of the interval of a ratio, as a share: the difference that would have been seen.
    pub fn half_width(&self) -> Option<f64> {
        let ends = self.interval?;
        Some((ends.high / ends.low).sqrt() - 1.0)
    }

    /// The mean of one quantity over trials, as far as its samples are known. It rises with each of
    /// them, so it is a lower bound if one of them is; then there is no interval.
    pub fn of_known(samples: &[Known]) -> Option<Self> {
        let values: Vec<f64> = samples.iter().map(|sample| sample.value()).collect();
        let estimate = Estimate::of(&values)?;
        Some(match samples.iter().all(|sample| sample.is_exact()) {
            true => estimate,
            false => Estimate {
                interval: None,
                at_least: true,
                ..estimate
            },
        })
    }

    /// The mean of one quantity over trials. `None` without samples, or if a sample is negative or
    /// not finite and cannot be a measurement.
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|value| !value.is_finite() || *value < 0.0) {
            return None;
        }
        if samples.contains(&0.0) {
            let mean = samples.iter().sum::<f64>() / samples.len() as f64;
            return Some(Estimate {
                value: mean,
                interval: None,
                samples: samples.len(),
                at_least: false,
            });
        }
        let logs: Vec<f64> = samples.iter().map(|value| value.ln()).collect();
        let mut estimate = exponential_of_mean(&logs)?;
        // Rounding must not move a mean out of the range of its samples.
        let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = samples.iter().copied().fold(0.0, f64::max);
        estimate.value = estimate.value.clamp(lowest, highest);
        if let Some(interval) = &mut estimate.interval {
            interval.low = interval.low.min(estimate.value);
            interval.high = interval.high.max(estimate.value);
        }
        Some(estimate)
    }

    /// What an estimate of a ratio shows, if ratios that differ from 1 by at most `margin` do not
    /// matter. `None` without an interval: one block decides nothing.
    pub fn relation(&self, margin: f64) -> Option<Relation> {
        let interval = self.interval?;
        let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
        Some(if least <= interval.low && interval.high <= most {
            Relation::Tied
        } else if interval.low > 1.0 {
            Relation::Greater
        } else if interval.high < 1.0 {
            Relation::Less
        } else {
            Relation::Inconclusive
        })
    }
}

/// What the interval of a ratio shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The interval lies above 1, and not within the margin.
    Greater,
    /// The interval lies below 1, and not within the margin.
    Less,
    /// The whole interval lies within the margin: no difference that matters.
    Tied,
    /// The interval contains 1, and a difference that matters.
    Inconclusive,
}

/// The exponential of the mean of logarithms, and of the ends of its interval.
fn exponential_of_mean(logs: &[f64]) -> Option<Estimate> {
    if logs.is_empty() {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let interval = half_width(logs, mean).map(|half| ConfidenceInterval {
        low: (mean - half).exp(),
        high: (mean + half).exp(),
    });
    Some(Estimate {
        value: mean.exp(),
        interval: interval.filter(|ends| ends.low.is_finite() && ends.high.is_finite()),
        samples: logs.len(),
        at_least: false,
    })
}

/// Half the width of Student's t interval about the mean of `samples`.
fn half_width(samples: &[f64], mean: f64) -> Option<f64> {
    let count = samples.len() as f64;
    if count < 2.0 {
        return None;
    }
    let squares: f64 = samples.iter().map(|value| (value - mean).powi(2)).sum();
    let standard_error = (squares / (count - 1.0) / count).sqrt();
    Some(student_t(count - 1.0)? * standard_error)
}

/// The factor of the two-sided interval at [`CONFIDENCE`].
fn student_t(degrees_of_freedom: f64) -> Option<f64> {
    let distribution = StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?;
    Some(distribution.inverse_cdf(1.0 - (1.0 - CONFIDENCE) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(value: f64, expected: f64, tolerance: f64) -> bool {
        (value - expected).abs() <= tolerance
    }

    #[test]
    fn student_t_matches_the_published_table() {
        // Two-sided 99%: any printed t table, such as NIST/SEMATECH e-Handbook 1.3.6.7.2.
        let table = [
            (1, 63.657),
            (2, 9.925),
            (4, 4.604),
            (9, 3.250),
            (30, 2.750),
            (100, 2.626),
        ];
        for (degrees, expected) in table {
            let found = student_t(f64::from(degrees)).unwrap();
            assert!(near(found, expected, 0.001), "{degrees}: {found}");
        }
    }

    #[test]
    fn an_interval_matches_a_calculation_by_hand() {
        // Logs are ln2 * (1, 2, 3), mean 2 ln2, deviation ln2, so the half width is
        // 9.9248 * ln2 / sqrt(3) = 5.7301 ln2 and the ends are 2^(2-+5.7301).
        let estimate = Estimate::of(&[2.0, 4.0, 8.0]).unwrap();
        let interval = estimate.interval.unwrap();
        assert!(near(estimate.value, 4.0, 1e-12));
        assert!(near(interval.low.log2(), 2.0 - 5.7301, 1e-3), "{interval:?}");
        assert!(near(interval.high.log2(), 2.0 + 5.7301, 1e-3));
    }

    #[test]
    fn one_sample_has_a_value_and_no_interval() {
        let one = Estimate::of(&[17.3]).unwrap();
        assert_eq!((one.value, one.interval, one.samples), (17.3, None, 1));
        assert_eq!(one.relation(0.1), None);
    }

    #[test]
    fn a_lower_bound_among_the_samples_makes_the_mean_one() {
        use Known::{AtLeast, Exactly};
        let exact = Estimate::of_known(&[Exactly(2.0), Exactly(8.0)]).unwrap();
        assert_eq!(Some(exact), Estimate::of(&[2.0, 8.0]));
        let bound = Estimate::of_known(&[Exactly(2.0), AtLeast(8.0)]).unwrap();
        assert!(bound.at_least && bound.interval.is_none() && near(bound.value, 4.0, 1e-12));
        let json = |estimate| serde_json::to_value(estimate).unwrap();
        assert_eq!(json(bound)["at_least"], true);
        assert!(json(exact).get("at_least").is_none());
    }

    #[test]
    fn a_zero_leaves_the_arithmetic_mean_without_an_interval() {
        let mean = Estimate::of(&[0.0, 4.0]).unwrap();
        assert_eq!((mean.value, mean.interval), (2.0, None));
    }

    #[test]
    fn impossible_measurements_give_no_estimate() {
        for samples in [&[][..], &[1.0, f64::NAN], &[1.0, f64::INFINITY], &[1.0, -1.0]] {
            assert_eq!(Estimate::of(samples), None);
        }
    }

    #[test]
    fn relations_follow_the_interval_and_the_margin() {
        let relation = |low, high, margin| {
            let interval = Some(ConfidenceInterval { low, high });
            let estimate = Estimate {
                value: 1.0,
                interval,
                samples: 5,
                at_least: false,
            };
            estimate.relation(margin).unwrap()
        };
        assert_eq!(relation(1.01, 1.2, 0.1), Relation::Greater);
        assert_eq!(relation(0.5, 0.99, 0.1), Relation::Less);
        assert_eq!(relation(0.95, 1.05, 0.1), Relation::Tied);
        assert_eq!(relation(0.95, 1.05, 0.03), Relation::Inconclusive);
        assert_eq!(relation(0.98, 0.99, 0.03), Relation::Tied, "too small to matter");
        assert_eq!(relation(1.0 / 1.1, 1.1, 0.1), Relation::Tied);
    }

    #[test]
    fn the_interval_covers_the_true_value_at_its_confidence_level() {
        // A sum of twelve uniform numbers is close to normal; the seed is fixed.
        let mut state = 1u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let rounds = 4000;
        let covered = (0..rounds).filter(|_| {
            let samples: Vec<f64> = (0..5)
                .map(|_| {
                    ((0..12).map(|_| uniform()).sum::<f64>() - 6.0)
                        .mul_add(0.1, 3.0)
                        .exp()
                })
                .collect();
            Estimate::of(&samples)
                .unwrap()
                .interval
                .unwrap()
                .contains(3f64.exp())
        });
        let share = covered.count() as f64 / f64::from(rounds);
        assert!(near(share, CONFIDENCE, 0.006), "{share}");
    }

    proptest! {
        #[test]
        fn a_mean_lies_within_its_samples_and_its_interval(
            samples in prop::collection::vec(1e-3..1e9f64, 1..12)
        ) {
            let estimate = Estimate::of(&samples).unwrap();
            prop_assert!(samples.iter().any(|&value| value <= estimate.value));
            prop_assert!(samples.iter().any(|&value| value >= estimate.value));
            if let Some(interval) = estimate.interval {
                prop_assert!(interval.contains(estimate.value));
            }
        }
    }
}
