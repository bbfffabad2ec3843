//! Pairs the scenarios and servers of two runs, and takes the blocks that each cell rests on.

use record::words::plain_line;
use record::{Margins, Measured, Run, Scenario, Server, Trial};

use crate::comparison::{self, Blocks};
use crate::diagnostics::Weight;
use crate::exclusion::unfit;
use crate::row::{Cause, Caveat, Row};
use crate::scenario::{MeasuredServer, ScenarioSummary};
use crate::stats::Estimate;
use crate::summary::Summary;
use crate::values::{MeasuredTrial, values};
use crate::workload;

use super::cell::{COMPARED, Cell, Class, Compared};
use super::differences::different_load;
use super::ratio::ratio;
use super::runs::{Request, ScenarioComparison, ServerComparison, Side};

/// One run with what is asked for of it.
pub(super) struct SideData<'a> {
    run: &'a Run,
    trials: &'a [Trial],
    summary: Summary,
    /// The scenarios that are asked for.
    pub(super) scenarios: Vec<&'a Scenario>,
    /// The servers that are asked for, and the reference.
    pub(super) servers: Vec<&'a Server>,
}

impl<'a> SideData<'a> {
    pub(super) fn of(measured: &'a Measured, request: &Request) -> Self {
        let is_asked =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|asked| asked == name);
        // The reference is always there, so that its own ratio is shown.
        let wanted = |server: &&Server| {
            is_asked(&request.servers, &server.name) || request.reference.contains(&server.name)
        };
        let scenarios = measured.run.scenarios.iter();
        SideData {
            run: &measured.run,
            trials: &measured.trials,
            summary: Summary::of(&measured.run, &measured.trials),
            scenarios: scenarios
                .filter(|scenario| is_asked(&request.scenarios, &scenario.name))
                .collect(),
            servers: measured.run.servers.iter().filter(wanted).collect(),
        }
    }

    pub(super) fn side(&self) -> Side {
        let warnings = self.summary.diagnostics.iter();
        let warnings = warnings.filter(|diagnostic| diagnostic.weight() == Weight::Warning);
        Side {
            suite: self.summary.suite.clone(),
            started_at: self.summary.started_at.clone(),
            version: plain_line(&self.run.version),
            commit: self.run.host.commit.as_deref().map(plain_line),
            warnings: warnings
                .map(|warning| format!("{}: {warning}", warning.subject().to_lowercase()))
                .collect(),
        }
    }

    pub(super) fn server(&self, name: &str) -> Option<&'a Server> {
        self.servers.iter().copied().find(|server| server.name == name)
    }

    fn trials(&self, scenario: &str) -> Vec<&'a Trial> {
        let trials = self.trials.iter();
        trials.filter(|trial| trial.scenario == scenario).collect()
    }

    fn row(&self, scenario: &str, server: &str) -> Option<&Row> {
        let position = self.run.scenarios.iter().position(|own| own.name == scenario)?;
        let summary: &ScenarioSummary = self.summary.scenarios.get(position)?;
        let place = self.run.servers.iter().position(|own| own.name == server)?;
        summary.rows.get(place)
    }
}

/// A server in one scenario of one run.
struct Entry<'a> {
    row: &'a Row,
    trials: Vec<MeasuredTrial<'a>>,
}

impl<'a> Entry<'a> {
    fn of(side: &'a SideData<'a>, scenario: &str, server: &str) -> Option<Self> {
        Some(Entry {
            row: side.row(scenario, server)?,
            trials: MeasuredServer::of(&side.trials(scenario), server).trials,
        })
    }
}

const NAMES: [&str; 2] = ["BASE", "NEW"];

/// A value of BASE and one of NEW.
pub(super) type Pair<T> = [T; 2];

/// A scenario that both runs have, and the samples of the cells of each server: the cells themselves are
/// made when it is known how many there are.
pub(super) fn compare_scenario(
    pair: Pair<&Scenario>,
    runs: &Pair<SideData>,
    request: &Request,
) -> (ScenarioComparison, Vec<Vec<Samples>>) {
    let [scenario, other] = pair;
    let mut found = ScenarioComparison {
        name: plain_line(&scenario.name),
        title: plain_line(&scenario.title),
        load: workload::describe(&scenario.plan, &scenario.setup),
        refused: different_load(scenario, other).map(|reason| plain_line(&reason)),
        servers: Vec::new(),
    };
    let mut all = Vec::new();
    if found.refused.is_some() {
        return (found, all);
    }
    let entries = |name: &String| -> Option<Pair<Entry>> {
        let [base, new] = runs.each_ref().map(|run| Entry::of(run, &scenario.name, name));
        Some([base?, new?])
    };
    let references: Vec<Pair<Entry>> = request.reference.iter().filter_map(entries).collect();
    for server in &runs[0].servers {
        let (Some(other), Some(pair)) = (runs[1].server(&server.name), entries(&server.name)) else {
            continue;
        };
        let is_reference = request.reference.contains(&server.name);
        let references = if is_reference { &[][..] } else { &references };
        let refused = match server.transport == other.transport {
            true => not_fit(&pair).or_else(|| lost(references)),
            false => Some("it has another transport in NEW".into()),
        };
        let compared = COMPARED.iter().filter(|_| refused.is_none());
        all.push(
            compared
                .map(|compared| Samples::of(compared, &pair, references, is_reference))
                .collect(),
        );
        found.servers.push(ServerComparison {
            server: plain_line(&server.name),
            refused,
            cells: Vec::new(),
        });
    }
    (found, all)
}

