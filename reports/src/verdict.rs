//! The verdict of a scenario: the best server, or the group that cannot be told from it, and the
//! evidence. Pure decisions over the values of each block.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use record::words::list;
use serde::{Serialize, Serializer};

use crate::format;
use crate::metrics::Better;
use crate::stats::{Estimate, Relation};

/// The values of one metric for one server, by block.
pub type Blocks = BTreeMap<u32, f64>;

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

/// The kind of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better than every other server.
    Winner,
    /// Tied with some, better than the rest.
    Tied,
    /// Some interval contains 1 and is too wide to call a tie.
    Inconclusive,
    /// There is no interval, so nothing is decided.
    NoInterval,
    /// Only one server can be judged, so there is nothing to compare.
    Alone,
    /// No server can be judged.
    Nothing,
}

impl Decision {
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
    /// Its values divided by those of the best, block by block.
    pub ratio: Estimate,
    /// What that ratio shows; absent without an interval.
    pub relation: Option<Relation>,
}

/// The ratio of `one` to `other` over the blocks that both have.
pub fn compare(one: &Blocks, other: &Blocks) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> = one
        .iter()
        .filter_map(|(block, value)| Some((*value, *other.get(block)?)))
        .collect();
    Estimate::of_ratio(&pairs)
}

/// The best of the candidates, by name.
///
/// Compares means over the blocks that all candidates have, so a server does not gain by
/// missing a slow block; over each one's own blocks if there is no common block.
pub fn best<'a>(candidates: &[(&'a str, &Blocks)], better: Better) -> Option<&'a str> {
    let common = |block: &u32| candidates.iter().all(|(_, blocks)| blocks.contains_key(block));
    let any_common = candidates.first()?.1.keys().any(common);
    let mean = |blocks: &Blocks| {
        let values: Vec<f64> = blocks
            .iter()
            .filter(|(block, _)| !any_common || common(block))
            .map(|(_, value)| *value)
            .collect();
        Estimate::of(&values).map(|estimate| estimate.value)
    };
    let ranked = candidates
        .iter()
        .filter_map(|&(name, blocks)| Some((name, mean(blocks)?)));
    ranked
        .reduce(|ahead, next| {
            if is_better(next.1, ahead.1, better) {
                next
            } else {
                ahead
            }
        })
        .map(|(name, _)| name)
}

fn is_better(one: f64, other: f64, better: Better) -> bool {
    match better {
        Better::Higher => one > other,
        Better::Lower => one < other,
    }
}

/// The verdict on candidates that did the same work. Its first leader is the best.
pub fn decide(metric: &'static str, better: Better, candidates: &[(&str, &Blocks)]) -> Verdict {
    let evidence = Evidence::of(candidates, better);
    Verdict {
        metric,
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
    /// Its values divided by those of the best, block by block.
    pub ratio: Estimate,
}

/// What a verdict rests on: the other candidates, by how they compare with the best.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// The best candidate; absent when there is none.
    pub best: Option<String>,
    /// How many blocks the best has.
    pub blocks: usize,
    /// Tied with the best, the nearest first.
    pub tied: Vec<Rival>,
    /// Neither tied with the best nor told apart from it, the nearest first.
    pub unclear: Vec<Rival>,
    /// Worse than the best, the nearest first.
    pub beaten: Vec<Rival>,
    /// Without an interval, because there are fewer than two blocks in common with the best.
    pub unjudged: Vec<String>,
    /// Set aside because they have one block while others have more.
    pub cut_short: Vec<String>,
}

impl Evidence {
    fn of(candidates: &[(&str, &Blocks)], better: Better) -> Self {
        // A server that was cut short to a single block must not undo what the others show.
        let any_long = candidates.iter().any(|(_, blocks)| blocks.len() > 1);
        let (judged, short): (Vec<_>, Vec<_>) = candidates
            .iter()
            .partition(|(_, blocks)| !any_long || blocks.len() > 1);
        let mut evidence = Evidence {
            cut_short: short.iter().map(|(name, _)| (*name).to_owned()).collect(),
            ..Evidence::default()
        };
        let Some(best) = best(&judged, better) else {
            return evidence;
        };
        evidence.best = Some(best.to_owned());
        let own = judged
            .iter()
            .find(|(name, _)| *name == best)
            .map(|(_, blocks)| *blocks);
        evidence.blocks = own.map_or(0, Blocks::len);
        for &(name, blocks) in judged.iter().filter(|(name, _)| *name != best) {
            let ratio = own.and_then(|own| compare(blocks, own));
            evidence.sort_in(name, ratio, better);
        }
        let nearer = |a: &Rival, b: &Rival| match better {
            Better::Higher => b.ratio.value.total_cmp(&a.ratio.value),
            Better::Lower => a.ratio.value.total_cmp(&b.ratio.value),
        };
        evidence.tied.sort_by(nearer);
        evidence.unclear.sort_by(nearer);
        evidence.beaten.sort_by(nearer);
        evidence
    }

    fn sort_in(&mut self, name: &str, ratio: Option<Estimate>, better: Better) {
        let name = name.to_owned();
        let (Some(ratio), Some(relation)) = (ratio, ratio.and_then(|ratio| ratio.relation())) else {
            self.unjudged.push(name);
            return;
        };
        let worse = match better {
            Better::Higher => Relation::Less,
            Better::Lower => Relation::Greater,
        };
        let group = match relation {
            Relation::Tied => &mut self.tied,
            relation if relation == worse => &mut self.beaten,
            // This includes a server that is better than the best over the blocks of this pair:
            // the blocks contradict each other.
            _ => &mut self.unclear,
        };
        group.push(Rival { name, ratio });
    }

