//! All servers of a verdict compared with each other, with simultaneous intervals.
//!
//! In each turn of a block every server was measured within a fraction of a second, so the noise
//! of the machine is common to them. Within a block two servers differ by the median, over the turns that
//! both have, of the difference of their logarithms, which passes over disturbed slices. A server's score is the
//! mean of its differences from all servers (Spjøtvoll's estimate), so that scores have an order; its
//! mean over blocks is the effect. The block is the level of replication, with its fresh processes.
//!
//! The width of the intervals comes from the largest difference of any two servers, in units of its
//! standard error, that appears when the names of the servers are exchanged at random within each
//! block. Servers that are clearly worse than the best are then set aside, and the rest is compared
//! again among themselves (a step-down test), so that many slow servers, which vary more, do not
//! hide how the fast ones differ. Claims of a difference are still wrong in at most the same share of
//! verdicts: servers that equal the best are all there in each step that could wrong one of them.

use std::collections::BTreeMap;

use fastrand::Rng;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::metrics::Better;
use crate::stats::{ConfidenceInterval, Estimate};

/// The values of one metric for one server in a block, by turn. A window that was not sliced is
/// one turn.
pub type Turns = BTreeMap<u32, f64>;

/// The values of one metric for one server, by block.
pub type Blocks = BTreeMap<u32, Turns>;

/// How often a verdict on equal servers may claim any difference.
pub const ERROR_RATE: f64 = 0.05;

/// Random exchanges of names. The seed is fixed: the same records give the same report.
const EXCHANGES: usize = 2000;
const SEED: u64 = 0x5EED;

/// Few blocks estimate the variance of a pair badly, so it is drawn towards the mean over all
/// pairs, as if that had been seen in this many more blocks (a moderated t statistic).
const PRIOR_BLOCKS: f64 = 4.0;

/// Exchanging residuals instead of values keeps real differences out of the width, but is not exact: by
/// simulation it errs up to a fifth more often than it should, where servers differ in noise or
/// blocks are few. So it aims lower.
const AIM: f64 = 0.8;

/// Servers compared over the blocks that all of them have.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The score of each server by block: the logarithm of its value relative to the others.
    blocks: Vec<Vec<f64>>,
    /// Its mean over blocks.
    means: Vec<f64>,
    error_rate: f64,
}

impl Comparison {
    /// Compares servers. With a probability of `error_rate` it calls any two different that are equal. `None` if no block has values of all of them, or a value has no logarithm.
    pub fn of(servers: &[&Blocks], error_rate: f64) -> Option<Self> {
        let common = servers.first()?.keys().copied();
        let is_common = |block: &u32| servers.iter().all(|blocks| blocks.contains_key(block));
        let scores: Option<Vec<Vec<f64>>> = common
            .filter(is_common)
            .map(|block| {
                let turns: Vec<&Turns> = servers.iter().map(|blocks| &blocks[&block]).collect();
                scores_of_block(&turns)
            })
            .collect();
        let blocks = scores.filter(|scores| !scores.is_empty())?;
        Some(Comparison {
            means: means(&blocks),
            blocks,
            error_rate,
        })
    }

    /// The index of the best server.
    pub fn best(&self, better: Better) -> usize {
        let all = 0..self.means.len();
        let ahead = |&one: &usize, &other: &usize| {
            let order = self.means[one].total_cmp(&self.means[other]);
            match better {
                Better::Higher => order,
                Better::Lower => order.reverse(),
            }
        };
        // The first of those that are equal.
        all.rev().max_by(ahead).expect("there is a server")
    }

    /// The value of each server divided by that of the best.
    pub fn ratios_to(&self, best: usize) -> Vec<Estimate> {
        let standings = self.standings(best).into_iter();
        standings.map(|standing| standing.ratio).collect()
    }

