//! The cases that every server must survive, as a library.
//!
//! A [`Case`] holds only what differs: what it asks and how it is driven. [`run`] does
//! the rest for all of them: starts a fresh server, drives the case, and looks
//! afterwards whether the server still serves, has given everything back and stops as
//! it should. Who is asked is a [`Subject`]; what came of it is a [`CaseResult`].
//!
//! A case may have two sizes: the quick one, which `cargo test` runs on every model, and the
//! full one, which takes longer than anybody waits for ([`Scale`]).
//!
//! The bounds in the cases are behaviour, a stall or a time-out, and set wide: a busy
//! machine must not fail a server.

mod c01_exact;
mod c02_half_close;
mod c03_second_client;
mod c04_early_reset;
mod c05_close_while_writing;
mod c06_simultaneous_closes;
mod c07_signals;
mod c08_accept_errors;
mod c09_out_of_descriptors;
mod c10_out_of_processes;
mod c11_worker_killed;
mod c12_master_killed;
mod c13_drain;
mod c14_queue_at_stop;
mod c15_peer_gone;
mod c16_never_reads;
mod c17_slow_reader;
mod c18_backlog_overflow;
mod c19_high_descriptors;
mod c20_idle_crowd;
mod c21_signal_queue;
mod c22_burst;
mod c23_freeze;
mod c24_restart;
mod c25_fairness;
mod c26_churn;
mod c27_datagrams;
mod c29_random_walk;
mod c30_soak;
mod checked;
pub mod client;
pub mod fault;
mod kept;
mod load;
mod log;
pub mod observe;
mod running;
mod subject;
mod sweep;
mod walk;
mod walker;

use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use servers::by_design;
use servers::listener::Transport;

pub use kept::{Kept, newest};
pub use loadgen::record::{CaseOutcome as Outcome, CaseResult};
pub use running::Running;
pub use subject::Subject;
pub use sweep::Sweep;

use crate::server::conditions::Conditions;

/// Every case, in the order in which a table shows them. C28 is not among them: it is the
/// servers with bugs on which these cases have to fail, in this package's tests.
pub static CASES: &[Case] = &[
    c01_exact::CASE,
    c02_half_close::CASE,
    c03_second_client::CASE,
    c04_early_reset::CASE,
    c05_close_while_writing::CASE,
    c06_simultaneous_closes::CASE,
    c07_signals::CASE,
    c08_accept_errors::CASE,
    c09_out_of_descriptors::CASE,
    c10_out_of_processes::CASE,
    c11_worker_killed::CASE,
    c12_master_killed::CASE,
    c13_drain::CASE,
    c14_queue_at_stop::CASE,
    c15_peer_gone::CASE,
    c16_never_reads::CASE,
    c17_slow_reader::CASE,
    c18_backlog_overflow::CASE,
    c19_high_descriptors::CASE,
    c20_idle_crowd::CASE,
    c21_signal_queue::CASE,
    c22_burst::CASE,
    c23_freeze::CASE,
    c24_restart::CASE,
    c25_fairness::CASE,
    c26_churn::CASE,
    c27_datagrams::CASE,
    c29_random_walk::CASE,
    c30_soak::CASE,
];

/// Drives a running server; the error is the evidence against it.
pub type Drive = fn(&mut Running) -> anyhow::Result<()>;

/// How much of a case is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// What finds a bug in seconds.
    Quick,
    /// As many connections, and as long, as the case is about in the end.
    Full,
}

/// How cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How much of them.
    pub scale: Scale,
    /// What is random in them follows from it.
    pub seed: u64,
}

impl Settings {
    /// What finds a bug in seconds, and always the same.
    pub const QUICK: Settings = Settings {
        scale: Scale::Quick,
        seed: SEED,
    };
}

/// The seed where none is given. Always the same, so that a run can be compared with the
/// one before; other walks are taken on demand ([`seed`]).
pub const SEED: u64 = 1;

/// The environment variable that gives the seed of the cases.
pub const SEED_VARIABLE: &str = "ECHOBENCH_SEED";

/// Reads a seed: a number, or `random` for another one each time.
pub fn seed(text: &str) -> anyhow::Result<u64> {
    match text.trim() {
        "random" => Ok(fastrand::u64(..1_000_000)),
        number => number
            .parse()
            .with_context(|| format!("`{text}` is neither a seed, which is a number, nor `random`")),
    }
}

/// What a case needs and this host does not allow. As the error of a [`Drive`] it means that
/// the case is skipped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotHere(pub String);

