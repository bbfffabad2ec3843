//! Statistical tests of schedules, on the intended send times alone.
//!
//! A test at the 1% level rejects a correct schedule once in a hundred times. Each test runs with
//! a hundred fixed seeds, of which a few may be rejected; a wrong schedule is rejected with all.

use std::time::Duration;

use loadgen::pacer::{Pace, Schedule, Share, Stage};
use proptest::prelude::*;
use record::Arrivals;

const SEEDS: std::ops::Range<u64> = 0..100;

/// More rejections than this happen to a correct schedule once in 2,000 times.
const FEW: usize = 5;

/// Gaps in each sample.
const GAPS: usize = 2000;

/// Per second: low enough that no gap is below a nanosecond, which the logarithm in
/// Anderson-Darling would magnify. The distribution does not depend on the scale.
const RATE: f64 = 10.0;

/// Workers that share a schedule.
const WORKERS: usize = 4;

fn steady(seconds: u64, rate: f64, arrivals: Arrivals) -> Pace {
    Pace {
        stages: vec![Stage::steady(Duration::from_secs(seconds), rate)],
        arrivals,
    }
}

/// Long enough for [`GAPS`] of [`WORKERS`] at [`RATE`].
fn poisson() -> Pace {
    steady(3600, RATE, Arrivals::Poisson)
}

/// Up, level, down to nearly nothing, and on: 12,000 in all.
fn staged(arrivals: Arrivals) -> Pace {
    let stage = |seconds, from, to| Stage {
        duration: Duration::from_secs(seconds),
        from,
        to,
    };
    Pace {
        stages: vec![
            stage(600, 1.0, 9.0),
            stage(300, 10.0, 10.0),
            stage(300, 10.0, 0.0),
            stage(900, 5.0, 5.0),
        ],
        arrivals,
    }
}

fn alone(pace: &Pace, seed: u64) -> Schedule {
    Schedule::new(pace, Share { index: 0, of: 1 }, seed)
}

/// The times of all workers together.
fn union(pace: &Pace, seed: u64) -> Vec<u64> {
    let share = |index| Share { index, of: WORKERS };
    let mut times: Vec<_> = (0..WORKERS)
        .flat_map(|index| Schedule::new(pace, share(index), seed))
        .collect();
    times.sort_unstable();
    times
}

/// The gaps of the first times in counts of the pace, in which a Poisson process has the
/// rate 1 whatever its pace.
fn gaps(pace: &Pace, times: impl IntoIterator<Item = u64>) -> Vec<f64> {
    let counts = times.into_iter().map(|time_ns| pace.count_after(time_ns as f64));
    let gaps: Vec<_> = counts
        .scan(0.0, |before, count| {
            Some(count - std::mem::replace(before, count))
        })
        .take(GAPS)
        .collect();
    assert_eq!(gaps.len(), GAPS);
    gaps
}

/// Whether a sample is not from the exponential distribution of mean 1, at the 1% level.
type Test = fn(Vec<f64>) -> bool;

const TESTS: [(&str, Test); 2] = [
    ("Kolmogorov-Smirnov", kolmogorov_smirnov),
    ("Anderson-Darling", anderson_darling),
];

fn sorted(mut sample: Vec<f64>) -> Vec<f64> {
    sample.sort_unstable_by(f64::total_cmp);
    sample
}

/// With the critical value and the correction for the size of the sample of M. A. Stephens,
/// "EDF Statistics for Goodness of Fit and Some Comparisons", 1974, table 1A.
fn kolmogorov_smirnov(sample: Vec<f64>) -> bool {
    let n = sample.len() as f64;
    let distance = sorted(sample)
        .iter()
        .enumerate()
        .map(|(below, x)| {
            let expected = -(-x).exp_m1();
            (expected - below as f64 / n).max((below + 1) as f64 / n - expected)
        })
        .fold(0.0, f64::max);
    distance * (n.sqrt() + 0.12 + 0.11 / n.sqrt()) > 1.628
}

