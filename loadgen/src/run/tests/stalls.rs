//! What a stall of the server does to the latencies, in every loop: exactly what follows from
//! its length, to the bucket of the histogram.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Latency, Script};
use crate::pacer::{Schedule, Share};
use record::{Arrivals, Plan};

const WINDOW: u64 = 2 * S;
const LATENCY: u64 = 100 * US;
const CONNECT: u64 = 50 * US;
const WARM_UP: u64 = 50 * MS;

/// From the start of the load to that of the window: the warm-up, and the announcement.
const BEFORE: u64 = WARM_UP + 2 * MS;

/// Start and end of a stall: next to nothing, a part of a latency, much longer, and beyond the
/// end of the window.
const STALLS: [(u64, u64); 6] = [
    (S, S + 1),
    (S, S + 30 * US),
    (S, S + 2 * MS),
    (700 * MS, 1200 * MS),
    (0, 1900 * MS),
    (1900 * MS, 2500 * MS),
];

/// When the answer arrives to what was sent then.
fn answer_at(sent_ns: u64, (begin, end): (u64, u64)) -> u64 {
    let awake = |time_ns| match time_ns {
        time_ns if (begin..end).contains(&time_ns) => end,
        time_ns => time_ns,
    };
    awake(awake(sent_ns) + LATENCY)
}

fn stalled(plan: Plan, threads: usize, stall: (u64, u64)) -> Simulation {
    Simulation {
        plan: Plan {
            threads: Some(threads),
            connections: plan.connections.map(|_| 6),
            warmup: Duration::from_nanos(WARM_UP).into(),
            duration: time(Duration::from_nanos(WINDOW)),
            ..plan
        },
        script: Script {
            latency: Latency::Constant(LATENCY),
            connect_ns: CONNECT,
            stalls: vec![stall],
            ..Script::default()
        },
        ..Simulation::new()
    }
}

#[test]
fn an_open_loop_shows_the_whole_stall_whatever_the_arrivals_and_the_threads() {
    let window = Duration::from_nanos(WINDOW);
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        for threads in [1, 3] {
            let plan = open(2000.0, window, arrivals);
            let checked = stalled(plan.clone(), threads, STALLS[0]).checked();
            let pace = checked.pace.as_ref().unwrap();
            let due: Vec<u64> = (0..threads)
                .flat_map(|index| Schedule::new(pace, Share { index, of: threads }, plan.seed))
                .collect();
            for stall in STALLS {
                let load = stalled(plan.clone(), threads, stall).load();
                let name = format!("{arrivals:?} {threads} {stall:?}");
                let expected = due.iter().map(|&due_ns| answer_at(due_ns, stall) - due_ns);
                assert_same(&response(&load), &histogram_of(expected), &name);
                assert_same(
                    &service(&load),
                    &response(&load),
                    &format!("{name}: all are sent in time"),
                );
                assert_eq!(send_lag(&load).max(), 0, "{name}");
                assert_eq!(load.summary.unanswered, 0, "{name}");
            }
        }
    }
}

/// Of a stall of length S, a message that is due x before its end waits for x. Messages are due
/// at all times alike, so of the N messages of a window W a share x/W waits for S - x or
/// longer: the first of the stall. The quantile q, which (1 - q) N messages exceed, is therefore
///
/// > S - (1 - q) W
///
/// as long as that is positive.
#[test]
fn the_quantiles_of_constant_arrivals_are_those_of_the_arithmetic() {
    let rate = 2000.0;
    let plan = open(rate, Duration::from_nanos(WINDOW), Arrivals::Constant);
    for stall_ns in [20 * MS, 100 * MS, 500 * MS, 1500 * MS] {
        let load = stalled(plan.clone(), 1, (200 * MS, 200 * MS + stall_ns)).load();
        let seen = response(&load);
        for q in [0.5, 0.9, 0.99, 0.999] {
            let expected_ns = (stall_ns as f64 - (1.0 - q) * WINDOW as f64).max(0.0) + LATENCY as f64;
            let seen_ns = seen.value_at_quantile(q) as f64;
            // One bucket, and the gap between two messages.
            let allowed_ns = 1e-3 * expected_ns + 1e9 / rate;
            assert!(
                (seen_ns - expected_ns).abs() <= allowed_ns,
                "{q} of {stall_ns}: {seen_ns}, not {expected_ns}"
            );
        }
        let longest_ns = stall_ns + LATENCY;
        assert!(seen.equivalent(seen.max(), longest_ns), "{}", seen.max());
    }
}

