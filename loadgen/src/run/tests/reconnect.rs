//! Servers that die and come back: no message is lost to the latencies, and none counts twice.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fault, Latency, Script};
use crate::pacer::{Schedule, Share};
use crate::run::RunError;
use record::{Arrivals, ErrorKind, Finding, Load, Plan, Reconnects};

const WINDOW: u64 = 2 * S;
const LATENCY: u64 = 100 * US;

/// By how much the time without a server may seem longer than it is: the longest pause between two
/// attempts, and the time of an attempt.
const LATER: u64 = 101 * MS;

fn reopening(plan: Plan) -> Plan {
    Plan {
        reconnect: true,
        duration: time(Duration::from_nanos(WINDOW)),
        ..plan
    }
}

fn every_loop() -> [Plan; 5] {
    let rate = |arrivals| open(2000.0, Duration::from_nanos(WINDOW), arrivals);
    [
        closed(1, Duration::ZERO),
        closed(5, Duration::ZERO),
        closed(3, millis(2)),
        rate(Arrivals::Constant),
        rate(Arrivals::Poisson),
    ]
    .map(reopening)
}

fn simulation(plan: &Plan, script: Script) -> Simulation {
    Simulation::of(plan.clone(), |simulation| simulation.script = script)
}

/// A run whose server goes away between these times, from the start.
fn gone(plan: &Plan, outages: Vec<(u64, u64)>) -> Simulation {
    let script = Script {
        outages,
        ..Script::default()
    };
    simulation(plan, script)
}

/// The load of a run whose connections have these faults.
fn faulty(plan: &Plan, faults: Vec<Fault>) -> Load {
    let script = Script {
        faults,
        ..Script::default()
    };
    simulation(plan, script).load()
}

/// When the window of a plan opens, with a server that is there until then.
fn opens_at(plan: &Plan) -> u64 {
    let short = Plan {
        duration: time(millis(10)),
        ..plan.clone()
    };
    let simulation = simulation(&short, Script::default());
    simulation.count(&simulation.checked()).opened_ns.unwrap()
}

/// A run whose server dies and comes back at these times, from the start of the window.
fn with_outages(plan: &Plan, outages: &[(u64, u64)]) -> Simulation {
    let start_ns = opens_at(plan);
    let later = |(begin, end): &(u64, u64)| (start_ns + begin, start_ns.saturating_add(*end));
    let outages = outages.iter().map(later).collect();
    gone(plan, outages)
}

fn reconnects(load: &Load) -> Reconnects {
    load.summary.reconnects.unwrap()
}

fn findings(load: &Load) -> Vec<Finding> {
    load.summary.findings.iter().cloned().collect()
}

/// The latencies that tell how long a user waits.
fn main_latency(load: &Load) -> record::histogram::Histogram {
    match load.plan.arrivals() {
        Some(_) => response(load),
        None => service(load),
    }
}

#[test]
fn a_server_that_restarts_is_in_the_latencies_and_the_load_is_valid() {
    let outages = [(500 * MS, 800 * MS), (1200 * MS, 1201 * MS)];
    for plan in every_loop() {
        let name = format!("{plan:?}");
        let load = with_outages(&plan, &outages).load();
        assert_eq!(findings(&load), [], "{name}");
        // Of the two connections of a worker, one is reset and the other is ended.
        let errors = [(ErrorKind::Reset, 4), (ErrorKind::EarlyEnd, 4)].into();
        assert_eq!(load.summary.errors, errors, "{name}");
        let seen = reconnects(&load);
        assert_eq!((seen.lost, seen.reopened), (8, 8), "{name}");
        // One at a time for each worker.
        assert!((2..40).contains(&seen.failed_attempts), "{name}: {seen:?}");
        let connections = load.summary.connections;
        assert_eq!(
            (connections.open, connections.answered, load.starved()),
            (4, 4, 0),
            "{name}"
        );
        let (shortest_s, longest_s) = (0.3, (300 * MS + LATER) as f64 / 1e9);
        assert!(
            (shortest_s..longest_s).contains(&seen.longest_s),
            "{name}: {seen:?}"
        );
        let max = main_latency(&load).max();
        assert!((299 * MS..300 * MS + LATER).contains(&max), "{name}: {max}");
        assert_eq!(load.summary.unanswered, 0, "{name}");
        let intervals: Vec<u64> = load
            .intervals
            .iter()
            .map(|interval| interval.reconnects)
            .collect();
        // Of 100 ms each.
        assert_eq!(intervals.iter().sum::<u64>(), 8, "{name}: {intervals:?}");
        assert_eq!(intervals[..8].iter().sum::<u64>(), 0, "{name}: {intervals:?}");
        assert_eq!(intervals[8..10].iter().sum::<u64>(), 4, "{name}: {intervals:?}");
    }
}

