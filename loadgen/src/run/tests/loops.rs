//! What the loops do: how much is sent, when, and that every message is accounted for.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fault, Latency, Script};
use record::{Arrivals, Load, LoopKind, Plan};

const WINDOW: u64 = 200 * MS;
const LATENCY: u64 = 100 * US;

fn simulation(plan: Plan, script: Script) -> Simulation {
    Simulation::of(plan, |simulation| simulation.script = script)
}

fn load_of(plan: Plan) -> Load {
    simulation(plan, Script::default()).load()
}

fn every_loop() -> [Plan; 8] {
    let window = Duration::from_nanos(WINDOW);
    [
        closed(1, Duration::ZERO),
        closed(8, Duration::ZERO),
        closed(3, millis(5)),
        churn(1, 1),
        churn(2, 5),
        open(2000.0, window, Arrivals::Constant),
        open(2000.0, window, Arrivals::Poisson),
        sessions(300.0, window, Arrivals::Poisson, millis(1), 3),
    ]
}

#[test]
fn a_closed_loop_has_as_many_messages_in_flight_as_its_depth_and_not_one_more() {
    for depth in [1, 8, 1000] {
        let load = load_of(closed(depth, Duration::ZERO));
        let rounds = WINDOW / LATENCY;
        assert_eq!(load.summary.echoes, 4 * u64::from(depth) * rounds);
        assert_eq!(service(&load).len(), load.summary.echoes);
        assert!(load.summary.is_valid(), "{:?}", load.summary.findings);
        let seen = service(&load);
        assert!(seen.equivalent(seen.min(), LATENCY) && seen.equivalent(seen.max(), LATENCY));
    }
}

#[test]
fn a_connection_that_thinks_sends_exactly_that_much_later() {
    for depth in [1, 3] {
        for think_ns in [900 * US, 19_900 * US] {
            let load = load_of(closed(depth, Duration::from_nanos(think_ns)));
            let rounds = WINDOW / (think_ns + LATENCY);
            assert_eq!(load.summary.echoes, 4 * u64::from(depth) * rounds);
            assert!(load.summary.is_valid(), "{:?}", load.summary.findings);
        }
    }
}

#[test]
fn the_latencies_of_a_closed_loop_account_for_its_time() {
    for (depth, think) in [
        (1, Duration::ZERO),
        (7, Duration::ZERO),
        (1, millis(10)),
        (3, millis(1)),
    ] {
        for latency in [Latency::Constant(LATENCY), Latency::Uniform(10 * US, 30 * MS)] {
            for room in [64, 1 << 20] {
                for batches in [false, true] {
                    let script = Script {
                        latency,
                        room,
                        batches,
                        ..Script::default()
                    };
                    let load = simulation(closed(depth, think), script).load();
                    let name = format!("{depth} {think:?} {latency:?} {room} {batches}");
                    assert!(load.summary.is_valid(), "{name}: {:?}", load.summary.findings);
                }
            }
        }
    }
}

#[test]
fn an_open_loop_sends_what_is_due_at_its_time_whatever_is_not_answered() {
    for (rate, latency) in [(10.0, LATENCY), (100.0, S), (20_000.0, LATENCY)] {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let plan = open(rate, millis(300), arrivals);
            let script = Script {
                latency: Latency::Constant(latency),
                ..Script::default()
            };
            let mut simulation = simulation(plan, script);
            // Until each connection was answered once.
            simulation.plan.warmup = millis(1000).into();
            let load = simulation.load();
            let due = (load.summary.offered_per_s.unwrap() * load.window_s).round() as u64;
            let expected = (rate * 0.3) as u64;
            let by_chance = match arrivals {
                Arrivals::Constant => 0,
                Arrivals::Poisson => 5 * (expected as f64).sqrt() as u64,
            };
            assert!(due.abs_diff(expected) <= by_chance, "{due}, not {expected}");
            assert_same(&response(&load), &histogram_of(vec![latency; due as usize]), "");
            assert_same(&service(&load), &response(&load), "");
            assert_eq!((send_lag(&load).len(), send_lag(&load).max()), (due, 0));
            assert_eq!(load.summary.unanswered, 0);
        }
    }
}

#[test]
fn stages_and_ramps_offer_the_area_below_the_rate() {
    let load = load_of(Plan {
        stages: Some("200ms@500/s,300ms@500/s..1.5k/s".parse().unwrap()),
        duration: None,
        ..closed(1, Duration::ZERO)
    });
    assert_eq!(response(&load).len(), 100 + 300);
    assert!((load.window_s - 0.5).abs() < 1e-9);
}

#[test]
fn sessions_have_their_messages_and_a_proper_end() {
    let load = load_of(sessions(
        200.0,
        millis(500),
        Arrivals::Constant,
        Duration::ZERO,
        3,
    ));
    let summary = &load.summary;
    assert!(summary.is_valid(), "{:?}", summary.findings);
    let asked = summary.connections.asked;
    assert_eq!(
        (asked, summary.connections.open, summary.unanswered),
        (100, 100, 0)
    );
    assert_eq!(response(&load).len(), 300);
    assert_same(&connects(&load), &histogram_of(vec![50 * US; 100]), "");
    assert_same(&closes(&load), &histogram_of(vec![LATENCY; 100]), "");
    assert_eq!(summary.connections_per_s, Some(200.0));
}

