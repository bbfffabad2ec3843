//! Lanes end to end, over both engines: several closed loops whose connections stay open while they
//! take turns.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loadgen::{Lane, RunError, SliceReport, can_be_sliced};
use record::{Arrivals, ErrorKind, Finding, Plan};

mod support;
use support::*;

const SETTLE: Duration = Duration::from_millis(2);
const MEASURE: Duration = Duration::from_millis(100);

/// Nothing lasts that long: it is ended by what a test is about.
const HOUR: Duration = Duration::from_secs(3600);

fn go() -> AtomicBool {
    AtomicBool::new(false)
}

/// A slice in which something was answered: on a busy host that may take several.
fn busy_slice(lane: &mut Lane, earlier: &mut Vec<SliceReport>) -> SliceReport {
    for _ in 0..100 {
        let report = lane.slice(SETTLE, MEASURE, &go()).expect("the lane is alive");
        earlier.push(report);
        if report.echoes > 0 || report.is_last {
            return report;
        }
    }
    panic!("nothing is answered: {earlier:?}");
}

#[test]
fn lanes_take_turns_and_each_has_its_own_record() {
    for &engine in engines() {
        let witnesses = [Arc::new(Witness::default()), Arc::new(Witness::default())];
        let mut lanes = witnesses.each_ref().map(|witness| {
            let seen = Arc::clone(witness);
            let target = server(move |stream| seen.echo(stream));
            let plan = Plan {
                engine,
                idle: 3,
                ..closed(2)
            };
            (Lane::open(checked(target, plan), &go()).unwrap(), Vec::new())
        });
        for _ in 0..3 {
            for (lane, reports) in &mut lanes {
                assert!(!busy_slice(lane, reports).is_last);
            }
        }
        for ((lane, reports), witness) in lanes.into_iter().zip(&witnesses) {
            assert_eq!(witness.ended(), 0, "all connections are open");
            let load = lane.close().unwrap();
            assert_right(&load);
            assert_eq!(
                (load.summary.connections.open, load.summary.connections.idle),
                (4, 3)
            );
            assert_eq!(load.intervals.len(), reports.len());
            for (interval, report) in load.intervals.iter().zip(&reports) {
                assert_eq!(interval.echoes, report.echoes);
                assert!(report.served >= report.echoes);
                assert_eq!(report.measured, MEASURE);
            }
            assert!((load.window_s - MEASURE.as_secs_f64() * reports.len() as f64).abs() < 1e-6);
            let ended = witness.all_ended();
            assert_eq!(ended.len(), 7);
            // Every byte that came back was measured, or came while the lane settled or drained, or
            // was the first message of a connection.
            let served: u64 = reports.iter().map(|report| report.served).sum();
            assert_eq!(ended.iter().map(|end| end.bytes).sum::<u64>(), 64 * served);
        }
    }
}

#[test]
fn time_that_is_not_measured_has_no_interval() {
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        let mut lane = Lane::open(checked(server(echo), plan), &go()).unwrap();
        let report = lane.slice(MEASURE, Duration::ZERO, &go()).unwrap();
        assert_eq!((report.echoes, report.is_last), (0, false));
        assert!(report.served > 0);
        busy_slice(&mut lane, &mut Vec::new());
        let load = lane.close().unwrap();
        assert!(!load.intervals.is_empty());
        let echoes: u64 = load.intervals.iter().map(|interval| interval.echoes).sum();
        assert_eq!(load.summary.echoes, echoes);
    }
}

#[test]
fn a_server_that_ends_its_connections_ends_its_lane_with_the_error() {
    // Each connection ends between its second answer and its third.
    let serve = |mut stream: TcpStream| {
        let mut message = [0; 64];
        for _ in 0..2 {
            if stream.read_exact(&mut message).is_err() || stream.write_all(&message).is_err() {
                return;
            }
        }
    };
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        let mut lane = Lane::open(checked(server(serve), plan), &go()).unwrap();
        let mut reports = Vec::new();
        while !reports.last().is_some_and(|report: &SliceReport| report.is_last) {
            reports.extend(lane.slice(SETTLE, MEASURE, &go()));
            assert!(reports.len() < 100, "{reports:?}");
        }
        let load = lane.close().unwrap();
        assert!(!load.summary.is_valid());
        assert!(count(&load, ErrorKind::EarlyEnd) + count(&load, ErrorKind::Reset) > 0);
    }
}

