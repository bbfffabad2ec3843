//! The gate for connections that went silent: a server that once drops the end of an answer
//! leaves its connection waiting for ever, and nothing else in a closed loop shows it.
//!
//! A closed loop waits after its window for the answers that are outstanding, for up to a
//! standstill, so that silence is found in a short window too.

use record::finding::AffectedConnections;
use record::{Finding, Load, LoopKind, Span, Transport};

use super::answered;
use super::evidence::Evidence;
use crate::clock::nanos;

/// A correct server, and the host that it runs on, may stand still for this long.
pub const STANDSTILL_NS: u64 = 1_000_000_000;

/// This many times the largest latency is far above it.
const FAR_ABOVE: u64 = 10;

/// Whether connections that were answered before wait for longer than a correct server takes.
pub fn went_silent(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let plan = evidence.plan;
    let largest_ns = answered(load, Span::Service).map_or(0, |service| service.max());
    let bound_ns = bound_ns((load.window_s * 1e9) as u64, largest_ns, evidence.longest_ns);
    let bound_ns = match plan.transport {
        Transport::Tcp => bound_ns,
        // One loss is none yet: it is counted as that.
        Transport::Udp => bound_ns.max(2 * nanos(plan.answer_timeout)),
    };
    let silent = { evidence.waits_ns.iter() }.filter(|&&waits_ns| waits_ns > bound_ns);
    let oldest_ns = silent.clone().max()?;
    let scheduled = plan.loop_kind == LoopKind::PartlyOpen;
    Some(Finding::WentSilent {
        connections: AffectedConnections {
            connections: silent.count() as u64,
            of: (!scheduled).then_some(plan.connections as u64),
        },
        oldest_s: *oldest_ns as f64 / 1e9,
    })
}

/// How long a connection may wait for an answer: ten times the largest
/// latency of the window, but no longer than the window, or a slow answer would hide a lost
/// one. A standstill of a second is no silence, and a server that is slow for the window may
/// take twice the largest latency of the whole run, with warm-up and first messages.
fn bound_ns(window_ns: u64, largest_in_window_ns: u64, largest_ns: u64) -> u64 {
    let far_above = largest_in_window_ns.saturating_mul(FAR_ABOVE);
    { far_above.min(window_ns) }
        .max(STANDSTILL_NS)
        .max(largest_ns.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_latencies() {
        let ms = |milliseconds: u64| milliseconds * 1_000_000;
        let table = [
            // The window, the largest latency in it, the largest of all, and the bound.
            (ms(10_000), ms(1), ms(1), ms(1000)),
            (ms(10_000), ms(300), ms(300), ms(3000)),
            (ms(10_000), ms(2000), ms(2000), ms(10_000)),
            (ms(200), ms(1), ms(1), ms(1000)),
            // A server that takes longer than the window is slow.
            (ms(2000), ms(1500), ms(5000), ms(10_000)),
            (ms(2000), 0, ms(5000), ms(10_000)),
        ];
        for (window, in_window, of_all, bound) in table {
            assert_eq!(bound_ns(window, in_window, of_all), bound);
        }
    }
}