    /// How each server compares with the best.
    pub fn standings(&self, best: usize) -> Vec<Standing> {
        let all = 0..self.means.len();
        let mut standings: Vec<Standing> = { all.clone() }
            .map(|server| Standing {
                ratio: self.ratio(server, best, None),
                is_apart: false,
            })
            .collect();
        let steps = self.steps(best);
        for step in &steps {
            for &server in step.servers.iter().filter(|&&server| server != best) {
                let half = step.half_width(server, best);
                standings[server].ratio = self.ratio(server, best, Some(half));
            }
        }
        let near = steps.last().map_or(&[][..], |step| &step.near);
        for server in all.filter(|server| !near.contains(server)) {
            let own = steps.iter().rfind(|step| step.servers.contains(&server));
            let is_behind = |step: &Step, other: usize| {
                let (ahead, lead) = (
                    self.means[best] - self.means[server],
                    self.means[other] - self.means[server],
                );
                ahead.signum() == lead.signum() && lead.abs() > step.half_width(server, other)
            };
            standings[server].is_apart =
                own.is_some_and(|step| near.iter().all(|&other| is_behind(step, other)));
        }
        standings
    }

    /// The steps of the test, each without the servers that the one before has told apart from the best.
    fn steps(&self, best: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut open: Vec<usize> = (0..self.means.len()).collect();
        while open.len() > 1 {
            let Some(mut step) = Step::of(&self.blocks, &open, self.error_rate) else {
                break;
            };
            let distance = |server: usize| (self.means[server] - self.means[best]).abs();
            let is_near =
                |&server: &usize| server == best || distance(server) <= step.half_width(server, best);
            step.near = open.iter().copied().filter(is_near).collect();
            let near = step.near.clone();
            let is_last = near.len() == open.len();
            steps.push(step);
            if is_last {
                break;
            }
            open = near;
        }
        steps
    }

    /// With half the width of its interval, as a logarithm.
    fn ratio(&self, one: usize, other: usize, half: Option<f64>) -> Estimate {
        let difference = self.means[one] - self.means[other];
        let interval = half.map(|half| ConfidenceInterval {
            low: (difference - half).exp(),
            high: (difference + half).exp(),
        });
        Estimate {
            value: difference.exp(),
            interval: interval.filter(|ends| ends.low.is_finite() && ends.high.is_finite()),
            samples: self.blocks.len(),
            at_least: false,
        }
    }
}

/// How a server compares with the best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Its value divided by that of the best.
    pub ratio: Estimate,
    /// Whether it is behind the best and behind every server that was not told apart from the best, so
    /// that it can be left out of further blocks.
    pub is_apart: bool,
}

/// What is known of the differences of some of the servers.
#[derive(Debug)]
struct Step {
    /// The indices of the servers.
    servers: Vec<usize>,
    /// Those of them that are not told apart from the best, and the best.
    near: Vec<usize>,
    /// The standard error of the difference of each pair.
    errors: Pairs,
    /// How many standard errors an interval extends to each side.
    critical: f64,
}

impl Step {
    /// `None` with one block.
    fn of(blocks: &[Vec<f64>], servers: &[usize], error_rate: f64) -> Option<Self> {
        let own = |block: &Vec<f64>| servers.iter().map(|&server| block[server]).collect();
        let blocks: Vec<Vec<f64>> = blocks.iter().map(own).collect();
        (blocks.len() > 1).then_some(())?;
        Some(Step {
            servers: servers.to_vec(),
            near: Vec::new(),
            errors: standard_errors(&blocks),
            critical: critical(&blocks, &means(&blocks), error_rate)?,
        })
    }

    fn half_width(&self, one: usize, other: usize) -> f64 {
        let place = |server| self.servers.iter().position(|&own| own == server);
        let error = place(one)
            .zip(place(other))
            .map(|(one, other)| self.errors.of(one, other));
        match error.expect("both are in this step") {
            0.0 => 0.0,
            error => self.critical * error,
        }
    }
}

/// A number for each pair of servers.
#[derive(Debug, Clone, PartialEq)]
struct Pairs {
    servers: usize,
    /// By the first server and the second, row by row.
    values: Vec<f64>,
}

impl Pairs {
    fn of(&self, one: usize, other: usize) -> f64 {
        self.values[one * self.servers + other]
    }
}

/// The value of a server in each of its blocks, as a logarithm: the median over turns. `None` if a value
/// has no logarithm.
pub fn levels(server: &Blocks) -> Option<Vec<f64>> {
    let level = |turns: &Turns| Some(median(&mut logarithms(turns)?.into_values().collect::<Vec<_>>()));
    server.values().map(level).collect()
}