/// With the critical value of the same table.
fn anderson_darling(sample: Vec<f64>) -> bool {
    let sample = sorted(sample);
    let n = sample.len();
    let sum: f64 = (0..n)
        .map(|i| (2 * i + 1) as f64 * ((-(-sample[i]).exp_m1()).ln() - sample[n - 1 - i]))
        .sum();
    -sum / n as f64 - n as f64 > 3.857
}

/// Whether the variance of the counts in windows is not their mean, as it is for a Poisson
/// process, at the 1% level: the index of dispersion, whose standard deviation is the root of 2/n.
fn dispersed_otherwise(times: &[u64], pace: &Pace) -> bool {
    const PER_WINDOW: f64 = 10.0;
    let total = pace.count_after(pace.duration().as_nanos() as f64);
    let mut counts = vec![0.0; (total / PER_WINDOW).round() as usize];
    for &time_ns in times {
        counts[(pace.count_after(time_ns as f64) / PER_WINDOW) as usize] += 1.0;
    }
    let n = counts.len() as f64;
    let mean = counts.iter().sum::<f64>() / n;
    let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (variance / mean - 1.0).abs() > 2.576 * (2.0 / (n - 1.0)).sqrt()
}

fn rejected(is_rejected: impl Fn(u64) -> bool) -> usize {
    SEEDS.filter(|&seed| is_rejected(seed)).count()
}

fn assert_exponential(sample: impl Fn(u64) -> Vec<f64>) {
    for (name, test) in TESTS {
        let rejected = rejected(|seed| test(sample(seed)));
        assert!(rejected <= FEW, "{name} rejects {rejected} of {SEEDS:?}");
    }
}

fn assert_not_exponential(sample: impl Fn(u64) -> Vec<f64>) {
    for (name, test) in TESTS {
        assert_eq!(rejected(|seed| test(sample(seed))), SEEDS.count(), "{name}");
    }
}

#[test]
fn the_gaps_of_a_poisson_schedule_are_exponential() {
    assert_exponential(|seed| gaps(&poisson(), alone(&poisson(), seed)));
}

#[test]
fn the_gaps_of_each_share_are_exponential() {
    let share = Share {
        index: WORKERS - 1,
        of: WORKERS,
    };
    assert_exponential(|seed| {
        let of_all = gaps(&poisson(), Schedule::new(&poisson(), share, seed));
        of_all.iter().map(|gap| gap / WORKERS as f64).collect()
    });
}

#[test]
fn the_shares_of_a_poisson_schedule_add_up_to_one() {
    assert_exponential(|seed| gaps(&poisson(), union(&poisson(), seed)));
    let rejected = rejected(|seed| dispersed_otherwise(&union(&poisson(), seed), &poisson()));
    assert!(rejected <= FEW, "{rejected}");
}

#[test]
fn shares_and_neighbouring_seeds_are_independent() {
    let draws = |index: usize, seed| {
        let share = Share { index, of: WORKERS };
        gaps(&poisson(), Schedule::new(&poisson(), share, seed))
            .into_iter()
            .map(|gap| gap / WORKERS as f64 - 1.0)
    };
    // A draw less its mean has the variance 1, so a sum of n products has the variance n.
    let correlated = |one: (usize, u64), other: (usize, u64)| {
        let sum: f64 = draws(one.0, one.1)
            .zip(draws(other.0, other.1))
            .map(|(a, b)| a * b)
            .sum();
        sum.abs() > 2.576 * (GAPS as f64).sqrt()
    };
    for (name, index, further) in [
        ("neighbouring shares", 1, 0),
        ("distant shares", WORKERS - 1, 0),
        ("the same share with the next seed", 0, 1),
    ] {
        let rejected = rejected(|seed| correlated((0, seed), (index, seed + further)));
        assert!(rejected <= FEW, "{name}: {rejected}");
    }
    let rejected = rejected(|seed| correlated((1, seed), (0, seed + 1)));
    assert!(
        rejected <= FEW,
        "a share and its neighbour with the next seed: {rejected}"
    );
}

