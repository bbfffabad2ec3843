//! Tests whether the times at which messages were due follow the arrivals that were asked for.
//!
//! The generator draws its own schedule, and this test catches it if it does not keep to it: a
//! schedule that waits for answers, or sends in bursts, flatters the server.

use record::{Arrivals, Finding};

use crate::pacer::Pace;

/// Fewer gaps than this show nothing: from here on the test below tells even spacing from a
/// Poisson process.
const FEWEST_GAPS: usize = 20;

/// Chance of a false alarm of each of the two tests of a Poisson process, together one in a
/// million. They test every worker of every load: thousands in a suite, and perhaps a hundred
/// thousand a year; an alarm then still means that the program is wrong. Both bounds hold for
/// any number of gaps. A run may end with the window instead of at a fixed number, which
/// favours short gaps, but only by a share of 1/n; the tests leave room for some 3/sqrt(n).
const FALSE_ALARM: f64 = 0.5e-6;

/// Rounding error of a double, as a share of the largest number in a schedule: some ten
/// operations of half a unit each, with room to spare.
const ROUNDING: f64 = 32.0 * f64::EPSILON;

/// Tests the times at which messages of one worker were due, out of `share_of` workers.
///
/// They are nanoseconds from the start of the pace, ascending, and a run without gaps from
/// anywhere in the worker's schedule. Some thousands are enough: with random gaps, 8,000 show
/// a rate that is a tenth off, and 2,000 show that a tenth of the mean was added to each.
pub fn check(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Finding> {
    match pace.arrivals {
        Arrivals::Constant => check_even(intended_ns, pace, share_of),
        Arrivals::Poisson => check_poisson(intended_ns, pace, share_of),
    }
}

/// Between two times of a worker, each of the others has one too.
///
/// A time is cut to whole nanoseconds, so the number that the pace gives for it is too small, by
/// at most the number that becomes due in a nanosecond.
fn check_even(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Finding> {
    let expected = share_of as f64;
    let rounding = ROUNDING * (1.0 + total(pace));
    let count = |time_ns: u64| pace.count_after(time_ns as f64);
    let uneven = intended_ns.windows(2).find(|pair| {
        let least = count(pair[1]) - count(pair[0] + 1);
        let most = count(pair[1] + 1) - count(pair[0]);
        expected < least - rounding || expected > most + rounding
    });
    match uneven {
        None => Ok(()),
        Some(pair) => Err(Finding::UnevenArrivals {
            at_s: pair[0] as f64 / 1e9,
            seen: count(pair[1]) - count(pair[0]),
            expected: share_of as u64,
        }),
    }
}

/// Measured in messages that the pace makes due, a worker's share of a Poisson process has
/// exponential gaps with the mean `share_of`.
fn check_poisson(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Finding> {
    let counts: Vec<_> = intended_ns
        .iter()
        .map(|&time_ns| pace.count_after(time_ns as f64) / share_of as f64)
        .collect();
    let mut gaps: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.len() < FEWEST_GAPS {
        return Ok(());
    }
    let n = gaps.len() as f64;
    // Chernoff's bound on the mean of exponential gaps, on both sides. The distribution of
    // the gaps below would show a wrong rate too, but only with many more of them.
    let mean = gaps.iter().sum::<f64>() / n;
    if n * (mean - 1.0 - mean.ln()) > (2.0 / FALSE_ALARM).ln() {
        return Err(Finding::WrongArrivalRate {
            gaps: gaps.len() as u64,
            expected: mean * n,
        });
    }
    // Kolmogorov-Smirnov, with the bound of Dvoretzky, Kiefer, Wolfowitz and Massart. A gap
    // cut to whole nanoseconds is off by up to one, and so is its distribution function.
    let allowed = ((2.0 / FALSE_ALARM).ln() / (2.0 * n)).sqrt() + peak(pace) * 1e-9 / share_of as f64;
    gaps.sort_unstable_by(f64::total_cmp);
    let distance = distance_from_exponential(&gaps);
    match distance > allowed {
        false => Ok(()),
        true => Err(Finding::WrongGaps {
            gaps: gaps.len() as u64,
            distance,
            allowed,
        }),
    }
}

/// How many messages a pace makes due.
fn total(pace: &Pace) -> f64 {
    pace.count_after(pace.duration().as_secs_f64() * 1e9)
}

/// The highest rate of a pace, per second.
fn peak(pace: &Pace) -> f64 {
    let rates = pace.stages.iter().flat_map(|stage| [stage.from, stage.to]);
    rates.fold(0.0, f64::max)
}

/// The largest difference between the distribution function of a sorted sample and that of
/// the exponential distribution with mean 1.
fn distance_from_exponential(sorted: &[f64]) -> f64 {
    let n = sorted.len() as f64;
    let differences = sorted.iter().enumerate().map(|(below, gap)| {
        let expected = -(-gap).exp_m1();
        (expected - below as f64 / n).max((below + 1) as f64 / n - expected)
    });
    differences.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pacer::{Schedule, Share, Stage};

    const SEEDS: std::ops::Range<u64> = 0..200;

    /// Long enough that every share has more times than a test looks at.
    fn steady(arrivals: Arrivals) -> Pace {
        Pace {
            stages: vec![Stage::steady(Duration::from_secs(20), 20_000.0)],
            arrivals,
        }
    }

    /// A ramp up, a level and a ramp down to nothing.
    fn staged(arrivals: Arrivals) -> Pace {
        let stage = |seconds, from, to| Stage {
            duration: Duration::from_secs(seconds),
            from,
            to,
        };
        Pace {
            stages: vec![
                stage(10, 0.0, 30_000.0),
                stage(5, 7.0, 7.0),
                stage(600, 40_000.0, 0.0),
            ],
            arrivals,
        }
    }

    fn run(pace: &Pace, share: Share, seed: u64, skip: usize) -> Vec<u64> {
        Schedule::new(pace, share, seed).skip(skip).take(8000).collect()
    }

    fn alone(pace: &Pace, seed: u64) -> Vec<u64> {
        run(pace, Share { index: 0, of: 1 }, seed, 1000)
    }

    #[test]
    fn correct_schedules_pass() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            for pace in [steady(arrivals), staged(arrivals)] {
                for seed in SEEDS {
                    for of in [1, 2, 7] {
                        let index = seed as usize % of;
                        let times = run(&pace, Share { index, of }, seed, seed as usize * 300);
                        assert_eq!(check(&times, &pace, of), Ok(()), "{arrivals:?}, {seed}, {of}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_times_of_a_ramp_to_nothing_pass() {
        let pace = staged(Arrivals::Constant);
        let all = run(&pace, Share { index: 0, of: 100 }, 1, 119_000);
        assert!(all.len() > 1000);
        assert_eq!(check(&all, &pace, 100), Ok(()));
    }

    #[test]
    fn times_cut_off_by_the_window_pass() {
        // From a few to a few hundred gaps; the last one is always missing.
        let pace = steady(Arrivals::Poisson);
        for seed in 0..5000 {
            let window_ns = 1_000_000 * (1 + seed % 20);
            let times = Schedule::new(&pace, Share { index: 0, of: 1 }, seed);
            let times: Vec<_> = times.take_while(|&time_ns| time_ns < window_ns).collect();
            assert_eq!(check(&times, &pace, 1), Ok(()), "{seed}");
        }
    }

    #[test]
    fn a_rate_near_a_message_per_nanosecond_passes() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let pace = Pace {
                stages: vec![Stage::steady(Duration::from_secs(20), 1e8)],
                arrivals,
            };
            assert_eq!(check(&alone(&pace, 1), &pace, 1), Ok(()));
        }
    }

    #[test]
    fn too_few_times_pass() {
        let pace = steady(Arrivals::Poisson);
        for few in [0, 1, FEWEST_GAPS] {
            assert_eq!(check(&vec![7; few], &pace, 1), Ok(()));
        }
        assert!(check(&[7; FEWEST_GAPS + 1], &pace, 1).is_err());
        assert_eq!(check(&[7], &steady(Arrivals::Constant), 1), Ok(()));
    }

    /// Asserts that the test finds every seed's schedule wrong once it is changed like this.
    fn assert_found(pace: &Pace, change: impl Fn(Vec<u64>) -> Vec<u64>) {
        for seed in SEEDS {
            let times = change(alone(pace, seed));
            assert!(check(&times, pace, 1).is_err(), "{:?}, {seed}", pace.arrivals);
        }
    }

    #[test]
    fn bursts_are_found() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_found(&steady(arrivals), |times| {
                times
                    .chunks(4)
                    .flat_map(|some| vec![some[0]; some.len()])
                    .collect()
            });
        }
    }

    #[test]
    fn times_that_wait_for_answers_are_found() {
        // A tenth of the mean gap is added to each.
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_found(&steady(arrivals), |times| {
                times
                    .into_iter()
                    .zip(0..)
                    .map(|(time_ns, k)| time_ns + k * 5000)
                    .collect()
            });
        }
    }

    #[test]
    fn a_rate_that_is_a_tenth_off_is_found() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            for percent in [90, 110] {
                assert_found(&steady(arrivals), |times| {
                    times.into_iter().map(|time_ns| time_ns * percent / 100).collect()
                });
            }
        }
    }

    #[test]
    fn a_steady_schedule_for_a_ramp_is_found() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let level = alone(&steady(arrivals), 1);
            assert!(check(&level, &staged(arrivals), 1).is_err());
        }
    }

    #[test]
    fn constant_and_poisson_arrivals_are_told_apart() {
        let (constant, poisson) = (steady(Arrivals::Constant), steady(Arrivals::Poisson));
        for seed in SEEDS {
            assert!(check(&alone(&poisson, seed), &constant, 1).is_err());
        }
        let even = alone(&constant, 1);
        assert!(matches!(
            check(&even, &poisson, 1),
            Err(Finding::WrongGaps { .. })
        ));
        assert!(check(&even[..=FEWEST_GAPS], &poisson, 1).is_err());
    }

    #[test]
    fn another_number_of_workers_is_found() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let pace = steady(arrivals);
            assert!(check(&alone(&pace, 1), &pace, 2).is_err());
        }
    }

    #[test]
    fn one_missing_message_is_found() {
        let pace = steady(Arrivals::Constant);
        let mut times = alone(&pace, 1);
        let at = times.remove(100);
        let Err(Finding::UnevenArrivals {
            at_s,
            seen,
            expected: 1,
        }) = check(&times, &pace, 1)
        else {
            panic!("{:?}", check(&times, &pace, 1))
        };
        assert!(
            at_s < at as f64 / 1e9 && (seen - 2.0).abs() < 1e-3,
            "{at_s} {seen}"
        );
    }

    #[test]
    fn messages_all_at_once_have_no_rate() {
        let pace = steady(Arrivals::Poisson);
        let found = check(&[7; 100], &pace, 1);
        assert!(
            matches!(found, Err(Finding::WrongArrivalRate { gaps: 99, .. })),
            "{found:?}"
        );
    }
}
