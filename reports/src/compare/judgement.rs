//! Whether a condition holds: shown by whole intervals, and never passed over in silence.

use serde::Serialize;

use super::cell::{Cell, Class};
use super::condition::Condition;
use super::runs::{Kind, RunComparison};
use super::sentences::change;

/// A condition and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The condition as it was written.
    pub condition: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What shows that; empty if it does not hold.
    pub evidence: Vec<String>,
}

/// What became of a condition, the least serious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It does not hold for anything that it is about: no interval has a ratio that meets it.
    DoesNotHold,
    /// It is not known to hold, but for something that it is about it cannot be told.
    CannotBeTold,
    /// It names a server or a scenario that one of the runs does not have.
    Missing,
    /// For some server the whole interval meets it.
    Holds,
}

impl Outcome {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::DoesNotHold => "does not hold",
            Outcome::CannotBeTold => "cannot be told",
            Outcome::Missing => "names what is missing",
            Outcome::Holds => "holds",
        }
    }

    /// Whether it makes a comparison fail.
    pub fn fails(self) -> bool {
        self >= Outcome::Missing
    }
}

/// Judges a condition. Where it names no server or scenario, it is about all that BASE has.
pub fn judge(comparison: &RunComparison, condition: &Condition) -> Judgement {
    let mut found: Vec<(Outcome, String)> = missing(comparison, condition);
    for scenario in &comparison.scenarios {
        if !condition.covers_scenario(&scenario.name) {
            continue;
        }
        let place = &scenario.name;
        if let Some(reason) = &scenario.refused {
            found.push((Outcome::CannotBeTold, format!("{place}: {reason}")));
        }
        for server in &scenario.servers {
            if !condition.covers_server(&server.server) || comparison.reference.contains(&server.server) {
                continue;
            }
            let place = format!("{} in {place}", server.server);
            if let Some(reason) = &server.refused {
                found.push((Outcome::CannotBeTold, format!("{place}: {reason}")));
            }
            let cells = server.cells.iter();
            for cell in cells.filter(|cell| cell.metric == condition.compared.key) {
                let (outcome, evidence) = of_cell(cell, condition);
                found.push((outcome, format!("{place}: {evidence}")));
            }
        }
    }
    let outcome = found.iter().map(|(outcome, _)| *outcome).max();
    let Some(outcome) = outcome else {
        return Judgement {
            condition: condition.to_string(),
            outcome: Outcome::CannotBeTold,
            evidence: vec!["nothing that it is about is compared".into()],
        };
    };
    found.retain(|(outcome, _)| *outcome != Outcome::DoesNotHold);
    // What fails comes first; what cannot be told is named even then.
    found.sort_by_key(|(outcome, _)| std::cmp::Reverse(*outcome));
    let shown = |(own, evidence): (Outcome, String)| match own {
        Outcome::CannotBeTold if outcome != own => format!("cannot be told for {evidence}"),
        _ => evidence,
    };
    Judgement {
        condition: condition.to_string(),
        outcome,
        evidence: found.into_iter().map(shown).collect(),
    }
}

fn of_cell(cell: &Cell, condition: &Condition) -> (Outcome, String) {
    let unknown = || {
        cell.reason
            .clone()
            .unwrap_or_else(|| "there is no interval".into())
    };
    let Some(ratio) = cell.ratio.filter(|_| cell.class != Class::NotCompared) else {
        return (Outcome::CannotBeTold, unknown());
    };
    let Some(interval) = ratio.interval else {
        return (
            Outcome::CannotBeTold,
            format!("{}: {}", change(&ratio), unknown()),
        );
    };
    let outcome = match condition.holds(&interval) {
        Some(true) => Outcome::Holds,
        Some(false) => Outcome::DoesNotHold,
        None => Outcome::CannotBeTold,
    };
    (outcome, change(&ratio))
}

/// What the condition is about and one of the runs does not have. A new server has nothing to be compared
/// with, so it matters only where it is named.
fn missing(comparison: &RunComparison, condition: &Condition) -> Vec<(Outcome, String)> {
    let mut found = Vec::new();
    for only in &comparison.only_in_one {
        let (noun, named, covered) = match only.kind {
            Kind::Server => ("server", &condition.server, condition.covers_server(&only.name)),
            Kind::Scenario => (
                "scenario",
                &condition.scenario,
                condition.covers_scenario(&only.name),
            ),
        };
        let side = if only.in_base { "NEW" } else { "BASE" };
        let evidence = format!("{side} has no {noun} {}", only.name);
        if named.as_ref() == Some(&only.name) {
            found.push((Outcome::Missing, evidence));
        } else if covered && only.in_base {
            found.push((Outcome::CannotBeTold, evidence));
        }
    }
    let knows = |kind: Kind, name: &str| {
        let mut common = comparison.scenarios.iter();
        let is_common = match kind {
            Kind::Scenario => common.any(|scenario| scenario.name == name),
            Kind::Server => comparison.servers.iter().any(|server| server == name),
        };
        let mut only = comparison.only_in_one.iter();
        is_common || only.any(|only| only.kind == kind && only.name == name)
    };
    let named = [
        ("server", Kind::Server, &condition.server),
        ("scenario", Kind::Scenario, &condition.scenario),
    ];
    for (noun, kind, name) in named {
        if let Some(name) = name.as_ref().filter(|name| !knows(kind, name)) {
            found.push((
                Outcome::Missing,
                format!("neither run has a {noun} {name} to compare"),
            ));
        }
    }
    found
}