/// Each connection waits with all messages that it has in flight, from when they were sent.
#[test]
fn a_closed_loop_has_one_long_latency_for_each_message_in_flight() {
    for depth in [1, 5] {
        let plan = reopening(closed(depth, Duration::ZERO));
        let load = with_outages(&plan, &[(500 * MS, 800 * MS)]).load();
        let in_flight = 4 * u64::from(depth);
        let seen = service(&load);
        assert_eq!(reconnects(&load).messages_lost, in_flight);
        let long = seen.len() - seen.count_between(0, 299 * MS);
        assert_eq!(long, in_flight);
        assert!(seen.equivalent(seen.value_at_quantile(0.9), LATENCY));
        let rounds = (WINDOW - 300 * MS) / LATENCY;
        let most = in_flight * rounds;
        let least = in_flight * (rounds - LATER / LATENCY);
        assert!(
            (least..=most).contains(&load.summary.echoes),
            "{} of {least} to {most}",
            load.summary.echoes
        );
    }
}

/// Messages go on to be due while there is no server, and wait.
#[test]
fn an_open_loop_shows_the_whole_outage_whatever_the_arrivals_and_the_threads() {
    for (begin, end) in [(500 * MS, 800 * MS), (0, 1500 * MS), (1999 * MS, 2400 * MS)] {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            for threads in [1, 3] {
                let plan = Plan {
                    threads: Some(threads),
                    connections: Some(6),
                    ..reopening(open(2000.0, Duration::from_nanos(WINDOW), arrivals))
                };
                let name = format!("{arrivals:?} {threads} {begin}");
                let run = with_outages(&plan, &[(begin, end)]);
                let load = run.load();
                let checked = run.checked();
                let pace = checked.pace.as_ref().unwrap();
                let due = (0..threads)
                    .flat_map(|index| Schedule::new(pace, Share { index, of: threads }, plan.seed));
                // As if the server, once it is back, were found at once.
                let ideal = histogram_of(due.map(
                    |due_ns| match (begin..end).contains(&(due_ns + LATENCY)) {
                        true => end + LATENCY - due_ns,
                        false => LATENCY,
                    },
                ));
                let seen = response(&load);
                assert_eq!(seen.len(), ideal.len(), "{name}");
                for k in 0..=ideal.len() {
                    let q = k as f64 / ideal.len() as f64;
                    let (seen, ideal) = (seen.value_at_quantile(q), ideal.value_at_quantile(q));
                    let bounds = ideal - ideal / 500..=ideal + ideal / 500 + LATER;
                    assert!(bounds.contains(&seen), "{name}, {q}: {seen}, not {bounds:?}");
                }
                assert_eq!(findings(&load), [], "{name}");
                assert_eq!(send_lag(&load).max(), 0, "{name}: the generator is in time");
                assert_same(&service(&load), &seen, &name);
            }
        }
    }
}

#[test]
fn attempts_are_bounded_however_long_there_is_no_server() {
    for plan in every_loop() {
        let plan = Plan {
            connections: Some(100),
            duration: time(Duration::from_secs(12)),
            ..plan
        };
        let run = with_outages(&plan, &[(S, 11 * S)]);
        let latency = Latency::Constant(20 * MS);
        let load = Simulation {
            script: Script {
                latency,
                ..run.script
            },
            ..run
        }
        .load();
        let attempts = reconnects(&load).failed_attempts;
        // Of two workers, ten a second and some more at first.
        assert!((190..=220).contains(&attempts), "{attempts}");
        assert_eq!(reconnects(&load).reopened, 100);
    }
}

#[test]
fn a_server_that_does_not_come_back_lets_the_run_last_and_is_named() {
    for plan in every_loop() {
        let name = format!("{plan:?}");
        let load = with_outages(&plan, &[(500 * MS, u64::MAX)]).load();
        assert!((load.window_s - 2.0).abs() < 1e-9, "{name}: {}", load.window_s);
        let still_lost = findings(&load).into_iter().find_map(|finding| match finding {
            Finding::StillLost {
                connections,
                longest_s,
            } => Some((connections.connections, connections.of, longest_s)),
            _ => None,
        });
        let (lost, of, longest_s) = still_lost.expect(&name);
        assert_eq!((lost, of), (4, Some(4)), "{name}");
        assert!(longest_s >= 1.5, "{name}: {longest_s}");
        assert!(!load.summary.is_valid());
        if plan.arrivals().is_some() {
            assert!(load.summary.unanswered > 2900, "{name}");
        }
    }
}

#[test]
fn a_server_that_comes_back_and_does_not_answer_is_named_too() {
    for plan in every_loop() {
        let run = with_outages(&plan, &[(500 * MS, 600 * MS)]);
        let attempts = 200;
        let faults = [vec![Fault::None; 4], vec![Fault::Silent(0); attempts]].concat();
        let load = Simulation {
            script: Script { faults, ..run.script },
            ..run
        }
        .load();
        let still_lost = |finding: &Finding| matches!(finding, Finding::StillLost { .. });
        assert!(
            findings(&load).iter().any(still_lost),
            "{plan:?}: {:?}",
            findings(&load)
        );
    }
}

#[test]
fn a_server_that_comes_back_soon_after_the_window_is_waited_for() {
    for plan in every_loop() {
        let load = with_outages(&plan, &[(1700 * MS, 2300 * MS)]).load();
        assert_eq!(findings(&load), [], "{plan:?}");
        assert_eq!(reconnects(&load).reopened, 4);
    }
}

