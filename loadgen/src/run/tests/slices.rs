//! A window in slices: connections that rest between them lose nothing and count nothing twice.

use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::super::conclude;
use super::super::intervals::IntervalCounts;
use super::super::machine::{Closed, Ledger, Machine, Window, due};
use super::super::result::MeasuredWindow;
use super::super::shared::Shared;
use super::super::taken::Taken;
use super::super::usage::Usage;
use super::super::worker::{SliceCounts, Turn, Worker};
use super::simulation::*;
use crate::engine::Until;
use crate::engine::simulated::{Fate, Fault, Latency, Script, Server, Simulated, VirtualClock};
use crate::pacer::Share;
use crate::pattern::Pattern;
use crate::plan::CheckedPlan;
use record::histogram::{self, Known, Statistic};
use record::{ErrorKind, Finding, Load, Plan, Span, Transport};

/// A slice: what is not measured at its start, and what is.
const SETTLE: u64 = MS;
const MEASURE: u64 = 20 * MS;

/// Between slices, while others have theirs.
const PAUSE: u64 = 150 * MS;

struct Sliced {
    slices: Vec<SliceCounts>,
    /// After each slice.
    ledgers: Vec<Ledger>,
    load: Load,
    delivered: u64,
}

/// Takes turns, in virtual time, until the worker is done or the time has come.
fn drive<'a>(worker: &mut Worker<'a, Simulated<'a>, Closed>, now: &Cell<u64>, until_ns: u64) -> Option<Turn> {
    while now.get() < until_ns {
        let wake_ns = match worker.turn() {
            Turn::Wait(Until::Now) => now.get(),
            Turn::Wait(Until::Time(time_ns)) => time_ns,
            Turn::Wait(Until::About(milliseconds)) => now.get() + u64::from(milliseconds) * MS,
            turn => return Some(turn),
        };
        let next_ns = wake_ns.min(worker.engine().next_event_ns());
        now.set(now.get().max(next_ns));
        worker.wait(Until::Now).unwrap();
    }
    None
}

/// One worker that carries out a number of slices, or fewer if an answer is missing.
fn run(plan: Plan, script: Script, slices: usize) -> Sliced {
    let plan = Plan {
        threads: Some(1),
        ..plan
    };
    let plan = CheckedPlan::new(&plan, "127.0.0.1:7007".parse().unwrap()).unwrap();
    let now = Cell::new(0);
    let clock = VirtualClock {
        now: &now,
        tick_ns: 0,
    };
    let stop = AtomicBool::new(false);
    let shared = Shared::new(&stop);
    let pattern = Pattern::new();
    let server = RefCell::new(Server::new(script));
    let share = Share { index: 0, of: 1 };
    let machine = Machine::<Closed>::new(&plan, &pattern, due::draw, share, 1, u64::MAX / 2).resting();
    let mut worker = Worker::new(
        Simulated::new(&server, clock),
        clock,
        machine,
        &shared,
        (plan.transport, plan.wait),
        |now_ns| Usage {
            passed: Duration::from_nanos(now_ns),
            ..Usage::default()
        },
        mpsc::channel().0,
    );
    assert_eq!(drive(&mut worker, &now, u64::MAX), Some(Turn::Connected));
    worker.begin_priming();
    drive(&mut worker, &now, 50 * MS);
    let mut sliced = Vec::new();
    let mut ledgers = Vec::new();
    for _ in 0..slices {
        now.set(now.get() + PAUSE);
        let start_ns = now.get() + SETTLE;
        shared.open_window(Window {
            start_ns,
            end_ns: start_ns + MEASURE,
        });
        shared.begin_load(now.get());
        assert_eq!(drive(&mut worker, &now, u64::MAX), Some(Turn::Done));
        ledgers.push(worker.machine().ledger());
        let counts = worker.rest();
        let all_answered = counts.all_answered;
        sliced.push(counts);
        if !all_answered {
            break;
        }
    }
    let intervals: Vec<_> = { sliced.iter().enumerate() }
        .map(|(number, slice)| {
            let mut latency = histogram::empty();
            latency += &slice.cut.latency;
            IntervalCounts {
                start_ns: MEASURE * number as u64,
                duration_ns: MEASURE,
                echoes: slice.cut.echoes,
                reconnects: 0,
                latency,
            }
        })
        .collect();
    let window = MeasuredWindow {
        duration_ns: MEASURE * intervals.len() as u64,
        taken: Taken::default(),
        interrupted: false,
        overran: 0,
        deserted: false,
        intervals,
        started_at: SystemTime::UNIX_EPOCH,
    };
    let load = conclude(&plan, worker.into_tally(), window).unwrap();
    let delivered = server.borrow().delivered;
    Sliced {
        slices: sliced,
        ledgers,
        load,
        delivered,
    }
}

