//! Two runs compared: the cells, what is only in one of the runs, and what is not compared.

use record::words::plain_line;
use record::{Margins, Measured, Run};
use serde::Serialize;

use crate::comparison::ERROR_RATE;

use super::cell::{COMPARED, Cell, Class};
use super::differences::{Difference, differences};
use super::pairing::{Pair, Samples, SideData, compare_scenario};

/// What to compare, and how.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The servers to compare; empty for all.
    pub servers: Vec<String>,
    /// The scenarios to compare; empty for all.
    pub scenarios: Vec<String>,
    /// Servers that count as unchanged: ratios are relative to them.
    pub reference: Vec<String>,
    /// The margins; those of NEW if absent.
    pub margins: Option<Margins>,
}

/// Two runs compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunComparison {
    /// The earlier run, or the one that counts as it.
    pub base: Side,
    /// The run that is compared with it.
    pub new: Side,
    /// What the runs differ in beside their results.
    pub differences: Vec<Difference>,
    /// The reference; empty if the ratios are those of the runs.
    pub reference: Vec<String>,
    /// The margins within which a change does not matter.
    pub margins: Margins,
    /// How often a comparison of runs that do not differ calls any cell changed.
    pub error_rate: f64,
    /// The number of cells that have a ratio: the intervals hold for all of them together.
    pub cells: usize,
    /// The servers that both runs have.
    pub servers: Vec<String>,
    /// The scenarios that both runs have.
    pub scenarios: Vec<ScenarioComparison>,
    /// What only one of the runs has.
    pub only_in_one: Vec<OnlyInOne>,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Name of its suite.
    pub suite: String,
    /// When it began.
    pub started_at: String,
    /// Version of echobench.
    pub version: String,
    /// Commit of the source, if that is known.
    pub commit: Option<String>,
    /// What speaks against its numbers.
    pub warnings: Vec<String>,
}

/// A scenario that both runs have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioComparison {
    /// Its name.
    pub name: String,
    /// The question that it answers.
    pub title: String,
    /// The load in words.
    pub load: String,
    /// Why nothing is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The servers that both runs have.
    pub servers: Vec<ServerComparison>,
}

/// A server that both runs have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerComparison {
    /// Its name.
    pub server: String,
    /// Why nothing is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// A cell for each metric; empty if nothing is compared.
    pub cells: Vec<Cell>,
}

/// A scenario or a server that only one of the runs has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnlyInOne {
    /// Whether it is BASE that has it.
    pub in_base: bool,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What only one of the runs has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A scenario.
    Scenario,
    /// A server.
    Server,
}

/// Why two runs cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A name that a run does not have.
    #[error("{option} {name}: {what} of that name; there are: {known}")]
    Unknown {
        /// The option.
        option: &'static str,
        /// The name.
        name: String,
        /// Where it is missing.
        what: &'static str,
        /// The names that exist.
        known: String,
    },
    /// The records of one run, twice.
    #[error("BASE and NEW are the same run, which began at {0}: give two runs")]
    Same(String),
}

impl RunComparison {
    /// Compares two runs.
    pub fn of(base: &Measured, new: &Measured, request: &Request) -> Result<Self, RequestError> {
        check(&base.run, &new.run, request)?;
        let margins = request.margins.unwrap_or(new.run.margins);
        let runs = [base, new].map(|measured| SideData::of(measured, request));
        let mut scenarios: Vec<(ScenarioComparison, Vec<Vec<Samples>>)> = Vec::new();
        for scenario in &runs[0].scenarios {
            let other = runs[1].scenarios.iter().find(|other| other.name == scenario.name);
            if let Some(other) = other {
                scenarios.push(compare_scenario([scenario, other], &runs, request));
            }
        }
        let samples = scenarios.iter().flat_map(|(_, servers)| servers.iter().flatten());
        let cells = samples.filter(|samples| samples.has_ratio()).count();
        let error_rate = ERROR_RATE / cells.max(1) as f64;
        let finish = |(mut scenario, samples): (ScenarioComparison, Vec<Vec<Samples>>)| {
            for (server, samples) in scenario.servers.iter_mut().zip(samples) {
                server.cells = { COMPARED.iter().zip(samples) }
                    .map(|(compared, samples)| samples.cell(compared, &margins, error_rate))
                    .collect();
            }
            scenario
        };
        Ok(RunComparison {
            differences: differences(&base.run, &new.run),
            reference: request.reference.iter().map(|name| plain_line(name)).collect(),
            margins,
            error_rate: ERROR_RATE,
            cells,
            servers: { runs[0].servers.iter() }
                .filter(|server| runs[1].server(&server.name).is_some())
                .map(|server| plain_line(&server.name))
                .collect(),
            scenarios: scenarios.into_iter().map(finish).collect(),
            only_in_one: only_in_one(&runs),
            base: runs[0].side(),
            new: runs[1].side(),
        })
    }

    /// Every cell, with its scenario and its server.
    pub fn cells(&self) -> impl Iterator<Item = (&ScenarioComparison, &ServerComparison, &Cell)> {
        self.scenarios.iter().flat_map(|scenario| {
            scenario
                .servers
                .iter()
                .flat_map(move |server| server.cells.iter().map(move |cell| (scenario, server, cell)))
        })
    }

    /// How many cells have that class.
    pub fn count(&self, class: Class) -> usize {
        self.cells().filter(|(_, _, cell)| cell.class == class).count()
    }
}

fn only_in_one(runs: &Pair<SideData>) -> Vec<OnlyInOne> {
    let mut found = Vec::new();
    for (in_base, own, other) in [(true, &runs[0], &runs[1]), (false, &runs[1], &runs[0])] {
        let mut add = |kind, name: &str| {
            let name = plain_line(name);
            found.push(OnlyInOne { in_base, kind, name });
        };
        for scenario in &own.scenarios {
            if !other.scenarios.iter().any(|other| other.name == scenario.name) {
                add(Kind::Scenario, &scenario.name);
            }
        }
        for server in &own.servers {
            if other.server(&server.name).is_none() {
                add(Kind::Server, &server.name);
            }
        }
    }
    found
}

/// Checks the names of a request.
fn check(base: &Run, new: &Run, request: &Request) -> Result<(), RequestError> {
    if base == new {
        return Err(RequestError::Same(plain_line(&base.started_at)));
    }
    let servers = [base, new].map(|run| names(run.servers.iter().map(|server| &server.name)));
    let scenarios = [base, new].map(|run| names(run.scenarios.iter().map(|scenario| &scenario.name)));
    let either = |[base, new]: &Pair<Vec<String>>| names(base.iter().chain(new));
    let both = |[base, new]: &Pair<Vec<String>>| names(base.iter().filter(|name| new.contains(name)));
    for (option, asked, known, what) in [
        (
            "--server",
            &request.servers,
            either(&servers),
            "neither run has a server",
        ),
        (
            "--scenario",
            &request.scenarios,
            either(&scenarios),
            "neither run has a scenario",
        ),
        (
            "--reference",
            &request.reference,
            both(&servers),
            "not both runs have a server",
        ),
    ] {
        if let Some(name) = asked.iter().find(|name| !known.contains(name)) {
            return Err(RequestError::Unknown {
                option,
                name: plain_line(name),
                what,
                known: plain_line(&known.join(", ")),
            });
        }
    }
    Ok(())
}

/// Each name once.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
