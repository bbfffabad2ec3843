//! What a run will do, before it does it.

use std::collections::BTreeMap;

use indicatif::HumanDuration;
use record::words::{count, list};
use record::{HostState, Placement, Run};
use reports::workload;
use servers::models::{self, MODELS, NOT_BUILT};

use crate::doctor;
use crate::host::affinity;
use crate::participant::Participant;
use crate::suite::Suite;
use crate::trial;

/// What will be measured, how long that takes, and what this host lacks for it, in lines.
pub fn preview(suite: &Suite, run: &Run, participants: &[Participant]) -> String {
    let mut lines = vec![extent(suite, run)];
    lines.extend(
        run.question
            .iter()
            .map(|question| format!("question: {question}")),
    );
    for scenario in &run.scenarios {
        let how = scenario
            .slice
            .map_or("whole windows".into(), |slice| format!("slices of {:?}", slice.0));
        let load = workload::describe(&scenario.plan, &scenario.setup);
        let mut line = format!("  {}: {load}; {how}", scenario.name);
        if !scenario.objectives.is_empty() {
            let objectives: Vec<_> = scenario.objectives.iter().map(ToString::to_string).collect();
            line += &format!("; to achieve: {}", list(&objectives));
        }
        lines.push(line.replace('\u{a0}', " "));
    }
    let names: Vec<String> = run.servers.iter().map(|server| server.name.clone()).collect();
    lines.push(format!("servers: {}", list(&names)));
    lines.push(processors(&run.placement));
    lines.extend(quota(run));
    lines.extend(host(run));
    lines.extend(lacks(suite, run, participants));
    if run.blocks < 2 {
        lines.push("one block only: without confidence intervals no server can be called faster".into());
    }
    lines.join("\n") + "\n"
}

fn extent(suite: &Suite, run: &Run) -> String {
    let servers = run.servers.len();
    let most = if suite.looks.is_empty() { "" } else { "at most " };
    format!(
        "{}: {}, {}, {most}{}, {most}about {}; seed {}",
        suite.name,
        count(servers as u64, "server"),
        count(suite.scenarios.len() as u64, "load"),
        count(suite.blocks.into(), "block"),
        HumanDuration(suite.time(&run.scenarios, servers)),
        run.seed,
    )
}

fn processors(placement: &Placement) -> String {
    let of = |cpus: &[usize]| list(&cpus.iter().map(usize::to_string).collect::<Vec<_>>());
    if placement.shared() {
        return "one processor only: server and generator share it, so rates are about half of those on two \
                processors, and latencies include the wait for the other side"
            .into();
    }
    match placement.server_cpus.is_empty() {
        true => format!("processors: {} for the generator", of(&placement.generator_cpus)),
        false => format!(
            "processors: {} for the servers, {} for the generator",
            of(&placement.server_cpus),
            of(&placement.generator_cpus)
        ),
    }
}

/// A quota that leaves fewer processors than there are.
fn quota(run: &Run) -> Option<String> {
    let allowed = run.host.cpus_allowed.len();
    let quotas = affinity::quotas().filter(|quotas| quotas.usable(allowed) < allowed)?;
    Some(format!(
        "a processor quota of {} leaves {} of {allowed} usable: raise or remove the quota of the cgroup to measure \
         on all of them",
        record::processors(quotas.processors()),
        quotas.usable(allowed)
    ))
}

/// What was checked on this host and is in the way, and what else is worth knowing.
fn host(run: &Run) -> Vec<String> {
    let in_the_way = run.host_checks.iter().filter(|check| check.state.is_in_the_way());
    let mut lines: Vec<String> = in_the_way.map(doctor::line).collect();
    let notes = { run.host_checks.iter() }.filter(|check| check.state == HostState::Note);
    let notes: Vec<&str> = notes.map(|check| check.name.as_str()).collect();
    if !notes.is_empty() {
        lines.push(format!(
            "worth knowing of this host: {} (see `echobench doctor`)",
            list(&notes)
        ));
    }
    lines
}

/// The servers that have no part in some loads, by the reason.
fn lacks(suite: &Suite, run: &Run, participants: &[Participant]) -> Vec<String> {
    let mut skipped: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for scenario in &suite.scenarios {
        for participant in participants {
            if let Err(reason) = trial::possible_plan(scenario, participant, &run.placement) {
                let place = (participant.name(), reason);
                skipped.entry(place).or_default().push(scenario.name.clone());
            }
        }
    }
    let skipped = skipped.into_iter().map(|((server, reason), scenarios)| {
        let all = scenarios.len() == suite.scenarios.len();
        let place = if all {
            String::new()
        } else {
            format!(" in {}", list(&scenarios))
        };
        format!("without {server}{place}: {reason}")
    });
    // A run of all models names those that this build lacks.
    let named = |name: &str| run.servers.iter().any(|server| server.name == name);
    let all = MODELS.iter().all(|model| named(model.name()));
    let not_built = NOT_BUILT.iter().filter(move |_| all);
    let not_built =
        not_built.map(|name| format!("without {name}: {}", models::left_out(name).unwrap_or_default()));
    skipped.chain(not_built).collect()
}