    fn decision(&self) -> Decision {
        let judged = self.tied.len() + self.unclear.len() + self.beaten.len();
        if self.best.is_none() {
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
            let near = self.tied.iter().chain(&self.unclear);
            leaders.extend(near.map(|rival| rival.name.clone()));
        }
        leaders
    }
}

impl Display for Evidence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decision = self.decision();
        let Some(best) = &self.best else {
            return f.write_str("No server can be compared.");
        };
        let mut sentences = Vec::new();
        match decision {
            Decision::Nothing | Decision::Winner => {}
            Decision::Alone => sentences.push(format!(
                "Only {best} can be judged, so there is nothing to compare it with."
            )),
            Decision::NoInterval if self.blocks < 2 => sentences.push(format!(
                "{best} is ahead, but one block gives no interval, so nothing is decided."
            )),
            Decision::NoInterval => sentences.push(format!(
                "{best} is ahead, but {} fewer than two blocks in common with it: without an interval nothing \
                 is decided.",
                has(&self.unjudged)
            )),
            Decision::Inconclusive => sentences.push(format!(
                "{} and {} too wide to tell.",
                contain_one(&self.unclear, best),
                if self.unclear.len() == 1 { "is" } else { "are" }
            )),
            Decision::Tied => sentences.push(contain_one(&self.tied, best) + "."),
        }
        if let Some(next) = self.beaten.first() {
            let which = match decision {
                Decision::Winner => "The next",
                _ => "The next after them",
            };
            let ratio = format::ratio(&next.ratio);
            sentences.push(format!("{which} is {}, at {ratio} of {best}.", next.name));
        }
        let short = self.cut_short.iter();
        sentences.extend(short.map(|name| format!("{name} has only one block and is not judged.")));
        f.write_str(&sentences.join(" "))
    }
}

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn contain_one(rivals: &[Rival], best: &str) -> String {
    let each: Vec<String> = rivals
        .iter()
        .map(|rival| format!("{}/{best} {}", rival.name, format::ratio(&rival.ratio)))
        .collect();
    match each.as_slice() {
        [one] => format!("The interval of {one} contains 1"),
        some => format!("The intervals of {} contain 1", list(some)),
    }
}

fn has(names: &[String]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", list(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(values: &[f64]) -> Blocks {
        (0..).zip(values.iter().copied()).collect()
    }

    fn decided(servers: &[(&str, &[f64])], better: Better) -> Verdict {
        let owned: Vec<(&str, Blocks)> = servers
            .iter()
            .map(|(name, values)| (*name, blocks(values)))
            .collect();
        let candidates: Vec<(&str, &Blocks)> = owned.iter().map(|(name, blocks)| (*name, blocks)).collect();
        decide("m", better, &candidates)
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
    fn similar_servers_are_tied_and_the_next_one_is_known() {
        let verdict = decided(
            &[
                ("a", &[100.0, 101.0, 99.0, 100.0, 100.0]),
                ("b", &[99.0, 101.0, 100.0, 99.0, 100.0]),
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
        assert_eq!(
            decided(&[("a", &[1.0, 2.0])], Better::Higher).decision,
            Decision::Alone
        );
        assert_eq!(decided(&[], Better::Higher).decision, Decision::Nothing);
    }

    #[test]
    fn a_server_cut_short_to_one_block_is_set_aside() {
        let verdict = decided(
            &[
                ("a", &[100.0, 101.0, 99.0]),
                ("b", &[50.0, 50.0, 51.0]),
                ("short", &[900.0]),
            ],
            Better::Higher,
        );
        assert_eq!(
            (verdict.decision, verdict.leaders),
            (Decision::Winner, vec!["a".into()])
        );
        assert_eq!(verdict.evidence.cut_short, ["short"]);
    }

    #[test]
    fn the_best_is_found_over_the_blocks_that_all_servers_have() {
        // `late` missed the slow block; over its own blocks it would lead.
        let steady = blocks(&[100.0, 10.0, 100.0]);
        let late: Blocks = [(0, 90.0), (2, 90.0)].into();
        assert_eq!(
            best(&[("steady", &steady), ("late", &late)], Better::Higher),
            Some("steady")
        );
    }

    #[test]
    fn the_evidence_is_written_in_sentences() {
        let ratio = |value| Estimate {
            value,
            interval: None,
            samples: 5,
        };
        let rival = |name: &str, value| Rival {
            name: name.into(),
            ratio: ratio(value),
        };
        let evidence = Evidence {
            best: Some("a".into()),
            blocks: 5,
            tied: vec![rival("b", 0.99), rival("c", 0.98)],
            beaten: vec![rival("d", 0.5)],
            cut_short: vec!["e".into()],
            ..Evidence::default()
        };
        assert_eq!(
            evidence.to_string(),
            "The intervals of b/a 0.990 (no interval) and c/a 0.980 (no interval) contain 1. The next after them is \
             d, at 0.500 (no interval) of a. e has only one block and is not judged."
        );
    }
}
