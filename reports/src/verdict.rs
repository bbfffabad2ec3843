//! The verdict of a scenario: the best server, or the group that is as good, and the evidence. Pure
//! decisions over the values of each block.

use std::cmp::Ordering;
use std::fmt::{self, Display, Formatter};

use record::Margins;
use record::numbers::number;
use record::words::{counted, list};
use serde::{Serialize, Serializer};

use crate::comparison::{Blocks, Comparison};
use crate::format;
use crate::metrics::{Better, COMPARED, Compared};
use crate::stats::{Estimate, Relation};

/// A server with less than this share of the blocks of another is not judged: only the blocks
/// that all have are compared.
const FEWEST_BLOCKS: f64 = 0.5;

/// As many rivals are named each with its ratio.
const MOST_NAMED: usize = 2;

/// The verdict by one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The key of the metric. The key in JSON is older than the name here.
    #[serde(rename = "measure")]
    pub metric: &'static str,
    /// Its kind.
    pub decision: Decision,
    /// The winner or the tied group, the best first; the one that is ahead when nothing was
    /// decided.
    pub leaders: Vec<String>,
    /// What the decision rests on; in JSON as text, under an older name.
    #[serde(rename = "reason")]
    pub evidence: Evidence,
}

impl Verdict {
    /// What the best server has.
    pub fn title(&self) -> &'static str {
        let compared = COMPARED.iter().find(|compared| compared.key == self.metric);
        compared.map_or("", |compared| compared.title)
    }
}

/// The kind of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better than every other server.
    Winner,
    /// Equivalent to some, better than the rest.
    Tied,
    /// Some server is neither equivalent to the best nor told apart from it.
    Inconclusive,
    /// There is no interval, so nothing is decided.
    NoInterval,
    /// Only one server can be judged, so there is nothing to compare.
    Alone,
    /// No server can be judged.
    Nothing,
}

impl Decision {
    /// Whether more blocks would show nothing new.
    pub fn is_final(self) -> bool {
        !matches!(self, Decision::Inconclusive | Decision::NoInterval)
    }

    /// The word for it in the report.
    pub fn word(self) -> &'static str {
        match self {
            Decision::Winner => "winner",
            Decision::Tied => "tied",
            Decision::Inconclusive => "inconclusive",
            Decision::NoInterval => "no interval",
            Decision::Alone => "alone",
            Decision::Nothing => "no verdict",
        }
    }
}

/// How a server compares with the best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToBest {
    /// The best server.
    pub best: String,
    /// Its values divided by those of the best.
    pub ratio: Estimate,
    /// What that ratio shows; absent without an interval.
    pub relation: Option<Relation>,
}

/// The ratio of `one` to `other`, as if there were no other servers.
pub fn compare(one: &Blocks, other: &Blocks, error_rate: f64) -> Option<Estimate> {
    Some(Comparison::of(&[one, other], error_rate)?.ratios_to(1)[0])
}

/// The verdict on candidates that did the same work. Its first leader is the best. With a
/// probability of `error_rate` it calls any two servers different that are equal.
pub fn decide(
    compared: &Compared,
    margins: &Margins,
    candidates: &[(&str, &Blocks)],
    error_rate: f64,
) -> Verdict {
    let margin = (compared.margin)(margins).share();
    let evidence = Evidence::of(candidates, compared.better, margin, error_rate);
    Verdict {
        metric: compared.key,
        decision: evidence.decision(),
        leaders: evidence.leaders(),
        evidence,
    }
}

/// A server and its ratio to the best.
#[derive(Debug, Clone, PartialEq)]
pub struct Rival {
    /// Name of the server.
    pub name: String,
    /// Its values divided by those of the best.
    pub ratio: Estimate,
    /// Whether it is clearly behind every server that is not told apart from the best.
    pub is_apart: bool,
}

impl Rival {
    /// How far it is from the best, as a logarithm.
    fn distance(&self) -> f64 {
        self.ratio.value.ln().abs()
    }
}

/// Candidates compared over the blocks that all of them have.
struct Stage<'a> {
    servers: Vec<(&'a str, &'a Blocks)>,
    /// `None` if they have no block in common.
    comparison: Option<Comparison>,
    /// The servers that it judges.
    judged: Vec<&'a str>,
}

