//! Connections that fail, time out, or end, and what follows for the run.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fate, Fault, Latency};
use crate::run::RunError;
use record::{Arrivals, ErrorKind, Load, Plan};

const MINUTE: Duration = Duration::from_secs(60);

fn simulation(plan: Plan, faults: Vec<Fault>) -> Simulation {
    Simulation::of(plan, |simulation| simulation.script.faults = faults)
}

fn count(load: &Load, kind: ErrorKind) -> u64 {
    load.summary.errors.get(&kind).copied().unwrap_or(0)
}

fn constant(rate: f64, duration: Duration) -> Plan {
    open(rate, duration, Arrivals::Constant)
}

#[test]
fn a_run_ends_early_when_no_connection_is_left() {
    for fault in [Fault::Ends, Fault::Resets] {
        // Within the window, which begins after 500 messages or 13.
        for (plan, messages) in [(closed(1, Duration::ZERO), 1000), (constant(1000.0, MINUTE), 100)] {
            let mut simulation = simulation(plan, vec![fault(64 * messages)]);
            simulation.plan.duration = time(MINUTE);
            let load = simulation.load();
            assert_eq!(load.summary.errors.values().sum::<u64>(), 4);
            assert!(load.window_s < 1.0, "{}", load.window_s);
            assert!(!load.summary.is_valid());
        }
    }
}

#[test]
fn a_server_that_ends_every_connection_in_the_warm_up_is_an_error_with_its_cause() {
    for (fault, kind) in [
        (Fault::Ends as fn(u64) -> Fault, ErrorKind::EarlyEnd),
        (Fault::Resets, ErrorKind::Reset),
    ] {
        let loads = [
            (closed(1, Duration::ZERO), 100),
            (closed(1, Duration::ZERO), 0),
            (constant(1000.0, MINUTE), 5),
        ];
        for (plan, messages) in loads {
            let error = simulation(plan, vec![fault(64 * messages)]).run().unwrap_err();
            let text = error.to_string();
            let RunError::EndedInWarmUp(load) = error else {
                panic!("{text}");
            };
            let cause = format!(
                "after {} (4 {})",
                record::words::count(4 * messages, "answer"),
                kind.name()
            );
            assert!(
                text.starts_with("127.0.0.1:7007") && text.contains(&cause),
                "{cause}: {text}"
            );
            assert_eq!((load.window_s, load.summary.is_valid()), (0.0, false));
        }
    }
}

#[test]
fn one_connection_that_is_left_or_a_caller_that_stops_is_no_end_in_the_warm_up() {
    let one_left = simulation(closed(1, Duration::ZERO), vec![Fault::Ends(6400), Fault::None]);
    assert!(one_left.load().summary.echoes > 0);
    let wrong = simulation(closed(1, Duration::ZERO), vec![Fault::Wrong(6400)]).load();
    assert_eq!((count(&wrong, ErrorKind::WrongBytes), wrong.window_s), (4, 0.0));
}

