//! Evidence for and against the numbers of a run: the view that comes before any number.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use record::numbers::number;
use record::words::{counted, list, plain_line};
use record::{Load, Outcome, Placement, Run, Saturation, Trial};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::metrics::{ECHOES, UTILISATION};
use crate::row::Row;
use crate::scenario::ScenarioSummary;

/// A throughput interval whose ends differ by more than this factor is called unsteady: half
/// the width at which a tie becomes inconclusive.
const UNSTEADY: f64 = 1.25;

/// Fewer blocks than this give wide intervals.
const ENOUGH_BLOCKS: u32 = 5;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It affects the verdicts.
    Warning,
    /// The reader should know it when using the numbers.
    Note,
    /// It was checked and is as it should be.
    Good,
}

impl Weight {
    /// The word beside the diagnostic.
    pub fn word(self) -> &'static str {
        match self {
            Weight::Warning => "Warning",
            Weight::Note => "Note",
            Weight::Good => "Good",
        }
    }
}

/// A scenario, and some of its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the scenario.
    pub scenario: String,
    /// Names of the servers.
    pub servers: Vec<String>,
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.scenario, list(&self.servers))
    }
}

/// One fact about the run that speaks for or against its numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Diagnostic {
    /// The outcomes of the trials.
    Trials {
        /// Ran to their end.
        measured: usize,
        /// Measured, but not valid.
        invalid: usize,
        /// The server or the load failed.
        failed: usize,
        /// The host cannot run the server.
        skipped: usize,
    },
    /// How many blocks are complete.
    Blocks {
        /// Complete in the scenario with the fewest.
        complete: u32,
        /// Planned.
        planned: u32,
    },
    /// Which processors server and generator ran on.
    Processors(Placement),
    /// Whether the generator was the limit.
    Generator {
        /// Its highest utilisation, from 0 to 1.
        highest: f64,
        /// Where it was saturated in most trials.
        saturated: Vec<Place>,
        /// Where other programs kept it busy or waiting in most trials.
        held_up: Vec<Place>,
    },
    /// The generator busy-polls, so its utilisation does not show whether it was the limit.
    BusyPolls,
    /// How much the throughput differed between trials.
    Spread {
        /// Whether any server has an interval.
        known: bool,
        /// Servers with a wide interval, each with the scenario.
        unsteady: Vec<(String, String)>,
    },
    /// The network between server and generator.
    Network {
        /// Whether it was loopback in every trial.
        loopback: bool,
    },
    /// Errors of connections and messages.
    Errors {
        /// How many, over all trials.
        count: u64,
        /// One example of each kind, as the system worded it.
        examples: Vec<String>,
    },
    /// The generator sleeps while nothing is ready.
    WakeUp,
    /// The host is a virtual machine.
    VirtualMachine {
        /// Of this hypervisor.
        hypervisor: String,
    },
    /// The processor may have changed its frequency.
    Frequency {
        /// The frequency governor.
        governor: String,
    },
}

/// The diagnostics of a run, the most important first.
pub fn of(run: &Run, trials: &[Trial], scenarios: &[ScenarioSummary]) -> Vec<Diagnostic> {
    let loads: Vec<&Load> = trials
        .iter()
        .filter_map(|trial| match &trial.outcome {
            Outcome::Measured { load, .. } => Some(load),
            _ => None,
        })
        .collect();
    let mut all = vec![
        outcomes(trials, &loads),
        blocks(run, scenarios),
        Diagnostic::Processors(run.placement.clone()),
    ];
    if !loads.is_empty() {
        all.extend([generator(scenarios), spread(scenarios), network(&loads)]);
        all.extend(errors(&loads));
        all.extend(wake_up(&loads));
    }
    all.extend(machine(run));
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
    let complete = scenarios.iter().map(|scenario| scenario.blocks_complete);
    Diagnostic::Blocks {
        complete: complete.min().unwrap_or(0),
        planned: run.blocks,
    }
}

