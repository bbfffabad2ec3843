//! Who wins a scenario: the best server, the group that cannot be told from it, or
//! nobody, and why. Pure decisions over the values of each block.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::format;
use crate::measure::Better;
use crate::stats::{Estimate, Relation};

/// The values of one measure for one server, by block.
pub type Blocks = BTreeMap<u32, f64>;

/// Who wins by one measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The key of the measure.
    pub measure: &'static str,
    /// What kind of verdict it is.
    pub decision: Decision,
    /// The winner or the group; who is ahead where nothing was decided.
    pub leaders: Vec<String>,
    /// Why, in sentences.
    pub reason: String,
}

/// What the blocks allow to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better than every other server.
    Winner,
    /// Tied with some, better than the rest.
    Tied,
    /// Some interval contains 1 and is too wide to tell.
    Inconclusive,
    /// There is no interval, so one is ahead and nothing is decided.
    NoInterval,
    /// Only one server can be judged, so there is nothing to compare.
    Alone,
    /// No server can be judged.
    Nothing,
}

impl Decision {
    /// The word that the report uses.
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

/// How one server stands to the best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToBest {
    /// The server that it is compared with.
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
/// Over the blocks that all of them have, so that no one gains by having missed a bad
/// block; over each one's own when there are none.
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
pub fn decide(measure: &'static str, better: Better, candidates: &[(&str, &Blocks)]) -> Verdict {
    // One that was cut short to a single block must not undo what the others show.
    let any_long = candidates.iter().any(|(_, blocks)| blocks.len() > 1);
    let (judged, short): (Vec<_>, Vec<_>) = candidates
        .iter()
        .partition(|(_, blocks)| !any_long || blocks.len() > 1);
    let Some(best) = best(&judged, better) else {
        return Verdict {
            measure,
            decision: Decision::Nothing,
            leaders: Vec::new(),
            reason: "No server has valid trials in which every connection was answered.".into(),
        };
    };
    let rivals = Rivals::of(best, &judged, better);
    let decision = rivals.decision();
    let mut leaders = vec![best.to_owned()];
    if matches!(decision, Decision::Tied | Decision::Inconclusive) {
        leaders.extend(
            rivals
                .tied
                .iter()
                .chain(&rivals.unclear)
                .map(|rival| rival.name.to_owned()),
        );
    }
    let mut reason = rivals.reason(decision, better);
    for (name, _) in short {
        reason += &format!(" {name} has one block only and is not judged.");
    }
    Verdict {
        measure,
        decision,
        leaders,
        reason: reason.trim().to_owned(),
    }
}

struct Rival<'a> {
    name: &'a str,
    ratio: Estimate,
}

/// The other candidates, by how they stand to the best.
struct Rivals<'a> {
    best: &'a str,
    /// How many blocks the best has.
    blocks: usize,
    tied: Vec<Rival<'a>>,
    unclear: Vec<Rival<'a>>,
    beaten: Vec<Rival<'a>>,
    /// Without an interval, because there are fewer than two blocks to compare.
    unjudged: Vec<&'a str>,
}

