//! Every statistic of the report, once: an interval of a mean, a ratio, a tie.
//!
//! The replicate is a trial, and effects are ratios within a block, so all that is
//! needed is the mean of a few logarithms and Student's t interval about it. Its
//! exponential is a geometric mean, and its interval cannot reach below zero.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// How often an interval that is made like ours holds the true value.
///
/// A report makes some tens of comparisons, and at the usual 95% a couple of those
/// would claim a difference where there is none.
pub const CONFIDENCE: f64 = 0.99;

/// An interval of a ratio that contains 1 shows a tie only when its upper end is at
/// most this multiple of its lower one.
///
/// Placed evenly about 1 such an interval is -18% to +22%, which five blocks reach when
/// ratios differ by a tenth from block to block, as they do on a shared virtual machine.
/// A wider one leaves room for a difference for which a person would change a design,
/// so that calling it a tie would be a claim without evidence.
pub const WIDEST_TIE: f64 = 1.5;

/// The ends of a confidence interval at [`CONFIDENCE`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies within, the ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// A number and what is known of its error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Geometric mean; the arithmetic mean where a sample is zero.
    pub value: f64,
    /// Absent for one sample, and where a sample is zero and so has no logarithm.
    pub interval: Option<Interval>,
    /// How many samples it rests on.
    pub samples: usize,
}

impl Estimate {
    /// The mean of one quantity over trials. `None` when there is none, or when a sample
    /// is negative or not finite and so cannot be a measurement.
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
        // Rounding must not move a mean out of what it is the mean of.
        let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = samples.iter().copied().fold(0.0, f64::max);
        estimate.value = estimate.value.clamp(lowest, highest);
        if let Some(interval) = &mut estimate.interval {
            interval.low = interval.low.min(estimate.value);
            interval.high = interval.high.max(estimate.value);
        }
        Some(estimate)
    }

    /// The ratio of the first to the second of each pair; a pair comes from one block.
    /// `None` when there is no pair, or when one has no logarithm.
    pub fn of_ratio(pairs: &[(f64, f64)]) -> Option<Self> {
        let usable = |value: f64| value.is_finite() && value > 0.0;
        if pairs.iter().any(|&(a, b)| !usable(a) || !usable(b)) {
            return None;
        }
        // The difference, not the logarithm of the quotient: exactly antisymmetric.
        let logs: Vec<f64> = pairs.iter().map(|(a, b)| a.ln() - b.ln()).collect();
        exponential_of_mean(&logs)
    }

    /// How the first stands to the second, for an estimate of their ratio. `None`
    /// without an interval: one block decides nothing.
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

/// What the interval of a ratio says of its two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// All of the interval lies above 1.
    Greater,
    /// All of the interval lies below 1.
    Less,
    /// The interval contains 1 and is narrow.
    Tied,
    /// The interval contains 1 and is too wide to tell.
    Inconclusive,
}

/// The exponential of the mean of logarithms, and of the ends of its interval.
fn exponential_of_mean(logs: &[f64]) -> Option<Estimate> {
    if logs.is_empty() {
        return None;
    }
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let interval = half_width(logs, mean).map(|half| Interval {
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
    fn the_factors_are_those_of_the_published_table() {
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
    fn a_worked_example_by_hand() {
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
    fn what_is_not_a_measurement_gives_no_estimate() {
        for samples in [&[][..], &[1.0, f64::NAN], &[1.0, f64::INFINITY], &[1.0, -1.0]] {
            assert_eq!(Estimate::of(samples), None);
        }
        assert_eq!(Estimate::of_ratio(&[]), None);
        assert_eq!(Estimate::of_ratio(&[(f64::NAN, 1.0)]), None);
    }

    #[test]
    fn relations_follow_the_interval() {
        let relation = |low, high| {
            let interval = Some(Interval { low, high });
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
    fn the_interval_covers_the_truth_as_often_as_it_says() {
        // Sums of twelve uniform numbers are close to normal; the seed is fixed.
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
        fn the_ratio_of_a_to_b_is_the_inverse_of_that_of_b_to_a(
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
