//! Whether the times at which messages were due follow the law that is claimed for them.
//!
//! The generator draws its own schedule, and this is what catches it when it does not keep
//! to it: a schedule that waits for answers, or sends in bursts, flatters the server.

use crate::pacer::Pace;
use record::Arrivals;

/// Fewer gaps than this say nothing: it is where the test below begins to tell even spacing
/// from a Poisson process.
const FEWEST_GAPS: usize = 20;

/// Chance of a false alarm of each of the two tests of a Poisson process, together one in a
/// million. They look at every worker of every load, which is thousands in a suite and in a
/// year of them perhaps a hundred thousand; an alarm then still means that the program is
/// wrong. Both bounds hold for any number of gaps, not only for large ones. The run may end
/// with the window instead of at a fixed number, which favours short gaps, but by a share
/// of 1/n, and the tests leave room for some 3/sqrt(n).
const FALSE_ALARM: f64 = 0.5e-6;

/// What rounding leaves of a double, of the largest number in a schedule: some ten
/// operations of half a unit each, with room to spare.
const ROUNDING: f64 = 32.0 * f64::EPSILON;

/// How a schedule is not what was claimed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Broken {
    /// Constant arrivals that are not evenly spaced.
    #[error(
        "the schedule is not evenly spaced: {seen:.3} messages became due between two of one worker, {at_s:.6} s \
         into the window, where {expected} should have: {REPORT}"
    )]
    Uneven {
        /// When it was, in seconds from the begin of the window.
        at_s: f64,
        /// How much became due over all workers, by the pace.
        seen: f64,
        /// How much should have.
        expected: usize,
    },
    /// Poisson arrivals that are too many or too few.
    #[error("{gaps} messages were due in the time of {expected:.0}, at random but at another rate: {REPORT}")]
    Rate {
        /// Gaps looked at.
        gaps: usize,
        /// How many there should have been in their time.
        expected: f64,
    },
    /// Poisson arrivals with other gaps.
    #[error(
        "the gaps of the schedule are not those of a Poisson process: their distribution is off by {distance:.3} \
         over {gaps} of them, where chance allows {allowed:.3}: {REPORT}"
    )]
    Gaps {
        /// Gaps looked at.
        gaps: usize,
        /// The largest difference of the two distribution functions.
        distance: f64,
        /// The largest that is put down to chance.
        allowed: f64,
    },
}

/// It is never the server's fault, nor that of the arguments.
const REPORT: &str = "this is an error in the load generator, so do not use the numbers; please report it with the \
                      command and its seed";