#[test]
fn a_connection_that_is_replaced_has_its_messages_and_a_proper_end() {
    for messages in [1, 5] {
        let load = load_of(churn(1, messages));
        let summary = &load.summary;
        assert!(summary.is_valid(), "{:?}", summary.findings);
        // Each connection connects, sends its messages and closes.
        let connection_ns = 50 * US + messages * LATENCY + LATENCY;
        let expected = 4 * WINDOW / connection_ns;
        let closed = closes(&load);
        assert!(
            closed.len().abs_diff(expected) <= 4,
            "{}, not {expected}",
            closed.len()
        );
        assert_same(&closed, &histogram_of(vec![LATENCY; closed.len() as usize]), "");
        assert!(connects(&load).len().abs_diff(closed.len()) <= 4);
        assert!(summary.echoes.abs_diff(messages * expected) <= 4 * messages);
    }
}

#[test]
fn the_threads_share_the_work_and_their_counts_add_up() {
    for plan in every_loop() {
        let of_threads = |threads| {
            let connections = plan.connections.map(|_| 12);
            let plan = Plan {
                threads: Some(threads),
                connections,
                ..plan.clone()
            };
            load_of(plan)
        };
        let one = of_threads(1);
        for threads in [2, 3, 5] {
            let several = of_threads(threads);
            let name = format!("{plan:?} on {threads}");
            let asked = several.summary.connections.asked;
            assert_eq!(several.summary.connections.idle, 0);
            assert!(
                several.summary.is_valid(),
                "{name}: {:?}",
                several.summary.findings
            );
            if plan.arrivals == Some(Arrivals::Poisson) {
                continue;
            }
            // Workers notice the start of the load at different times.
            let few = one.summary.echoes / 50;
            assert!(
                several.summary.echoes.abs_diff(one.summary.echoes) <= few,
                "{name}: {} instead of {}",
                several.summary.echoes,
                one.summary.echoes
            );
            assert!(asked.abs_diff(one.summary.connections.asked) <= asked / 50);
            if plan.loop_kind() != LoopKind::Closed {
                assert_same(&response(&several), &response(&one), &name);
            }
        }
    }
}

#[test]
fn the_intervals_add_up_to_the_whole() {
    for plan in every_loop() {
        let load = load_of(plan.clone());
        let mut sum = histogram_of([]);
        for interval in &load.intervals {
            sum += interval.latency.decode().unwrap();
        }
        let whole = match plan.loop_kind() {
            LoopKind::Closed => service(&load),
            _ => response(&load),
        };
        assert_same(&sum, &whole, &format!("{plan:?}"));
        let echoes: u64 = load.intervals.iter().map(|interval| interval.echoes).sum();
        assert_eq!(echoes, load.summary.echoes);
        let length_s: f64 = load.intervals.iter().map(|interval| interval.duration_s).sum();
        assert!((length_s - load.window_s).abs() < 1e-9, "{length_s}");
        assert_eq!(load.intervals.len(), 20);
    }
}

#[test]
fn every_loop_ends_on_a_stop_answered_or_not() {
    let minute = Duration::from_secs(60);
    for fault in [Fault::None, Fault::Silent(64 * 20), Fault::Silent(0)] {
        for plan in [
            closed(1, Duration::ZERO),
            closed(8, minute),
            churn(1, 2),
            churn(1, 1_000_000),
            open(1000.0, minute, Arrivals::Constant),
            open(0.1, minute, Arrivals::Poisson),
            sessions(100.0, minute, Arrivals::Constant, Duration::ZERO, 2),
            sessions(0.1, minute, Arrivals::Constant, Duration::ZERO, 2),
        ] {
            let script = Script {
                faults: vec![fault],
                ..Script::default()
            };
            let mut simulation = simulation(plan, script);
            simulation.plan.duration = time(minute);
            simulation.stopped_at_ns = Some(100 * MS);
            let name = format!("{fault:?} {:?}", simulation.plan);
            let load = match simulation.run() {
                Ok(load) => load,
                // No connection had arrived yet.
                Err(error) => {
                    assert!(error.to_string().contains("interrupted"), "{name}: {error}");
                    continue;
                }
            };
            assert!((0.1..0.151).contains(&load.window_s), "{name}: {}", load.window_s);
            assert!(!load.summary.is_valid(), "{name}");
        }
    }
}

#[test]
fn idle_connections_stay_open_and_send_nothing() {
    for plan in every_loop() {
        let name = format!("{plan:?}");
        let load = load_of(Plan { idle: 20, ..plan });
        assert_eq!(load.summary.connections.idle, 20, "{name}");
        assert!(load.summary.is_valid(), "{name}: {:?}", load.summary.findings);
    }
}
