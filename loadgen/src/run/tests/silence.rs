//! Connections that go silent after they were answered, and those that only seem to.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fate, Fault, Latency};
use record::{Arrivals, Finding, Plan};

const WINDOW: Duration = Duration::from_secs(2);

fn simulation(plan: Plan, change: impl FnOnce(&mut Simulation)) -> Simulation {
    let duration = time(WINDOW);
    Simulation::of(Plan { duration, ..plan }, change)
}

/// How many connections went silent, and for how long the oldest message has waited.
fn silent(simulation: &Simulation) -> Option<(u64, f64)> {
    let load = simulation.load();
    load.summary.findings.iter().find_map(|finding| match finding {
        Finding::WentSilent {
            connections,
            oldest_s,
        } => {
            assert!(!load.summary.is_valid());
            Some((connections.connections, *oldest_s))
        }
        _ => None,
    })
}

#[test]
fn a_server_that_once_drops_the_last_byte_of_an_answer_is_noticed() {
    // The last byte of an answer, a little after the window has opened.
    let lost = Fault::Lost(64 * 1000 - 1);
    for (faults, expected) in [
        (vec![lost], 4),
        (vec![Fault::None, lost, Fault::None, Fault::None], 1),
    ] {
        let simulation = simulation(closed(1, Duration::ZERO), |s| s.script.faults = faults);
        let (connections, oldest_s) = silent(&simulation).expect("silent connections");
        assert_eq!(connections, expected);
        assert!((1.9..2.0).contains(&oldest_s), "{oldest_s}");
    }
}

#[test]
fn silence_is_noticed_in_every_loop() {
    let silent_from = |messages: u64| Fault::Silent(64 * messages + 63);
    let of_all = [
        (closed(8, Duration::ZERO), silent_from(1000)),
        (closed(1, Duration::from_millis(10)), silent_from(20)),
        (churn(1, 5), silent_from(2)),
        (churn(1, 1_000_000), silent_from(1000)),
        (open(1000.0, WINDOW, Arrivals::Poisson), silent_from(50)),
    ];
    for (plan, fault) in of_all {
        let name = format!("{plan:?}");
        let simulation = simulation(plan, |s| s.script.faults = vec![fault]);
        let (connections, oldest_s) = silent(&simulation).expect(&name);
        assert_eq!(connections, 4, "{name}");
        assert!(oldest_s > 1.0, "{name}: {oldest_s}");
    }
    // Each fifth connection never answers its only message, until no place is left.
    let replaced = simulation(churn(1, 1), |s| {
        s.script.faults = vec![
            Fault::None,
            Fault::None,
            Fault::None,
            Fault::None,
            Fault::Silent(63),
        ];
    });
    assert_eq!(silent(&replaced).map(|(connections, _)| connections), Some(4));
    let sessions = simulation(
        sessions(100.0, WINDOW, Arrivals::Constant, Duration::ZERO, 3),
        |s| s.script.faults = vec![Fault::None, silent_from(1)],
    );
    let (connections, _) = silent(&sessions).expect("silent sessions");
    // Half of those that came within the first second, and some of the warm-up.
    assert!((50..=54).contains(&connections), "{connections}");
}

#[test]
fn silence_is_noticed_in_a_window_shorter_than_a_standstill() {
    let short = |faults| {
        simulation(closed(1, Duration::ZERO), |s| {
            s.plan.duration = time(Duration::from_millis(200));
            s.script.faults = faults;
        })
    };
    // A connection has 500 messages in the warm-up and 2,000 in the window.
    let (connections, oldest_s) = silent(&short(vec![Fault::Silent(64 * 1500)])).expect("silence");
    assert_eq!(connections, 4);
    assert!((1.0..1.1).contains(&oldest_s), "{oldest_s}");
    assert_eq!(silent(&short(vec![Fault::None])), None);
}

#[test]
fn churn_counts_connections_of_which_none_was_ever_answered() {
    let churning = simulation(churn(1, 3), |s| {
        s.script.faults = vec![Fault::Silent(0), Fault::None, Fault::Silent(0)]
            .into_iter()
            .chain([const { Fault::None }; 5000])
            .collect();
    });
    assert_eq!(churning.load().starved(), 2);
    assert_eq!(simulation(churn(1, 3), |_| {}).load().starved(), 0);
}

#[test]
fn datagrams_of_which_none_is_answered_any_more_are_silence() {
    // One in 600,000 messages would be too few losses for the gate on losses.
    let fates = [vec![Fate::Answered; 18_000], vec![Fate::Dropped; 2000]].concat();
    let dying = simulation(closed(1, Duration::ZERO), |s| {
        s.plan.udp = true;
        s.script.fates = fates;
    });
    assert_eq!(silent(&dying).map(|(connections, _)| connections), Some(4));
    let losing = simulation(closed(1, Duration::ZERO), |s| {
        s.plan.udp = true;
        s.plan.answer_timeout = time(Duration::from_millis(1500));
        s.script.fates = [vec![Fate::Answered; 18_000], vec![Fate::Dropped]].concat();
    });
    assert_eq!(silent(&losing), None, "a loss is not silence");
}

#[test]
fn a_correct_server_may_be_slow_or_stand_still_for_a_while() {
    let cases: [(&str, Simulation); 5] = [
        (
            "slower than the window",
            simulation(closed(1, Duration::ZERO), |s| {
                s.plan.warmup = Duration::from_secs(6).into();
                s.script.latency = Latency::Constant(5 * S);
            }),
        ),
        (
            "of any latency",
            simulation(closed(1, Duration::ZERO), |s| {
                s.plan.connections = Some(50);
                s.script.latency = Latency::Uniform(MS, 1500 * MS);
            }),
        ),
        (
            "standing still at the end",
            simulation(closed(1, Duration::ZERO), |s| {
                s.script.stalls = vec![(1200 * MS, 900 * MS)];
            }),
        ),
        (
            "of one at a time",
            simulation(churn(1, 3), |s| s.script.service_ns = 200 * MS),
        ),
        (
            "of a short window",
            simulation(closed(1, Duration::ZERO), |s| {
                s.plan.duration = time(Duration::from_millis(200));
                s.script.stalls = vec![(MS, S)];
            }),
        ),
    ];
    for (name, simulation) in cases {
        assert_eq!(silent(&simulation), None, "{name}");
    }
}

#[test]
fn a_connection_that_thinks_or_was_never_served_is_not_silent() {
    let thinking = simulation(closed(1, Duration::from_secs(60)), |s| {
        s.plan.warmup = Duration::from_secs(2).into();
    });
    assert_eq!(silent(&thinking), None);

    let starving = simulation(closed(1, Duration::ZERO), |s| {
        s.plan.connections = Some(8);
        s.script.faults = vec![Fault::None, Fault::Silent(0)];
    });
    let load = starving.load();
    assert!(load.summary.is_valid(), "{}", load.summary.findings);
    assert_eq!((load.starved(), load.summary.connections.answered), (4, 4));
}