impl<'a> Stage<'a> {
    fn of(servers: &[(&'a str, &'a Blocks)], error_rate: f64) -> Self {
        let blocks: Vec<&Blocks> = servers.iter().map(|(_, blocks)| *blocks).collect();
        Stage {
            servers: servers.to_vec(),
            comparison: Comparison::of(&blocks, error_rate),
            judged: servers.iter().map(|(name, _)| *name).collect(),
        }
    }

    /// Whether each of its servers is clearly behind.
    fn apart(&self, better: Better) -> Vec<bool> {
        let Some(comparison) = &self.comparison else {
            return vec![false; self.servers.len()];
        };
        let standings = comparison.standings(comparison.best(better)).into_iter();
        standings.map(|standing| standing.is_apart).collect()
    }

    /// The servers that it judges beside the best.
    fn rivals(&self, best: &str) -> impl Iterator<Item = Rival> {
        let place = self.servers.iter().position(|(name, _)| *name == best);
        let standings = place.zip(self.comparison.as_ref());
        let standings = standings.map_or(Vec::new(), |(best, comparison)| comparison.standings(best));
        let rivals = self.servers.iter().zip(standings);
        rivals
            .filter(move |((name, _), _)| *name != best && self.judged.contains(name))
            .map(|((name, _), standing)| Rival {
                name: (*name).to_owned(),
                ratio: standing.ratio,
                is_apart: standing.is_apart,
            })
    }
}

/// What a verdict rests on: the other candidates, by how they compare with the best.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The best candidate; absent when there is none.
    pub best: Option<String>,
    /// How many blocks were compared.
    pub blocks: usize,
    /// The time that a further block would take, in seconds.
    pub block_s: Option<f64>,
    /// The margin within which servers are equivalent.
    pub margin: f64,
    /// Equivalent to the best, the nearest first.
    pub tied: Vec<Rival>,
    /// Neither equivalent to the best nor told apart from it, the nearest first.
    pub unclear: Vec<Rival>,
    /// Worse than the best, the nearest first.
    pub beaten: Vec<Rival>,
    /// Without an interval, because there are fewer than two blocks in common.
    pub unjudged: Vec<String>,
    /// Set aside because they have few blocks while others have more.
    pub cut_short: Vec<String>,
    /// Not compared, because some trials do not have the metric.
    pub without: Vec<String>,
}

impl Evidence {
    fn of(candidates: &[(&str, &Blocks)], better: Better, margin: f64, error_rate: f64) -> Self {
        let mut evidence = Evidence {
            margin,
            ..Evidence::default()
        };
        let (stages, last) = evidence.stages(candidates, better, error_rate);
        let Some(best) = last
            .comparison
            .as_ref()
            .map(|comparison| last.servers[comparison.best(better)].0)
        else {
            evidence.unjudged = last.servers.iter().map(|(name, _)| (*name).to_owned()).collect();
            return evidence;
        };
        evidence.best = Some(best.to_owned());
        for stage in stages.iter().chain([&last]) {
            for rival in stage.rivals(best) {
                evidence.blocks = evidence.blocks.max(rival.ratio.samples);
                evidence.sort_in(rival);
            }
        }
        let nearer = |a: &Rival, b: &Rival| match better {
            Better::Higher => b.ratio.value.total_cmp(&a.ratio.value),
            Better::Lower => a.ratio.value.total_cmp(&b.ratio.value),
        };
        evidence.tied.sort_by(nearer);
        evidence.unclear.sort_by(nearer);
        evidence.beaten.sort_by(nearer);
        evidence.keep_the_order(nearer);
        evidence
    }

