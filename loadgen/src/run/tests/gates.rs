//! The gates, from the cause to the finding, on either side of their limits.

use std::time::Duration;

use super::super::machine::due::{self, Draw, Times};
use super::super::usage::Usage;
use super::simulation::*;
use crate::engine::simulated::{Fate, Fault, Latency};
use crate::pacer::{Pace, Schedule, Share};
use record::units::Time;
use record::{Arrivals, Finding, Plan, Throttling};

/// Short enough that the load need not be steady.
const WINDOW: Duration = Duration::from_millis(1900);

fn constant(rate: f64) -> Plan {
    open(rate, WINDOW, Arrivals::Constant)
}

fn simulation(plan: Plan, change: impl FnOnce(&mut Simulation)) -> Simulation {
    let duration = time(WINDOW);
    Simulation::of(Plan { duration, ..plan }, change)
}

fn found(simulation: &Simulation) -> Vec<Finding> {
    simulation.load().summary.findings.iter().cloned().collect()
}

macro_rules! assert_found {
    ($simulation:expr, $($finding:pat),*) => {{
        let found = found(&$simulation);
        assert!(matches!(found[..], [$($finding),*]), "{found:?}");
    }};
}

#[test]
fn a_server_that_does_not_keep_up_is_not_the_generators_fault() {
    let serving = |service_ns| simulation(constant(1000.0), |s| s.script.service_ns = service_ns);
    assert_found!(serving(990 * US),);
    assert_found!(serving(1050 * US), Finding::ServerFellBehind(_));
}

#[test]
fn an_answer_that_comes_while_the_window_opens_is_in_the_window_or_not() {
    // The first message is due when the load begins, and the window opens 2 ms after the warm-up.
    let answered_after = |latency_ns| {
        let plan = Plan {
            connections: Some(1),
            threads: Some(1),
            warmup: Time(Duration::from_nanos(1)),
            ..constant(2.0)
        };
        simulation(plan, |s| {
            s.tick_ns = 400;
            s.script.latency = Latency::Constant(latency_ns);
        })
    };
    for latency_ns in (1980 * US..2020 * US).step_by(100) {
        let findings = found(&answered_after(latency_ns));
        assert!(findings.is_empty(), "{latency_ns} ns: {findings:?}");
    }
}

#[test]
fn a_generator_that_is_held_up_is_not_the_servers_fault() {
    let held_up = |milliseconds: u64| {
        simulation(constant(1000.0), |s| {
            s.held_up = vec![((1900 - milliseconds) * MS, 1910 * MS)]
        })
    };
    assert_found!(held_up(5),);
    let found = found(&held_up(400));
    assert!(matches!(found[0], Finding::GeneratorFellBehind(_)), "{found:?}");
    assert!(matches!(found[1], Finding::SentLate(_)), "{found:?}");
}

#[test]
fn a_generator_that_a_quota_holds_up_is_not_told_to_use_other_processors() {
    let throttled = |share| {
        found(&simulation(constant(1000.0), |s| {
            s.held_up = vec![(1500 * MS, 1910 * MS)];
            s.taken.throttling = Some(Throttling {
                quota: 0.5,
                periods: 19,
                throttled_periods: 4,
                throttled_s: 1.9 * share,
                share,
            });
        }))
    };
    let found = throttled(0.05);
    assert!(
        matches!(found[..], [Finding::Throttled { late: true, .. }]),
        "{found:?}"
    );
    assert!(!found[0].to_string().contains("--cpus"), "{found:?}");
    let found = throttled(0.001);
    let others = matches!(
        found[1..],
        [Finding::GeneratorFellBehind(_), Finding::SentLate(_), ..]
    );
    assert!(
        others && matches!(found[0], Finding::Throttled { late: false, .. }),
        "{found:?}"
    );
}

#[test]
fn send_lag_withholds_the_latencies_and_beyond_a_wake_up_the_load_is_not_valid() {
    let oversleeping = |oversleep_ns| simulation(constant(1000.0), |s| s.oversleep_ns = oversleep_ns);
    assert_found!(oversleeping(80 * US),);
    assert_found!(oversleeping(120 * US), Finding::MostlySendLag { .. });
    assert_found!(oversleeping(990 * US), Finding::MostlySendLag { .. });
    assert_found!(
        oversleeping(1500 * US),
        Finding::SentLate(_),
        Finding::MostlySendLag { .. }
    );
}

/// The usage of a thread that spends this percentage of its time on the CPU, and waiting for it.
fn usage<const CPU: u32, const KEPT_WAITING: u32>(now_ns: u64) -> Usage {
    let passed = Duration::from_nanos(now_ns);
    Usage {
        passed,
        cpu: passed * CPU / 100,
        kept_waiting: passed * KEPT_WAITING / 100,
        ..Usage::default()
    }
}

#[test]
fn a_generator_without_time_to_spare_keeps_no_schedule() {
    let using = |usage| simulation(constant(1000.0), |s| s.usage = usage);
    assert_found!(using(usage::<89, 10>),);
    assert_found!(using(usage::<91, 0>), Finding::Saturated { .. });
    assert_found!(using(usage::<50, 11>), Finding::KeptWaiting { .. });
    let closed = simulation(closed(1, Duration::ZERO), |s| s.usage = usage::<91, 11>);
    assert_found!(closed,);
}