#[test]
fn a_poisson_schedule_of_changing_rate_is_one_in_the_time_that_its_pace_makes() {
    let pace = staged(Arrivals::Poisson);
    assert_exponential(|seed| gaps(&pace, alone(&pace, seed)));
    assert_exponential(|seed| gaps(&pace, union(&pace, seed)));
    let rejected = rejected(|seed| dispersed_otherwise(&union(&pace, seed), &pace));
    assert!(rejected <= FEW, "{rejected}");
}

#[test]
fn the_distribution_is_the_same_at_the_rates_of_a_load() {
    let pace = steady(10, 200_000.0, Arrivals::Poisson);
    let rejected = rejected(|seed| kolmogorov_smirnov(gaps(&pace, alone(&pace, seed))));
    assert!(rejected <= FEW, "{rejected}");
}

#[test]
fn gaps_that_are_too_regular_are_rejected() {
    // Every second time of twice the rate: gaps from a gamma distribution of shape 2.
    let twice = steady(3600, 2.0 * RATE, Arrivals::Poisson);
    assert_not_exponential(|seed| gaps(&poisson(), alone(&twice, seed).skip(1).step_by(2)));
    assert_not_exponential(|seed| gaps(&poisson(), alone(&steady(3600, RATE, Arrivals::Constant), seed)));
}

#[test]
fn a_schedule_that_waits_for_answers_is_rejected() {
    // Each time is the intended one plus the latencies of all earlier messages.
    const LATENCY_NS: u64 = 20_000_000;
    assert_not_exponential(|seed| {
        let after_answers = alone(&poisson(), seed)
            .zip(1..)
            .map(|(time_ns, answers)| time_ns + answers * LATENCY_NS);
        gaps(&poisson(), after_answers)
    });
}

#[test]
fn a_rate_that_is_a_fifth_off_is_rejected() {
    for wrong in [0.8, 1.2] {
        let other = steady(3600, RATE * wrong, Arrivals::Poisson);
        assert_not_exponential(|seed| gaps(&poisson(), alone(&other, seed)));
    }
}

#[test]
fn shares_that_are_synchronised_are_rejected() {
    // Each share is a Poisson schedule, but all of them the same one: bursts.
    let quarter = steady(3600, RATE / WORKERS as f64, Arrivals::Poisson);
    let bursts = rejected(|seed| {
        let times: Vec<_> = alone(&quarter, seed).flat_map(|time| [time; WORKERS]).collect();
        dispersed_otherwise(&times, &poisson())
    });
    let even = rejected(|seed| {
        let times = union(&steady(3600, RATE, Arrivals::Constant), seed);
        dispersed_otherwise(&times, &poisson())
    });
    assert_eq!([bursts, even], [SEEDS.count(); 2]);
}

#[test]
fn the_same_seed_gives_the_same_times_and_another_seed_others() {
    let first = |index, seed| {
        let share = Share { index, of: WORKERS };
        Schedule::new(&poisson(), share, seed)
            .take(10)
            .collect::<Vec<_>>()
    };
    for seed in SEEDS {
        for index in 0..WORKERS {
            assert_eq!(first(index, seed), first(index, seed));
            for other in 0..WORKERS {
                assert_ne!(first(index, seed), first(other, seed + 1));
                assert!(index == other || first(index, seed) != first(other, seed));
            }
        }
    }
}