#[test]
fn a_server_that_closes_every_connection_at_once_is_an_error_with_the_record() {
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        let opened = Lane::open(checked(server(drop), plan), &go());
        // On a busy host it may take until the warm-up that the end is seen.
        let error = opened.and_then(|mut lane| {
            let warmed_up = lane.slice(HOUR, Duration::ZERO, &go());
            assert!(warmed_up.is_none_or(|report| report.is_last));
            lane.close()
        });
        let error = error.unwrap_err();
        let text = error.to_string();
        let RunError::EndedInWarmUp(load) = error else {
            panic!("{text}");
        };
        assert!(
            text.contains("all of 4 connections during the warm-up, after 0 answers"),
            "{text}"
        );
        assert!(!load.summary.is_valid());
        assert_eq!((load.summary.connections.open, load.summary.echoes), (4, 0));
        assert!(count(&load, ErrorKind::EarlyEnd) + count(&load, ErrorKind::Reset) > 0);
    }
}

#[test]
fn a_server_that_stops_answering_ends_its_lane_and_is_named() {
    for &engine in engines() {
        let is_silent = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_silent);
        let serve = move |mut stream: TcpStream| {
            let mut message = [0; 64];
            while stream.read_exact(&mut message).is_ok() {
                if !told.load(Ordering::SeqCst) && stream.write_all(&message).is_err() {
                    return;
                }
            }
        };
        let plan = Plan { engine, ..closed(1) };
        let mut lane = Lane::open(checked(server(serve), plan), &go()).unwrap();
        assert!(!busy_slice(&mut lane, &mut Vec::new()).is_last);
        is_silent.store(true, Ordering::SeqCst);
        assert!(lane.slice(SETTLE, MEASURE, &go()).unwrap().is_last);
        let load = lane.close().unwrap();
        let went_silent = |finding: &Finding| matches!(finding, Finding::WentSilent { .. });
        assert!(load.summary.findings.iter().any(went_silent), "{load:?}");
    }
}

#[test]
fn a_lane_without_a_connection_is_not_opened() {
    let gone = listen(1).local_addr().unwrap();
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        match Lane::open(checked(gone, plan), &go()) {
            Err(RunError::NoConnection { kind, .. }) => assert_eq!(kind, ErrorKind::Refused),
            other => panic!("{other:?}"),
        }
    }
}

/// Without the stop, the slice would last for an hour.
#[test]
fn a_stop_ends_a_slice_and_is_in_the_record() {
    for &engine in engines() {
        let witness = Arc::new(Witness::default());
        let seen = Arc::clone(&witness);
        let plan = Plan { engine, ..closed(1) };
        let mut lane = Lane::open(checked(server(move |stream| seen.echo(stream)), plan), &go()).unwrap();
        let stop = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let slice = scope.spawn(|| lane.slice(SETTLE, HOUR, &stop));
            stop.store(true, Ordering::SeqCst);
            slice.join().unwrap().unwrap()
        });
        assert!(report.is_last && report.measured < HOUR);
        let load = lane.close().unwrap();
        let interrupted = |finding: &Finding| matches!(finding, Finding::Interrupted { .. });
        assert!(load.summary.findings.iter().any(interrupted));
        assert_eq!(witness.all_ended().len(), 4);
    }
}

#[test]
fn a_lane_that_is_dropped_ends() {
    let witness = Arc::new(Witness::default());
    let seen = Arc::clone(&witness);
    drop(Lane::open(checked(server(move |stream| seen.echo(stream)), closed(1)), &go()).unwrap());
    assert_eq!(witness.all_ended().len(), 4);
}

#[test]
fn only_a_closed_loop_that_keeps_its_connections_can_be_sliced() {
    let sliced = |plan| can_be_sliced(&checked("127.0.0.1:7007".parse().unwrap(), plan));
    assert!(sliced(closed(8)));
    assert!(sliced(datagrams()));
    assert!(!sliced(churn(5)));
    assert!(!sliced(Plan {
        reconnect: true,
        ..closed(8)
    }));
    assert!(!sliced(open(100.0, MEASURE, Arrivals::Poisson)));
    assert!(!sliced(sessions(100.0, MEASURE, 2)));
}
