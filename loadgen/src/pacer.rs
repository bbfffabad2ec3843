//! When to send: pure functions of time, no clock inside.
//!
//! A [`Pace`] is a rate over time, a [`Schedule`] the exact times. Neither depends on the answers,
//! so a slow answer does not delay the next message (coordinated omission).

use std::time::Duration;

use fastrand::Rng;

use record::Arrivals;

/// A time in which the rate changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// How long it lasts.
    pub duration: Duration,
    /// The rate at its start, per second.
    pub from: f64,
    /// The rate at its end, per second.
    pub to: f64,
}

/// A rate over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// The stages in order; there is at least one.
    pub stages: Vec<Stage>,
    /// How the times are drawn.
    pub arrivals: Arrivals,
}

/// A worker's part of a schedule: number `index` of `of`.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// From 0.
    pub index: usize,
    /// The number of workers.
    pub of: usize,
}

impl From<&record::Stage> for Stage {
    fn from(stage: &record::Stage) -> Self {
        Stage {
            duration: stage.duration.0,
            from: stage.from.per_second(),
            to: stage.to.per_second(),
        }
    }
}

impl Stage {
    /// A stage at one rate.
    pub fn steady(duration: Duration, rate: f64) -> Self {
        Stage {
            duration,
            from: rate,
            to: rate,
        }
    }

    fn seconds(&self) -> f64 {
        self.duration.as_secs_f64()
    }

    /// How much becomes due within its first `seconds`.
    fn count_after(&self, seconds: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds();
        (self.from + slope / 2.0 * seconds) * seconds
    }

    /// After how many seconds `count` has become due: the inverse, in the form that is
    /// exact for a slope of nothing too.
    fn seconds_until(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds();
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        match self.from + root {
            0.0 => 0.0,
            sum => 2.0 * count / sum,
        }
    }
}

impl Pace {
    /// How long all stages last together.
    pub fn duration(&self) -> Duration {
        self.stages.iter().map(|stage| stage.duration).sum()
    }

    /// Whether the rate is the same all the time.
    pub fn is_steady(&self) -> bool {
        let first = self.stages[0].from;
        self.stages
            .iter()
            .all(|stage| (stage.from, stage.to) == (first, first))
    }

    /// The first rate, without end: the pace of a warm-up.
    pub fn as_it_begins(&self) -> Self {
        let for_ever = Duration::from_secs(u32::MAX.into());
        Pace {
            stages: vec![Stage::steady(for_ever, self.stages[0].from)],
            arrivals: self.arrivals,
        }
    }

    /// How much is due within the first `time_ns`.
    pub fn count_after(&self, time_ns: f64) -> f64 {
        let mut left = time_ns / 1e9;
        let mut count = 0.0;
        for stage in &self.stages {
            let within = left.min(stage.seconds());
            count += stage.count_after(within);
            left -= within;
        }
        count
    }
}

/// The times at which something is due, in nanoseconds from the start; it ends with the
/// last stage.
///
/// The shares of all make up the whole: evenly spaced ones take turns, and Poisson
/// processes add up to one of the sum of their rates.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    share: Share,
    random: Rng,
    /// How much of the whole is due at the next time of this share.
    count: f64,
    /// The stage of that time, and what was due and how many seconds passed before the stage.
    stage: usize,
    count_before: f64,
    seconds_before: f64,
    drawn: u64,
}

impl Schedule {
    /// The schedule of one share. The same seed gives the same times.
    pub fn new(pace: &Pace, share: Share, seed: u64) -> Self {
        Schedule {
            pace: pace.clone(),
            share,
            random: own_random(seed, share.index),
            count: 0.0,
            stage: 0,
            count_before: 0.0,
            seconds_before: 0.0,
            drawn: 0,
        }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match self.pace.arrivals {
            // A sum would add up the rounding errors of hours.
            Arrivals::Constant => {
                self.count = self.drawn as f64 * self.share.of as f64 + self.share.index as f64
            }
            Arrivals::Poisson => self.count += exponential(&mut self.random) * self.share.of as f64,
        }
        self.drawn += 1;
        loop {
            let stage = self.pace.stages.get(self.stage)?;
            let of_stage = stage.count_after(stage.seconds());
            let count = self.count - self.count_before;
            if count < of_stage {
                let seconds = self.seconds_before + stage.seconds_until(count);
                return Some((seconds * 1e9) as u64);
            }
            self.count_before += of_stage;
            self.seconds_before += stage.seconds();
            self.stage += 1;
        }
    }
}

/// The random numbers of one share. Its seed is drawn too: adjacent seeds give correlated
/// numbers, and the shares would not add up to a Poisson process.
fn own_random(seed: u64, index: usize) -> Rng {
    let mut seeds = Rng::with_seed(seed);
    for _ in 0..index {
        seeds.u64(..);
    }
    seeds.fork()
}

/// A draw from the exponential distribution of mean 1, by inversion.
fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stage(seconds: f64, from: f64, to: f64) -> Stage {
        Stage {
            duration: Duration::from_secs_f64(seconds),
            from,
            to,
        }
    }

    #[test]
    fn the_count_of_a_ramp_is_the_area_below_it() {
        let ramp = stage(10.0, 1000.0, 3000.0);
        assert_eq!(ramp.count_after(0.0), 0.0);
        assert_eq!(ramp.count_after(5.0), 7500.0);
        assert_eq!(ramp.count_after(10.0), 20_000.0);
        let down = stage(4.0, 100.0, 0.0);
        assert_eq!(down.count_after(2.0), 150.0);
        assert_eq!(down.seconds_until(150.0), 2.0);
        assert_eq!(down.seconds_until(200.0), 4.0);
    }

    #[test]
    fn the_stages_of_a_pace_follow_each_other() {
        let pace = Pace {
            stages: vec![stage(1.0, 10.0, 10.0), stage(2.0, 10.0, 30.0)],
            arrivals: Arrivals::Constant,
        };
        let counts = [0.5, 1.0, 2.0, 3.0, 9.0].map(|seconds| pace.count_after(seconds * 1e9));
        assert_eq!(counts, [5.0, 10.0, 25.0, 50.0, 50.0]);
        assert_eq!(pace.duration(), Duration::from_secs(3));
        assert!(!pace.is_steady());
        assert!(pace.as_it_begins().is_steady());
        assert_eq!(pace.as_it_begins().count_after(60e9), 600.0);
    }

    proptest! {
        #[test]
        fn the_time_until_a_count_is_the_inverse_of_the_count_after_a_time(
            seconds in 1e-3..86_400.0f64,
            from in prop_oneof![Just(0.0), 1e-2..1e7f64],
            change in prop_oneof![Just(1.0), 0.9999..1.0001f64, 0.0..1e3f64],
            part in 0.0..1.0f64,
        ) {
            let ramp = stage(seconds, from, if from == 0.0 { change } else { from * change });
            let total = ramp.count_after(ramp.seconds());
            let count = total * part;
            let found = ramp.count_after(ramp.seconds_until(count));
            // What is left of a double after some ten operations on the largest number in them.
            prop_assert!((found - count).abs() <= 1e-14 * total, "{found} instead of {count} of {total}");
            prop_assert!((0.0..=ramp.seconds() * (1.0 + 1e-12)).contains(&ramp.seconds_until(count)));
        }
    }
}