#[test]
fn an_outage_before_the_window_leaves_no_trace_in_it() {
    for plan in every_loop() {
        let name = format!("{plan:?}");
        // While the first messages are on their way, and in the warm-up.
        for outage in [(60 * US, 20 * MS), (10 * MS, 30 * MS)] {
            let outages = vec![outage];
            let load = gone(&plan, outages).load();
            assert_eq!(findings(&load), [], "{name} {outage:?}");
            assert_eq!(reconnects(&load).reopened, 4, "{name} {outage:?}");
            let seen = main_latency(&load);
            assert!(
                seen.equivalent(seen.max(), LATENCY),
                "{name} {outage:?}: {}",
                seen.max()
            );
        }
    }
}

#[test]
fn no_server_at_the_start_is_an_error_at_once() {
    for plan in every_loop() {
        let outages = vec![(0, u64::MAX)];
        let run = gone(&plan, outages);
        let RunError::NoConnection { kind, .. } = run.run().unwrap_err() else {
            panic!("{plan:?}");
        };
        assert_eq!(kind, ErrorKind::Refused);
        assert!(run.count(&run.checked()).ended_ns < 100 * MS);
    }
}

#[test]
fn a_connection_that_is_refused_at_the_start_is_opened_once_the_load_begins() {
    for plan in every_loop() {
        let faults = [vec![Fault::None; 3], vec![Fault::Refused], vec![Fault::None; 100]].concat();
        let load = faulty(&plan, faults);
        assert_eq!(findings(&load), [], "{plan:?}");
        assert_eq!(load.summary.errors, [(ErrorKind::Refused, 1)].into());
        assert_eq!(
            (load.summary.connections.open, load.summary.connections.answered),
            (4, 4)
        );
    }
}

/// The messages of an open loop take other connections meanwhile.
#[test]
fn connections_that_are_ended_one_by_one_are_replaced_and_the_others_go_on() {
    for plan in every_loop() {
        let name = format!("{plan:?}");
        let load = faulty(
            &plan,
            vec![
                Fault::None,
                Fault::Ends(64 * 200),
                Fault::None,
                Fault::Resets(64 * 300),
            ],
        );
        assert_eq!(findings(&load), [], "{name}");
        let seen = reconnects(&load);
        assert!(seen.lost > 1 && seen.lost == seen.reopened, "{name}: {seen:?}");
        // A pause and an attempt.
        let max = main_latency(&load).max();
        assert!(max < 2 * MS, "{name}: {max}");
    }
}

/// A connect whose packets are lost is given up after a second, and the next one succeeds.
#[test]
fn an_attempt_has_a_second() {
    let plan = Plan {
        connections: Some(1),
        threads: Some(1),
        ..reopening(closed(1, Duration::ZERO))
    };
    let faults = [
        vec![Fault::Ends(64 * 2000), Fault::NeverConnects],
        vec![Fault::None; 10],
    ]
    .concat();
    let load = faulty(&plan, faults);
    assert_eq!(findings(&load), []);
    assert_eq!(reconnects(&load).failed_attempts, 1);
    let max = service(&load).max();
    assert!((S..S + 50 * MS).contains(&max), "{max}");
}

#[test]
fn idle_connections_are_opened_again() {
    for plan in every_loop() {
        let plan = Plan { idle: 6, ..plan };
        let load = with_outages(&plan, &[(500 * MS, 800 * MS)]).load();
        assert_eq!(findings(&load), [], "{plan:?}");
        assert_eq!((reconnects(&load).lost, reconnects(&load).reopened), (10, 10));
        assert_eq!(
            (load.summary.connections.idle, load.summary.connections.open),
            (6, 4)
        );
    }
}

#[test]
fn a_server_that_does_not_echo_is_not_asked_again() {
    for plan in every_loop() {
        let faults = vec![Fault::Wrong(64 * 300)];
        let load = faulty(&plan, faults);
        assert_eq!(
            load.summary.errors,
            [(ErrorKind::WrongBytes, 4)].into(),
            "{plan:?}"
        );
        assert!(load.window_s < 2.0 && !load.summary.is_valid(), "{plan:?}");
        assert_eq!(reconnects(&load), Reconnects::default());
    }
}

#[test]
fn silence_is_noticed_as_without_reconnects() {
    let plan = reopening(closed(1, Duration::ZERO));
    let faults = vec![Fault::Silent(64 * 2000)];
    let load = faulty(&plan, faults);
    let silent = |finding: &Finding| matches!(finding, Finding::WentSilent { .. });
    assert!(findings(&load).iter().any(silent), "{:?}", findings(&load));
}

#[test]
fn a_stop_ends_a_run_without_a_server() {
    for plan in every_loop() {
        let mut stopped = with_outages(&plan, &[(100 * MS, u64::MAX)]);
        stopped.stopped_at_ns = Some(500 * MS);
        let load = stopped.load();
        assert!((0.5..0.551).contains(&load.window_s), "{}", load.window_s);
        assert!(
            matches!(findings(&load)[..], [Finding::Interrupted { .. }]),
            "{plan:?}: {:?}",
            findings(&load)
        );
    }
}