    /// Compares servers that have different numbers of blocks: those that have the fewest, and are clearly
    /// behind over these, are judged by them and need no others. One that has few blocks and is not
    /// behind was cut short, and must not undo what the others show. Returns the stages that judged some, and the last,
    /// which judges the rest.
    fn stages<'a>(
        &mut self,
        candidates: &[(&'a str, &'a Blocks)],
        better: Better,
        error_rate: f64,
    ) -> (Vec<Stage<'a>>, Stage<'a>) {
        let count = |(_, blocks): &(&str, &Blocks)| blocks.len();
        let most = candidates.iter().map(count).max().unwrap_or(0);
        let is_enough = |count: usize| count as f64 >= FEWEST_BLOCKS * most as f64 && (count > 1 || most < 2);
        let mut stages = Vec::new();
        let mut open = candidates.to_vec();
        loop {
            let mut stage = Stage::of(&open, error_rate);
            let fewest = open.iter().map(count).min().unwrap_or(0);
            if fewest == most {
                return (stages, stage);
            }
            let apart = stage.apart(better);
            let (mut rest, mut judged) = (Vec::new(), Vec::new());
            for (server, is_apart) in open.iter().zip(apart) {
                match count(server) == fewest {
                    true if is_apart => judged.push(server.0),
                    true if !is_enough(fewest) => self.cut_short.push(server.0.to_owned()),
                    _ => rest.push(*server),
                }
            }
            if rest.len() == open.len() {
                return (stages, stage);
            }
            if !judged.is_empty() {
                stage.judged = judged;
                stages.push(stage);
            }
            open = rest;
        }
    }

    /// A steady server can be told apart from the best while one that is farther from it, and less
    /// steady, cannot. A verdict that names the second ahead of the first would contradict its own
    /// numbers, so then neither is told apart.
    fn keep_the_order(&mut self, nearer: impl Fn(&Rival, &Rival) -> Ordering) {
        let near = self.tied.iter().chain(&self.unclear);
        let Some(farthest) = near.max_by(|a, b| nearer(a, b)).cloned() else {
            return;
        };
        let is_nearer = |rival: &Rival| nearer(rival, &farthest).is_lt();
        let (demoted, beaten) = self.beaten.drain(..).partition(is_nearer);
        self.beaten = beaten;
        self.unclear.extend::<Vec<Rival>>(demoted);
        self.unclear.sort_by(nearer);
    }

    fn sort_in(&mut self, rival: Rival) {
        let group = match rival.ratio.relation(self.margin) {
            None => return self.unjudged.push(rival.name),
            Some(Relation::Tied) => &mut self.tied,
            Some(Relation::Inconclusive) => &mut self.unclear,
            // It is on the worse side, since the order is that of the ratios.
            Some(Relation::Greater | Relation::Less) => &mut self.beaten,
        };
        group.push(rival);
    }

    /// Whether further blocks could change what is known about a candidate.
    pub fn needs(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|own| own == name);
        let open = { self.rivals() }.find(|rival| rival.name == name);
        self.best.as_deref() == Some(name)
            || named(&self.unjudged)
            || named(&self.cut_short)
            || open.is_some_and(|rival| !(rival.is_apart && self.beaten.contains(rival)))
    }

    /// All that were compared with the best.
    pub fn rivals(&self) -> impl Iterator<Item = &Rival> {
        self.tied.iter().chain(&self.unclear).chain(&self.beaten)
    }

    /// The ratio of a candidate to the best.
    pub fn ratio(&self, name: &str) -> Option<Estimate> {
        let mut rivals = self.rivals();
        rivals.find(|rival| rival.name == name).map(|rival| rival.ratio)
    }

    /// The smallest difference that would have been seen between the best and the servers nearest
    /// to it, as a share. Absent without an interval.
    pub fn resolution(&self) -> Option<f64> {
        let near = self.tied.iter().chain(&self.unclear);
        let half_width = |rival: &Rival| rival.ratio.half_width();
        let widest = near.filter_map(half_width).reduce(f64::max);
        widest.or_else(|| half_width(self.beaten.first()?))
    }

    /// How many blocks in all would decide what is still open, if intervals narrow with the root of
    /// the number of blocks.
    pub fn blocks_needed(&self) -> Option<u32> {
        let needed = |rival: &Rival| {
            let ends = rival.ratio.interval?;
            let half = (ends.high / ends.low).ln() / 2.0;
            let off = rival.ratio.value.ln().abs();
            // It is either told apart from 1, or seen to lie within the margin.
            let enough = off.max(self.margin.ln_1p() - off);
            Some(self.blocks as f64 * (half / enough).powi(2))
        };
        let blocks = self.unclear.iter().filter_map(needed).reduce(f64::max)?;
        Some(blocks.ceil().min(f64::from(u32::MAX)) as u32)
    }

    fn decision(&self) -> Decision {
        let judged = self.tied.len() + self.unclear.len() + self.beaten.len();
        if self.best.is_none() && self.unjudged.is_empty() {
            Decision::Nothing
        } else if judged + self.unjudged.len() == 0 {
            Decision::Alone
        } else if judged == 0 || !self.unjudged.is_empty() {
            Decision::NoInterval
        } else if !self.unclear.is_empty() {
            Decision::Inconclusive
        } else if !self.tied.is_empty() {
            Decision::Tied
        } else {
            Decision::Winner
        }
    }

    fn leaders(&self) -> Vec<String> {
        let mut leaders: Vec<String> = self.best.iter().cloned().collect();
        if matches!(self.decision(), Decision::Tied | Decision::Inconclusive) {
            let mut near: Vec<&Rival> = self.tied.iter().chain(&self.unclear).collect();
            near.sort_by(|a, b| a.distance().total_cmp(&b.distance()));
            leaders.extend(near.into_iter().map(|rival| rival.name.clone()));
        }
        leaders
    }
}

