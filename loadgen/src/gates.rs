//! The gates that a load must pass for its numbers to be believed.
//!
//! Pure functions of the record of a load, and of the evidence that only the generator has. A
//! gate returns a [`Finding`] if the load does not pass it; a new gate needs a function here, a
//! place in [`GATES`], and its finding.

mod silence;

use record::finding::{AffectedConnections, AffectedMessages, Lag, MESSAGES_PER_LOSS, Rates};
use record::{Discipline, ErrorKind, Finding, Findings, Load, Saturation, Span};

use crate::arrival_test;
use crate::plan::{Loop, Plan};
use crate::stationarity::{Change, changed};

/// An open loop must achieve the offered rate within this share of it.
const RATE_TOLERANCE: f64 = 0.01;

/// The number of outstanding messages varies by chance: a Poisson count stays within four
/// standard deviations, except for one time in ten thousand.
const DEVIATIONS: f64 = 4.0;

/// Beyond this share of the response time, send lag makes it mostly the generator's own.
const LAG_SHARE: f64 = 0.5;

/// A sleeping thread wakes up within tens of microseconds, on a busy virtual machine within
/// hundreds. One that takes longer was ready and did not get a processor.
const LONGEST_WAKE_UP_US: f64 = 1000.0;

/// The latencies and waits of a closed loop must add up to its time within this share.
const ACCOUNT_TOLERANCE: f64 = 0.01;

/// Share of the generator's time that others may take: up to p90, latencies are unaffected.
const TAKEN: f64 = 0.1;

/// A shorter window has intervals below 100 ms, which show the noise of the host rather than a
/// change of the server.
const SHORTEST_STEADY_WINDOW_S: f64 = 2.0;

/// What the generator knows of a load beside its record.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// Whether the run was told to end early.
    pub interrupted: bool,
    /// How many messages were outstanding when the run gave up; 0 if it did not.
    pub overran: usize,
    /// Messages due in the window; where connections arrive, connections.
    pub due: u64,
    /// How many were finished in the window, whether due in it or before.
    pub done: u64,
    /// How many were outstanding when the window opened, and when it closed.
    pub outstanding: (u64, u64),
    /// How many of those were still with the generator, begun or not.
    pub waiting: (u64, u64),
    /// Messages that had to wait since the kernel had no room for them.
    pub blocked: u64,
    /// Times at which each worker had something due, in nanoseconds from the window's begin.
    pub intended_ns: Vec<Vec<u64>>,
    /// How long each connection that was served before, and has a message without an answer, had
    /// waited when the window closed.
    pub waits_ns: Vec<u64>,
    /// The largest service time of the whole run.
    pub longest_ns: u64,
    /// The time that the connections of a closed loop account for, and the time that passed.
    pub accounted_ns: Option<(f64, f64)>,
    /// Echoes per second and median latency in nanoseconds of each interval.
    pub intervals: Vec<(f64, f64)>,
}

type Gate = fn(&Load, &Evidence) -> Option<Finding>;

/// All gates, in the order in which their findings are shown.
const GATES: &[Gate] = &[
    interrupted,
    no_echoes,
    wrong_bytes,
    lost,
    stale,
    no_local_port,
    too_many_open_files,
    connections_failed,
    overrun,
    rate,
    unanswered,
    silence::went_silent,
    sent_late,
    saturated,
    kept_waiting,
    stolen,
    arrivals,
    account,
    stationarity,
    mostly_send_lag,
];

/// What the gates find; nothing if the load passes all of them.
pub fn findings(load: &Load, evidence: &Evidence) -> Findings {
    { GATES.iter() }.filter_map(|gate| gate(load, evidence)).collect()
}

fn interrupted(load: &Load, evidence: &Evidence) -> Option<Finding> {
    evidence.interrupted.then_some(Finding::Interrupted {
        measured_s: load.window_s,
        planned_s: load.plan.duration_s,
    })
}

fn no_echoes(load: &Load, _: &Evidence) -> Option<Finding> {
    (load.summary.echoes == 0).then_some(Finding::NoEchoes)
}

fn wrong_bytes(load: &Load, _: &Evidence) -> Option<Finding> {
    affected(load, count_of(load, ErrorKind::WrongBytes)).map(Finding::WrongBytes)
}