fn generator(scenarios: &[ScenarioSummary]) -> Diagnostic {
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

fn network(loads: &[&Load]) -> Diagnostic {
    Diagnostic::Network {
        loopback: loads.iter().all(|load| is_loopback(&load.target)),
    }
}

fn is_loopback(target: &str) -> bool {
    let address = target.parse::<SocketAddr>().map(|address| address.ip());
    let address = address.or_else(|_| target.parse::<IpAddr>());
    address.map_or_else(|_| target.starts_with("localhost"), |ip| ip.is_loopback())
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
    let sleeps = loads.iter().any(|load| load.generator.wait == "sleep");
    sleeps.then_some(Diagnostic::WakeUp)
}

fn machine(run: &Run) -> Vec<Diagnostic> {
    let host = &run.host;
    let hypervisor = host.hypervisor.as_deref().map(|name| Diagnostic::VirtualMachine {
        hypervisor: plain_line(name),
    });
    let governor = host.governor.as_deref().filter(|name| *name != "performance");
    let frequency = governor.map(|name| Diagnostic::Frequency {
        governor: plain_line(name),
    });
    hypervisor.into_iter().chain(frequency).collect()
}

impl Diagnostic {
    /// How much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Diagnostic::Trials {
                measured,
                invalid,
                failed,
                skipped,
            } => match () {
                () if *measured == 0 || failed + invalid > 0 => Weight::Warning,
                () if *skipped > 0 => Weight::Note,
                () => Weight::Good,
            },
            Diagnostic::Blocks { complete, planned } => match () {
                () if *complete < 2 || complete < planned => Weight::Warning,
                () if *planned < ENOUGH_BLOCKS => Weight::Note,
                () => Weight::Good,
            },
            Diagnostic::Processors(placement) => match () {
                () if placement.shared() => Weight::Warning,
                () if !is_recorded(placement) => Weight::Note,
                () => Weight::Good,
            },
            Diagnostic::Generator {
                saturated, held_up, ..
            } if saturated.is_empty() && held_up.is_empty() => Weight::Good,
            Diagnostic::Generator { .. } => Weight::Warning,
            Diagnostic::Spread { known: false, .. } => Weight::Warning,
            Diagnostic::Spread { unsteady, .. } if unsteady.is_empty() => Weight::Good,
            Diagnostic::Spread { .. }
            | Diagnostic::Network { .. }
            | Diagnostic::Errors { .. }
            | Diagnostic::WakeUp
            | Diagnostic::BusyPolls
            | Diagnostic::VirtualMachine { .. }
            | Diagnostic::Frequency { .. } => Weight::Note,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> &'static str {
        match self {
            Diagnostic::Trials { .. } => "Trials",
            Diagnostic::Blocks { .. } => "Blocks",
            Diagnostic::Processors(_) => "Processors",
            Diagnostic::Generator { .. } | Diagnostic::BusyPolls => "Load generator",
            Diagnostic::Spread { .. } => "Spread over trials",
            Diagnostic::Network { .. } => "Network",
            Diagnostic::Errors { .. } => "Errors",
            Diagnostic::WakeUp => "Wake-up",
            Diagnostic::VirtualMachine { .. } => "Virtual machine",
            Diagnostic::Frequency { .. } => "Frequency",
        }
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Diagnostic::Trials {
                measured,
                invalid,
                failed,
                skipped,
            } => write_trials(f, *measured, *invalid, *failed, *skipped),
            Diagnostic::Blocks { complete, planned } => write_blocks(f, *complete, *planned),
            Diagnostic::Processors(placement) => write_processors(f, placement),
            Diagnostic::Generator {
                highest,
                saturated,
                held_up,
            } => write_generator(f, *highest, saturated, held_up),
            Diagnostic::BusyPolls => f.write_str(
                "The generator busy-polls, so its utilisation does not show whether it was the limit.",
            ),
            Diagnostic::Spread { known: false, .. } => {
                f.write_str("No server has two valid trials, so the spread is unknown.")
            }
            Diagnostic::Spread { unsteady, .. } => write_spread(f, unsteady),
            Diagnostic::Network { loopback: true } => f.write_str(
                "Server and generator ran on the same host over loopback: no network card, no wire, no loss.",
            ),
            Diagnostic::Network { loopback: false } => f.write_str(
                "The server's address is not a loopback address: every latency includes the network in between.",
            ),
            Diagnostic::Errors { count, examples } => {
                let errors = counted(usize::try_from(*count).unwrap_or(usize::MAX), "error");
                match examples.as_slice() {
                    [] => write!(f, "{errors} in the whole run."),
                    some => write!(f, "{errors} in the whole run: {}.", shortened(some)),
                }
            }
            Diagnostic::WakeUp => f.write_str(
                "The generator sleeps between events. Its own wake-up, some tens of microseconds on a virtual \
                 machine, is part of every latency.",
            ),
            Diagnostic::VirtualMachine { hypervisor } => write!(
                f,
                "The host is a virtual machine ({hypervisor}): other guests may have taken time that does not \
                 show here."
            ),
            Diagnostic::Frequency { governor } => write!(
                f,
                "The frequency governor is {governor}, so the clock rate may have followed the load."
            ),
        }
    }
}