impl Display for Evidence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decision = self.decision();
        let mut sentences = Vec::new();
        let Some(best) = &self.best else {
            return f.write_str(match self.unjudged.len() {
                0 => "No server can be compared.",
                _ => "The servers have no block in common, so nothing is decided.",
            });
        };
        let margin = format::percent(self.margin);
        match decision {
            Decision::Nothing | Decision::Winner => {}
            Decision::Alone => sentences.push(format!(
                "Only {best} can be judged, so there is nothing to compare it with."
            )),
            Decision::NoInterval => sentences.push(format!(
                "{best} is ahead, but one block gives no interval, so nothing is decided."
            )),
            Decision::Inconclusive => {
                let unclear = named(&self.unclear);
                sentences.push(format!(
                    "Neither told apart from {best} nor within {margin} of it: {unclear}."
                ));
                if let Some(needed) = self.blocks_needed().filter(|&needed| needed > self.blocks as u32) {
                    let further = f64::from(needed) - self.blocks as f64;
                    let time = self.block_s.map(|block_s| longer(further * block_s));
                    sentences.push(format!(
                        "{} blocks were run; about {needed} would decide it{}.",
                        self.blocks,
                        time.map_or(String::new(), |time| format!(", which takes {time} more"))
                    ));
                }
            }
            Decision::Tied => sentences.push(format!("Within {margin} of {best}: {}.", named(&self.tied))),
        }
        if let Some(next) = self.beaten.first() {
            let which = match decision {
                Decision::Winner => "The next",
                _ => "The next after them",
            };
            let ratio = format::ratio(&next.ratio);
            sentences.push(format!("{which} is {}, at {ratio} of {best}.", next.name));
        }
        if let Some(resolution) = self.resolution() {
            sentences.push(match resolution {
                ..=1.0 => format!(
                    "Differences of {} and more would have been seen.",
                    format::percent(resolution)
                ),
                _ => format!(
                    "Only differences by a factor of {} and more would have been seen.",
                    number(resolution + 1.0)
                ),
            });
        }
        let short = self.cut_short.iter();
        sentences.extend(short.map(|name| format!("{name} has too few blocks and is not judged.")));
        let without = self.without.iter();
        sentences
            .extend(without.map(|name| format!("{name} does not have it in every trial and is not judged.")));
        f.write_str(&sentences.join(" "))
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// About how long something takes: `40 seconds`, `7 minutes`.
fn longer(seconds: f64) -> String {
    let (count, unit) = match seconds {
        ..90.0 => (seconds, "second"),
        ..5400.0 => (seconds / 60.0, "minute"),
        _ => (seconds / 3600.0, "hour"),
    };
    counted(count.ceil() as usize, unit)
}