/// By how much a server differs from others on average, as a logarithm, in each block that all of them
/// have. `None` if a value has no logarithm, or the server has no turn in common with one of the others.
pub fn differences(server: &Blocks, others: &[&Blocks]) -> Option<Vec<f64>> {
    let is_common = |block: &&u32| others.iter().all(|blocks| blocks.contains_key(block));
    let of_block = |block: &u32| {
        let from = |other: &&Blocks| {
            let scores = scores_of_block(&[&server[block], &other[block]])?;
            Some(scores[0] - scores[1])
        };
        let sum: Option<f64> = others.iter().map(from).sum();
        Some(sum? / others.len() as f64)
    };
    server.keys().filter(is_common).map(of_block).collect()
}

/// `None` if a value has none.
fn logarithms(turns: &Turns) -> Option<Turns> {
    let log = |(&turn, &value): (&u32, &f64)| {
        let has_log = value.is_finite() && value > 0.0;
        has_log.then(|| (turn, value.ln()))
    };
    turns.iter().map(log).collect()
}

/// The score of each server in a block. `None` if a value has no logarithm, or two servers have no
/// turn in common.
fn scores_of_block(servers: &[&Turns]) -> Option<Vec<f64>> {
    let logs: Option<Vec<Turns>> = servers.iter().map(|turns| logarithms(turns)).collect();
    let logs = logs?;
    let score = |own: &Turns| {
        let from = |other: &Turns| {
            let common = own.iter().filter_map(|(turn, own)| Some(own - other.get(turn)?));
            let mut differences: Vec<f64> = common.collect();
            (!differences.is_empty()).then(|| median(&mut differences))
        };
        let differences: Option<Vec<f64>> = logs.iter().map(from).collect();
        Some(differences?.iter().sum::<f64>() / logs.len() as f64)
    };
    logs.iter().map(score).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// The mean of each server over blocks.
fn means(blocks: &[Vec<f64>]) -> Vec<f64> {
    let mut sums = vec![0.0; blocks[0].len()];
    for block in blocks {
        for (sum, score) in sums.iter_mut().zip(block) {
            *sum += score;
        }
    }
    sums.iter().map(|sum| sum / blocks.len() as f64).collect()
}

/// The standard error of the mean difference of each pair.
fn standard_errors(blocks: &[Vec<f64>]) -> Pairs {
    let (count, servers) = (blocks.len() as f64, blocks[0].len());
    let means = means(blocks);
    let mut squares = vec![0.0; servers * servers];
    for block in blocks {
        for one in 0..servers {
            let own = block[one] - means[one];
            for other in one + 1..servers {
                squares[one * servers + other] += (own - (block[other] - means[other])).powi(2);
            }
        }
    }
    let degrees = count - 1.0;
    let pairs = (servers * (servers - 1) / 2).max(1) as f64;
    let pooled = squares.iter().sum::<f64>() / degrees / pairs;
    let mut values = vec![0.0; servers * servers];
    for one in 0..servers {
        for other in one + 1..servers {
            let own = squares[one * servers + other];
            let variance = (own + PRIOR_BLOCKS * pooled) / (degrees + PRIOR_BLOCKS);
            let error = (variance / count).sqrt();
            values[one * servers + other] = error;
            values[other * servers + one] = error;
        }
    }
    Pairs { servers, values }
}

/// How many standard errors the largest difference between equal servers exceeds with a
/// probability of `error_rate`.
fn critical(blocks: &[Vec<f64>], means: &[f64], error_rate: f64) -> Option<f64> {
    let degrees = blocks.len() as f64 - 1.0;
    let student = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let of_one_pair = student.inverse_cdf(1.0 - error_rate / 2.0);
    if means.len() <= 2 {
        return Some(of_one_pair);
    }
    let mut residuals: Vec<Vec<f64>> = blocks
        .iter()
        .map(|block| {
            block
                .iter()
                .zip(means)
                .map(|(score, mean)| score - mean)
                .collect()
        })
        .collect();
    let mut random = Rng::with_seed(SEED);
    let mut largest: Vec<f64> = (0..EXCHANGES)
        .map(|_| {
            residuals.iter_mut().for_each(|block| random.shuffle(block));
            largest_difference(&residuals)
        })
        .collect();
    largest.sort_by(f64::total_cmp);
    let aim = error_rate * AIM;
    let rank = ((1.0 - aim) * EXCHANGES as f64).ceil() as usize;
    Some(largest[rank.min(EXCHANGES - 1)])
}

/// The largest difference of two servers, in units of its standard error.
fn largest_difference(blocks: &[Vec<f64>]) -> f64 {
    let (means, errors) = (means(blocks), standard_errors(blocks));
    let mut largest: f64 = 0.0;
    for one in 0..means.len() {
        for other in one + 1..means.len() {
            let difference = (means[one] - means[other]).abs();
            if difference > 0.0 {
                largest = largest.max(difference / errors.of(one, other));
            }
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(values: &[f64]) -> Blocks {
        (0..)
            .zip(values)
            .map(|(block, &value)| (block, [(0, value)].into()))
            .collect()
    }

    fn compared(servers: &[&[f64]]) -> Comparison {
        let blocks: Vec<Blocks> = servers.iter().map(|values| whole(values)).collect();
        Comparison::of(&blocks.iter().collect::<Vec<_>>(), ERROR_RATE).unwrap()
    }

    #[test]
    fn two_servers_have_the_interval_of_student_t() {
        // Ratios 2, 4, 8: logs are ln2 * (1, 2, 3), mean 2 ln2, deviation ln2. Two-sided 95% with two
        // degrees of freedom is 4.3027 in any table, so the half width is 4.3027 ln2 / sqrt(3).
        let ratio = compared(&[&[2.0, 4.0, 8.0], &[1.0, 1.0, 1.0]]).ratios_to(1)[0];
        let ends = ratio.interval.unwrap();
        assert!((ratio.value - 4.0).abs() < 1e-9);
        let half = 4.3027 / 3f64.sqrt();
        assert!((ends.low.log2() - (2.0 - half)).abs() < 1e-3, "{ends:?}");
        assert!((ends.high.log2() - (2.0 + half)).abs() < 1e-3, "{ends:?}");
    }

    #[test]
    fn servers_that_are_clearly_worse_do_not_widen_the_interval_of_the_others() {
        let fast: [&[f64]; 2] = [&[100.0, 102.0, 98.0, 101.0], &[98.0, 103.0, 97.0, 99.0]];
        let slow: [&[f64]; 3] = [
            &[10.0, 11.0, 9.0, 12.0],
            &[20.0, 17.0, 23.0, 20.0],
            &[30.0, 36.0, 30.0, 25.0],
        ];
        let alone = compared(&fast).ratios_to(0)[1].interval.unwrap();
        let all = compared(&[&fast[..], &slow].concat()).ratios_to(0);
        let among_slow = all[1].interval.unwrap();
        assert!(
            (alone.low / among_slow.low - 1.0).abs() < 1e-9,
            "{alone:?} {among_slow:?}"
        );
        assert!(all[2..].iter().all(|ratio| ratio.interval.unwrap().high < 1.0));
    }

    #[test]
    fn one_block_has_ratios_and_no_interval() {
        let one = compared(&[&[2.0], &[1.0], &[4.0]]);
        assert_eq!(one.best(Better::Higher), 2);
        assert_eq!(one.best(Better::Lower), 1);
        let ratio = one.ratios_to(1)[0];
        assert!((ratio.value - 2.0).abs() < 1e-12);
        assert_eq!((ratio.interval, ratio.samples), (None, 1));
    }

    #[test]
    fn only_common_blocks_and_turns_count() {
        let one: Blocks = [(0, [(0, 2.0), (1, 2.0)].into()), (7, [(0, 99.0)].into())].into();
        let other: Blocks = [(0, [(1, 1.0), (2, 50.0)].into())].into();
        let comparison = Comparison::of(&[&one, &other], ERROR_RATE).unwrap();
        let ratio = comparison.ratios_to(1)[0];
        assert!((ratio.value - 2.0).abs() < 1e-12);
        assert_eq!(ratio.samples, 1);
        let later: Blocks = [(3, [(0, 1.0)].into())].into();
        assert_eq!(Comparison::of(&[&one, &later], ERROR_RATE), None);
        assert_eq!(Comparison::of(&[], ERROR_RATE), None);
    }

    #[test]
    fn a_value_without_a_logarithm_compares_nothing() {
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let blocks = [whole(&[1.0, wrong]), whole(&[1.0, 1.0])];
            assert_eq!(Comparison::of(&[&blocks[0], &blocks[1]], ERROR_RATE), None);
        }
    }

    #[test]
    fn a_few_disturbed_slices_do_not_count() {
        let turns = |disturbed: &[u32]| -> Turns {
            let value = |turn| match disturbed.contains(&turn) {
                true => 20.0,
                false => 100.0,
            };
            (0..10).map(|turn| (turn, value(turn))).collect()
        };
        let blocks = |disturbed: [&[u32]; 3]| -> Blocks { (0..).zip(disturbed.map(turns)).collect() };
        let quiet = blocks([&[], &[], &[]]);
        let disturbed = blocks([&[1, 5], &[], &[9, 2]]);
        let comparison = Comparison::of(&[&quiet, &disturbed], ERROR_RATE).unwrap();
        assert_eq!(comparison.ratios_to(0)[1].value, 1.0);
    }

    #[test]
    fn levels_and_differences_are_medians_over_turns() {
        let block = |values: [f64; 3]| -> Turns { (0..).zip(values.map(f64::exp)).collect() };
        let server: Blocks = [(0, block([1.0, 2.0, 9.0])), (1, block([4.0, 4.0, 4.0]))].into();
        let one: Blocks = [(0, block([1.0, 1.0, 1.0])), (1, block([3.0, 9.0, 3.0]))].into();
        let other: Blocks = [(0, block([0.0, 0.0, 0.0])), (2, block([0.0, 0.0, 0.0]))].into();
        let near = |found: Option<Vec<f64>>, expected: &[f64]| {
            let found = found.unwrap();
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(
                found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12),
                "{found:?}"
            );
        };
        near(levels(&server), &[2.0, 4.0]);
        near(differences(&server, &[&one]), &[1.0, 1.0]);
        // The mean of 1 and 2, in the one block that all three have.
        near(differences(&server, &[&one, &other]), &[1.5]);
        let zero: Blocks = [(0, [(0, 0.0)].into())].into();
        assert_eq!(levels(&zero), None);
        assert_eq!(differences(&zero, &[&one]), None);
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    proptest! {
        #[test]
        fn ratios_are_consistent(
            values in prop::collection::vec(prop::collection::vec(0.5..2.0f64, 4), 3)
        ) {
            let servers: Vec<&[f64]> = values.iter().map(|values| &values[..]).collect();
            let all = compared(&servers);
            let (forward, backward) = (all.ratios_to(1)[0], all.ratios_to(0)[1]);
            prop_assert!((forward.value * backward.value - 1.0).abs() < 1e-9);
            let pair = compared(&servers[..2]);
            let ends = [pair.ratios_to(1)[0], pair.ratios_to(0)[1]].map(|ratio| ratio.interval.unwrap());
            prop_assert!((ends[0].low * ends[1].high - 1.0).abs() < 1e-6);
            // The order never contradicts the estimates.
            let by_way = all.ratios_to(2)[0].value * all.ratios_to(1)[2].value;
            prop_assert!((by_way / forward.value - 1.0).abs() < 1e-9);
            let best = all.best(Better::Higher);
            prop_assert!(all.ratios_to(best).iter().all(|ratio| ratio.value <= 1.0));
        }

        #[test]
        fn what_is_common_to_a_turn_cancels(
            turns in prop::collection::vec((1.0..1e6f64, 1.0..1e6f64, 1.0..1e6f64, 0.1..10.0f64), 8)
        ) {
            let server = |value: fn(&(f64, f64, f64, f64)) -> f64, noisy: bool| -> Blocks {
                let value = |turn: &(f64, f64, f64, f64)| value(turn) * if noisy { turn.3 } else { 1.0 };
                let block = |turns: &[(f64, f64, f64, f64)]| (0..).zip(turns.iter().map(value)).collect();
                (0..).zip(turns.chunks(2).map(block)).collect()
            };
            let all = |noisy| {
                let servers = [server(|turn| turn.0, noisy), server(|turn| turn.1, noisy), server(|turn| turn.2, noisy)];
                Comparison::of(&servers.iter().collect::<Vec<_>>(), ERROR_RATE).unwrap().ratios_to(1)[0]
            };
            let (plain, noisy) = (all(false), all(true));
            prop_assert!((noisy.value / plain.value - 1.0).abs() < 1e-9);
            let (plain, noisy) = (plain.interval.unwrap(), noisy.interval.unwrap());
            prop_assert!((noisy.low / plain.low - 1.0).abs() < 1e-6);
        }
    }
}
