//! What speaks for and against believing a run, in words: the view that comes before
//! any number.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use record::{Load, Outcome, Run, SATURATED, Trial};
use serde::Serialize;

use crate::format;
use crate::measure::{ECHOES, UTILISATION};
use crate::summary::{Row, ScenarioSummary};

/// An interval wider than this about a mean over trials is called unsteady: it is half
/// of the width at which a tie turns inconclusive.
const UNSTEADY: f64 = 1.25;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It touches what the verdicts say.
    Warning,
    /// It is to be known when the numbers are used.
    Note,
    /// It was looked at and is as it should be.
    Good,
}

impl Weight {
    /// The word that stands beside the finding.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Warning => "Warning",
            Weight::Note => "Note",
            Weight::Good => "Good",
        }
    }
}

/// One finding about the run itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doubt {
    /// How much it weighs.
    pub weight: Weight,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub text: String,
}

/// Everything that was looked at, what weighs most first.
pub fn of(run: &Run, trials: &[Trial], scenarios: &[ScenarioSummary]) -> Vec<Doubt> {
    let loads: Vec<&Load> = trials
        .iter()
        .filter_map(|trial| match &trial.outcome {
            Outcome::Measured { load, .. } => Some(load),
            _ => None,
        })
        .collect();
    let mut doubts = vec![outcomes(trials, &loads), blocks(run, scenarios), processors(run)];
    if !loads.is_empty() {
        doubts.extend([generator(scenarios), spread(scenarios), network(&loads)]);
        doubts.extend(errors(&loads));
        doubts.extend(waiting(&loads));
    }
    doubts.extend(machine(run));
    doubts.sort_by_key(|doubt| doubt.weight);
    doubts
}

fn outcomes(trials: &[Trial], loads: &[&Load]) -> Doubt {
    let count = |matches: fn(&Outcome) -> bool| trials.iter().filter(|trial| matches(&trial.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped { .. }));
    let invalid = loads.iter().filter(|load| !load.summary.is_valid()).count();
    let measured = format::counted(loads.len(), "trial");
    let text = if loads.is_empty() {
        format!("No trial was measured; {failed} failed and {skipped} were skipped.")
    } else if failed + skipped + invalid == 0 {
        format!("{measured} measured, all valid; none failed or was skipped.")
    } else {
        let parts = [
            (invalid, "not valid and left out"),
            (failed, "failed"),
            (skipped, "skipped"),
        ];
        let parts = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"));
        format!(
            "{measured} measured; {}.",
            format::list(&parts.collect::<Vec<_>>())
        )
    };
    let weight = match () {
        () if loads.is_empty() || failed + invalid > 0 => Weight::Warning,
        () if skipped > 0 => Weight::Note,
        () => Weight::Good,
    };
    Doubt {
        weight,
        subject: "Trials",
        text,
    }
}

fn blocks(run: &Run, scenarios: &[ScenarioSummary]) -> Doubt {
    let planned = run.blocks;
    let fewest = scenarios
        .iter()
        .map(|scenario| scenario.blocks_complete)
        .min()
        .unwrap_or(0);
    let (weight, text) = if fewest == 0 {
        (
            Weight::Warning,
            format!(
                "No block is complete in every scenario; {planned} were planned. Ratios use the blocks that both sides have."
            ),
        )
    } else if fewest == 1 {
        (
            Weight::Warning,
            "One block: no interval, so no difference is shown to be real.".to_owned(),
        )
    } else if fewest < planned {
        (
            Weight::Warning,
            format!(
                "{fewest} of {planned} blocks are complete in every scenario; the intervals are wider for it."
            ),
        )
    } else if planned < 5 {
        (
            Weight::Note,
            format!("All of {planned} blocks are complete; five or more give narrower intervals."),
        )
    } else {
        (Weight::Good, format!("All of {planned} blocks are complete."))
    };
    Doubt {
        weight,
        subject: "Blocks",
        text,
    }
}

fn processors(run: &Run) -> Doubt {
    let placement = &run.placement;
    let (weight, text) = if placement.shared() {
        (
            Weight::Warning,
            format!(
                "Server and generator shared processors ({}), so they took time from each other: the order of the \
                 servers may hold elsewhere, the absolute numbers do not.",
                cpus(&placement.server_cpus)
            ),
        )
    } else if placement.server_cpus.is_empty() || placement.generator_cpus.is_empty() {
        (
            Weight::Note,
            "It is not recorded which processors server and generator ran on.".to_owned(),
        )
    } else {
        (
            Weight::Good,
            format!(
                "The server ran on {}, the generator on {}.",
                cpus(&placement.server_cpus),
                cpus(&placement.generator_cpus)
            ),
        )
    };
    Doubt {
        weight,
        subject: "Processors",
        text,
    }
}

/// Processors by number, in words.
pub fn cpus(numbers: &[usize]) -> String {
    let each: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let noun = if numbers.len() == 1 {
        "processor"
    } else {
        "processors"
    };
    if each.is_empty() {
        "no processor in particular".into()
    } else {
        format!("{noun} {}", format::list(&each))
    }
}

