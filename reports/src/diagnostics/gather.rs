//! Gathers the diagnostics of a run.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use record::words::plain_line;
use record::{Load, Outcome, Run, Saturation, Slice, Trial, Wait};

use super::diagnostic::{Diagnostic, Place, UNSTEADY};
use super::{findings, host, loads};
use crate::metrics::{ECHOES, UTILISATION};
use crate::row::Row;
use crate::scenario::ScenarioSummary;
use crate::values::is_disturbed;

/// The diagnostics of a run, the most important first.
pub fn of(run: &Run, trials: &[Trial], scenarios: &[ScenarioSummary]) -> Vec<Diagnostic> {
    let measured: Vec<(&str, &Load)> = trials
        .iter()
        .filter_map(|trial| match &trial.outcome {
            Outcome::Measured { load, .. } => Some((trial.server.as_str(), load)),
            _ => None,
        })
        .collect();
    let loads: Vec<&Load> = measured.iter().map(|(_, load)| *load).collect();
    let mut all = vec![
        outcomes(trials, &loads),
        blocks(run, scenarios),
        Diagnostic::Processors(run.placement.clone()),
    ];
    if !loads.is_empty() {
        let (found, told) = (findings::of(trials), loads::of(trials, &run.placement));
        let disturbed = found.iter().chain(&told).any(Diagnostic::disturbs_generator);
        all.extend(found);
        all.extend([
            generator(scenarios, disturbed),
            spread(scenarios),
            network(&measured),
        ]);
        all.extend(told);
        all.extend(other_programs(trials));
        all.extend(errors(&loads));
        all.extend(wake_up(&loads));
    }
    all.extend(machine(run));
    all.extend(host::diagnostics(run));
    all.sort_by_key(Diagnostic::weight);
    all
}

fn outcomes(trials: &[Trial], loads: &[&Load]) -> Diagnostic {
    let count = |matches: fn(&Outcome) -> bool| trials.iter().filter(|trial| matches(&trial.outcome)).count();
    Diagnostic::Trials {
        measured: loads.len(),
        invalid: loads.iter().filter(|load| !load.summary.is_valid()).count(),
        failed: count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        skipped: count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
    }
}

fn blocks(run: &Run, scenarios: &[ScenarioSummary]) -> Diagnostic {
    // Of a load that may end when its verdicts are decided, no block is missing once they are.
    let may_end_early = !run.looks.is_empty();
    let blocks = { scenarios.iter() }.map(|scenario| match may_end_early && scenario.is_decided() {
        true => (scenario.blocks_complete, scenario.blocks_complete),
        false => (scenario.blocks_complete, scenario.blocks_planned),
    });
    // The scenario that lacks most.
    let worst =
        blocks.min_by_key(|&(complete, planned)| (i64::from(complete) - i64::from(planned), complete));
    let (complete, planned) = worst.unwrap_or((0, run.blocks));
    Diagnostic::Blocks { complete, planned }
}

fn generator(scenarios: &[ScenarioSummary], disturbed: bool) -> Diagnostic {
    let rows = || scenarios.iter().flat_map(ScenarioSummary::measured);
    if rows().any(|row| row.saturation == Some(Saturation::Unknown)) {
        return Diagnostic::BusyPolls;
    }
    let places = |state| {
        let places = scenarios.iter().map(|scenario| {
            let servers = scenario
                .measured()
                .filter(|row| row.saturation == Some(state))
                .map(|row| row.server.clone());
            Place {
                scenario: scenario.name.clone(),
                servers: servers.collect(),
            }
        });
        places.filter(|place| !place.servers.is_empty()).collect()
    };
    let utilisation = |row: &Row| row.numbers.get(UTILISATION).map(|estimate| estimate.value);
    Diagnostic::Generator {
        highest: rows().filter_map(utilisation).fold(0.0, f64::max),
        saturated: places(Saturation::Full),
        held_up: places(Saturation::HeldUp),
        throttled: places(Saturation::Throttled),
        disturbed,
    }
}