/// As `weight`, `subject` and `text`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Diagnostic", 3)?;
        object.serialize_field("weight", &self.weight())?;
        object.serialize_field("subject", self.subject())?;
        object.serialize_field("text", &self.to_string())?;
        object.end()
    }
}

fn write_trials(
    f: &mut Formatter<'_>,
    measured: usize,
    invalid: usize,
    failed: usize,
    skipped: usize,
) -> fmt::Result {
    if measured == 0 {
        return write!(
            f,
            "No trial was measured; {failed} failed and {skipped} were skipped."
        );
    }
    let all = counted(measured, "trial");
    if failed + skipped + invalid == 0 {
        return write!(f, "{all} measured, all valid; none failed, none was skipped.");
    }
    let parts = [
        (invalid, "not valid and left out"),
        (failed, "failed"),
        (skipped, "skipped"),
    ];
    let parts = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"));
    write!(f, "{all} measured; {}.", list(&parts.collect::<Vec<_>>()))
}

fn write_blocks(f: &mut Formatter<'_>, complete: u32, planned: u32) -> fmt::Result {
    match complete {
        0 => write!(
            f,
            "No block is complete in every scenario ({planned} planned). Ratios use the blocks that both servers \
             have."
        ),
        1 => f.write_str("One block gives no interval, so no difference can be shown to be real."),
        _ if complete < planned => write!(
            f,
            "{complete} of {planned} blocks are complete in every scenario, which widens the intervals."
        ),
        _ if planned < ENOUGH_BLOCKS => write!(
            f,
            "All {planned} blocks are complete; five or more give narrower intervals."
        ),
        _ => write!(f, "All {planned} blocks are complete."),
    }
}

fn is_recorded(placement: &Placement) -> bool {
    !placement.server_cpus.is_empty() && !placement.generator_cpus.is_empty()
}

fn write_processors(f: &mut Formatter<'_>, placement: &Placement) -> fmt::Result {
    let (server, generator) = (cpus(&placement.server_cpus), cpus(&placement.generator_cpus));
    if placement.shared() {
        write!(
            f,
            "Server and generator shared processors ({server}) and took time from each other: the ranking of the \
             servers may hold elsewhere, the absolute numbers do not."
        )
    } else if is_recorded(placement) {
        write!(f, "The server ran on {server}, the generator on {generator}.")
    } else {
        f.write_str("The processors of server and generator are not recorded.")
    }
}

/// Processors by number: `processors 0 and 1`.
pub fn cpus(numbers: &[usize]) -> String {
    let each: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    match each.as_slice() {
        [] => "no specific processor".into(),
        [one] => format!("processor {one}"),
        some => format!("processors {}", list(some)),
    }
}

fn write_generator(
    f: &mut Formatter<'_>,
    highest: f64,
    saturated: &[Place],
    held_up: &[Place],
) -> fmt::Result {
    let percent = number(highest * 100.0);
    let places = |places: &[Place]| list(&places.iter().map(Place::to_string).collect::<Vec<_>>());
    if saturated.is_empty() && held_up.is_empty() {
        return write!(f, "At most {percent}% busy on average, so it was not the limit.");
    }
    write!(f, "Up to {percent}% busy")?;
    if !saturated.is_empty() {
        write!(f, ": it was the limit in {}", places(saturated))?;
    }
    if !held_up.is_empty() {
        write!(
            f,
            "; other programs on its processors held it up in {}",
            places(held_up)
        )?;
    }
    f.write_str(
        ". These servers may be faster than shown, and ties between them may only show the limit of the generator.",
    )
}

fn write_spread(f: &mut Formatter<'_>, unsteady: &[(String, String)]) -> fmt::Result {
    let limit = ((UNSTEADY - 1.0) * 100.0).round();
    if unsteady.is_empty() {
        return write!(
            f,
            "No throughput interval spans more than {limit}% from end to end."
        );
    }
    let each: Vec<String> = unsteady
        .iter()
        .map(|(server, scenario)| format!("{server} in {scenario}"))
        .collect();
    write!(
        f,
        "The throughput interval spans more than {limit}% for {}.",
        shortened(&each)
    )
}

/// A list that names only the first few.
fn shortened(names: &[String]) -> String {
    const NAMED: usize = 6;
    match names.len() {
        count if count > NAMED => format!("{} and {} more", names[..NAMED].join(", "), count - NAMED),
        _ => list(names),
    }
}
