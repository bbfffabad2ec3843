//! The cases that every server must survive, as a library.
//!
//! A [`Case`] holds only what differs: what it asks and how it is driven. [`run`] does
//! the rest for all of them: starts a fresh server, drives the case, and looks
//! afterwards whether the server still serves, has given everything back and stops as
//! it should. Who is asked is a [`Subject`]; what came of it is a [`CaseResult`].
//!
//! The bounds in the cases are behaviour, a stall or a time-out, and set wide: a busy
//! machine must not fail a server.

mod c01_exact;
mod c02_half_close;
mod c03_second_client;
mod c06_simultaneous_closes;
mod c13_drain;
mod c24_restart;
mod c27_datagrams;
pub mod client;
pub mod observe;
mod running;
mod subject;
mod table;

use std::time::Instant;

use servers::listener::Transport;

pub use loadgen::record::{CaseOutcome as Outcome, CaseResult};
pub use running::Running;
pub use subject::Subject;
pub use table::table;

/// Every case, in the order in which a table shows them.
pub static CASES: &[Case] = &[
    c01_exact::CASE,
    c02_half_close::CASE,
    c03_second_client::CASE,
    c06_simultaneous_closes::CASE,
    c13_drain::CASE,
    c24_restart::CASE,
    c27_datagrams::CASE,
];

/// Drives a running server; the error is the evidence against it.
pub type Drive = fn(&mut Running) -> anyhow::Result<()>;

/// One way to put a server to the test.
#[derive(Debug, Clone)]
pub struct Case {
    id: &'static str,
    name: &'static str,
    question: &'static str,
    drive: Drive,
    over_datagrams: Option<Drive>,
    room: usize,
    arguments: &'static [&'static str],
    by_design: fn(&Subject) -> Option<&'static str>,
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
            arguments: &[],
            by_design: |_| None,
        }
    }

    /// How it is driven where clients have no connections. A case that does not say so asks
    /// about connections, and is not applicable there.
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

    /// Gives the server arguments beside `--listen`. To one that is external, and takes
    /// none, the case is not applicable.
    const fn arguments(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// Where this names a reason, the server's design answers the question otherwise:
    /// the case then verifies what does hold, and its outcome is not applicable.
    ///
    /// The one source of [`Outcome::NotApplicable`] for a model, beside
    /// [`Case::over_datagrams`], so that nothing else is excused.
    const fn by_design(mut self, reason: fn(&Subject) -> Option<&'static str>) -> Self {
        self.by_design = reason;
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

    /// How it is driven over a transport, if that makes sense.
    fn drive(&self, transport: Transport) -> Option<Drive> {
        match transport {
            Transport::Stream => Some(self.drive),
            Transport::Datagram => self.over_datagrams,
        }
    }

    /// Why a server's design answers the question otherwise.
    fn excuse(&self, subject: &Subject) -> Option<&'static str> {
        match self.drive(subject.transport()) {
            None => Some("it speaks UDP: there are no connections, and no streams, to ask about"),
            Some(_) => (self.by_design)(subject),
        }
    }
}

/// The case of that id or name.
pub fn find(id: &str) -> Option<&'static Case> {
    CASES
        .iter()
        .find(|case| case.id.eq_ignore_ascii_case(id) || case.name == id)
}

/// Puts one server to one test.
pub fn run(case: &Case, subject: &Subject) -> CaseResult {
    let start = Instant::now();
    let outcome = outcome(case, subject);
    CaseResult {
        case: case.id.into(),
        model: subject.name().into(),
        outcome,
        seconds: start.elapsed().as_secs_f64(),
    }
}

fn outcome(case: &Case, subject: &Subject) -> Outcome {
    if let Some(reason) = subject.unavailable() {
        return Outcome::Skipped {
            reason: reason.into(),
        };
    }
    if subject.is_external() && !case.arguments.is_empty() {
        let reason = format!("it cannot be told `{}`", case.arguments.join(" "));
        return Outcome::NotApplicable { reason };
    }
    if let Err(evidence) = examine(case, subject.with_room(case.room)) {
        return Outcome::Fail { evidence };
    }
    match case.excuse(subject) {
        Some(reason) => Outcome::NotApplicable {
            reason: reason.into(),
        },
        None => Outcome::Pass,
    }
}

/// Start, case, aftermath.
fn examine(case: &Case, subject: Subject) -> Result<(), String> {
    // The clients of a case are descriptors of the harness.
    servers::sys::process::raise_descriptor_limit();
    let drive = case.drive(subject.transport()).unwrap_or(|_| Ok(()));
    let mut running = Running::start(subject, case.arguments).map_err(|error| format!("{error:#}"))?;
    drive(&mut running)
        .and_then(|()| running.aftermath())
        .map_err(|error| running.evidence(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
