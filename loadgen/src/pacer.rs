//! When to send: pure functions of time, no clock inside.
//!
//! A [`Pace`] says how often something is due, a [`Schedule`] when exactly. Neither knows
//! what became of what was due before: that is what keeps a slow answer from delaying the
//! next question (coordinated omission).

use std::time::Duration;

use fastrand::Rng;

use crate::record::{Arrivals, StageRecord};
use crate::units::{self, UnitError};

/// A time in which the rate goes evenly from one to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// How long it lasts.
    pub duration: Duration,
    /// The rate at its begin, per second.
    pub from: f64,
    /// The rate at its end, per second.
    pub to: f64,
}

/// How often something is due over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// One after the other; there is at least one.
    pub stages: Vec<Stage>,
    /// How the times are drawn.
    pub arrivals: Arrivals,
}

/// Which part of what is due is somebody's own: number `index` of `of`.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// From 0.
    pub index: usize,
    /// How many share.
    pub of: usize,
}

/// Why a text does not describe stages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// Not `TIME@RATE`.
    #[error(
        "`{0}` is not a stage: give a time and a rate, such as 30s@50k/s, or a ramp, such as 10s@1k/s..50k/s"
    )]
    Form(String),
    /// The time or a rate is wrong.
    #[error("in the stage `{stage}`: {error}")]
    Unit {
        /// The stage.
        stage: String,
        /// What is wrong with it.
        error: UnitError,
    },
    /// A stage of no time.
    #[error("the stage `{0}` has no time: give it more than 0s")]
    NoTime(String),
}

/// Stages as they are typed: `10s@10k/s,30s@50k/s`, with ramps as `10s@1k/s..50k/s`.
pub fn stages(text: &str) -> Result<Vec<Stage>, StageError> {
    text.split(',').map(str::trim).map(stage).collect()
}

fn stage(text: &str) -> Result<Stage, StageError> {
    let wrong = |error| StageError::Unit {
        stage: text.into(),
        error,
    };
    let (time, rates) = text
        .split_once('@')
        .ok_or_else(|| StageError::Form(text.into()))?;
    let (from, to) = rates.split_once("..").unwrap_or((rates, rates));
    let duration = units::time(time).map_err(wrong)?;
    if duration.is_zero() {
        return Err(StageError::NoTime(text.into()));
    }
    Ok(Stage {
        duration,
        from: units::rate(from).map_err(wrong)?,
        to: units::rate(to).map_err(wrong)?,
    })
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

    /// The rate of the begin, for ever: what a warm-up is run at.
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

    /// The stages in the plain numbers of the schema.
    pub fn record(&self) -> Vec<StageRecord> {
        let plain = |stage: &Stage| StageRecord {
            duration_s: stage.seconds(),
            from_per_s: stage.from,
            to_per_s: stage.to,
        };
        self.stages.iter().map(plain).collect()
    }
}

/// The times at which something is due, in nanoseconds from the begin; it ends with the
/// last stage.
///
/// The shares of all make up the whole: evenly spaced ones take turns, and Poisson
/// processes add up to one of the sum of their rates.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    share: Share,
    random: Rng,
    /// What of the whole has become due, at the next time that is this share's.
    count: f64,
    /// The stage that holds it, what was due and how many seconds had passed before that.
    stage: usize,
    count_before: f64,
    seconds_before: f64,
    drawn: u64,
}

impl Schedule {
    /// The schedule of one who shares a pace with others. The same seed gives the same times.
    pub fn new(pace: &Pace, share: Share, seed: u64) -> Self {
        Schedule {
            pace: pace.clone(),
            share,
            random: Rng::with_seed(seed.wrapping_add(share.index as u64)),
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
            // By multiplication: adding up would let the rounding errors of hours add up too.
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

/// A draw from the exponential distribution of mean 1, by inversion.
fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}
