//! Which servers the verdicts leave out: they compare only servers that did the same work.

use record::{ErrorKind, Server, Transport};

use crate::metrics::P99;
use crate::row::{Basis, Cause, Caveat, Row};

/// Why a server is left out, if it is; `all` are the servers of the run.
pub fn exclude(row: &Row, server: &Server, all: &[Server]) -> Option<Caveat> {
    let cause = unfit(row).or_else(|| other_transport(server, all))?;
    Some(Caveat {
        server: row.server.clone(),
        cause,
    })
}

/// The trials that are left out of a server that is compared.
pub fn partly_invalid(row: &Row) -> Option<Caveat> {
    if row.left_out.is_some() {
        return None;
    }
    let first = row.trials.invalid.first()?;
    Some(Caveat {
        server: row.server.clone(),
        cause: Cause::PartlyInvalid {
            invalid: row.trials.invalid.len(),
            trials: row.trials.total(),
            findings: first.findings.clone(),
        },
    })
}

/// Why the verdict on latency leaves out a server that is otherwise compared.
pub fn latency_withheld(row: &Row) -> Option<Caveat> {
    if row.left_out.is_some() {
        return None;
    }
    Some(Caveat {
        server: row.server.clone(),
        cause: Cause::LatencyWithheld {
            finding: row.withheld.clone()?,
        },
    })
}

/// The same for one of whose latency only a lower bound is known.
pub fn latency_bounded(row: &Row) -> Option<Caveat> {
    if row.left_out.is_some() || row.withheld.is_some() || !row.is_bounded(P99) {
        return None;
    }
    Some(Caveat {
        server: row.server.clone(),
        cause: Cause::LatencyBounded {
            p99_us: row.numbers.get(P99)?.value,
        },
    })
}

/// Why the trials of a server show no work that can be compared, if they do not.
pub fn unfit(row: &Row) -> Option<Cause> {
    let trials = &row.trials;
    if let Some(first) = trials.failed.first() {
        return Some(Cause::Failed {
            failed: trials.failed.len(),
            trials: trials.total(),
            error: first.reason.clone(),
        });
    }
    if let (0, Some(first)) = (trials.measured, trials.skipped.first()) {
        return Some(Cause::Skipped {
            reason: first.reason.clone(),
        });
    }
    if row.basis == Basis::Nothing {
        return Some(Cause::NotRun);
    }
    if let (Basis::Invalid, Some(first)) = (row.basis, trials.invalid.first()) {
        return Some(Cause::Invalid {
            findings: first.findings.clone(),
        });
    }
    if row.errors.contains_key(ErrorKind::WrongBytes.name()) {
        return Some(Cause::WrongBytes);
    }
    let reach = row.connections.filter(|reach| !reach.all())?;
    Some(Cause::Unanswered(reach))
}

/// A server over UDP did less than one over TCP.
fn other_transport(server: &Server, all: &[Server]) -> Option<Cause> {
    let beside_tcp = all.iter().any(|other| other.transport == Transport::Tcp);
    (server.transport == Transport::Udp && beside_tcp).then_some(Cause::OtherTransport)
}