#[test]
fn one_message_in_a_thousand_may_stay_unanswered() {
    // One to prime, those of the warm-up, and those of the window.
    const MESSAGES: u64 = 1 + 52 + 1900;
    let without = |unanswered| {
        simulation(constant(1000.0), |s| {
            (s.plan.connections, s.plan.threads) = (Some(1), Some(1));
            s.script.faults = vec![Fault::Silent(64 * (MESSAGES - unanswered))];
        })
    };
    assert_found!(without(1),);
    assert_found!(without(2), Finding::Unanswered { unanswered: 2, .. });
}

#[test]
fn one_datagram_in_a_thousand_may_be_lost_or_doubled() {
    let with = |fate, of: usize| {
        simulation(constant(10_000.0), |s| {
            s.plan.udp = true;
            s.script.fates = vec![Fate::Answered; of];
            s.script.fates[of - 1] = fate;
        })
    };
    assert_found!(with(Fate::Dropped, 1100),);
    assert_found!(with(Fate::Dropped, 900), Finding::Lost(_));
    assert_found!(with(Fate::Doubled, 1100),);
    assert_found!(with(Fate::Doubled, 900), Finding::Stale(_));
}

#[test]
fn errors_of_connections_are_found_with_their_number() {
    let with = |fault| {
        simulation(closed(1, Duration::ZERO), |s| {
            s.script.faults = vec![Fault::None, Fault::None, Fault::None, fault];
        })
    };
    assert_found!(with(Fault::None),);
    assert_found!(with(Fault::Wrong(64_000)), Finding::WrongBytes(_));
    assert_found!(with(Fault::Doubled(64_000)), Finding::WrongBytes(_));
    for fault in [Fault::Ends(6400), Fault::Resets(6400), Fault::Refused] {
        let found = found(&with(fault));
        let [Finding::ConnectionsFailed(connections)] = found[..] else {
            panic!("{fault:?}: {found:?}");
        };
        assert_eq!((connections.connections, connections.of), (1, Some(4)));
    }
}

#[test]
fn a_server_that_never_answers_has_no_echoes() {
    let silent = simulation(closed(1, Duration::ZERO), |s| {
        s.script.faults = vec![Fault::Silent(0)]
    });
    assert_found!(silent, Finding::NoEchoes);
}

#[test]
fn ports_and_descriptors_that_run_out_are_a_limit_of_this_side() {
    let with_ports = |ports| simulation(churn(1, 1), |s| s.script.ports = ports);
    assert_found!(with_ports(40_000),);
    assert_found!(with_ports(3000), Finding::NoLocalPort(_));
    // Each port serves one connection, and is in TIME_WAIT then.
    let served = |ports| {
        let simulation = with_ports(ports);
        simulation.count(&simulation.checked()).ledger.answered
    };
    assert_eq!((served(3_000), served(24_000)), (3_000, 24_000));

    // 100 connections at a time.
    let sessions = |descriptors| {
        let plan = sessions(1000.0, WINDOW, Arrivals::Constant, Duration::ZERO, 1);
        simulation(plan, |s| {
            s.script.latency = Latency::Constant(50 * MS);
            s.script.descriptors = descriptors;
        })
    };
    assert_found!(sessions(105),);
    assert_found!(
        sessions(90),
        Finding::TooManyOpenFiles { .. },
        Finding::Unanswered { .. }
    );
}

#[test]
fn a_server_that_slows_down_is_not_steady() {
    let growing = |plan: Plan, per_second| {
        simulation(plan, |s| {
            s.plan.duration = time(Duration::from_secs(2));
            s.script.latency = Latency::Growing(MS, per_second);
        })
    };
    assert_found!(growing(constant(500.0), 100 * US),);
    assert_found!(
        growing(constant(500.0), 500 * US),
        Finding::LatencyNotSteady { .. }
    );
    assert_found!(growing(closed(1, Duration::ZERO), 100 * US),);
    assert_found!(
        growing(closed(1, Duration::ZERO), 900 * US),
        Finding::RateNotSteady { .. }
    );
}

#[test]
fn a_run_that_is_ended_early_was_interrupted() {
    let stopped = |at| simulation(constant(1000.0), |s| s.stopped_at_ns = at);
    assert_found!(stopped(None),);
    assert_found!(stopped(Some(100 * MS)), Finding::Interrupted { .. });
}

/// Four at a time, at the time of the first.
fn bursts(pace: &Pace, share: Share, seed: u64) -> Times {
    let times = Schedule::new(pace, share, seed).zip(0..);
    Box::new(times.scan(0, |first, (time_ns, number)| {
        if number % 4 == 0 {
            *first = time_ns;
        }
        Some(*first)
    }))
}

/// As if each message waited for an answer that takes a tenth of the mean gap.
fn waiting(pace: &Pace, share: Share, seed: u64) -> Times {
    let pause_ns = 0.1e9 * share.of as f64 / pace.stages[0].from;
    let times = Schedule::new(pace, share, seed).zip(0..);
    Box::new(times.map(move |(time_ns, number)| time_ns + (f64::from(number) * pause_ns) as u64))
}

#[test]
fn wrong_gaps_in_a_schedule_are_an_error_of_the_generator() {
    let drawn = |draw: Draw, arrivals| simulation(open(4000.0, WINDOW, arrivals), |s| s.draw = draw);
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        assert_found!(drawn(due::draw, arrivals),);
    }
    assert_found!(drawn(bursts, Arrivals::Constant), Finding::UnevenArrivals { .. });
    assert_found!(drawn(bursts, Arrivals::Poisson), Finding::WrongGaps { .. });
    let found = found(&drawn(waiting, Arrivals::Constant));
    assert!(
        found
            .iter()
            .any(|finding| matches!(finding, Finding::UnevenArrivals { .. })),
        "{found:?}"
    );
}