#[test]
fn evenly_spaced_times_do_not_drift_in_hours() {
    const SHARES: usize = 1000;
    const RATES: [u64; 3] = [20_000, 30_000, 70_001];
    for rate in RATES {
        let pace = steady(3 * 3600, rate as f64, Arrivals::Constant);
        for index in [0, 1, SHARES - 1] {
            // One share of a thousand: every thousandth time, up to the last.
            let times = Schedule::new(&pace, Share { index, of: SHARES }, 1);
            let mut due = 0;
            for (k, time_ns) in (index as u128..).step_by(SHARES).zip(times) {
                let exact_ns = (k * 1_000_000_000 / u128::from(rate)) as u64;
                assert!(
                    time_ns.abs_diff(exact_ns) <= 1,
                    "{k} at {rate}/s: {time_ns}, not {exact_ns}"
                );
                due += 1;
            }
            assert_eq!(due, (3 * 3600 * rate as usize - index).div_ceil(SHARES));
        }
    }
}

/// A pace of one to four stages, for some 10,000 times at most.
fn paces() -> impl Strategy<Value = Pace> {
    let rate = prop_oneof![Just(0.0), 1.0..2000.0f64];
    let stage = (1u64..1500, rate.clone(), rate, any::<bool>()).prop_map(|(millis, from, to, level)| Stage {
        duration: Duration::from_millis(millis),
        from,
        to: if level { from } else { to },
    });
    prop::collection::vec(stage, 1..5).prop_map(|stages| Pace {
        stages,
        arrivals: Arrivals::Constant,
    })
}

proptest! {
    #[test]
    fn the_gaps_of_an_even_schedule_are_equal(rate in 0.1..1e6f64, seed: u64) {
        let pace = steady(86_400, rate, Arrivals::Constant);
        let times: Vec<_> = alone(&pace, seed).take(1000).collect();
        prop_assert_eq!(times[0], 0);
        for pair in times.windows(2) {
            let gap_ns = (pair[1] - pair[0]) as f64;
            prop_assert!((gap_ns - 1e9 / rate).abs() <= 1.0, "{} at {}/s", gap_ns, rate);
        }
    }

    #[test]
    fn the_shares_of_an_even_schedule_are_the_whole(pace in paces(), workers in 1usize..9, seed: u64) {
        let mut times: Vec<_> = (0..workers)
            .flat_map(|index| Schedule::new(&pace, Share { index, of: workers }, seed))
            .collect();
        times.sort_unstable();
        prop_assert_eq!(times, alone(&pace, seed).collect::<Vec<_>>());
    }

    #[test]
    fn as_many_are_due_as_the_area_below_the_rate(pace in paces(), seed: u64) {
        let area: f64 = pace
            .stages
            .iter()
            .map(|stage| (stage.from + stage.to) / 2.0 * stage.duration.as_secs_f64())
            .sum();
        let due = alone(&pace, seed).count() as f64;
        // One is due at 0 already.
        prop_assert!((area - 1e-6..area + 1.0 + 1e-6).contains(&due), "{} of {}", due, area);
        for (k, time_ns) in alone(&pace, seed).enumerate() {
            let count = pace.count_after(time_ns as f64);
            // A nanosecond at the highest rate here.
            prop_assert!((count - k as f64).abs() < 2000.0 * 1e-9 + 1e-6, "{} at {} ns: {}", k, time_ns, count);
        }
    }

    #[test]
    fn a_poisson_schedule_has_as_many_on_average_and_ends_with_its_pace(pace in paces(), seed: u64) {
        let pace = Pace { arrivals: Arrivals::Poisson, ..pace };
        let expected = pace.count_after(pace.duration().as_nanos() as f64);
        let times: Vec<_> = alone(&pace, seed).collect();
        // Six standard deviations, and what the skewness of a small mean adds to them.
        let difference = (times.len() as f64 - expected).abs();
        prop_assert!(difference <= 6.0 * expected.sqrt() + 12.0, "{} of {}", times.len(), expected);
        prop_assert!(times.is_sorted());
        prop_assert!(times.iter().all(|&time_ns| u128::from(time_ns) < pace.duration().as_nanos()));
    }
}