/// Why nothing can be compared with a reference, if that is so.
fn lost(references: &[Pair<Entry>]) -> Option<String> {
    references.iter().find_map(|pair| {
        let reason = not_fit(pair)?;
        Some(format!(
            "the reference {} cannot be used: {reason}",
            pair[0].row.server
        ))
    })
}

/// Why a server did not do the same work in both runs; `None` if it did.
fn not_fit(pair: &Pair<Entry>) -> Option<String> {
    let causes = pair.each_ref().map(|entry| unfit(entry.row));
    // A design that serves a fixed number of connections does the same work in both runs.
    if let [Some(Cause::Unanswered(base)), Some(Cause::Unanswered(new))] = &causes
        && base == new
        && base.answered == base.answered_at_most
    {
        return None;
    }
    let name = &pair[0].row.server;
    let each = NAMES.iter().zip(causes);
    let each: Vec<String> = each
        .filter_map(|(side, cause)| {
            let server = name.clone();
            Some(format!(
                "in {side} {}",
                Caveat {
                    server,
                    cause: cause?
                }
            ))
        })
        .collect();
    let text = each.join(" ");
    (!text.is_empty()).then(|| text.trim_end_matches('.').to_owned())
}

/// The logarithms of a metric by block, of each run, that a cell rests on.
pub(super) struct Samples {
    blocks: Result<Pair<Vec<f64>>, String>,
    numbers: Pair<Option<Estimate>>,
    is_reference: bool,
}

impl Samples {
    fn of(compared: &Compared, pair: &Pair<Entry>, references: &[Pair<Entry>], is_reference: bool) -> Self {
        Samples {
            blocks: blocks(compared, pair, references),
            numbers: pair
                .each_ref()
                .map(|entry| entry.row.numbers.get(compared.key).copied()),
            is_reference,
        }
    }

    pub(super) fn has_ratio(&self) -> bool {
        self.blocks.is_ok()
    }

    pub(super) fn cell(self, compared: &'static Compared, margins: &Margins, error_rate: f64) -> Cell {
        let margin = (compared.margin)(margins).share();
        let [base, new] = self.numbers;
        let mut cell = Cell {
            metric: compared.key,
            base,
            new,
            ratio: None,
            base_blocks: 0,
            new_blocks: 0,
            margin,
            class: Class::NotCompared,
            reason: None,
        };
        let [of_base, of_new] = match self.blocks {
            Ok(blocks) => blocks,
            Err(reason) => {
                cell.reason = Some(reason);
                return cell;
            }
        };
        (cell.base_blocks, cell.new_blocks) = (of_base.len(), of_new.len());
        cell.ratio = ratio(&of_base, &of_new, error_rate);
        if let Some(found) = &cell.ratio {
            cell.class = match self.is_reference {
                true => Class::Reference,
                false => compared.class(found, margin),
            };
            let short = NAMES.iter().zip([cell.base_blocks, cell.new_blocks]);
            let short = short.filter(|(_, blocks)| *blocks < 2).map(|(side, _)| *side);
            let short: Vec<&str> = short.collect();
            if !short.is_empty() {
                cell.reason = Some(format!(
                    "one block of {} gives no interval",
                    short.join(" and of ")
                ));
            }
        }
        cell
    }
}

/// The logarithms by block, or why there are none.
fn blocks(
    compared: &Compared,
    pair: &Pair<Entry>,
    references: &[Pair<Entry>],
) -> Result<Pair<Vec<f64>>, String> {
    let of_side = |side: usize| {
        let entries: Vec<&Entry> = { std::iter::once(&pair[side]) }
            .chain(references.iter().map(|pair| &pair[side]))
            .collect();
        for entry in entries.iter().filter(|_| compared.is_latency) {
            if entry.row.is_bounded(compared.key) {
                let (name, side) = (&entry.row.server, NAMES[side]);
                return Err(format!(
                    "that of {name} is a lower bound in {side}, since messages had no answer"
                ));
            }
            if let Some(finding) = &entry.row.withheld {
                let (name, side) = (&entry.row.server, NAMES[side]);
                return Err(plain_line(&format!(
                    "the latencies of {name} are withheld in {side}: {finding}"
                )));
            }
        }
        let trials: Vec<&[MeasuredTrial]> = entries.iter().map(|entry| &entry.trials[..]).collect();
        let blocks: Vec<Blocks> = values(&trials, compared.metric());
        let missing = entries.iter().zip(&blocks).find(|(_, blocks)| blocks.is_empty());
        if let Some((entry, _)) = missing {
            let (name, side) = (&entry.row.server, NAMES[side]);
            return Err(format!("{side} does not have it in every trial of {name}"));
        }
        let (own, others) = blocks.split_first().expect("there is the server itself");
        let logarithms = match others {
            [] => comparison::levels(own),
            _ => comparison::differences(own, &others.iter().collect::<Vec<_>>()),
        };
        let some = logarithms.filter(|logarithms| !logarithms.is_empty());
        some.ok_or_else(|| {
            format!(
                "{} has a block without a value above 0 of each server in one turn",
                NAMES[side]
            )
        })
    };
    Ok([of_side(0)?, of_side(1)?])
}
