//! Runs one case on one server.

use std::sync::{PoisonError, RwLock};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use record::{CaseOutcome as Outcome, CaseResult};

use super::kit::{Case, ServerUnderTest, Settings, Unsupported};
use crate::participant::Participant;

/// Bytes of evidence or of a reason that are kept, a limit on what a server can make reports
/// contain: enough for the observations and most of the end of its standard error.
const MOST_EVIDENCE: usize = 4 << 10;

/// Runs a case on a participant.
pub fn run(case: &Case, participant: &Participant, settings: Settings) -> CaseResult {
    /// Exclusive cases hold it for writing, all others for reading.
    static MACHINE: RwLock<()> = RwLock::new(());
    let (_exclusive, _shared);
    match case.is_exclusive(settings.scale) {
        true => _exclusive = MACHINE.write().unwrap_or_else(PoisonError::into_inner),
        false => _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner),
    }
    let start = Instant::now();
    let outcome = outcome(case, participant, settings);
    CaseResult {
        case: case.id().into(),
        model: participant.name().into(),
        outcome: truncated(outcome),
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// Cuts a text that is too long. The beginning has the observations.
fn truncated(mut outcome: Outcome) -> Outcome {
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

fn outcome(case: &Case, participant: &Participant, settings: Settings) -> Outcome {
    if let Some(reason) = participant.unavailable() {
        return Outcome::Skipped { reason };
    }
    let arguments = case.needs_arguments();
    if !participant.keeps_contract() && !arguments.is_empty() {
        let reason = format!("an external server does not take `{}`", arguments.join(" "));
        return Outcome::NotApplicable { reason };
    }
    match drive(case, participant, settings) {
        Err(Failure::Unsupported(reason)) => Outcome::Skipped { reason },
        Err(Failure::Evidence(evidence)) => Outcome::Fail { evidence },
        Ok(outcome) => outcome,
    }
}

/// Why a case did not pass.
enum Failure {
    Unsupported(String),
    Evidence(String),
}

/// Starts the server, drives the case and checks what must hold after every case.
fn drive(case: &Case, participant: &Participant, settings: Settings) -> Result<Outcome, Failure> {
    // The clients of a case are descriptors of the harness.
    servers::sys::process::raise_descriptor_limit();
    disable_core_dumps();
    let (drive, setup) = case.driver(participant.transport(), settings.scale);
    let mut server = ServerUnderTest::start(participant, setup, settings)
        .map_err(|error| failure(&error, format!("{error:#}")))?;
    let driven = drive(&mut server).and_then(|()| server.check_after_case());
    driven.map_err(|error| {
        let evidence = server.evidence(&error);
        failure(&error, evidence)
    })?;
    // An exempt server has been driven as well: what must hold in spite of the exemption holds.
    Ok(match case.exemption(server.kinds()) {
        Some(reason) => Outcome::NotApplicable {
            reason: reason.into(),
        },
        None => Outcome::Pass {
            evidence: server.notes(),
        },
    })
}

/// Processes that a case kills must not leave files.
fn disable_core_dumps() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

fn failure(error: &anyhow::Error, evidence: String) -> Failure {
    match error.downcast_ref::<Unsupported>() {
        Some(Unsupported(reason)) => Failure::Unsupported(reason.clone()),
        None => Failure::Evidence(evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_evidence_is_cut_between_characters_and_marked() {
        let cut = |evidence: String| match truncated(Outcome::Fail { evidence }) {
            Outcome::Fail { evidence } => evidence,
            other => panic!("{other:?}"),
        };
        let fits = "x".repeat(MOST_EVIDENCE);
        assert_eq!(cut(fits.clone()), fits);
        // Characters of three bytes, at every offset: the limit falls within one.
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
}
