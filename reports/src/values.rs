//! The values that servers are compared by: of each slice, or of a whole window.

use std::collections::BTreeSet;

use record::histogram::{self, Histogram, quantile};
use record::{Cost, Interval, Load, Slice};

use crate::comparison::{Blocks, Turns};
use crate::metrics::{Metric, OfSlice};

/// A slice of which other programs used more than this share is disturbed.
pub const DISTURBED: f64 = 0.1;

/// Disturbed slices of a server are left out of a block if at least this share of its slices remains.
const ENOUGH_SLICES: f64 = 0.5;

/// Whether other programs took so much of a slice that its values are not the servers' own.
pub fn is_disturbed(slice: &Slice) -> bool {
    slice.foreign_cpu.is_some_and(|share| share > DISTURBED)
}

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
    /// Whether only a lower bound of the whole window is known, which cannot be compared.
    fn is_bounded(&self, metric: &Metric) -> bool {
        (metric.read)(self.load, self.cost).is_some_and(|value| !value.is_exact())
    }

    fn whole(&self, metric: &Metric) -> Option<Turns> {
        let value = (metric.read)(self.load, self.cost).filter(|value| value.is_exact())?;
        Some([(0, value.value())].into())
    }

    /// The slices that were not disturbed; all if too few were not.
    fn quiet_slices(&self) -> impl Iterator<Item = (&Slice, &Interval)> {
        let quiet = self.slices.iter().filter(|slice| !is_disturbed(slice)).count();
        let is_enough = quiet as f64 >= ENOUGH_SLICES * self.slices.len() as f64;
        let all = self.slices.iter().zip(&self.load.intervals);
        all.filter(move |(slice, _)| !is_enough || !is_disturbed(slice))
    }
}

/// A metric of several servers by block and turn, so that they can be compared. Of a server that
/// does not have it in every trial, nothing.
pub fn values(servers: &[&[MeasuredTrial]], metric: &Metric) -> Vec<Blocks> {
    let trials = servers.iter().flat_map(|trials| trials.iter());
    let blocks: BTreeSet<u32> = trials.map(|trial| trial.block).collect();
    let mut found = vec![Some(Blocks::new()); servers.len()];
    for block in blocks {
        let own = |trials: &&[MeasuredTrial]| trials.iter().position(|trial| trial.block == block);
        let (places, trials): (Vec<usize>, Vec<&MeasuredTrial>) = { servers.iter().enumerate() }
            .filter_map(|(at, trials)| Some((at, &trials[own(trials)?])))
            .unzip();
        for (at, turns) in places.into_iter().zip(of_block(&trials, metric)) {
            found[at] = found[at].take().zip(turns).map(|(mut blocks, turns)| {
                blocks.insert(block, turns);
                blocks
            });
        }
    }
    found.into_iter().map(Option::unwrap_or_default).collect()
}

/// A metric of the trials of one block by turn.
fn of_block(trials: &[&MeasuredTrial], metric: &Metric) -> Vec<Option<Turns>> {
    let whole = || trials.iter().map(|trial| trial.whole(metric)).collect();
    if trials.iter().any(|trial| trial.slices.is_empty()) {
        return whole();
    }
    match metric.of_slice {
        OfSlice::None => whole(),
        OfSlice::Value(read) => {
            let value = |(slice, interval): (&Slice, &Interval)| Some((slice.turn, read(slice, interval)?));
            // A slice without a value leaves its turn out.
            let own = |trial: &&MeasuredTrial| -> Option<Turns> {
                let turns: Turns = trial.quiet_slices().filter_map(value).collect();
                (!turns.is_empty()).then_some(turns)
            };
            trials.iter().map(own).collect()
        }
        OfSlice::Quantile(q) => match quantiles(trials, q) {
            // Slices do not show what had no answer when the last of them ended.
            Some(turns) => { trials.iter().zip(turns) }
                .map(|(trial, turns)| (!trial.is_bounded(metric)).then_some(turns))
                .collect(),
            None => whole(),
        },
    }
}

/// A quantile by turn. Consecutive turns, the same for all servers, are taken together until each
/// server has enough samples; the last turns may be too few. `None` if all turns are.
fn quantiles(trials: &[&MeasuredTrial], q: f64) -> Option<Vec<Turns>> {
    let slices = trials.iter().flat_map(|trial| trial.slices);
    let turns: BTreeSet<u32> = slices.map(|slice| slice.turn).collect();
    let mut merged = vec![histogram::empty(); trials.len()];
    let mut found = vec![Turns::new(); trials.len()];
    for turn in turns {
        for (sum, trial) in merged.iter_mut().zip(trials) {
            for (_, interval) in trial.quiet_slices().filter(|(slice, _)| slice.turn == turn) {
                *sum += interval.latency.decode().ok()?;
            }
        }
        let values: Option<Vec<u64>> = merged.iter().map(|sum| quantile(sum, q)).collect();
        let Some(values) = values else { continue };
        for (turns, value) in found.iter_mut().zip(values) {
            turns.insert(turn, value as f64);
        }
        merged.iter_mut().for_each(Histogram::reset);
    }
    found.iter().all(|turns| !turns.is_empty()).then_some(found)
}