/// Tests the times at which messages of one worker were due, out of `share_of` workers.
///
/// They are nanoseconds from the begin of the pace, ascending, and a run without gaps out of
/// the worker's schedule, from wherever in it. Some thousands are enough: of random
/// gaps 8,000 tell a rate that is a tenth off, 2,000 that a tenth of the mean was added to each.
pub fn check(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Broken> {
    match pace.arrivals {
        Arrivals::Constant => check_even(intended_ns, pace, share_of),
        Arrivals::Poisson => check_poisson(intended_ns, pace, share_of),
    }
}

/// Between two times of a worker, each of the others has one too.
///
/// A time is cut to whole nanoseconds: what the pace makes of it is too little, by at most
/// what becomes due in a nanosecond.
fn check_even(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Broken> {
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
        Some(pair) => Err(Broken::Uneven {
            at_s: pair[0] as f64 / 1e9,
            seen: count(pair[1]) - count(pair[0]),
            expected: share_of,
        }),
    }
}

/// In the time that the pace makes, a worker's share of a Poisson process has gaps that are
/// exponential with the mean `share_of`.
fn check_poisson(intended_ns: &[u64], pace: &Pace, share_of: usize) -> Result<(), Broken> {
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
    // the gaps below would show a wrong rate too, but only over many more of them.
    let mean = gaps.iter().sum::<f64>() / n;
    if n * (mean - 1.0 - mean.ln()) > (2.0 / FALSE_ALARM).ln() {
        return Err(Broken::Rate {
            gaps: gaps.len(),
            expected: mean * n,
        });
    }
    // Kolmogorov-Smirnov, with the bound of Dvoretzky, Kiefer, Wolfowitz and Massart. A gap
    // cut to whole nanoseconds is off by one of them, and so is its distribution function.
    let allowed = ((2.0 / FALSE_ALARM).ln() / (2.0 * n)).sqrt() + peak(pace) * 1e-9 / share_of as f64;
    gaps.sort_unstable_by(f64::total_cmp);
    let distance = distance_from_exponential(&gaps);
    match distance > allowed {
        false => Ok(()),
        true => Err(Broken::Gaps {
            gaps: gaps.len(),
            distance,
            allowed,
        }),
    }
}

fn total(pace: &Pace) -> f64 {
    pace.count_after(pace.duration().as_secs_f64() * 1e9)
}

/// The highest rate of a pace, per second.
fn peak(pace: &Pace) -> f64 {
    let rates = pace.stages.iter().flat_map(|stage| [stage.from, stage.to]);
    rates.fold(0.0, f64::max)
}

/// The largest difference between the distribution function of a sorted sample and that of
/// the exponential distribution of mean 1.
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

    /// Long enough that every share has more than are looked at.
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
    fn true_schedules_pass() {
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
    fn times_that_a_window_ends_pass() {
        // From a few to a few hundred gaps, of which the last is always missing.
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
    fn too_few_to_tell_pass() {
        let pace = steady(Arrivals::Poisson);
        for few in [0, 1, FEWEST_GAPS] {
            assert_eq!(check(&vec![7; few], &pace, 1), Ok(()));
        }
        assert!(check(&[7; FEWEST_GAPS + 1], &pace, 1).is_err());
        assert_eq!(check(&[7], &steady(Arrivals::Constant), 1), Ok(()));
    }

    /// Whether every seed's schedule, changed like this, is broken.
    fn assert_broken(pace: &Pace, change: impl Fn(Vec<u64>) -> Vec<u64>) {
        for seed in SEEDS {
            let times = change(alone(pace, seed));
            assert!(check(&times, pace, 1).is_err(), "{:?}, {seed}", pace.arrivals);
        }
    }

    #[test]
    fn bursts_are_broken() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_broken(&steady(arrivals), |times| {
                times
                    .chunks(4)
                    .flat_map(|some| vec![some[0]; some.len()])
                    .collect()
            });
        }
    }

    #[test]
    fn times_that_wait_for_answers_are_broken() {
        // A tenth of the mean gap is added to each.
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            assert_broken(&steady(arrivals), |times| {
                times
                    .into_iter()
                    .zip(0..)
                    .map(|(time_ns, k)| time_ns + k * 5000)
                    .collect()
            });
        }
    }

    #[test]
    fn a_rate_that_is_a_tenth_off_is_broken() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            for percent in [90, 110] {
                assert_broken(&steady(arrivals), |times| {
                    times.into_iter().map(|time_ns| time_ns * percent / 100).collect()
                });
            }
        }
    }

    #[test]
    fn a_steady_schedule_for_a_ramp_is_broken() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let level = alone(&steady(arrivals), 1);
            assert!(check(&level, &staged(arrivals), 1).is_err());
        }
    }

    #[test]
    fn one_law_claimed_as_the_other_is_broken() {
        let (constant, poisson) = (steady(Arrivals::Constant), steady(Arrivals::Poisson));
        for seed in SEEDS {
            assert!(check(&alone(&poisson, seed), &constant, 1).is_err());
        }
        let even = alone(&constant, 1);
        assert!(matches!(check(&even, &poisson, 1), Err(Broken::Gaps { .. })));
        assert!(check(&even[..=FEWEST_GAPS], &poisson, 1).is_err());
    }

    #[test]
    fn another_number_of_workers_is_broken() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let pace = steady(arrivals);
            assert!(check(&alone(&pace, 1), &pace, 2).is_err());
        }
    }

    #[test]
    fn one_message_that_is_missing_is_broken() {
        let pace = steady(Arrivals::Constant);
        let mut times = alone(&pace, 1);
        let at = times.remove(100);
        let Err(Broken::Uneven {
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
    fn what_is_broken_is_said_with_what_to_do() {
        let pace = steady(Arrivals::Poisson);
        let text = check(&[7; 100], &pace, 1).unwrap_err().to_string();
        assert!(text.contains("99 messages were due in the time of 0"), "{text}");
        assert!(text.contains("report it with the command and its seed"), "{text}");
    }
}
