//! Messages without an answer: they count with the time that they have waited, in every loop, and
//! where all are answered nothing is left.

use std::time::Duration;

use super::simulation::*;
use crate::engine::simulated::{Fate, Fault, Latency};
use record::condition::Condition;
use record::histogram::{Known, Quantiles, Statistic};
use record::{Arrivals, Load, Plan, Span};

const WINDOW: Duration = Duration::from_secs(2);

fn simulation(plan: Plan, change: impl FnOnce(&mut Simulation)) -> Simulation {
    let duration = time(WINDOW);
    Simulation::of(Plan { duration, ..plan }, change)
}

fn every_loop() -> [Plan; 9] {
    [
        closed(1, Duration::ZERO),
        closed(8, Duration::ZERO),
        closed(3, millis(5)),
        churn(1, 1),
        churn(2, 5),
        open(2000.0, WINDOW, Arrivals::Constant),
        open(2000.0, WINDOW, Arrivals::Poisson),
        sessions(300.0, WINDOW, Arrivals::Poisson, millis(1), 3),
        Plan {
            udp: true,
            ..closed(1, Duration::ZERO)
        },
    ]
}

/// The times that had not ended, of the latency that counts.
fn unfinished(load: &Load) -> Vec<u64> {
    let Some(encoded) = load.unfinished.as_ref().and_then(|unfinished| unfinished.main()) else {
        return Vec::new();
    };
    let histogram = encoded.decode().unwrap();
    let times = histogram.iter_recorded();
    times
        .flat_map(|step| vec![step.value_iterated_to(); step.count_at_value() as usize])
        .collect()
}

fn main(load: &Load) -> &Quantiles {
    load.summary.latencies.main().unwrap()
}

fn holds(load: &Load, condition: &str) -> Option<bool> {
    condition.parse::<Condition>().unwrap().holds(load)
}

#[test]
fn nothing_is_unfinished_where_every_message_is_answered() {
    for latency in [Latency::Constant(100 * US), Latency::Uniform(10 * US, 300 * MS)] {
        for plan in every_loop() {
            let name = format!("{latency:?} {plan:?}");
            let udp = plan.udp;
            let load = simulation(plan, |s| {
                s.script.latency = latency;
                s.plan.answer_timeout = time(Duration::from_secs(1)).filter(|_| udp);
            })
            .load();
            assert_eq!((load.summary.unanswered, &load.unfinished), (0, &None), "{name}");
            for (span, times) in load.summary.latencies.measured() {
                assert_eq!(times.at_least, None, "{name}: {span}");
            }
        }
    }
}

/// A server that answers for a while and then never again.
#[test]
fn answers_that_stop_coming_bound_the_latencies_in_every_loop() {
    let silent_from = |messages: u64| Fault::Silent(64 * messages + 63);
    let loops = [
        (closed(1, Duration::ZERO), silent_from(5000), 4),
        (closed(8, Duration::ZERO), silent_from(40_000), 32),
        (closed(1, millis(10)), silent_from(50), 4),
        (churn(1, 1_000_000), silent_from(5000), 4),
        // Due every 500 us, and answered for half of the window and the warm-up.
        (
            open(2000.0, WINDOW, Arrivals::Constant),
            silent_from(525),
            4104 - 2100,
        ),
    ];
    for (plan, fault, unanswered) in loops {
        let name = format!("{plan:?}");
        let load = simulation(plan, |s| s.script.faults = vec![fault]).load();
        assert!(!load.summary.is_valid(), "{name}");
        let times = unfinished(&load);
        assert_eq!(times.len() as u64, load.summary.unanswered, "{name}");
        assert!(
            load.summary.unanswered.abs_diff(unanswered) <= 4,
            "{name}: {}",
            load.summary.unanswered
        );
        let max = main(&load).known(Statistic::Max).unwrap();
        assert!(!max.is_exact() && max.value() > 0.9e6, "{name}: {max:?}");
        for (condition, expected) in [
            ("max>100ms", Some(true)),
            ("max<100ms", Some(false)),
            ("max<1h", None),
            ("unanswered>0", Some(true)),
        ] {
            assert_eq!(holds(&load, condition), expected, "{name}: {condition}");
        }
        assert!(crate::text::describe(&load).contains(">="), "{name}");
    }
}

#[test]
fn sessions_that_get_no_answer_are_unfinished_at_every_step() {
    let plan = || sessions(100.0, WINDOW, Arrivals::Constant, Duration::ZERO, 2);
    let with = |fault| {
        simulation(plan(), |s| {
            s.script.faults = vec![Fault::None, fault];
            s.plan.connect_timeout = time(Duration::from_secs(60));
        })
        .load()
    };
    for (fault, bounded) in [
        (Fault::Silent(64), vec![Span::Response, Span::Service]),
        (
            Fault::Silent(0),
            vec![Span::Response, Span::Service, Span::FirstByte],
        ),
        (
            Fault::NeverConnects,
            vec![Span::Response, Span::Connect, Span::FirstByte],
        ),
        (Fault::NeverCloses, vec![Span::Close]),
    ] {
        let load = with(fault);
        for (span, times) in load.summary.latencies.measured() {
            let max = times.known(Statistic::Max).unwrap();
            assert_eq!(!max.is_exact(), bounded.contains(&span), "{fault:?}: {span}");
            assert!(max.is_exact() || max.value() > 1.9e6, "{fault:?}: {span} {max:?}");
        }
        let unanswered = if fault == Fault::NeverCloses { 0 } else { 100 };
        assert_eq!(load.summary.unanswered, unanswered, "{fault:?}");
    }
}