/// Each connection has one message that waits for the stall, and sends nothing meanwhile.
#[test]
fn a_closed_loop_has_one_long_latency_for_each_message_in_flight() {
    for depth in [1, 5] {
        for stall in STALLS.into_iter().filter(|(begin, end)| end - begin > LATENCY) {
            let load = stalled(closed(depth, Duration::ZERO), 2, stall).load();
            let seen = service(&load);
            let (begin, end) = stall;
            let name = format!("{depth} {stall:?}");
            let in_flight = 6 * u64::from(depth);
            let (length, is_seen) = (end - begin, end <= WINDOW);
            let long = seen.len() - seen.count_between(0, 2 * LATENCY);
            assert_eq!(long, if is_seen { in_flight } else { 0 }, "{name}");
            if is_seen {
                let max = seen.max();
                assert!(
                    (length..=(length + LATENCY) / 999 * 1000).contains(&max),
                    "{name}: {max}"
                );
            }
            // All others take as long as without a stall.
            assert!(seen.equivalent(seen.value_at_quantile(0.9), LATENCY), "{name}");
            let awake = WINDOW - (end.min(WINDOW) - begin);
            let expected = in_flight * awake / LATENCY;
            assert!(
                load.summary.echoes.abs_diff(expected) <= 2 * in_flight,
                "{name}: {}, not {expected}",
                load.summary.echoes
            );
        }
    }
}

#[test]
fn the_sessions_of_a_partly_open_loop_show_the_stall_for_each_message() {
    const MESSAGES: u64 = 3;
    const GAP: u64 = 4 * MS;
    let rate = S as f64 / GAP as f64;
    let window = Duration::from_nanos(WINDOW);
    for think_ns in [0, 3 * MS] {
        let think = Duration::from_nanos(think_ns);
        let plan = sessions(rate, window, Arrivals::Constant, think, MESSAGES);
        for (begin, end) in STALLS {
            let load = stalled(plan.clone(), 2, (begin, end)).load();
            // In the time of the load, which the window begins `BEFORE` after.
            let stall = (begin + BEFORE, end + BEFORE);
            let window = BEFORE..BEFORE + WINDOW;
            let warm_up = (0..BEFORE).step_by(GAP as usize);
            let arrivals = warm_up.chain(window.clone().step_by(GAP as usize));
            let expected = arrivals.flat_map(|arrival_ns| {
                let window = window.clone();
                let mut due_ns = arrival_ns;
                let mut sent_ns = arrival_ns + CONNECT;
                (0..MESSAGES).filter_map(move |_| {
                    let answer_ns = answer_at(sent_ns, stall);
                    let latency = window.contains(&due_ns).then(|| answer_ns - due_ns);
                    due_ns = answer_ns + think_ns;
                    sent_ns = due_ns;
                    latency
                })
            });
            let name = format!("{think_ns} {begin} {end}");
            assert_same(&response(&load), &histogram_of(expected), &name);
            assert_eq!(send_lag(&load).len(), WINDOW / GAP, "{name}");
            assert_eq!(send_lag(&load).max(), 0, "{name}");
        }
    }
}

/// A server that does one message at a time, and takes longer for it than the gap between two:
/// message k is answered after k + 1 of them, whatever is still waiting.
#[test]
fn a_server_that_is_too_slow_has_latencies_that_grow_message_by_message() {
    let load = Simulation {
        plan: Plan {
            connections: Some(2),
            threads: Some(1),
            warmup: Duration::ZERO.into(),
            ..open(100.0, millis(300), Arrivals::Constant)
        },
        script: Script {
            latency: Latency::Constant(0),
            service_ns: 50 * MS,
            ..Script::default()
        },
        ..Simulation::new()
    }
    .load();
    // Without a warm-up the server is idle when the window begins.
    let expected = (0..30).map(|k| (k + 1) * 50 * MS - k * 10 * MS);
    assert_same(&response(&load), &histogram_of(expected), "");
}
