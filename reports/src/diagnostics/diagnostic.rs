//! A diagnostic: a fact about the run, how much it matters, and what it is about.

use record::finding::TAKEN;
use record::{Effect, Fault, Finding, HostState, Placement, Throttling};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// A throughput interval whose ends differ by more than this factor is called unsteady.
pub(super) const UNSTEADY: f64 = 1.25;

/// Fewer blocks than this give wide intervals.
pub(super) const ENOUGH_BLOCKS: u32 = 5;

/// Shares of disturbed slices: beyond the first one it is worth knowing, beyond the second the
/// numbers are not those of a quiet machine.
const RARELY_DISTURBED: f64 = 0.02;
const OFTEN_DISTURBED: f64 = 0.15;

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

/// What gates found in some trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The largest finding of its kind.
    pub worst: Finding,
    /// Trials that have a finding of this kind.
    pub trials: usize,
    /// All measured trials.
    pub measured: usize,
    /// Where it was found.
    pub places: Vec<Place>,
}

/// A processor quota of the generator or of the servers.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaSide {
    /// What it did in the trial in which it throttled most.
    pub worst: Throttling,
    /// Trials in which it throttled.
    pub throttled: usize,
    /// Trials with a quota.
    pub trials: usize,
}

impl QuotaSide {
    /// Whether numbers are those of the quota: for much of the time, or in most of its periods.
    fn is_severe(&self) -> bool {
        self.worst.share > TAKEN || self.worst.throttled_periods > self.worst.periods / 2
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
    /// What the gates found.
    Found(Box<Found>),
    /// Which processors server and generator ran on.
    Processors(Placement),
    /// Whether the generator was the limit.
    Generator {
        /// Its highest utilisation, from 0 to 1.
        highest: f64,
        /// Where it was saturated, on average over trials.
        saturated: Vec<Place>,
        /// Where other programs on its processors left it no time to spare.
        held_up: Vec<Place>,
        /// Where a processor quota did.
        throttled: Vec<Place>,
        /// Whether other diagnostics warn of what held it up in single trials.
        disturbed: bool,
    },
    /// The generator was ready to run and had no processor.
    KeptWaiting {
        /// The largest share of a window.
        most: f64,
        /// Trials in which the share was large.
        trials: usize,
        /// All measured trials.
        measured: usize,
        /// Where it was large.
        places: Vec<Place>,
        /// Whether the generator shares processors with the server.
        shared: bool,
    },
    /// The hypervisor ran other machines on the generator's processors for a small share of a window.
    Steal {
        /// The largest share.
        most: f64,
    },
    /// A processor quota applied.
    Quota {
        /// To the generator.
        generator: Option<QuotaSide>,
        /// To the servers.
        server: Option<QuotaSide>,
    },
    /// Some messages that were due had no answer, too few to invalidate a load.
    Unanswered {
        /// How many, over all trials.
        messages: u64,
        /// In how many trials.
        trials: usize,
        /// Where.
        places: Vec<Place>,
    },
    /// Connections were lost and opened again, as the load asks for.
    Reconnects {
        /// How many were lost, over all trials.
        lost: u64,
        /// How many of them were opened again.
        reopened: u64,
        /// The longest time from a loss to the next answer, in seconds.
        longest_s: f64,
        /// In how many trials.
        trials: usize,
        /// Where.
        places: Vec<Place>,
    },
    /// Where connections come and go, some were never answered.
    Starved {
        /// At most so many in a trial.
        most: u64,
        /// In how many trials.
        trials: usize,
        /// Where.
        places: Vec<Place>,
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
    /// What other programs used of the processors of server and generator, where slices tell.
    OtherPrograms {
        /// The share of their time; `None` if the host does not tell.
        share: Option<f64>,
        /// Slices of which they used much.
        disturbed: usize,
        /// All slices.
        slices: usize,
        /// The share that the hypervisor took, if the kernel tells.
        steal: Option<f64>,
        /// The share of the time in which some task waited for a processor, if the kernel tells.
        pressure: Option<f64>,
    },
    /// The network between server and generator.
    Network {
        /// Servers on other hosts: their addresses are not loopback addresses.
        remote: Vec<String>,
        /// Servers on this host that were reached over a Unix socket.
        unix: Vec<String>,
        /// Whether others were reached in another way.
        mixed: bool,
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
    /// What a check of the host found before the run.
    HostFinding {
        /// How bad it is.
        state: HostState,
        /// What, why and what to do, in sentences.
        text: String,
    },
    /// Checks of the host that found nothing, or could not tell.
    HostChecked {
        /// Which of the two.
        state: HostState,
        /// Their names.
        names: Vec<String>,
    },
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
            Diagnostic::Found(found) => match found.worst.effect() {
                Effect::Invalidates | Effect::WithholdsLatencies => Weight::Warning,
                Effect::Noted => Weight::Note,
            },
            Diagnostic::Processors(placement) => match () {
                () if placement.shared() => Weight::Warning,
                () if !is_recorded(placement) => Weight::Note,
                () => Weight::Good,
            },
            Diagnostic::Generator {
                saturated,
                held_up,
                throttled,
                disturbed,
                ..
            } if saturated.is_empty() && held_up.is_empty() && throttled.is_empty() => match disturbed {
                true => Weight::Note,
                false => Weight::Good,
            },
            Diagnostic::Generator { .. } | Diagnostic::Starved { .. } => Weight::Warning,
            // A single processor has a warning of its own.
            Diagnostic::KeptWaiting {
                trials: 1..,
                shared: false,
                ..
            } => Weight::Warning,
            Diagnostic::Quota { generator, server } => {
                let sides = || generator.iter().chain(server);
                match () {
                    () if sides().any(QuotaSide::is_severe) => Weight::Warning,
                    () if sides().any(|side| side.throttled > 0) => Weight::Note,
                    () => Weight::Good,
                }
            }
            Diagnostic::Spread { known: false, .. } => Weight::Warning,
            Diagnostic::Spread { unsteady, .. } if unsteady.is_empty() => Weight::Good,
            Diagnostic::OtherPrograms { share: None, .. } => Weight::Note,
            Diagnostic::OtherPrograms {
                disturbed, slices, ..
            } => match *disturbed as f64 / (*slices).max(1) as f64 {
                share if share > OFTEN_DISTURBED => Weight::Warning,
                share if share > RARELY_DISTURBED => Weight::Note,
                _ => Weight::Good,
            },
            Diagnostic::HostFinding { state, .. } if state.is_in_the_way() => Weight::Warning,
            Diagnostic::HostChecked {
                state: HostState::Good,
                ..
            } => Weight::Good,
            Diagnostic::Network { mixed: true, .. } => Weight::Warning,
            Diagnostic::Spread { .. }
            | Diagnostic::Network { .. }
            | Diagnostic::Errors { .. }
            | Diagnostic::KeptWaiting { .. }
            | Diagnostic::Reconnects { .. }
            | Diagnostic::Steal { .. }
            | Diagnostic::Unanswered { .. }
            | Diagnostic::WakeUp
            | Diagnostic::BusyPolls
            | Diagnostic::VirtualMachine { .. }
            | Diagnostic::Frequency { .. }
            | Diagnostic::HostFinding { .. }
            | Diagnostic::HostChecked { .. } => Weight::Note,
        }
    }

    /// Whether it tells that the generator could not do its work in some trial.
    pub(super) fn disturbs_generator(&self) -> bool {
        match self {
            Diagnostic::Found(found) => {
                found.worst.fault() == Fault::Generator && found.worst.effect() != Effect::Noted
            }
            Diagnostic::KeptWaiting { trials, .. } => *trials > 0,
            Diagnostic::Quota { generator, .. } => generator.as_ref().is_some_and(QuotaSide::is_severe),
            _ => false,
        }
    }

    /// What it is about.
    pub fn subject(&self) -> &'static str {
        match self {
            Diagnostic::Trials { .. } => "Trials",
            Diagnostic::Blocks { .. } => "Blocks",
            Diagnostic::Processors(_) => "Processors",
            Diagnostic::Found(found) => match found.worst.fault() {
                Fault::Generator => "Load generator",
                Fault::Server => "Servers",
                Fault::Neither => "Load",
            },
            Diagnostic::Generator { .. } | Diagnostic::BusyPolls | Diagnostic::KeptWaiting { .. } => {
                "Load generator"
            }
            Diagnostic::Steal { .. } => "Hypervisor",
            Diagnostic::Quota { .. } => "Processor quota",
            Diagnostic::Unanswered { .. } => "Unanswered",
            Diagnostic::Starved { .. } | Diagnostic::Reconnects { .. } => "Connections",
            Diagnostic::Spread { .. } => "Spread over trials",
            Diagnostic::OtherPrograms { .. } => "Other programs",
            Diagnostic::Network { .. } => "Network",
            Diagnostic::Errors { .. } => "Errors",
            Diagnostic::WakeUp => "Wake-up",
            Diagnostic::VirtualMachine { .. } => "Virtual machine",
            Diagnostic::Frequency { .. } => "Frequency",
            Diagnostic::HostFinding { .. } | Diagnostic::HostChecked { .. } => "Host",
        }
    }
}

/// Whether the processors of both sides are known.
pub(super) fn is_recorded(placement: &Placement) -> bool {
    !placement.server_cpus.is_empty() && !placement.generator_cpus.is_empty()
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
