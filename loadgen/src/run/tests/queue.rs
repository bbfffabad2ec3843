//! A server whose queue of connections is full, as over a Unix socket: connects wait without
//! polling, in order, and their waiting is measured.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fault, Queue};
use record::{Arrivals, ErrorKind, Plan};

const WORKERS: u64 = 2;

fn simulation(plan: Plan, room: usize, accept_ns: u64) -> Simulation {
    Simulation::of(plan, |simulation| {
        simulation.script.connect_ns = 0;
        simulation.script.queue = Some(Queue { room, accept_ns });
    })
}

/// Asserts that connects were turned away, but at most once a millisecond by each worker.
fn assert_patient(counted: &Counted) {
    let milliseconds = counted.ended_ns / MS;
    assert!(
        (1..=WORKERS * (milliseconds + 1)).contains(&counted.turned_away),
        "{} in {milliseconds} ms",
        counted.turned_away
    );
}

#[test]
fn connections_wait_for_room_in_the_queue_and_none_is_lost() {
    let mut crowd = simulation(closed(1, Duration::ZERO), 4, MS / 2);
    crowd.plan.connections = Some(300);
    let counted = crowd.count(&crowd.checked());
    assert_patient(&counted);
    assert!(counted.tally.errors.is_empty(), "{:?}", counted.tally.errors);
    assert_eq!(counted.tally.open, 300);
    assert_eq!(crowd.load().summary.connections.answered, 300);
}

#[test]
fn connections_that_are_replaced_wait_too() {
    let mut churn = simulation(churn(1, 1), 1, MS);
    (churn.plan.connections, churn.plan.threads) = (Some(20), Some(1));
    let counted = churn.count(&churn.checked());
    assert_patient(&counted);
    assert!(counted.tally.errors.is_empty(), "{:?}", counted.tally.errors);
    // One is accepted each millisecond, in a window of 200 ms.
    assert!(
        counted.tally.closed.abs_diff(200) <= 25,
        "{}",
        counted.tally.closed
    );
    assert_eq!(counted.tally.never_served, 0, "they take turns");
}

#[test]
fn the_time_in_which_the_queue_is_full_is_in_connect_and_response_times() {
    let window = Duration::from_secs(1);
    let plan = sessions(1000.0, window, Arrivals::Constant, Duration::ZERO, 1);
    let mut stalled = simulation(plan, 1, 0);
    stalled.script.stalls = vec![(500 * MS, 700 * MS)];
    let counted = stalled.count(&stalled.checked());
    assert_patient(&counted);
    assert!(counted.tally.errors.is_empty(), "{:?}", counted.tally.errors);
    let load = stalled.load();
    assert_eq!((load.summary.unanswered, response(&load).len()), (0, 1000));
    // What is due within the stall waits for its end, and at most a pause more.
    for (times, name) in [(response(&load), "response"), (connects(&load), "connect")] {
        let waited = times.len() - times.count_between(0, 100 * MS);
        assert!((98..=102).contains(&waited), "{name}: {waited}");
        assert!(
            (195 * MS..=203 * MS).contains(&times.max()),
            "{name}: {}",
            times.max()
        );
    }
}

/// The queue has room for one, who is accepted after a second and a half. So an attempt of another to
/// come back is given up while it waits for room, and must not be called later.
#[test]
fn lost_connections_come_back_one_after_the_other_through_a_queue_that_is_full() {
    let mut restarted = simulation(closed(1, Duration::ZERO), 1, 1500 * MS);
    (restarted.plan.connections, restarted.plan.threads) = (Some(3), Some(1));
    restarted.plan.warmup = Duration::from_secs(6).into();
    restarted.plan.duration = time(Duration::from_secs(10));
    restarted.plan.reconnect = true;
    restarted.script.outages = vec![(12 * S, 12 * S + 100 * MS)];
    let load = restarted.load();
    let seen = load.summary.reconnects.unwrap();
    assert_eq!((seen.lost, seen.reopened), (3, 3), "{seen:?}");
    assert!(seen.failed_attempts > 3, "some were given up: {seen:?}");
    // Three are accepted one after the other, and an attempt that was given up in the queue is accepted too.
    assert!((4.5..7.5).contains(&seen.longest_s), "{seen:?}");
    assert_eq!(load.summary.findings, [].into());
}

#[test]
fn a_connect_waits_no_longer_than_asked() {
    let mut full = simulation(closed(1, Duration::ZERO), 3, 3600 * S);
    full.plan.connections = Some(10);
    full.plan.connect_timeout = time(millis(300));
    let counted = full.count(&full.checked());
    assert_patient(&counted);
    let (count, example) = &counted.tally.errors[&ErrorKind::TimedOut];
    assert_eq!((*count, counted.tally.open), (7, 3));
    // What all of them have together: a little more for each connection.
    assert_eq!(example, "no connection within 311ms");
}

#[test]
fn other_failures_of_connects_that_waited_are_counted_as_usual() {
    let mut refused = simulation(closed(1, Duration::ZERO), 1, MS);
    refused.script.faults = vec![Fault::None, Fault::Refused];
    refused.plan.connections = Some(10);
    let counted = refused.count(&refused.checked());
    let (count, _) = &counted.tally.errors[&ErrorKind::Refused];
    assert_eq!((*count, counted.tally.open), (5, 5));
}
