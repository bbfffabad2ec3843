//! Every statistic of the report: intervals of means, ratios, ties.
//!
//! The replicate is a trial, and effects are ratios within a block. All of it follows from the
//! mean of a few logarithms and Student's t interval about it: the exponential of the mean is a
//! geometric mean, and its interval stays above zero.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence level of every interval.
///
/// A report makes tens of comparisons; at the usual 95% a few of them would claim a difference
/// that does not exist.
pub const CONFIDENCE: f64 = 0.99;

/// The ratio of an interval's ends up to which it shows a tie, if it contains 1.
///
/// Centred on 1 such an interval is -18% to +22%. Five blocks reach that when ratios differ by a
/// tenth from block to block, as on a shared virtual machine. A wider interval leaves room for a
/// difference that would matter for a design, so it is no evidence of a tie.
pub const WIDEST_TIE: f64 = 1.5;

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
}

impl Estimate {
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

    /// The ratio of the first to the second value of each pair; a pair comes from one block.
    /// `None` without pairs, or if a value has no logarithm.
    pub fn of_ratio(pairs: &[(f64, f64)]) -> Option<Self> {
        let usable = |value: f64| value.is_finite() && value > 0.0;
        if pairs.iter().any(|&(a, b)| !usable(a) || !usable(b)) {
            return None;
        }
        // Unlike the logarithm of the quotient, the difference is exactly antisymmetric.
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| a.ln() - b.ln()).collect();
        exponential_of_mean(&logs)
    }

    /// How the first compares with the second, for an estimate of their ratio. `None` without an
    /// interval: one block decides nothing.
    pub fn relation(&self) -> Option<Relation> {
        let interval = self.interval?;
        Some(if interval.low > 1.0 {
            Relation::Greater
        } else if interval.high < 1.0 {
            Relation::Less
        } else if interval.high <= interval.low * WIDEST_TIE {
            Relation::Tied
        } else {
            Relation::Inconclusive
        })
    }
}

/// What the interval of a ratio shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The interval lies above 1.
    Greater,
    /// The interval lies below 1.
    Less,
    /// The interval contains 1 and is narrow.
    Tied,
    /// The interval contains 1 and is too wide for a tie.
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
        // Ratios 2, 4, 8: logs are ln2 * (1, 2, 3), mean 2 ln2, deviation ln2, so the
        // half width is 9.9248 * ln2 / sqrt(3) = 5.7301 ln2 and the ends are 2^(2-+5.7301).
        let ratio = Estimate::of_ratio(&[(2.0, 1.0), (4.0, 1.0), (8.0, 1.0)]).unwrap();
        let interval = ratio.interval.unwrap();
        assert!(near(ratio.value, 4.0, 1e-12));
        assert!(near(interval.low.log2(), 2.0 - 5.7301, 1e-3), "{interval:?}");
        assert!(near(interval.high.log2(), 2.0 + 5.7301, 1e-3));
        assert_eq!(ratio.relation(), Some(Relation::Inconclusive));
    }

    #[test]
    fn one_sample_has_a_value_and_no_interval() {
        let one = Estimate::of(&[17.3]).unwrap();
        assert_eq!((one.value, one.interval, one.samples), (17.3, None, 1));
        assert_eq!(Estimate::of_ratio(&[(3.0, 2.0)]).unwrap().relation(), None);
    }

    #[test]
    fn a_zero_leaves_the_arithmetic_mean_without_an_interval() {
        let mean = Estimate::of(&[0.0, 4.0]).unwrap();
        assert_eq!((mean.value, mean.interval), (2.0, None));
        assert_eq!(Estimate::of_ratio(&[(1.0, 0.0), (1.0, 1.0)]), None);
    }

    #[test]
    fn impossible_measurements_give_no_estimate() {
        for samples in [&[][..], &[1.0, f64::NAN], &[1.0, f64::INFINITY], &[1.0, -1.0]] {
            assert_eq!(Estimate::of(samples), None);
        }
        assert_eq!(Estimate::of_ratio(&[]), None);
        assert_eq!(Estimate::of_ratio(&[(f64::NAN, 1.0)]), None);
    }

    #[test]
    fn relations_follow_the_interval() {
        let relation = |low, high| {
            let interval = Some(ConfidenceInterval { low, high });
            Estimate {
                value: 1.0,
                interval,
                samples: 5,
            }
            .relation()
            .unwrap()
        };
        assert_eq!(relation(1.01, 1.2), Relation::Greater);
        assert_eq!(relation(0.5, 0.99), Relation::Less);
        assert_eq!(relation(0.9, 1.1), Relation::Tied);
        assert_eq!(relation(1.0, 1.3), Relation::Tied);
        assert_eq!(relation(0.6, 1.4), Relation::Inconclusive);
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
        fn swapping_the_sides_inverts_a_ratio(
            pairs in prop::collection::vec((1e-3..1e9f64, 1e-3..1e9f64), 2..12)
        ) {
            let swapped: Vec<(f64, f64)> = pairs.iter().map(|&(a, b)| (b, a)).collect();
            let forward = Estimate::of_ratio(&pairs).unwrap();
            let backward = Estimate::of_ratio(&swapped).unwrap();
            prop_assert!(near(forward.value * backward.value, 1.0, 1e-9));
            if let (Some(ends), Some(others)) = (forward.interval, backward.interval) {
                prop_assert!(near(ends.low * others.high, 1.0, 1e-6));
            }
        }

        #[test]
        fn equal_sides_are_tied_at_one(side in prop::collection::vec(1e-3..1e9f64, 2..12)) {
            let pairs: Vec<(f64, f64)> = side.iter().map(|&value| (value, value)).collect();
            let ratio = Estimate::of_ratio(&pairs).unwrap();
            prop_assert_eq!(ratio.value, 1.0);
            prop_assert_eq!(ratio.relation(), Some(Relation::Tied));
        }

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

        #[test]
        fn a_common_factor_of_the_block_cancels(
            blocks in prop::collection::vec((1.0..1e6f64, 1.0..1e6f64, 0.1..10.0f64), 2..12)
        ) {
            let plain: Vec<(f64, f64)> = blocks.iter().map(|&(a, b, _)| (a, b)).collect();
            let noisy: Vec<(f64, f64)> = blocks.iter().map(|&(a, b, k)| (a * k, b * k)).collect();
            let (plain, noisy) = (Estimate::of_ratio(&plain).unwrap(), Estimate::of_ratio(&noisy).unwrap());
            prop_assert!(near(noisy.value / plain.value, 1.0, 1e-9));
        }
    }
}