fn spread(scenarios: &[ScenarioSummary]) -> Diagnostic {
    let width = |row: &Row| row.numbers.get(ECHOES)?.interval.map(|ends| ends.high / ends.low);
    let mut unsteady = Vec::new();
    let mut known = false;
    for scenario in scenarios {
        for row in scenario.measured() {
            let Some(width) = width(row) else { continue };
            known = true;
            if width > UNSTEADY {
                unsteady.push((row.server.clone(), scenario.name.clone()));
            }
        }
    }
    Diagnostic::Spread { known, unsteady }
}

fn network(measured: &[(&str, &Load)]) -> Diagnostic {
    let (unix, others): (Vec<_>, Vec<_>) = measured.iter().partition(|(_, load)| load.is_over_unix_socket());
    let (local, remote): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|(_, load)| is_loopback(&load.target));
    let ways = [unix.len(), local.len(), remote.len()];
    let names = |servers: Vec<(&str, &Load)>| -> Vec<String> {
        let sorted: BTreeSet<String> = servers.iter().map(|(server, _)| plain_line(server)).collect();
        sorted.into_iter().collect()
    };
    Diagnostic::Network {
        remote: names(remote),
        unix: names(unix),
        mixed: ways.iter().filter(|&&servers| servers > 0).count() > 1,
    }
}

fn is_loopback(target: &str) -> bool {
    let address = target.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| target.parse::<IpAddr>());
    address.map_or_else(|_| target.starts_with("localhost"), |ip| ip.is_loopback())
}

/// `None` if nothing was measured in slices.
fn other_programs(trials: &[Trial]) -> Option<Diagnostic> {
    let slices = trials.iter().flat_map(|trial| match &trial.outcome {
        Outcome::Measured { slices, .. } => &slices[..],
        _ => &[],
    });
    let slices: Vec<&Slice> = slices.collect();
    let mean = |share: fn(&Slice) -> Option<f64>| {
        let shares: Vec<f64> = slices.iter().filter_map(|slice| share(slice)).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    };
    (!slices.is_empty()).then(|| Diagnostic::OtherPrograms {
        share: mean(|slice| slice.foreign_cpu),
        disturbed: slices.iter().filter(|slice| is_disturbed(slice)).count(),
        slices: slices.len(),
        steal: mean(|slice| slice.steal),
        pressure: mean(|slice| slice.cpu_pressure),
    })
}

fn errors(loads: &[&Load]) -> Option<Diagnostic> {
    let mut examples = BTreeSet::new();
    let mut count = 0u64;
    for load in loads {
        count = load
            .summary
            .errors
            .values()
            .fold(count, |sum, errors| sum.saturating_add(*errors));
        for (kind, example) in &load.error_examples {
            examples.insert(format!("{} ({})", kind.name(), plain_line(example)));
        }
    }
    (count > 0).then(|| Diagnostic::Errors {
        count,
        examples: examples.into_iter().collect(),
    })
}

fn wake_up(loads: &[&Load]) -> Option<Diagnostic> {
    let sleeps = loads.iter().any(|load| load.generator.wait == Wait::Sleep);
    sleeps.then_some(Diagnostic::WakeUp)
}

fn machine(run: &Run) -> Vec<Diagnostic> {
    let host = &run.host;
    let hypervisor = host.hypervisor.as_deref().map(|name| Diagnostic::VirtualMachine {
        hypervisor: plain_line(name),
    });
    // The checks of the host say it better, where there were any.
    let unchecked = host.governor.as_deref().filter(|_| run.host_checks.is_empty());
    let governor = unchecked.filter(|name| *name != "performance");
    let frequency = governor.map(|name| Diagnostic::Frequency {
        governor: plain_line(name),
    });
    hypervisor.into_iter().chain(frequency).collect()
}