/// A server with room for 116 connections: no other connect ever ends.
#[test]
fn opening_connections_has_one_time_limit_for_all() {
    let plan = Plan {
        connections: Some(900),
        ..closed(1, Duration::ZERO)
    };
    let faults = [vec![Fault::None; 116], vec![Fault::NeverConnects; 784]].concat();
    let crowded = simulation(plan, faults);
    // Ten seconds, and one for a thousand connections.
    let limit_ns = 10_900 * MS;
    let Counted { tally, ended_ns, .. } = crowded.count(&crowded.checked());
    assert!((limit_ns..limit_ns + S / 10).contains(&ended_ns), "{ended_ns}");
    // Each of the two workers has tried a hundred, and after their ten seconds a hundred others.
    assert_eq!((tally.established, tally.untried), (116, 900 - 116 - 400));
    let error = crowded.run().unwrap_err();
    let text = error.to_string();
    let RunError::NotConnected { open, asked, .. } = error else {
        panic!("{text}");
    };
    assert_eq!((open, asked), (116, 900));
    for words in [
        "only 116 of 900",
        "after 10s 900ms",
        "400 timed_out (no connection within 10s)",
        "384 not tried",
        "ulimit -n",
        "--connect-timeout",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// A hundred at a time take 100 ms.
#[test]
fn a_crowd_has_more_time_than_one_connection() {
    let plan = Plan {
        connections: Some(900),
        threads: Some(1),
        connect_timeout: time(millis(200)),
        ..closed(1, Duration::ZERO)
    };
    let far = Simulation::of(plan, |s| {
        s.script.connect_ns = 100 * MS;
        s.script.latency = Latency::Constant(100 * MS);
    });
    assert_eq!(far.load().summary.connections.open, 900);
}

#[test]
fn connections_that_fail_are_counted_and_the_others_go_on() {
    for (fault, kind) in [
        (Fault::Ends(64 * 100), ErrorKind::EarlyEnd),
        (Fault::Resets(64 * 100), ErrorKind::Reset),
        (Fault::Wrong(64 * 100), ErrorKind::WrongBytes),
    ] {
        for plan in [
            closed(1, Duration::ZERO),
            closed(8, Duration::ZERO),
            constant(4000.0, millis(200)),
        ] {
            let mut simulation = simulation(plan, vec![Fault::None, fault]);
            simulation.plan.connections = Some(6);
            let load = simulation.load();
            let name = format!("{fault:?} {:?}: {:?}", simulation.plan, load.summary.errors);
            assert_eq!(count(&load, kind), 3, "{name}");
            assert_eq!(load.summary.errors.values().sum::<u64>(), 3, "{name}");
            assert_eq!(load.summary.connections.open, 6, "{name}");
            assert!((load.window_s - 0.2).abs() < 1e-9, "{name}");
        }
    }
}

#[test]
fn a_server_that_refuses_everything_is_an_error_in_every_loop() {
    for plan in [
        closed(1, Duration::ZERO),
        churn(1, 2),
        constant(1000.0, MINUTE),
        sessions(1000.0, MINUTE, Arrivals::Constant, Duration::ZERO, 2),
    ] {
        let error = simulation(plan, vec![Fault::Refused]).run().unwrap_err();
        let RunError::NoConnection { kind, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(kind, ErrorKind::Refused);
    }
}

#[test]
fn a_connect_and_an_end_are_waited_for_as_long_as_asked() {
    let mut connecting = simulation(closed(1, Duration::ZERO), vec![Fault::None, Fault::NeverConnects]);
    connecting.plan.connect_timeout = time(millis(300));
    let load = connecting.load();
    assert_eq!(
        (count(&load, ErrorKind::TimedOut), load.summary.connections.open),
        (2, 2)
    );
    assert_eq!(
        load.error_examples[&ErrorKind::TimedOut],
        "no connection within 300ms"
    );

    let window = millis(600);
    for plan in [
        churn(1, 2),
        sessions(100.0, window, Arrivals::Constant, Duration::ZERO, 2),
    ] {
        let mut closing = simulation(plan, vec![Fault::NeverCloses]);
        closing.plan.duration = time(window);
        closing.plan.connect_timeout = time(millis(200));
        let load = closing.load();
        assert!(count(&load, ErrorKind::TimedOut) > 0);
        assert_eq!(
            load.error_examples[&ErrorKind::TimedOut],
            "the server did not end the connection within 200ms"
        );
        assert!(closes(&load).is_empty());
    }
}

#[test]
fn unanswered_messages_are_waited_for_a_while_and_counted() {
    // Five seconds from the end of the window.
    for (latency_ns, unanswered) in [(4 * S, 0), (6 * S, 300)] {
        let mut slow = simulation(constant(1000.0, millis(300)), vec![Fault::None]);
        slow.plan.warmup = Duration::from_secs(7).into();
        slow.script.latency = Latency::Constant(latency_ns);
        let load = slow.load();
        assert_eq!(
            (load.summary.unanswered, load.summary.errors.len()),
            (unanswered, 0)
        );
        assert_eq!(response(&load).len(), 300 - unanswered);
    }
    let silent = simulation(constant(1000.0, millis(300)), vec![Fault::Silent(0)]).load();
    assert_eq!((silent.summary.echoes, silent.summary.unanswered), (0, 300));
}

#[test]
fn starved_connections_are_no_error_and_the_others_add_up() {
    for depth in [1, 8] {
        let mut starving = simulation(closed(depth, Duration::ZERO), vec![Fault::None, Fault::Silent(0)]);
        starving.plan.connections = Some(8);
        let load = starving.load();
        assert!(load.summary.is_valid(), "{}", load.summary.findings);
        let connections = load.summary.connections;
        assert_eq!(
            (connections.open, connections.answered, load.starved()),
            (8, 4, 4)
        );
        assert_eq!(load.summary.echoes, 4 * u64::from(depth) * 2000);
    }
}

#[test]
fn a_late_datagram_is_lost_and_then_recognised() {
    let mut late = simulation(closed(1, Duration::ZERO), vec![Fault::None]);
    late.plan.udp = true;
    (late.plan.connections, late.plan.threads) = (Some(1), Some(1));
    late.plan.duration = time(Duration::from_secs(2));
    // The answer comes after those to later messages.
    late.script.fates = [vec![Fate::Answered; 9], vec![Fate::Late(250 * MS)]].concat();
    let load = late.load();
    let (lost, stale) = (count(&load, ErrorKind::Lost), count(&load, ErrorKind::Stale));
    assert!(lost >= 5 && stale.abs_diff(lost) <= 1, "{lost} {stale}");
    assert_eq!(load.summary.errors.len(), 2, "{:?}", load.summary.errors);
    let longest = service(&load).max();
    assert!(longest < 200 * MS, "{longest}: what was lost has no latency");
}

#[test]
fn a_loss_ends_no_connection_and_the_rest_is_measured() {
    for plan in [closed(1, Duration::ZERO), constant(1000.0, millis(1000))] {
        let mut lossy = simulation(plan, vec![Fault::None]);
        lossy.plan.udp = true;
        lossy.plan.duration = time(millis(1000));
        lossy.script.fates = [
            vec![Fate::Answered; 3],
            vec![Fate::Dropped; 2],
            vec![Fate::Answered; 2],
        ]
        .concat();
        let load = lossy.load();
        assert_eq!(load.summary.connections.open, 4);
        assert_eq!(load.summary.errors.len(), 1, "{:?}", load.summary.errors);
        assert!(count(&load, ErrorKind::Lost) > 0 && load.summary.echoes > 0);
        assert_same(
            &service(&load),
            &histogram_of(vec![100 * US; service(&load).len() as usize]),
            "",
        );
    }
}