impl<'a> Rivals<'a> {
    fn of(best: &'a str, candidates: &[(&'a str, &Blocks)], better: Better) -> Self {
        let mut rivals = Rivals {
            best,
            blocks: 0,
            tied: Vec::new(),
            unclear: Vec::new(),
            beaten: Vec::new(),
            unjudged: Vec::new(),
        };
        let own = candidates
            .iter()
            .find(|(name, _)| *name == best)
            .map(|(_, blocks)| *blocks);
        rivals.blocks = own.map_or(0, Blocks::len);
        for &(name, blocks) in candidates.iter().filter(|(name, _)| *name != best) {
            let ratio = own.and_then(|own| compare(blocks, own));
            rivals.sort_in(name, ratio, better);
        }
        // Nearest to the best first.
        let nearer = |a: &Rival<'_>, b: &Rival<'_>| match better {
            Better::Higher => b.ratio.value.total_cmp(&a.ratio.value),
            Better::Lower => a.ratio.value.total_cmp(&b.ratio.value),
        };
        rivals.tied.sort_by(nearer);
        rivals.unclear.sort_by(nearer);
        rivals.beaten.sort_by(nearer);
        rivals
    }

    fn sort_in(&mut self, name: &'a str, ratio: Option<Estimate>, better: Better) {
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
            // Also one that is better over the blocks of this pair: the blocks that were
            // kept contradict each other, so they do not tell.
            _ => &mut self.unclear,
        };
        group.push(Rival { name, ratio });
    }

    fn decision(&self) -> Decision {
        let judged = self.tied.len() + self.unclear.len() + self.beaten.len();
        if judged + self.unjudged.len() == 0 {
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

    fn reason(&self, decision: Decision, better: Better) -> String {
        let best = self.best;
        let ahead = match better {
            Better::Higher => "most",
            Better::Lower => "lowest",
        };
        let first = match decision {
            Decision::Nothing => String::new(),
            Decision::Alone => format!("Only {best} can be judged, so it is compared with nobody."),
            Decision::NoInterval if self.blocks < 2 => {
                format!("{best} has the {ahead}, in one block: no interval, so nothing is decided.")
            }
            Decision::NoInterval => format!(
                "{best} has the {ahead}, but {} fewer than two blocks in common with it: no interval, so \
                 nothing is decided.",
                has(&self.unjudged),
            ),
            Decision::Inconclusive => format!(
                "The interval of {} contains 1 and is too wide to tell.",
                self.ratios(&self.unclear)
            ),
            Decision::Tied => format!("The interval of {} contains 1.", self.ratios(&self.tied)),
            Decision::Winner => String::new(),
        };
        let next = self.beaten.first().map(|next| {
            let all = if matches!(decision, Decision::Winner) {
                "The next"
            } else {
                "The next after them"
            };
            format!(
                "{all} is {}, at {} of {best}.",
                next.name,
                format::ratio(&next.ratio)
            )
        });
        [first, next.unwrap_or_default()].join(" ").trim().to_owned()
    }

    fn ratios(&self, rivals: &[Rival<'_>]) -> String {
        let each: Vec<String> = rivals
            .iter()
            .map(|rival| format!("{}/{} {}", rival.name, self.best, format::ratio(&rival.ratio)))
            .collect();
        format::list(&each)
    }
}

fn has(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", format::list(names))
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

    #[test]
    fn a_clear_lead_wins_and_the_direction_of_better_is_heeded() {
        let servers: [(&str, &[f64]); 2] = [
            ("fast", &[200.0, 202.0, 199.0, 201.0, 200.0]),
            ("slow", &[100.0, 101.0, 99.0, 102.0, 100.0]),
        ];
        let more = decided(&servers, Better::Higher);
        assert_eq!(
            (more.decision, more.leaders),
            (Decision::Winner, vec!["fast".into()])
        );
        assert!(more.reason.contains("slow, at 0.501"), "{}", more.reason);
        assert_eq!(decided(&servers, Better::Lower).leaders, ["slow"]);
    }

    #[test]
    fn a_block_that_was_slow_for_all_does_not_hide_a_difference() {
        let servers: [(&str, &[f64]); 2] = [
            ("a", &[100.0, 10.0, 50.0, 80.0, 100.0]),
            ("b", &[90.0, 9.1, 45.1, 72.0, 90.2]),
        ];
        assert_eq!(decided(&servers, Better::Higher).decision, Decision::Winner);
    }

    #[test]
    fn near_ones_are_tied_and_the_next_is_named() {
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
        assert!(
            verdict.reason.contains("The next after them is c, at 0.500"),
            "{}",
            verdict.reason
        );
    }

    #[test]
    fn wide_ones_are_inconclusive_and_not_tied() {
        let verdict = decided(
            &[
                ("a", &[100.0, 300.0, 90.0, 250.0, 100.0]),
                ("b", &[200.0, 90.0, 200.0, 100.0, 150.0]),
            ],
            Better::Higher,
        );
        assert_eq!(verdict.decision, Decision::Inconclusive);
        assert_eq!(verdict.leaders.len(), 2);
    }

    #[test]
    fn one_block_decides_nothing_and_one_server_is_alone() {
        let one = decided(&[("a", &[100.0]), ("b", &[10.0])], Better::Higher);
        assert_eq!(
            (one.decision, one.leaders),
            (Decision::NoInterval, vec!["a".into()])
        );
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
        assert!(
            verdict.reason.contains("short has one block only"),
            "{}",
            verdict.reason
        );
    }

    #[test]
    fn the_best_is_found_over_the_blocks_that_all_have() {
        // `late` missed the slow block; over its own blocks alone it would lead.
        let steady = blocks(&[100.0, 10.0, 100.0]);
        let late: Blocks = [(0, 90.0), (2, 90.0)].into();
        assert_eq!(
            best(&[("steady", &steady), ("late", &late)], Better::Higher),
            Some("steady")
        );
    }
}