/// Rivals with their ratios: `b 0.99 (0.98 to 1.01) and c 0.98 (0.97 to 1.00)`. Of many, the farthest.
fn named(rivals: &[Rival]) -> String {
    let with_ratio = |rival: &Rival| format!("{} {}", rival.name, format::ratio(&rival.ratio));
    match rivals {
        [] => String::new(),
        few if few.len() <= MOST_NAMED => list(&few.iter().map(with_ratio).collect::<Vec<_>>()),
        [.., farthest] => format!("{} servers, the farthest {}", rivals.len(), with_ratio(farthest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(values: &[f64]) -> Blocks {
        (0..)
            .zip(values)
            .map(|(block, &value)| (block, [(0, value)].into()))
            .collect()
    }

    fn decided(servers: &[(&str, &[f64])], better: Better) -> Verdict {
        let owned: Vec<(&str, Blocks)> = servers
            .iter()
            .map(|(name, values)| (*name, blocks(values)))
            .collect();
        let candidates: Vec<(&str, &Blocks)> = owned.iter().map(|(name, blocks)| (*name, blocks)).collect();
        let compared = Compared {
            key: "m",
            title: "Most",
            better,
            margin: |margins| margins.rates,
        };
        decide(&compared, &Margins::default(), &candidates, 0.05)
    }

    fn names(rivals: &[Rival]) -> Vec<&str> {
        rivals.iter().map(|rival| rival.name.as_str()).collect()
    }

    #[test]
    fn a_clear_lead_wins_in_the_direction_that_is_better() {
        let servers: [(&str, &[f64]); 2] = [
            ("fast", &[200.0, 202.0, 199.0, 201.0, 200.0]),
            ("slow", &[100.0, 101.0, 99.0, 102.0, 100.0]),
        ];
        let more = decided(&servers, Better::Higher);
        assert_eq!(
            (more.decision, more.leaders),
            (Decision::Winner, vec!["fast".into()])
        );
        assert_eq!(names(&more.evidence.beaten), ["slow"]);
        let ratio = more.evidence.beaten[0].ratio.value;
        assert!((ratio - 0.501).abs() < 5e-4, "{ratio}");
        assert_eq!(decided(&servers, Better::Lower).leaders, ["slow"]);
    }

    #[test]
    fn a_block_that_was_slow_for_all_servers_does_not_hide_a_difference() {
        let servers: [(&str, &[f64]); 2] = [
            ("a", &[100.0, 10.0, 50.0, 80.0, 100.0]),
            ("b", &[90.0, 9.1, 45.1, 72.0, 90.2]),
        ];
        assert_eq!(decided(&servers, Better::Higher).decision, Decision::Winner);
    }

    #[test]
    fn equivalent_servers_are_tied_and_the_next_one_is_known() {
        let verdict = decided(
            &[
                ("a", &[100.0, 101.0, 99.0, 100.0, 100.0]),
                ("b", &[99.5, 101.0, 99.0, 99.5, 100.0]),
                ("c", &[50.0, 51.0, 50.0, 50.0, 49.0]),
            ],
            Better::Higher,
        );
        assert_eq!(
            (verdict.decision, verdict.leaders),
            (Decision::Tied, vec!["a".into(), "b".into()])
        );
        assert_eq!(names(&verdict.evidence.tied), ["b"]);
        assert_eq!(names(&verdict.evidence.beaten), ["c"]);
    }

    #[test]
    fn what_is_open_says_how_many_blocks_would_decide_it() {
        let verdict = decided(
            &[
                ("a", &[100.0, 108.0, 100.0, 96.0]),
                ("b", &[98.0, 99.0, 99.0, 100.0]),
            ],
            Better::Higher,
        );
        assert_eq!(verdict.decision, Decision::Inconclusive);
        let blocks = verdict.evidence.blocks_needed().unwrap();
        assert!(blocks > 4, "{blocks}");
        // By hand: half the interval against the larger of the distances to 1 and to the margin.
        let ratio = verdict.evidence.unclear[0].ratio;
        let ends = ratio.interval.unwrap();
        let half = (ends.high / ends.low).ln() / 2.0;
        let off = ratio.value.ln().abs();
        let enough = off.max(1.03f64.ln() - off);
        assert_eq!(blocks, (4.0 * (half / enough).powi(2)).ceil() as u32);
        let decided = decided(&[("a", &[100.0, 101.0]), ("b", &[50.0, 50.5])], Better::Higher);
        assert_eq!(decided.evidence.blocks_needed(), None);
    }

    #[test]
    fn what_is_open_says_how_much_longer_it_takes() {
        let unclear = vec![Rival {
            name: "b".into(),
            ratio: Estimate {
                value: 1.0,
                interval: Some(crate::stats::ConfidenceInterval {
                    low: 1.0 / 1.06,
                    high: 1.06,
                }),
                samples: 10,
                at_least: false,
            },
            is_apart: false,
        }];
        let mut evidence = Evidence {
            best: Some("a".into()),
            blocks: 10,
            margin: 0.03,
            unclear,
            ..Evidence::default()
        };
        // By hand: 10 (ln 1.06 / ln 1.03)^2 = 38.9.
        let text = |evidence: &Evidence| evidence.to_string();
        assert!(text(&evidence).contains("10 blocks were run; about 39 would decide it. "));
        evidence.block_s = Some(2.0);
        assert!(text(&evidence).contains("about 39 would decide it, which takes 58 seconds more."));
        evidence.block_s = Some(20.0);
        assert!(text(&evidence).contains("which takes 10 minutes more."));
    }

    #[test]
    fn no_server_is_tied_or_open_that_is_farther_than_one_that_is_beaten() {
        // `wild` alternates around a lower value, and `steady` does not.
        let around = |value: f64, spread: f64| -> Vec<f64> {
            (0..10)
                .map(|block| value * f64::exp(if block % 2 == 0 { spread } else { -spread }))
                .collect()
        };
        let (best, steady, wild) = (around(1.0, 0.0), around(0.9, 0.001), around(0.87, 0.25));
        let servers: [(&str, &[f64]); 3] = [("best", &best), ("steady", &steady), ("wild", &wild)];
        let verdict = decided(&servers, Better::Higher);
        assert_eq!(verdict.decision, Decision::Inconclusive);
        assert_eq!(verdict.leaders, ["best", "steady", "wild"]);
        assert_eq!(names(&verdict.evidence.unclear), ["steady", "wild"]);
        let alone = decided(&servers[..2], Better::Higher);
        assert_eq!(names(&alone.evidence.beaten), ["steady"]);
    }

    #[test]
    fn a_wide_interval_is_inconclusive_instead_of_a_tie() {
        let verdict = decided(
            &[
                ("a", &[100.0, 300.0, 90.0, 250.0, 100.0]),
                ("b", &[200.0, 90.0, 200.0, 100.0, 150.0]),
            ],
            Better::Higher,
        );
        assert_eq!(verdict.decision, Decision::Inconclusive);
        assert_eq!(verdict.leaders.len(), 2);
        assert_eq!(verdict.evidence.unclear.len(), 1);
    }

    #[test]
    fn one_block_decides_nothing_and_one_server_is_alone() {
        let one = decided(&[("a", &[100.0]), ("b", &[10.0])], Better::Higher);
        assert_eq!(
            (one.decision, one.leaders),
            (Decision::NoInterval, vec!["a".into()])
        );
        assert_eq!(one.evidence.unjudged, ["b"]);
        assert_eq!(one.evidence.resolution(), None);
        assert_eq!(
            decided(&[("a", &[1.0, 2.0])], Better::Higher).decision,
            Decision::Alone
        );
        assert_eq!(decided(&[], Better::Higher).decision, Decision::Nothing);
    }

    #[test]
    fn a_server_with_few_blocks_is_set_aside() {
        for short in [&[900.0][..], &[900.0, 900.0]] {
            let verdict = decided(
                &[
                    ("a", &[100.0, 101.0, 99.0, 100.0, 100.0]),
                    ("b", &[50.0, 50.0, 51.0, 50.0, 50.0]),
                    ("short", short),
                ],
                Better::Higher,
            );
            assert_eq!(
                (verdict.decision, verdict.leaders),
                (Decision::Winner, vec!["a".into()])
            );
            assert_eq!(verdict.evidence.cut_short, ["short"]);
        }
    }

    #[test]
    fn a_server_that_is_clearly_behind_needs_no_further_blocks() {
        let all: [(&str, &[f64]); 3] = [
            ("a", &[100.0, 104.0, 98.0, 101.0, 99.0, 103.0]),
            ("b", &[98.0, 105.0, 96.0, 99.0, 101.0, 100.0]),
            ("slow", &[50.0, 52.0, 49.0, 50.0, 51.0, 50.0]),
        ];
        let short = [all[0], all[1], ("slow", &all[2].1[..3])];
        let (whole, part) = (decided(&all, Better::Higher), decided(&short, Better::Higher));
        assert!(!whole.evidence.needs("slow"));
        assert!(whole.evidence.needs("a") && whole.evidence.needs("b"));
        assert!(!whole.evidence.needs("unknown"));
        // It is judged by the blocks that it has, and the others by all of theirs.
        assert_eq!(part.evidence.cut_short, [""; 0]);
        assert_eq!(names(&part.evidence.beaten), ["slow"]);
        assert_eq!(part.evidence.beaten[0].ratio.samples, 3);
        let unclear = &part.evidence.unclear[0];
        assert_eq!((unclear.name.as_str(), unclear.ratio.samples), ("b", 6));
        let others = decided(&all[..2], Better::Higher);
        assert_eq!(*unclear, others.evidence.unclear[0]);
        assert_eq!(part.evidence.blocks, 6);
        let first = short.map(|(name, values)| (name, &values[..3]));
        let at_that_time = decided(&first, Better::Higher);
        let ratio = |verdict: &Verdict| verdict.evidence.ratio("slow").unwrap().interval;
        let same_best = at_that_time.leaders[0] == part.leaders[0];
        assert!(same_best && ratio(&at_that_time) == ratio(&part));
    }

    #[test]
    fn a_server_that_another_candidate_may_equal_needs_further_blocks() {
        // `wild` may be as slow as `steady`, which is clearly behind `best` only.
        let best = [1.0; 10];
        let steady: Vec<f64> = (0..10).map(|block| 0.9 + f64::from(block % 2) * 0.001).collect();
        let wild: Vec<f64> = (0..10)
            .map(|block| 0.97 * f64::exp(f64::from(block % 2) * 0.3 - 0.15))
            .collect();
        let verdict = decided(
            &[("best", &best), ("steady", &steady), ("wild", &wild)],
            Better::Higher,
        );
        assert_eq!(names(&verdict.evidence.beaten), ["steady"]);
        assert!(verdict.evidence.needs("steady"));
        let alone = decided(&[("best", &best), ("steady", &steady)], Better::Higher);
        assert!(!alone.evidence.needs("steady"));
    }

    #[test]
    fn the_best_is_found_over_the_blocks_that_all_servers_have() {
        // `late` missed the slow block; over its own blocks it would lead.
        let steady = blocks(&[100.0, 10.0, 100.0]);
        let late: Blocks = [(0, [(0, 90.0)].into()), (2, [(0, 90.0)].into())].into();
        let (compared, margins) = (COMPARED[0], Margins::default());
        let verdict = decide(&compared, &margins, &[("steady", &steady), ("late", &late)], 0.05);
        assert_eq!(verdict.leaders[0], "steady");
        let never: Blocks = [(5, [(0, 1.0)].into()), (6, [(0, 1.0)].into())].into();
        let verdict = decide(
            &compared,
            &margins,
            &[("steady", &steady), ("never", &never)],
            0.05,
        );
        assert_eq!(verdict.decision, Decision::NoInterval);
        assert_eq!(
            verdict.evidence.to_string(),
            "The servers have no block in common, so nothing is decided."
        );
    }

    #[test]
    fn the_evidence_is_written_in_sentences() {
        let ratio = |value: f64, half: f64| Estimate {
            value,
            interval: Some(crate::stats::ConfidenceInterval {
                low: value / half,
                high: value * half,
            }),
            samples: 5,
            at_least: false,
        };
        let rival = |name: &str, value, half| Rival {
            name: name.into(),
            ratio: ratio(value, half),
            is_apart: false,
        };
        let evidence = Evidence {
            best: Some("a".into()),
            blocks: 5,
            margin: 0.03,
            tied: vec![rival("b", 0.99, 1.01), rival("c", 0.985, 1.012)],
            beaten: vec![rival("d", 0.5, 1.02)],
            cut_short: vec!["e".into()],
            ..Evidence::default()
        };
        assert_eq!(
            evidence.to_string(),
            "Within 3% of a: b 0.990 (0.980 to 1.00) and c 0.985 (0.973 to 0.997). The next after them is d, at \
             0.500 (0.490 to 0.510) of a. Differences of 1.2% and more would have been seen. e has too few blocks \
             and is not judged."
        );
        let many = Evidence {
            tied: vec![
                rival("b", 0.99, 1.01),
                rival("c", 0.985, 1.01),
                rival("d", 0.98, 1.005),
            ],
            beaten: Vec::new(),
            cut_short: Vec::new(),
            ..evidence
        };
        assert_eq!(
            many.to_string(),
            "Within 3% of a: 3 servers, the farthest d 0.980 (0.975 to 0.985). Differences of 1.0% and more would \
             have been seen."
        );
        let wide = Evidence {
            tied: Vec::new(),
            unclear: vec![rival("b", 0.99, 5.0)],
            ..many
        };
        let text = wide.to_string();
        assert!(
            text.contains("Only differences by a factor of 5.00 and more"),
            "{text}"
        );
    }
}