/// One way to put a server to the test.
#[derive(Debug, Clone)]
pub struct Case {
    id: &'static str,
    name: &'static str,
    question: &'static str,
    drive: Drive,
    over_datagrams: Option<Drive>,
    room: usize,
    full_room: Option<usize>,
    arguments: &'static [&'static str],
    conditions: Conditions,
    hosts: usize,
    alone: Alone,
}

/// Whether a case runs beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Never,
    InFull,
    Always,
}

impl Case {
    /// A case without special wishes.
    const fn new(id: &'static str, name: &'static str, question: &'static str, drive: Drive) -> Self {
        Case {
            id,
            name,
            question,
            drive,
            over_datagrams: None,
            room: 0,
            full_room: None,
            arguments: &[],
            conditions: Conditions::NONE,
            hosts: 0,
            alone: Alone::Never,
        }
    }

    /// How it is driven where clients have no connections. A case that does not say so asks
    /// about connections, and is not applicable there: [`by_design`] has the reason.
    const fn over_datagrams(mut self, drive: Drive) -> Self {
        self.over_datagrams = Some(drive);
        self
    }

    /// Needs that many connections at once: a server whose workers serve one each gets
    /// as many workers.
    const fn room(mut self, connections: usize) -> Self {
        self.room = connections;
        self
    }

    /// Has a larger form ([`Running::scale`]), which needs that many connections at once.
    const fn full(mut self, connections: usize) -> Self {
        self.full_room = Some(connections);
        self
    }

    /// Gives the server arguments beside `--listen`. To one that is external, and takes
    /// none, the case is not applicable.
    const fn arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Starts the server under conditions.
    const fn conditions(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    /// Runs the server on a host of its own, in a [`Network`](fault::network::Network) with so
    /// many others.
    const fn network(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// Compares times or needs the whole machine: no other case runs beside it.
    const fn alone(mut self) -> Self {
        self.alone = Alone::Always;
        self
    }

    /// The same in its larger form: it takes most descriptors that the harness may have.
    const fn alone_in_full(mut self) -> Self {
        self.alone = Alone::InFull;
        self
    }

    /// What it is called for short: `C1`.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// What it is called: `exact`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it asks, in a sentence.
    pub fn question(&self) -> &'static str {
        self.question
    }

    /// Whether it has a larger form than the quick one.
    pub fn has_full_scale(&self) -> bool {
        self.full_room.is_some()
    }

    /// How it is driven over a transport, if that makes sense.
    fn drive(&self, transport: Transport) -> Option<Drive> {
        match transport {
            Transport::Stream => Some(self.drive),
            Transport::Datagram => self.over_datagrams,
        }
    }

    /// The same without special wishes: for a server that it is not driven over.
    fn undriven(&self) -> Case {
        Case {
            arguments: &[],
            conditions: Conditions::NONE,
            hosts: 0,
            ..self.clone()
        }
    }

    fn room_at(&self, scale: Scale) -> usize {
        match scale {
            Scale::Quick => self.room,
            Scale::Full => self.full_room.unwrap_or(self.room),
        }
    }
}

/// The case of that id or name.
pub fn find(id: &str) -> Option<&'static Case> {
    CASES
        .iter()
        .find(|case| case.id.eq_ignore_ascii_case(id) || case.name == id)
}

/// Bytes of evidence or of a reason that are kept: what was seen, and most of what a server
/// said last. A server must not be able to write more than reports read.
const MOST_EVIDENCE: usize = 4 << 10;

