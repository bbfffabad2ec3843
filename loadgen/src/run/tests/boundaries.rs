//! The ends of the window: what is due and answered about them counts in the window or outside, and
//! the counts agree, so that the lowest rates are valid too.

use std::time::Duration;

use super::super::machine::due::{self, Times};
use super::simulation::*;
use crate::engine::simulated::Latency;
use crate::pacer::{Pace, Share};
use record::{Arrivals, Load, LoopKind, Plan};

/// Shorter than a window that must be steady.
const WINDOW: u64 = 1900 * MS;

fn simulation(plan: Plan, change: impl FnOnce(&mut Simulation)) -> Simulation {
    let lasts = time(Duration::from_nanos(WINDOW)).filter(|_| plan.stages.is_none());
    let plan = Plan {
        duration: lasts,
        ..plan
    };
    Simulation::of(plan, change)
}

/// Every schedule, at two messages or connections a second on average.
fn schedules() -> Vec<Plan> {
    let window = Duration::from_nanos(WINDOW);
    let stages = Plan {
        stages: Some("900ms@1/s..3/s,1s@3/s..1/s".parse().unwrap()),
        duration: None,
        ..closed(1, Duration::ZERO)
    };
    vec![
        open(2.0, window, Arrivals::Constant),
        open(2.0, window, Arrivals::Poisson),
        sessions(2.0, window, Arrivals::Constant, Duration::ZERO, 1),
        sessions(2.0, window, Arrivals::Poisson, Duration::ZERO, 2),
        Plan {
            arrivals: Some(Arrivals::Poisson),
            ..stages.clone()
        },
        stages,
    ]
}

/// How many messages, or connections, were due in the window.
fn due(load: &Load) -> u64 {
    let due = match load.plan.loop_kind() {
        LoopKind::PartlyOpen => load.summary.connections.asked as f64,
        _ => load.summary.offered_per_s.unwrap() * load.window_s,
    };
    due.round() as u64
}

#[track_caller]
fn assert_valid(simulation: &Simulation, name: &str) -> Load {
    let load = simulation.load();
    assert!(load.summary.is_valid(), "{name}: {}", load.summary.findings);
    load
}

/// Answers before the window, in it and after it, by workers that wake up at once or late.
#[test]
fn the_lowest_rates_are_valid_at_every_phase_of_a_warm_up() {
    let latencies = [50 * US, 3 * MS, 30 * MS, 430 * MS];
    for (number, plan) in schedules().into_iter().enumerate() {
        // The load begins with the warm-up, so the phase of the window is its length.
        for warmup_us in [0, 400, 498_000, 620_000, 997_950] {
            for (at, latency_ns) in latencies.into_iter().enumerate() {
                for late_ns in [0, 3 * MS] {
                    let simulation = simulation(plan.clone(), |s| {
                        s.plan.warmup = Duration::from_micros(warmup_us).into();
                        s.plan.seed = (31 * warmup_us + at as u64) ^ number as u64;
                        s.script.latency = Latency::Constant(latency_ns);
                        (s.oversleep_ns, s.late_glance_ns) = (late_ns, late_ns);
                        s.tick_ns = 100;
                    });
                    let name = format!("{:?} {warmup_us} us {latency_ns} {late_ns}", simulation.plan);
                    let load = assert_valid(&simulation, &name);
                    let messages = load.plan.messages_per_connection().unwrap_or(1);
                    let expected = due(&load) * messages;
                    // The second message of a session follows the answer to the first, and may be in
                    // the window without it, or not with it.
                    if messages == 1 {
                        assert_eq!(response(&load).len(), expected, "{name}");
                    }
                    // The first answer on each connection comes before the load, unless it is slow.
                    if warmup_us == 0 && latency_ns < 250 * MS {
                        assert!(load.summary.echoes <= expected, "{name}: {}", load.summary.echoes);
                    }
                }
            }
        }
    }
}

/// One message in the middle of the window, and one that much before its end.
fn near_the_end<const BEFORE_NS: u64>(pace: &Pace, share: Share, seed: u64) -> Times {
    if pace.duration() > Duration::from_secs(3600) {
        return due::draw(pace, share, seed);
    }
    let times = [WINDOW / 2, WINDOW - BEFORE_NS].into_iter().enumerate();
    Box::new(times.filter_map(move |(at, time_ns)| (at % share.of == share.index).then_some(time_ns)))
}

#[test]
fn a_message_that_is_due_just_before_the_end_is_outstanding_or_answered_then() {
    let draws: [(u64, due::Draw); 6] = [
        (1, near_the_end::<1>),
        (300, near_the_end::<300>),
        (30 * US, near_the_end::<{ 30 * US }>),
        (300 * US, near_the_end::<{ 300 * US }>),
        (2 * MS, near_the_end::<{ 2 * MS }>),
        (9 * MS, near_the_end::<{ 9 * MS }>),
    ];
    let window = Duration::from_nanos(WINDOW);
    let plans = [
        open(1.0, window, Arrivals::Poisson),
        sessions(1.0, window, Arrivals::Poisson, Duration::ZERO, 1),
    ];
    for plan in plans {
        for (before_ns, draw) in draws {
            for latency_ns in [10 * US, 250 * US, 299 * US, 2 * MS, 8 * MS] {
                for late_ns in [0, 50 * US, 4 * MS] {
                    let simulation = simulation(plan.clone(), |s| {
                        s.draw = draw;
                        s.script.latency = Latency::Constant(latency_ns);
                        (s.oversleep_ns, s.late_glance_ns) = (late_ns, late_ns);
                        s.tick_ns = 100;
                    });
                    let name = format!("{:?} {before_ns} {latency_ns} {late_ns}", plan.loop_kind());
                    let load = assert_valid(&simulation, &name);
                    assert_eq!((due(&load), response(&load).len()), (2, 2), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_window_is_half_open() {
    // Ten are due in a second, from its start on; the eleventh at its end is not in it.
    let second = Duration::from_secs(1);
    for rate in [10.0, 7.0, 1000.0 / 7.0] {
        let load = Simulation::of(open(rate, second, Arrivals::Constant), |s| {
            s.plan.warmup = Duration::ZERO.into();
        })
        .load();
        assert_eq!(due(&load), rate.ceil() as u64, "{rate}");
        assert_eq!(load.summary.echoes, due(&load), "{rate}");
    }
}