#[test]
fn connections_that_come_and_go_are_waited_for_and_counted_if_they_do_not_settle() {
    let with = |fault| {
        simulation(churn(1, 2), |s| {
            s.script.faults = [vec![Fault::None; 3000], vec![fault]].concat();
            s.plan.connect_timeout = time(Duration::from_secs(60));
        })
        .load()
    };
    for (fault, span) in [
        (Fault::NeverConnects, Span::Connect),
        (Fault::NeverCloses, Span::Close),
    ] {
        let load = with(fault);
        for (other, times) in load.summary.latencies.measured() {
            let is_bounded = other == span || (other, span) == (Span::FirstByte, Span::Connect);
            let max = times.known(Statistic::Max).unwrap();
            assert_eq!(!max.is_exact(), is_bounded, "{fault:?}: {other}");
        }
    }
}

/// A quiet period that is too short for silence and much longer than any latency before.
#[test]
fn a_valid_load_may_have_a_latency_of_which_only_a_bound_is_known() {
    // The largest latency is 300 ms, so only 3 s of waiting are silence.
    let load = Simulation::of(closed(1, Duration::ZERO), |s| {
        s.plan.duration = time(Duration::from_secs(10));
        s.plan.connections = Some(40);
        s.script.latency = Latency::Uniform(200 * MS, 300 * MS);
        s.script.faults = vec![Fault::None; 39];
        // 30 messages of a quarter of a second each.
        s.script.faults.push(Fault::Silent(64 * 31));
    })
    .load();
    assert!(load.summary.is_valid(), "{}", load.summary.findings);
    assert_eq!(load.summary.unanswered, 1);
    let [waited_ns] = unfinished(&load)[..] else {
        panic!("{:?}", unfinished(&load));
    };
    assert!((S..3 * S).contains(&waited_ns), "{waited_ns}");
    let known = |statistic| main(&load).known(statistic).unwrap();
    assert!(matches!(known(Statistic::Max), Known::AtLeast(micros) if micros >= 1e6));
    assert!(known(Statistic::P99).is_exact() && known(Statistic::P50).is_exact());
    assert_eq!(holds(&load, "max<400ms"), Some(false));
}

#[test]
fn a_client_that_is_never_served_waits_for_the_whole_load() {
    let load = simulation(closed(1, Duration::ZERO), |s| {
        s.plan.connections = Some(8);
        s.script.faults = vec![Fault::None, Fault::Silent(0)];
    })
    .load();
    assert!(load.summary.is_valid(), "{}", load.summary.findings);
    assert_eq!((load.starved(), load.summary.unanswered), (4, 4));
    assert!(unfinished(&load).iter().all(|&ns| ns >= 2 * S), "{load:?}");
    assert_eq!(holds(&load, "max>1s"), Some(true));
    assert_eq!(holds(&load, "p99<1ms"), Some(true), "4 of 80,000 do not matter");
}

#[test]
fn a_lost_datagram_counts_with_the_time_that_it_was_waited_for() {
    for plan in [
        closed(1, Duration::ZERO),
        open(2000.0, WINDOW, Arrivals::Constant),
    ] {
        let load = simulation(plan, |s| {
            s.plan.udp = true;
            s.plan.answer_timeout = time(millis(50));
            s.script.fates = [vec![Fate::Answered; 1199], vec![Fate::Dropped]].concat();
        })
        .load();
        let name = format!("{:?}", load.plan);
        assert!(load.summary.is_valid(), "{name}: {}", load.summary.findings);
        assert_eq!(load.summary.unanswered, 0, "{name}");
        let times = unfinished(&load);
        assert!(!times.is_empty(), "{name}");
        // It is given up when the worker looks next.
        assert!(
            times.iter().all(|ns| (50 * MS..75 * MS).contains(ns)),
            "{times:?}"
        );
        let known = |statistic| main(&load).known(statistic).unwrap();
        assert!(known(Statistic::P99).is_exact() && !known(Statistic::Max).is_exact());
        assert_eq!(holds(&load, "max>40ms"), Some(true));
    }
}

/// The last datagrams before the window closes are lost as well as those in it.
#[test]
fn a_datagram_that_is_outstanding_when_the_window_closes_is_answered_or_lost() {
    let load = simulation(closed(1, Duration::ZERO), |s| {
        s.plan.udp = true;
        s.plan.connections = Some(1);
        s.plan.threads = Some(1);
        // One every 100 us; the last is sent just before the end.
        s.script.fates = [vec![Fate::Answered; 20_519], vec![Fate::Dropped; 100]].concat();
    })
    .load();
    let lost = load.summary.errors.values().sum::<u64>();
    assert_eq!(
        (lost, load.summary.unanswered),
        (1, 0),
        "{:?}",
        load.summary.errors
    );
    assert_eq!(unfinished(&load).len(), 1);
    assert!(!main(&load).known(Statistic::Max).unwrap().is_exact());
}