/// Puts one server to one test.
pub fn run(case: &Case, subject: &Subject, settings: Settings) -> CaseResult {
    /// Cases hold it for reading; one that has to be alone, for writing.
    static MACHINE: RwLock<()> = RwLock::new(());
    let (_alone, _beside);
    match case.alone == Alone::Always || (case.alone == Alone::InFull && settings.scale == Scale::Full) {
        true => _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner),
        false => _beside = MACHINE.read().unwrap_or_else(PoisonError::into_inner),
    }
    let start = Instant::now();
    let outcome = outcome(case, subject, settings);
    CaseResult {
        case: case.id.into(),
        model: subject.name().into(),
        outcome: bounded(outcome),
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// Leaves only the beginning of a text that is too long, which says what was seen.
fn bounded(mut outcome: Outcome) -> Outcome {
    let (Outcome::Pass { evidence: text }
    | Outcome::Fail { evidence: text }
    | Outcome::NotApplicable { reason: text }
    | Outcome::Skipped { reason: text }) = &mut outcome;
    let bytes = text.len();
    if bytes > MOST_EVIDENCE {
        let mut ends = (0..=MOST_EVIDENCE).rev();
        text.truncate(ends.find(|&end| text.is_char_boundary(end)).unwrap_or(0));
        *text += &format!("... (cut: {bytes} bytes in all)");
    }
    outcome
}

fn outcome(case: &Case, subject: &Subject, settings: Settings) -> Outcome {
    if let Some(reason) = subject.unavailable() {
        return Outcome::Skipped {
            reason: reason.into(),
        };
    }
    if subject.is_external() && !case.arguments.is_empty() {
        let reason = format!("it cannot be told `{}`", case.arguments.join(" "));
        return Outcome::NotApplicable { reason };
    }
    match examine(case, subject.with_room(case.room_at(settings.scale)), settings) {
        Err(Trouble::NotHere(reason)) => Outcome::Skipped { reason },
        Err(Trouble::Evidence(evidence)) => Outcome::Fail { evidence },
        Ok(outcome) => outcome,
    }
}

/// Why a case did not pass.
enum Trouble {
    NotHere(String),
    Evidence(String),
}

/// Start, case, aftermath.
fn examine(case: &Case, subject: Subject, settings: Settings) -> Result<Outcome, Trouble> {
    // The clients of a case are descriptors of the harness.
    servers::sys::process::raise_descriptor_limit();
    forgo_core_dumps();
    let id = case.id;
    let (drive, case) = match case.drive(subject.transport()) {
        Some(drive) => (drive, case.clone()),
        None => ((|_| Ok(())) as Drive, case.undriven()),
    };
    let mut running =
        Running::start(subject, case, settings).map_err(|error| trouble(&error, format!("{error:#}")))?;
    let driven = drive(&mut running).and_then(|()| running.aftermath());
    driven.map_err(|error| {
        let evidence = running.evidence(&error);
        trouble(&error, evidence)
    })?;
    // What holds all the same has been verified.
    Ok(match by_design::reason(id, running.kinds()) {
        Some(reason) => Outcome::NotApplicable {
            reason: reason.into(),
        },
        None => Outcome::Pass {
            evidence: running.seen(),
        },
    })
}

/// A process that a case kills leaves no file behind.
fn forgo_core_dumps() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

fn trouble(error: &anyhow::Error, evidence: String) -> Trouble {
    match error.downcast_ref::<NotHere>() {
        Some(NotHere(reason)) => Trouble::NotHere(reason.clone()),
        None => Trouble::Evidence(evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::by_design::{BY_DESIGN, Kind};
    use std::collections::HashSet;

    #[test]
    fn cases_are_told_apart_by_id_and_by_name() {
        let ids: HashSet<_> = CASES.iter().map(Case::id).collect();
        let names: HashSet<_> = CASES.iter().map(Case::name).collect();
        assert_eq!((ids.len(), names.len()), (CASES.len(), CASES.len()));
        for case in CASES {
            assert!(case.question.ends_with('?'), "{}", case.id);
        }
    }

    #[test]
    fn a_case_is_found_by_id_or_name() {
        assert_eq!(find("c13").map(Case::name), Some("drain"));
        assert_eq!(find("exact").map(Case::id), Some("C1"));
        assert!(find("C0").is_none());
    }

    #[test]
    fn a_seed_is_a_number_or_random() {
        assert_eq!(seed("42").unwrap(), 42);
        let several: HashSet<_> = (0..9).map(|_| seed("random").unwrap()).collect();
        assert!(several.len() > 1);
        assert!(seed("dice").unwrap_err().to_string().contains("`dice`"));
    }

    #[test]
    fn evidence_that_is_too_long_is_cut_between_characters_and_says_so() {
        let cut = |evidence: String| match bounded(Outcome::Fail { evidence }) {
            Outcome::Fail { evidence } => evidence,
            other => panic!("{other:?}"),
        };
        let fits = "x".repeat(MOST_EVIDENCE);
        assert_eq!(cut(fits.clone()), fits);
        // Of three bytes each: the bound is within one, wherever they begin.
        for begin in ["", "a", "ab"] {
            let long = begin.to_owned() + &"\u{fffd}".repeat(MOST_EVIDENCE);
            let (kept, note) = (
                cut(long.clone()),
                format!("... (cut: {} bytes in all)", long.len()),
            );
            let kept = kept.strip_suffix(&note).unwrap();
            assert!(long.starts_with(kept) && (MOST_EVIDENCE - 2..=MOST_EVIDENCE).contains(&kept.len()));
        }
    }

    #[test]
    fn a_case_that_is_not_driven_over_datagrams_has_a_reason_and_each_reason_a_case() {
        for case in CASES {
            let reason = by_design::reason(case.id, &[Kind::Datagrams]);
            assert_eq!(case.over_datagrams.is_none(), reason.is_some(), "{}", case.id);
        }
        for row in BY_DESIGN {
            assert_eq!(find(row.case).map(Case::id), Some(row.case), "{row:?}");
        }
    }
}