#[test]
fn a_slice_counts_what_was_answered_while_it_was_measured() {
    let sliced = run(closed(1, Duration::ZERO), Script::default(), 5);
    assert_eq!(sliced.slices.len(), 5);
    for slice in &sliced.slices {
        // Four connections, each answered every 100 us.
        assert_eq!(slice.cut.echoes, 4 * MEASURE / (100 * US));
        assert_eq!(
            slice.cut.latency,
            histogram_of(vec![100 * US; slice.cut.echoes as usize])
        );
        // While it settled as well, and what was on its way at the end.
        let before = 4 * SETTLE / (100 * US);
        assert!(slice.served >= slice.cut.echoes + before, "{}", slice.served);
        assert!(slice.served <= slice.cut.echoes + before + 8, "{}", slice.served);
    }
    let load = sliced.load;
    assert_eq!(load.summary.findings, [].into());
    assert_eq!(load.summary.echoes, 5 * 800);
    assert!((load.window_s - 0.1).abs() < 1e-9);
    assert!((load.summary.echoes_per_s - 40_000.0).abs() < 1e-6);
    assert_eq!(load.summary.connections.answered, 4);
    let starts: Vec<_> = load.intervals.iter().map(|interval| interval.start_s).collect();
    assert_eq!(starts, [0.0, 0.02, 0.04, 0.06, 0.08]);
}

#[test]
fn every_message_is_answered_when_a_slice_ends_and_the_latencies_account_for_its_time() {
    for depth in [1, 7] {
        for think in [0, MS] {
            for (room, batches) in [(1 << 20, false), (64, false), (64, true)] {
                let plan = closed(depth, Duration::from_nanos(think));
                let script = Script {
                    latency: Latency::Uniform(20 * US, 900 * US),
                    room,
                    batches,
                    ..Script::default()
                };
                let name = format!("{depth} {think} {room} {batches}");
                let sliced = run(plan, script, 8);
                assert_eq!(sliced.slices.len(), 8, "{name}");
                for ledger in &sliced.ledgers {
                    assert_eq!((ledger.outstanding, ledger.begun), (0, ledger.answered), "{name}");
                }
                let last = sliced.ledgers.last().unwrap();
                assert_eq!(sliced.delivered, last.answered, "{name}");
                let served: u64 = sliced.slices.iter().map(|slice| slice.served).sum();
                // The first slice has the answers from before it, too.
                assert_eq!(served, last.answered, "{name}");
                // Little's law is among the gates.
                assert_eq!(sliced.load.summary.findings, [].into(), "{name}");
            }
        }
    }
}

#[test]
fn a_connection_that_goes_silent_ends_the_slices_and_is_named() {
    for depth in [1, 7] {
        // In the second slice.
        let silent = Fault::Silent(64 * 300 * u64::from(depth) + 63);
        let script = Script {
            faults: vec![Fault::None, silent, Fault::None, Fault::None],
            ..Script::default()
        };
        let sliced = run(closed(depth, Duration::ZERO), script, 8);
        assert_eq!(sliced.slices.len(), 2);
        assert!(!sliced.load.summary.is_valid());
        let silent = sliced
            .load
            .summary
            .findings
            .iter()
            .find_map(|finding| match finding {
                Finding::WentSilent { connections, .. } => Some(connections.connections),
                _ => None,
            });
        assert_eq!(silent, Some(1), "{:?}", sliced.load.summary.findings);
        assert_eq!(sliced.load.summary.unanswered, u64::from(depth));
        let max = sliced
            .load
            .summary
            .latencies
            .main()
            .unwrap()
            .known(Statistic::Max);
        assert!(
            matches!(max, Some(Known::AtLeast(micros)) if micros > 1e6),
            "{max:?}"
        );
    }
}

#[test]
fn a_client_that_is_never_served_is_unanswered_once_and_not_in_every_slice() {
    let script = Script {
        faults: vec![Fault::None, Fault::None, Fault::None, Fault::Silent(0)],
        ..Script::default()
    };
    let sliced = run(closed(1, Duration::ZERO), script, 5);
    assert_eq!(sliced.slices.len(), 5);
    let load = sliced.load;
    assert_eq!((load.starved(), load.summary.unanswered), (1, 1));
    let waited = load.unfinished(Span::Service).unwrap().decode().unwrap();
    assert!(waited.len() == 1 && waited.max() > 4 * PAUSE, "{}", waited.max());
}

#[test]
fn a_lost_datagram_is_counted_and_ends_nothing() {
    let script = Script {
        transport: Transport::Udp,
        fates: vec![Fate::Answered; 500]
            .into_iter()
            .chain([Fate::Dropped])
            .collect(),
        ..Script::default()
    };
    let plan = Plan {
        udp: true,
        answer_timeout: time(Duration::from_secs(2)),
        ..closed(1, Duration::ZERO)
    };
    let sliced = run(plan, script, 6);
    assert_eq!(sliced.slices.len(), 6);
    assert!(sliced.slices.iter().all(|slice| slice.all_answered));
    let load = sliced.load;
    assert!(load.summary.errors[&ErrorKind::Lost] > 5);
    let went_silent = |finding: &Finding| matches!(finding, Finding::WentSilent { .. });
    assert!(
        !load.summary.findings.iter().any(went_silent),
        "{:?}",
        load.summary.findings
    );
}

#[test]
fn a_server_that_answers_late_is_waited_for() {
    let script = Script {
        latency: Latency::Constant(700 * MS),
        ..Script::default()
    };
    let plan = Plan {
        connect_timeout: None,
        ..closed(1, Duration::ZERO)
    };
    let sliced = run(plan, script, 3);
    assert_eq!(sliced.slices.len(), 3);
    assert!(sliced.slices.iter().all(|slice| slice.all_answered));
    let nothing_went_silent = |finding: &Finding| !matches!(finding, Finding::WentSilent { .. });
    assert!(sliced.load.summary.findings.iter().all(nothing_went_silent));
}
