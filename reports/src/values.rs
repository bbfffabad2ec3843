//! The values that servers are compared by: of each slice, or of a whole window.

use record::histogram::{self, Histogram, SAMPLES_BEYOND, quantile};
use record::{Cost, Load, Slice};

use crate::comparison::{Blocks, Turns};
use crate::metrics::{Metric, OfSlice};

/// A measured trial.
#[derive(Clone, Copy)]
pub struct MeasuredTrial<'a> {
    /// Its block.
    pub block: u32,
    /// What the generator measured.
    pub load: &'a Load,
    /// What the server used, if that is known.
    pub cost: Option<&'a Cost>,
    /// The slices of its window; empty if it was not sliced.
    pub slices: &'a [Slice],
}

impl MeasuredTrial<'_> {
    /// The smallest number of echoes in one of its slices; 0 without slices.
    fn fewest_echoes(&self) -> u64 {
        let echoes = self.load.intervals.iter().map(|interval| interval.echoes);
        echoes.min().unwrap_or(0)
    }

    /// A metric by turn; `None` if the trial does not have it.
    fn turns(&self, metric: &Metric, at_once: u32) -> Option<Turns> {
        let whole = || Some([(0, (metric.read)(self.load, self.cost)?)].into());
        if self.slices.is_empty() {
            return whole();
        }
        let slices = self.slices.iter().zip(&self.load.intervals);
        match metric.of_slice {
            OfSlice::None => whole(),
            OfSlice::Value(read) => slices
                .map(|(slice, interval)| Some((slice.turn, read(slice, interval)?)))
                .collect(),
            OfSlice::Quantile(q) => {
                let mut merged: std::collections::BTreeMap<u32, Histogram> = Default::default();
                for (slice, interval) in slices {
                    let sum = merged
                        .entry(slice.turn / at_once)
                        .or_insert_with(histogram::empty);
                    *sum += interval.latency.decode().ok()?;
                }
                // The last turns may be too few for a quantile.
                let turns = merged.into_iter();
                let turns: Turns = turns
                    .filter_map(|(turn, histogram)| Some((turn, quantile(&histogram, q)? as f64)))
                    .collect();
                match turns.is_empty() {
                    true => whole(),
                    false => Some(turns),
                }
            }
        }
    }
}

/// A metric of several servers by block and turn, so that they can be compared. Of a server that
/// does not have it in every trial, nothing.
pub fn values(servers: &[&[MeasuredTrial]], metric: &Metric) -> Vec<Blocks> {
    let at_once = match metric.of_slice {
        OfSlice::Quantile(q) => turns_at_once(servers, q),
        _ => 1,
    };
    let of_server = |trials: &&[MeasuredTrial]| {
        let blocks = trials.iter();
        let blocks: Option<Blocks> = blocks
            .map(|trial| Some((trial.block, trial.turns(metric, at_once)?)))
            .collect();
        blocks.unwrap_or_default()
    };
    servers.iter().map(of_server).collect()
}

/// How many turns have enough samples together for a quantile of each server.
fn turns_at_once(servers: &[&[MeasuredTrial]], q: f64) -> u32 {
    let needed = SAMPLES_BEYOND / (1.0 - q);
    let trials = servers.iter().flat_map(|trials| trials.iter());
    let fewest = trials.map(MeasuredTrial::fewest_echoes).min().unwrap_or(0);
    (needed / fewest.max(1) as f64).ceil().max(1.0) as u32
}
