//! The gates that a load must pass to be valid.
//!
//! Pure functions of the record of a load, and of the evidence that only the generator has. A
//! gate returns a [`Finding`] if the load does not pass it; a new gate needs a function here, a
//! place in [`GATES`], and its finding.

mod evidence;
mod silence;
mod throttled;

use record::finding::{AffectedConnections, AffectedMessages, Lag, MESSAGES_PER_LOSS, Rates, TAKEN};
use record::histogram::{Histogram, Statistic};
use record::{ErrorKind, Finding, Findings, Load, LoopKind, Saturation, Span};

use crate::arrival_test;
use crate::stationarity::{Change, changed};
pub use evidence::Evidence;
pub use silence::STANDSTILL_NS;

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

/// A shorter window has intervals below 100 ms, which show the noise of the host rather than a
/// change of the server.
const SHORTEST_STEADY_WINDOW_S: f64 = 2.0;

type Gate = fn(&Load, &Evidence) -> Option<Finding>;

/// All gates, in the order in which their findings are shown.
const GATES: &[Gate] = &[
    interrupted,
    ended_in_warm_up,
    no_echoes,
    wrong_bytes,
    lost,
    stale,
    no_local_port,
    too_many_open_files,
    connections_failed,
    still_lost,
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

/// The findings of all gates; none if the load passes all of them.
pub fn findings(load: &Load, evidence: &Evidence) -> Findings {
    let found = { GATES.iter() }.filter_map(|gate| gate(load, evidence)).collect();
    throttled::with_throttling(load, found).into_iter().collect()
}

fn interrupted(load: &Load, evidence: &Evidence) -> Option<Finding> {
    evidence.interrupted.then_some(Finding::Interrupted {
        measured_s: load.window_s,
        planned_s: load.plan.duration().seconds(),
    })
}

/// Whether the server ended every connection before the window opened. One that sends wrong bytes is
/// not to blame for their end.
fn ended_in_warm_up(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let nothing_measured = evidence.deserted && load.window_s == 0.0 && !evidence.interrupted;
    let is_wrong = load.summary.errors.contains_key(&ErrorKind::WrongBytes);
    (nothing_measured && !is_wrong).then(|| Finding::EndedInWarmUp {
        connections: load.summary.connections.open,
        answers: evidence.served,
        errors: load.summary.errors.clone(),
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
        scheduled: load.plan.loop_kind() == LoopKind::PartlyOpen,
    })
}

fn connections_failed(load: &Load, evidence: &Evidence) -> Option<Finding> {
    if evidence.plan.reconnect {
        // They are opened again.
        return None;
    }
    let has_own_gate = |kind: ErrorKind| kind.is_local() || kind == ErrorKind::WrongBytes;
    let errors = load.summary.errors.iter();
    let others = errors.filter(|(kind, _)| !kind.is_of_a_message() && !has_own_gate(**kind));
    affected(load, others.map(|(_, number)| number).sum()).map(Finding::ConnectionsFailed)
}

/// With `reconnect`: whether connections that were lost are not back, though there was time.
fn still_lost(load: &Load, evidence: &Evidence) -> Option<Finding> {
    let enough_ns = STANDSTILL_NS.max(evidence.longest_ns.saturating_mul(2));
    let lost = { evidence.lost_ns.iter() }.filter(|&&lost_ns| lost_ns > enough_ns);
    let longest_ns = lost.clone().max()?;
    Some(Finding::StillLost {
        connections: affected(load, lost.count() as u64)?,
        longest_s: *longest_ns as f64 / 1e9,
    })
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
    evidence.plan.pace.as_ref()?;
    // Connections that this side could not open have a finding of their own, which explains the
    // missing rate.
    if load.summary.errors.keys().any(|kind| kind.is_local()) {
        return None;
    }
    // What waits for lost connections is judged by whether they come back.
    let (due, done) = (evidence.due as f64, evidence.done as f64);
    let withheld = evidence.withheld.1 as f64 - evidence.withheld.0 as f64;
    let by_chance = DEVIATIONS * outstanding(load, evidence).sqrt();
    let missing = due - done - withheld;
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
    let never_slept = match load.generator.saturation() {
        Saturation::Full | Saturation::HeldUp | Saturation::Throttled => true,
        Saturation::None | Saturation::Unknown => false,
    };
    Some(match kept_messages || never_slept {
        true => Finding::GeneratorFellBehind(rates),
        false => Finding::ServerFellBehind(rates),
    })
}

/// How many messages were outstanding when the window opened and when it closed, together: the
/// larger of the count and the mean, since a small count may be 0 by chance.
fn outstanding(load: &Load, evidence: &Evidence) -> f64 {
    let span = match load.plan.loop_kind() {
        LoopKind::PartlyOpen => Span::FirstByte,
        _ => Span::Response,
    };
    let latency_s = answered(load, span).map_or(0.0, |latency| latency.mean()) / 1e9;
    let mean = evidence.done as f64 / load.window_s.max(1e-9) * latency_s;
    let counted = evidence.outstanding.0 + evidence.outstanding.1;
    (counted as f64).max(2.0 * mean)
}

/// The latencies that have ended, without bounds of those that have not.
fn answered(load: &Load, span: Span) -> Option<Histogram> {
    load.histograms[span].as_ref()?.decode().ok()
}

fn unanswered(load: &Load, evidence: &Evidence) -> Option<Finding> {
    // In a closed loop each connection has a message outstanding: whether it went silent matters.
    evidence.plan.pace.as_ref()?;
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
    let p99_us = |span: Span| {
        let times = load.summary.latencies[span].as_ref()?;
        Some(times.known(Statistic::P99)?.value())
    };
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
    // It only slows a closed loop down, and the text shows that: on a single processor the
    // server takes half of the time.
    let share = load.generator.kept_waiting_by_others();
    let too_late = has_schedule(load) && share > TAKEN;
    too_late.then_some(Finding::KeptWaiting {
        share,
        involuntary_switches: load.generator.involuntary_switches,
    })
}

fn has_schedule(load: &Load) -> bool {
    load.plan.loop_kind() != LoopKind::Closed
}

fn stolen(load: &Load, _: &Evidence) -> Option<Finding> {
    let share = load.generator.steal.filter(|&steal| steal > TAKEN)?;
    Some(Finding::Stolen { share })
}

fn arrivals(_: &Load, evidence: &Evidence) -> Option<Finding> {
    let pace = evidence.plan.pace.as_ref()?;
    let mut workers = evidence.intended_ns.iter();
    workers.find_map(|times| arrival_test::check(times, pace, evidence.plan.threads).err())
}

/// Little's law: the time of all connections is the sum of the times that they were in use.
fn account(_: &Load, evidence: &Evidence) -> Option<Finding> {
    let (accounted_ns, passed_ns) = evidence.accounted_ns.filter(|(_, passed_ns)| *passed_ns > 0.0)?;
    let share = accounted_ns / passed_ns;
    ((share - 1.0).abs() > ACCOUNT_TOLERANCE).then_some(Finding::Unaccounted { share })
}

/// Whether the second half of the window was like the first.
fn stationarity(load: &Load, evidence: &Evidence) -> Option<Finding> {
    if evidence.interrupted || load.plan.duration().seconds() < SHORTEST_STEADY_WINDOW_S {
        return None;
    }
    // A server that restarts is not steady, and need not be.
    if load
        .summary
        .reconnects
        .is_some_and(|reconnects| reconnects.lost > 0)
    {
        return None;
    }
    let pace = evidence.plan.pace.as_ref();
    if pace.is_some_and(|pace| !pace.is_steady()) {
        return None;
    }
    let closed = !has_schedule(load);
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pacer::{Schedule, Share};
    use crate::plan::CheckedPlan;
    use record::histogram::Quantiles;
    use record::sample;
    use record::{Plan, Reconnects};

    /// Messages due, per second and in the window.
    const DUE: u64 = 10_000;

    fn plan(stages: Option<&str>) -> CheckedPlan {
        let plan = Plan {
            stages: stages.map(|stages| stages.parse().unwrap()),
            connections: Some(10),
            ..Plan::default()
        };
        CheckedPlan::new(&plan, "127.0.0.1:7007".parse().unwrap()).unwrap()
    }

    fn open() -> CheckedPlan {
        plan(Some(&format!("1s@{DUE}/s")))
    }

    fn closed() -> CheckedPlan {
        plan(None)
    }

    /// Makes a load one of that many seconds.
    fn last(load: &mut Load, seconds: f64) {
        let duration = Duration::from_secs_f64(seconds).into();
        (load.plan.stages, load.plan.duration) = (None, Some(duration));
        load.plan.rate = (load.plan.arrivals.is_some()).then(|| "1/s".parse().unwrap());
    }

    /// A load that passes all gates, as the generator would have seen it.
    fn sound(plan: &CheckedPlan) -> (Load, Evidence<'_>) {
        let mut load = sample::load(Some(DUE));
        load.plan = plan.words().clone();
        load.summary.errors.clear();
        load.summary.unanswered = 0;
        last(&mut load, SHORTEST_STEADY_WINDOW_S);
        load.summary.echoes = DUE;
        set_p99(&mut load, Span::Response, 1000.0);
        set_p99(&mut load, Span::SendLag, 1.0);
        let schedule = |pace| Schedule::new(pace, Share { index: 0, of: 1 }, 1).take(1000);
        let evidence = Evidence {
            plan,
            interrupted: false,
            overran: 0,
            deserted: false,
            served: DUE,
            due: DUE,
            done: DUE,
            outstanding: (12, 13),
            waiting: (0, 0),
            withheld: (0, 0),
            lost_ns: Vec::new(),
            blocked: 0,
            intended_ns: vec![plan.pace.iter().flat_map(schedule).collect()],
            waits_ns: vec![1_000_000; 10],
            longest_ns: 1_000_000,
            accounted_ns: Some((1e9, 1e9)),
            intervals: vec![(500.0, 1e6); 20],
        };
        (load, evidence)
    }

    /// Sets the p99 of a span, in microseconds.
    fn set_p99(load: &mut Load, span: Span, micros: f64) {
        load.summary.latencies[span] = Some(Quantiles {
            p99: Some(micros),
            count: 9990,
            ..Quantiles::of(&record::histogram::empty())
        });
    }

    /// The findings in a sound load once it is changed.
    fn found(plan: &CheckedPlan, change: impl Fn(&mut Load, &mut Evidence)) -> Vec<Finding> {
        let (mut load, mut evidence) = sound(plan);
        change(&mut load, &mut evidence);
        findings(&load, &evidence).iter().cloned().collect()
    }

    /// A fault: a size just within its limit and one just beyond, the change that it makes, and the
    /// finding that it leads to.
    struct Case {
        sizes: (f64, f64),
        change: fn(&mut Load, &mut Evidence, f64),
        finding: fn(&Finding) -> bool,
    }

    macro_rules! case {
        ($within:expr, $beyond:expr, $change:expr, $finding:pat) => {
            Case {
                sizes: ($within, $beyond),
                change: $change,
                finding: |finding| matches!(finding, $finding),
            }
        };
    }

    /// Asserts that each fault just within its limit leads to nothing, and just beyond it to its
    /// finding alone.
    fn assert_trips(plan: &CheckedPlan, cases: &[Case]) {
        assert_eq!(found(plan, |_, _| ()), []);
        for (number, case) in cases.iter().enumerate() {
            let at = |size| found(plan, move |load, evidence| (case.change)(load, evidence, size));
            assert_eq!(at(case.sizes.0), [], "case {number}");
            let found = at(case.sizes.1);
            let alone = found.len() == 1 && (case.finding)(&found[0]);
            assert!(alone, "case {number}: {found:?}");
        }
    }

    fn count_errors(load: &mut Load, kind: ErrorKind, number: f64) {
        load.summary.errors.insert(kind, number as u64);
    }

    fn scale_second_half(evidence: &mut Evidence, rate: f64, latency: f64) {
        for (rate_per_s, latency_ns) in &mut evidence.intervals[10..] {
            *rate_per_s *= rate;
            *latency_ns *= latency;
        }
    }

    #[test]
    fn each_gate_of_a_schedule_trips_just_beyond_its_limit() {
        // Of 10,000 messages 100 may be missing, and by chance 4 times the root of 25.
        assert_trips(
            &open(),
            &[
                case!(
                    120.0,
                    121.0,
                    |_, evidence, missing| evidence.done -= missing as u64,
                    Finding::ServerFellBehind(Rates {
                        achieved_per_s: 9879.0,
                        ..
                    })
                ),
                case!(
                    120.0,
                    121.0,
                    |_, evidence, missing| {
                        evidence.done -= missing as u64;
                        evidence.waiting.1 = 61;
                    },
                    Finding::GeneratorFellBehind(_)
                ),
                case!(
                    120.0,
                    121.0,
                    |_, evidence, more| evidence.done += more as u64,
                    Finding::WarmUpBacklog(_)
                ),
                case!(
                    0.0,
                    1.0,
                    |_, evidence, overran| evidence.overran = overran as usize,
                    Finding::Overrun { outstanding: 1 }
                ),
                case!(
                    10.0,
                    11.0,
                    |load, _, unanswered| load.summary.unanswered = unanswered as u64,
                    Finding::Unanswered {
                        unanswered: 11,
                        due: 10_001
                    }
                ),
                case!(
                    0.899,
                    0.9,
                    |load, _, share| load.generator.utilisation = share,
                    Finding::Saturated { .. }
                ),
                case!(
                    0.1,
                    0.101,
                    |load, _, share| load.generator.kept_waiting = share,
                    Finding::KeptWaiting { .. }
                ),
                case!(
                    0.1,
                    0.101,
                    |load, _, share| load.generator.steal = Some(share),
                    Finding::Stolen { .. }
                ),
                // One message was sent late, as the schedule has it.
                case!(
                    0.0,
                    1000.0,
                    |_, evidence, late_ns| evidence.intended_ns[0][500] += late_ns as u64,
                    Finding::UnevenArrivals { .. }
                ),
                case!(
                    1.249,
                    1.251,
                    |_, evidence, ratio| scale_second_half(evidence, 1.0, ratio),
                    Finding::LatencyNotSteady {
                        before_us: 1000.0,
                        ..
                    }
                ),
            ],
        );
    }

    #[test]
    fn messages_are_too_late_beyond_a_wake_up_and_half_of_the_response_time() {
        let found = |lag_us, response_us| {
            found(&open(), |load, _| {
                set_p99(load, Span::SendLag, lag_us);
                set_p99(load, Span::Response, response_us);
            })
        };
        let withheld = |found: &Finding| matches!(found, Finding::MostlySendLag { spins: false, .. });
        for (lag_us, response_us) in [(1000.0, 1500.0), (51.0, 100.0)] {
            let found = found(lag_us, response_us);
            assert!(found.len() == 1 && withheld(&found[0]), "{found:?}");
        }
        for (lag_us, response_us) in [(1001.0, 1500.0), (5001.0, 10_000.0)] {
            let found = found(lag_us, response_us);
            assert!(
                matches!(&found[..], [Finding::SentLate(_), last] if withheld(last)),
                "{found:?}"
            );
        }
        for (lag_us, response_us) in [(50.0, 100.0), (5000.0, 10_000.0)] {
            assert_eq!(found(lag_us, response_us), []);
        }
    }

    #[test]
    fn each_gate_of_a_closed_loop_trips_just_beyond_its_limit() {
        assert_trips(
            &closed(),
            &[
                case!(
                    1.0099,
                    1.011,
                    |_, evidence, share| evidence.accounted_ns = Some((share * 3e9, 3e9)),
                    Finding::Unaccounted { .. }
                ),
                case!(
                    0.9901,
                    0.989,
                    |_, evidence, share| evidence.accounted_ns = Some((share * 3e9, 3e9)),
                    Finding::Unaccounted { .. }
                ),
                case!(
                    0.1,
                    0.101,
                    |load, _, share| load.generator.steal = Some(share),
                    Finding::Stolen { .. }
                ),
                case!(
                    0.76,
                    0.74,
                    |_, evidence, ratio| scale_second_half(evidence, ratio, 1.0),
                    Finding::RateNotSteady {
                        before_per_s: 500.0,
                        ..
                    }
                ),
            ],
        );
    }

    #[test]
    fn connections_that_wait_for_too_long_went_silent() {
        let of = AffectedConnections {
            connections: 2,
            of: Some(10),
        };
        for plan in [open(), closed()] {
            let waiting = |wait_ns| {
                found(&plan, move |_, evidence| {
                    evidence.waits_ns[3..5].copy_from_slice(&[wait_ns, wait_ns + 1]);
                })
            };
            assert_eq!(waiting(999_999_999), []);
            let silent = Finding::WentSilent {
                connections: of,
                oldest_s: 1.900000001,
            };
            assert_eq!(waiting(1_900_000_000), [silent]);
        }
    }

    #[test]
    fn errors_trip() {
        assert_trips(
            &open(),
            &[
                case!(
                    1.0,
                    0.0,
                    |load, _, echoes| load.summary.echoes = echoes as u64,
                    Finding::NoEchoes
                ),
                case!(
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::WrongBytes, number),
                    Finding::WrongBytes(_)
                ),
                case!(
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::NoLocalPort, number),
                    Finding::NoLocalPort(_)
                ),
                case!(
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::TooManyOpenFiles, number),
                    Finding::TooManyOpenFiles { scheduled: false, .. }
                ),
                case!(
                    0.0,
                    1.0,
                    |load, _, number| count_errors(load, ErrorKind::Reset, number),
                    Finding::ConnectionsFailed(AffectedConnections {
                        connections: 1,
                        of: Some(10)
                    })
                ),
                // One in a thousand of 10,010 messages.
                case!(
                    10.0,
                    11.0,
                    |load, _, number| count_errors(load, ErrorKind::Lost, number),
                    Finding::Lost(AffectedMessages { messages: 11, .. })
                ),
                case!(
                    10.0,
                    11.0,
                    |load, _, number| count_errors(load, ErrorKind::Stale, number),
                    Finding::Stale(AffectedMessages { messages: 11, .. })
                ),
            ],
        );
    }

    #[test]
    fn lost_connections_are_judged_by_whether_they_come_back() {
        let plan = Plan {
            reconnect: true,
            ..open().words().clone()
        };
        let plan = CheckedPlan::new(&plan, "127.0.0.1:7007".parse().unwrap()).unwrap();
        let found = |lost_ns: u64, withheld: (u64, u64), done: u64| {
            found(&plan, move |load, evidence| {
                count_errors(load, ErrorKind::Reset, 4.0);
                load.summary.reconnects = Some(Reconnects {
                    lost: 4,
                    ..Reconnects::default()
                });
                scale_second_half(evidence, 1.0, 2.0);
                evidence.lost_ns = vec![1, lost_ns];
                (evidence.withheld, evidence.done) = (withheld, done);
            })
        };
        assert_eq!(found(STANDSTILL_NS, (0, 0), DUE), []);
        let still_lost = Finding::StillLost {
            connections: AffectedConnections {
                connections: 1,
                of: Some(10),
            },
            longest_s: 1.000000001,
        };
        assert_eq!(found(STANDSTILL_NS + 1, (0, 0), DUE), [still_lost]);
        // What waits for them when the window opens or closes is not missing.
        assert_eq!(found(1, (0, 500), DUE - 500), []);
        assert_eq!(found(1, (500, 0), DUE + 500), []);
        let behind = found(1, (0, 300), DUE - 500);
        assert!(matches!(behind[..], [Finding::ServerFellBehind(_)]), "{behind:?}");
    }

    #[test]
    fn connections_that_all_ended_in_the_warm_up_are_named_unless_their_bytes_were_wrong() {
        let found = |kind, deserted, window_s| {
            let findings = found(&closed(), |load, evidence| {
                (load.window_s, evidence.deserted, evidence.served) = (window_s, deserted, 12);
                count_errors(load, kind, 9.0);
            });
            findings
                .into_iter()
                .find(|found| matches!(found, Finding::EndedInWarmUp { .. }))
        };
        let ended = Finding::EndedInWarmUp {
            connections: 9,
            answers: 12,
            errors: [(ErrorKind::Reset, 9)].into(),
        };
        assert_eq!(found(ErrorKind::Reset, true, 0.0), Some(ended));
        assert_eq!(found(ErrorKind::Reset, true, 1.0), None);
        assert_eq!(found(ErrorKind::Reset, false, 0.0), None);
        assert_eq!(found(ErrorKind::WrongBytes, true, 0.0), None);
    }

    #[test]
    fn errors_are_of_no_certain_number_where_connections_come_and_go() {
        let found = found(&closed(), |load, _| {
            set_p99(load, Span::Connect, 100.0);
            count_errors(load, ErrorKind::Reset, 3.0);
        });
        let expected = AffectedConnections {
            connections: 3,
            of: None,
        };
        assert_eq!(found, [Finding::ConnectionsFailed(expected)]);
    }

    #[test]
    fn a_generator_without_time_to_spare_does_not_blame_the_server() {
        for (utilisation, kept_waiting, is_generator) in
            [(0.5, 0.39, false), (0.5, 0.4, true), (0.95, 0.0, true)]
        {
            let found = found(&open(), |load, evidence| {
                evidence.done -= 5000;
                evidence.blocked = 5000;
                load.generator.utilisation = utilisation;
                load.generator.kept_waiting = kept_waiting;
            });
            let by_generator = match &found[0] {
                Finding::GeneratorFellBehind(_) => true,
                Finding::ServerFellBehind(_) => false,
                other => panic!("{other:?}"),
            };
            assert_eq!(by_generator, is_generator, "{utilisation}, {kept_waiting}");
        }
    }

    #[test]
    fn connections_that_this_side_could_not_open_are_not_missed_from_the_server() {
        let found = found(&open(), |load, evidence| {
            count_errors(load, ErrorKind::TooManyOpenFiles, 5000.0);
            evidence.done -= 5000;
        });
        assert!(
            matches!(&found[..], [Finding::TooManyOpenFiles { .. }]),
            "{found:?}"
        );
    }

    #[test]
    fn a_closed_loop_may_use_all_of_its_processors_and_share_them() {
        let found = found(&closed(), |load, _| {
            load.generator.utilisation = 1.0;
            load.generator.kept_waiting = 0.5;
        });
        assert_eq!(found, []);
    }

    #[test]
    fn a_generator_that_busy_polls_is_not_saturated() {
        let found = found(&open(), |load, _| {
            load.generator.wait = record::Wait::Spin;
            load.generator.utilisation = 1.0;
        });
        assert_eq!(found, []);
    }

    #[test]
    fn a_server_that_accepts_no_more_bytes_is_not_a_late_generator() {
        let found = found(&open(), |load, evidence| {
            evidence.done -= 200;
            evidence.blocked = 200;
            evidence.waiting.1 = 200;
            set_p99(load, Span::SendLag, 9000.0);
            set_p99(load, Span::Response, 10_000.0);
        });
        assert!(matches!(&found[..], [Finding::ServerFellBehind(_)]), "{found:?}");
    }

    #[test]
    fn an_interrupted_load_has_no_finding_that_follows_from_the_interruption() {
        let found = found(&open(), |load, evidence| {
            evidence.interrupted = true;
            load.summary.unanswered = 1000;
            scale_second_half(evidence, 1.0, 2.0);
        });
        let expected = Finding::Interrupted {
            measured_s: 1.0,
            planned_s: SHORTEST_STEADY_WINDOW_S,
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_window_that_is_short_or_meant_to_change_need_not_be_steady() {
        let short = found(&open(), |load, evidence| {
            last(load, 1.9);
            scale_second_half(evidence, 1.0, 2.0);
        });
        assert_eq!(short, []);
        let ramp = plan(Some("1s@5k/s..15k/s"));
        assert_eq!(
            found(&ramp, |_, evidence| scale_second_half(evidence, 1.0, 2.0)),
            []
        );
    }

    #[test]
    fn latencies_that_are_mostly_send_lag_are_withheld_from_a_valid_load() {
        let plan = open();
        let (mut load, mut evidence) = sound(&plan);
        set_p99(&mut load, Span::Response, 100.0);
        set_p99(&mut load, Span::SendLag, 51.0);
        load.generator.wait = record::Wait::Spin;
        let found = findings(&load, &evidence);
        assert!(found.is_valid());
        let withheld: Vec<_> = found.withheld().collect();
        assert!(
            matches!(withheld[..], [Finding::MostlySendLag { spins: true, .. }]),
            "{found:?}"
        );
        // If connections have no room, the lag is the server's.
        evidence.blocked = DUE / 100 + 1;
        assert_eq!(findings(&load, &evidence), Findings::default());
    }
}