fn lost(load: &Load, _: &Evidence) -> Option<Finding> {
    too_many_messages(load, ErrorKind::Lost).map(Finding::Lost)
}

fn stale(load: &Load, _: &Evidence) -> Option<Finding> {
    too_many_messages(load, ErrorKind::Stale).map(Finding::Stale)
}

fn no_local_port(load: &Load, _: &Evidence) -> Option<Finding> {
    affected(load, count_of(load, ErrorKind::NoLocalPort)).map(Finding::NoLocalPort)
}

fn too_many_open_files(load: &Load, _: &Evidence) -> Option<Finding> {
    let connections = affected(load, count_of(load, ErrorKind::TooManyOpenFiles))?;
    Some(Finding::TooManyOpenFiles {
        connections,
        scheduled: load.plan.discipline == Discipline::PartlyOpen,
    })
}

fn connections_failed(load: &Load, _: &Evidence) -> Option<Finding> {
    let has_own_gate = |kind: ErrorKind| kind.is_local() || kind == ErrorKind::WrongBytes;
    let errors = load.summary.errors.iter();
    let others = errors.filter(|(kind, _)| !kind.is_of_a_message() && !has_own_gate(**kind));
    affected(load, others.map(|(_, number)| number).sum()).map(Finding::ConnectionsFailed)
}

fn count_of(load: &Load, kind: ErrorKind) -> u64 {
    load.summary.errors.get(&kind).copied().unwrap_or(0)
}

/// Connections that had errors, if any.
fn affected(load: &Load, connections: u64) -> Option<AffectedConnections> {
    let all = load.summary.connections.asked + load.plan.idle as u64;
    // Where connections come and go, errors are counted over more of them than the window has.
    let come_and_go = load.summary.latencies[Span::Connect].is_some();
    (connections > 0).then_some(AffectedConnections {
        connections,
        of: (!come_and_go).then_some(all),
    })
}

fn too_many_messages(load: &Load, kind: ErrorKind) -> Option<AffectedMessages> {
    let (messages, echoes) = (count_of(load, kind), load.summary.echoes);
    let too_many = echoes > 0 && messages > (echoes + messages) / MESSAGES_PER_LOSS;
    too_many.then_some(AffectedMessages { messages, echoes })
}

fn overrun(_: &Load, evidence: &Evidence) -> Option<Finding> {
    (evidence.overran > 0).then_some(Finding::Overrun {
        outstanding: evidence.overran as u64,
    })
}

fn rate(load: &Load, evidence: &Evidence) -> Option<Finding> {
    evidence.plan.request().discipline.pace()?;
    // What this side could not open has a finding of its own, and explains what is missing.
    if load.summary.errors.keys().any(|kind| kind.is_local()) {
        return None;
    }
    let (due, done) = (evidence.due as f64, evidence.done as f64);
    let by_chance = DEVIATIONS * outstanding(load, evidence).sqrt();
    let missing = due - done;
    if missing.abs() <= RATE_TOLERANCE * due + by_chance || load.window_s == 0.0 {
        return None;
    }
    let rates = Rates {
        offered_per_s: due / load.window_s,
        achieved_per_s: done / load.window_s,
    };
    if missing < 0.0 {
        return Some(Finding::WarmUpBacklog(rates));
    }
    let grown = evidence.waiting.1.saturating_sub(evidence.waiting.0) as f64;
    let kept_messages = grown > missing / 2.0 && (evidence.blocked as f64) < grown;
    let never_slept = matches!(load.generator.saturation(), Saturation::Full | Saturation::HeldUp);
    Some(match kept_messages || never_slept {
        true => Finding::GeneratorFellBehind(rates),
        false => Finding::ServerFellBehind(rates),
    })
}

/// How many messages were outstanding when the window opened and when it closed, together: the
/// larger of the count and the mean, since a small count may be 0 by chance.
fn outstanding(load: &Load, evidence: &Evidence) -> f64 {
    let span = match load.plan.discipline {
        Discipline::PartlyOpen => Span::FirstByte,
        _ => Span::Response,
    };
    let latency = load.summary.latencies[span].as_ref();
    let latency_s = latency.and_then(|latency| latency.mean).unwrap_or(0.0) / 1e6;
    let mean = evidence.done as f64 / load.window_s.max(1e-9) * latency_s;
    let counted = evidence.outstanding.0 + evidence.outstanding.1;
    (counted as f64).max(2.0 * mean)
}