fn generator(scenarios: &[ScenarioSummary]) -> Doubt {
    let utilisation = |row: &Row| row.numbers.get(UTILISATION).map(|estimate| estimate.value);
    let highest = scenarios
        .iter()
        .flat_map(ScenarioSummary::measured)
        .filter_map(utilisation)
        .fold(0.0, f64::max);
    let busy: Vec<String> = scenarios
        .iter()
        .filter_map(|scenario| {
            let names: Vec<&str> = scenario
                .measured()
                .filter(|row| utilisation(row).is_some_and(|share| share >= SATURATED))
                .map(|row| row.server.as_str())
                .collect();
            (!names.is_empty()).then(|| format!("{} ({})", scenario.name, format::list(&names)))
        })
        .collect();
    let percent = format::number(highest * 100.0);
    let (weight, text) = if busy.is_empty() {
        (
            Weight::Good,
            format!("At most {percent}% busy on average, so it was not the limit."),
        )
    } else {
        (
            Weight::Warning,
            format!(
                "Up to {percent}% busy, so that it was itself the limit in {}: those servers may be faster than shown, \
                 and a tie between them may be the generator's.",
                format::list(&busy)
            ),
        )
    };
    Doubt {
        weight,
        subject: "Load generator",
        text,
    }
}

fn spread(scenarios: &[ScenarioSummary]) -> Doubt {
    let width = |row: &Row| row.numbers.get(ECHOES)?.interval.map(|ends| ends.high / ends.low);
    let mut unsteady = Vec::new();
    let mut any = false;
    for scenario in scenarios {
        for row in scenario.measured() {
            let Some(width) = width(row) else { continue };
            any = true;
            if width > UNSTEADY {
                unsteady.push(format!("{} in {}", row.server, scenario.name));
            }
        }
    }
    let limit = ((UNSTEADY - 1.0) * 100.0).round();
    let (weight, text) = match (any, unsteady.as_slice()) {
        (false, _) => (
            Weight::Warning,
            "No server has two valid trials: the spread is not known.".to_owned(),
        ),
        (true, []) => (
            Weight::Good,
            format!("From one end to the other no interval of a throughput spans more than {limit}%."),
        ),
        (true, some) => (
            Weight::Note,
            format!(
                "The interval of the throughput spans more than {limit}% for {}.",
                shortened(some)
            ),
        ),
    };
    Doubt {
        weight,
        subject: "Spread over trials",
        text,
    }
}

/// A list of which only the first few are named.
fn shortened(names: &[String]) -> String {
    const NAMED: usize = 6;
    match names.len() {
        count if count > NAMED => format!("{} and {} more", names[..NAMED].join(", "), count - NAMED),
        _ => format::list(names),
    }
}

fn network(loads: &[&Load]) -> Doubt {
    let local = loads.iter().all(|load| is_loopback(&load.target));
    let (weight, text) = if local {
        (
            Weight::Note,
            "Server and generator ran on the same host over loopback: no network card, no wire, no loss.",
        )
    } else {
        (
            Weight::Note,
            "The server was reached by an address that is not loopback: the network between is in every latency.",
        )
    };
    Doubt {
        weight,
        subject: "Network",
        text: text.to_owned(),
    }
}

fn is_loopback(target: &str) -> bool {
    let address = target.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| target.parse::<IpAddr>());
    address.map_or_else(|_| target.starts_with("localhost"), |ip| ip.is_loopback())
}

fn errors(loads: &[&Load]) -> Option<Doubt> {
    let mut examples = BTreeSet::new();
    let mut count = 0u64;
    for load in loads {
        count = load
            .summary
            .errors
            .values()
            .fold(count, |sum, errors| sum.saturating_add(*errors));
        for (kind, example) in &load.error_examples {
            examples.insert(format!("{} ({})", kind.name(), format::plain_line(example)));
        }
    }
    let examples: Vec<String> = examples.into_iter().collect();
    let words = match examples.is_empty() {
        true => String::new(),
        false => format!(": {}", shortened(&examples)),
    };
    (count > 0).then(|| Doubt {
        weight: Weight::Note,
        subject: "Errors",
        text: format!(
            "{} over the whole run{words}.",
            format::counted(count as usize, "error")
        ),
    })
}

fn waiting(loads: &[&Load]) -> Option<Doubt> {
    let sleeps = loads.iter().any(|load| load.generator.wait == "sleep");
    sleeps.then(|| Doubt {
        weight: Weight::Note,
        subject: "Wake-up",
        text: "The generator sleeps between events; its own wake-up, some tens of microseconds on a virtual machine, \
               is part of every latency."
            .to_owned(),
    })
}

fn machine(run: &Run) -> Vec<Doubt> {
    let host = &run.host;
    let mut doubts = Vec::new();
    if let Some(hypervisor) = &host.hypervisor {
        doubts.push(Doubt {
            weight: Weight::Note,
            subject: "Virtual machine",
            text: format!(
                "The host is virtual ({}): other guests may have taken time that is not seen here.",
                format::plain_line(hypervisor)
            ),
        });
    }
    if let Some(governor) = host
        .governor
        .as_deref()
        .filter(|governor| *governor != "performance")
    {
        doubts.push(Doubt {
            weight: Weight::Note,
            subject: "Frequency",
            text: format!(
                "The frequency governor is {}, so the clock may have followed the load.",
                format::plain_line(governor)
            ),
        });
    }
    doubts
}