fn unanswered(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let unanswered = load.summary.unanswered;
    let response = load.summary.latencies[Span::Response].as_ref();
    let due = response.map_or(0, |response| response.count) + unanswered;
    let too_many = unanswered > due / MESSAGES_PER_LOSS && !evidence.interrupted;
    too_many.then_some(Finding::Unanswered { unanswered, due })
}

fn sent_late(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let lag = own_lag(load, evidence)?;
    (lag.send_lag_us > LONGEST_WAKE_UP_US).then_some(Finding::SentLate(lag))
}

fn mostly_send_lag(load: &Load, evidence: &Evidence) -> Option<Finding> {
    Some(Finding::MostlySendLag {
        lag: own_lag(load, evidence)?,
        spins: load.generator.spins(),
    })
}

/// Send lag and response time, if the one is much of the other and the generator caused it.
fn own_lag(load: &Load, evidence: &Evidence) -> Option<Lag> {
    // If the kernel has no room for messages, the server causes the lag.
    let blocked = evidence.blocked as f64 > RATE_TOLERANCE * evidence.due as f64;
    let p99_us = |span: Span| load.summary.latencies[span].as_ref()?.p99;
    let lag = Lag {
        send_lag_us: p99_us(Span::SendLag)?,
        response_us: p99_us(Span::Response)?,
    };
    (lag.send_lag_us > LAG_SHARE * lag.response_us && !blocked).then_some(lag)
}

fn saturated(load: &Load, _: &Evidence) -> Option<Finding> {
    let too_late = has_schedule(load) && load.generator.saturation() == Saturation::Full;
    too_late.then_some(Finding::Saturated {
        utilisation: load.generator.utilisation,
    })
}

fn kept_waiting(load: &Load, _: &Evidence) -> Option<Finding> {
    // It only slows a closed loop down, and the text of that says so: on a single processor
    // the server takes half of the time.
    let too_late = has_schedule(load) && load.generator.kept_waiting > TAKEN;
    too_late.then_some(Finding::KeptWaiting {
        share: load.generator.kept_waiting,
        involuntary_switches: load.generator.involuntary_switches,
    })
}

fn has_schedule(load: &Load) -> bool {
    load.plan.discipline != Discipline::Closed
}

fn stolen(load: &Load, _: &Evidence) -> Option<Finding> {
    let share = load.generator.steal.filter(|&steal| steal > TAKEN)?;
    Some(Finding::Stolen { share })
}

fn arrivals(_: &Load, evidence: &Evidence) -> Option<Finding> {
    let request = evidence.plan.request();
    let pace = request.discipline.pace()?;
    let mut workers = evidence.intended_ns.iter();
    workers.find_map(|times| arrival_test::check(times, pace, request.threads).err())
}

/// Little's law: the time of all connections is the sum of the times that they were in use.
fn account(_: &Load, evidence: &Evidence) -> Option<Finding> {
    let (accounted_ns, passed_ns) = evidence.accounted_ns.filter(|(_, passed_ns)| *passed_ns > 0.0)?;
    let share = accounted_ns / passed_ns;
    ((share - 1.0).abs() > ACCOUNT_TOLERANCE).then_some(Finding::Unaccounted { share })
}

/// Whether the second half of the window was like the first.
fn stationarity(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let discipline = &evidence.plan.request().discipline;
    if evidence.interrupted || load.plan.duration_s < SHORTEST_STEADY_WINDOW_S {
        return None;
    }
    if discipline.pace().is_some_and(|pace| !pace.is_steady()) {
        return None;
    }
    let closed = matches!(discipline, Loop::Closed { .. });
    let values: Vec<f64> = evidence
        .intervals
        .iter()
        .map(|&(rate, latency_ns)| if closed { rate } else { latency_ns })
        .collect();
    let Change { before, after } = changed(&values)?;
    Some(match closed {
        true => Finding::RateNotSteady {
            before_per_s: before,
            after_per_s: after,
        },
        false => Finding::LatencyNotSteady {
            before_us: before / 1e3,
            after_us: after / 1e3,
        },
    })
}

#[cfg(test)]
mod tests;
