//! Every loop end to end, over both engines: the bytes arrive whole, and connections begin and
//! end as they should. How much is sent, and when, is proved in virtual time instead.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::{Observer, Snapshot};
use record::{Arrivals, Finding, Plan, Span};
use socket2::{Domain, Socket, Type};

mod support;
use support::*;

fn every_loop() -> [Plan; 4] {
    [
        closed(3),
        churn(2),
        open(200.0, millis(300), Arrivals::Poisson),
        sessions(50.0, millis(300), 2),
    ]
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn a_closed_loop_is_right_whatever_the_depth_and_the_sizes() {
    let mut list = tempfile::NamedTempFile::new().unwrap();
    list.write_all(b"1B\n70kB\n64B\n").unwrap();
    let listed = format!("file:{}", list.path().display());
    let loads = [
        (1, "1B"),
        (8, "64B"),
        (1000, "64B"),
        (8, "64KiB"),
        (1, "3MiB"),
        (8, "uniform:1B..100KiB"),
        (8, &listed),
    ];
    for &engine in engines() {
        for (depth, size) in loads {
            let plan = Plan {
                engine,
                size: size.parse().unwrap(),
                ..closed(depth)
            };
            let load = run(server(echo), plan);
            assert_right(&load);
            assert_eq!(load.summary.connections.open, 4);
            let service = load.histograms[Span::Service].as_ref().unwrap().decode().unwrap();
            assert_eq!(service.len(), load.summary.echoes);
            assert_eq!(load.histograms[Span::Response], None);
        }
    }
}

/// A server that reads little at a time, and pauses after a number of bytes.
fn blocking_server(before: usize) -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Accepted connections inherit the buffers of the listener.
    socket.set_recv_buffer_size(4096).unwrap();
    socket
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    socket.listen(128).unwrap();
    server_of(socket.into(), move |mut stream| {
        let mut buffer = [0; 20_000];
        let mut seen = 0;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
            if (seen..seen + length).contains(&(before - 1)) {
                thread::sleep(millis(150));
            }
            seen += length;
        }
    })
}

#[test]
fn messages_that_the_socket_buffers_have_no_room_for_arrive_later_and_whole() {
    for &engine in engines() {
        for (plan, size, before) in [
            (closed(8), "200KiB", 200 << 10),
            (closed(200), "uniform:1B..10kB", 1),
            (open(200.0, millis(400), Arrivals::Poisson), "200KiB", 200 << 10),
        ] {
            let plan = Plan {
                engine,
                size: size.parse().unwrap(),
                duration: time(millis(400)),
                ..plan
            };
            let load = run(blocking_server(before), plan);
            assert_right(&load);
        }
    }
}

/// When the window closed.
struct Closed(Option<Instant>);

impl Observer for Closed {
    fn window_closed(&mut self) {
        self.0 = Some(Instant::now());
    }
}

#[test]
fn sessions_send_their_messages_and_are_closed() {
    for &engine in engines() {
        let witness = Arc::new(Witness::default());
        let seen = Arc::clone(&witness);
        let plan = Plan {
            engine,
            ..sessions(200.0, millis(500), 3)
        };
        let mut closed = Closed(None);
        let load = watch(server(move |stream| seen.echo(stream)), plan, &mut closed);
        assert_right(&load);
        assert_eq!(load.summary.connections.asked, 100);
        let ended = witness.all_ended();
        let is_whole = |end: &&Ended| end.properly && end.bytes == 3 * 64;
        assert!(ended.iter().any(|end| is_whole(&end)));
        assert!(ended.iter().all(|end| end.bytes <= 3 * 64));
        // Sessions that are not finished when the run ends are broken off.
        let mut within = ended.iter().filter(|end| Some(end.at) < closed.0);
        assert!(
            within.all(|end| is_whole(&end)),
            "within the window, only a connection that has sent all of its messages is closed"
        );
    }
}

#[test]
fn connections_that_are_replaced_send_their_messages_and_are_closed() {
    const CONNECTIONS: usize = 4;
    for &engine in engines() {
        for messages in [1, 5] {
            let witness = Arc::new(Witness::default());
            let seen = Arc::clone(&witness);
            let plan = Plan {
                engine,
                ..churn(messages)
            };
            let target = server(move |stream| seen.echo(stream));
            // More connections than are open at a time: some begin and end within the window.
            let load = run_until(target, plan, CONNECTIONS as u64, || witness.ended());
            assert_right(&load);
            // The last ones are broken off when the run ends.
            let ended = witness.all_ended();
            let whole = { ended.iter() }.filter(|end| end.properly && end.bytes == messages * 64);
            assert!(whole.count() + CONNECTIONS >= ended.len(), "{ended:?}");
            assert!(ended.iter().all(|end| end.bytes <= messages * 64));
        }
    }
}

#[test]
fn idle_connections_are_open_to_the_end() {
    for &engine in engines() {
        for plan in every_loop() {
            let witness = Arc::new(Witness::default());
            let seen = Arc::clone(&witness);
            let plan = Plan {
                engine,
                idle: 20,
                ..plan
            };
            let mut closed = Closed(None);
            let load = watch(server(move |stream| seen.echo(stream)), plan, &mut closed);
            assert_right(&load);
            assert_eq!(load.summary.connections.idle, 20);
            let mut silent = witness.all_ended();
            silent.retain(|end| end.bytes == 0 && Some(end.at) > closed.0);
            assert!(silent.len() >= 20, "{}", silent.len());
            assert!(silent.iter().all(|end| end.properly));
        }
    }
}

#[test]
fn several_threads_share_the_connections() {
    for &engine in engines() {
        let witness = Arc::new(Witness::default());
        let seen = Arc::clone(&witness);
        let plan = Plan {
            engine,
            connections: Some(7),
            threads: Some(3),
            ..closed(1)
        };
        let load = run(server(move |stream| seen.echo(stream)), plan);
        assert_right(&load);
        assert_eq!(load.summary.connections.open, 7);
        let ended = witness.all_ended();
        assert_eq!(ended.len(), 7);
        assert!(ended.iter().all(|end| end.bytes > 0));
    }
}

#[derive(Default)]
struct Shown {
    calls: Vec<&'static str>,
    snapshots: Vec<Snapshot>,
}

impl Observer for Shown {
    fn window_opened(&mut self) {
        self.calls.push("opened");
    }

    fn wants_progress(&self) -> bool {
        true
    }

    fn progress(&mut self, snapshot: &Snapshot) {
        self.calls.push("progress");
        self.snapshots.push(*snapshot);
    }

    fn window_closed(&mut self) {
        self.calls.push("closed");
    }
}

#[test]
fn the_observer_is_shown_the_intervals_in_order_between_begin_and_end_of_the_window() {
    for &engine in engines() {
        for plan in every_loop() {
            let mut shown = Shown::default();
            let plan = Plan {
                engine,
                duration: time(millis(300)),
                ..plan
            };
            let load = watch(server(echo), plan, &mut shown);
            assert_right(&load);
            assert_eq!(shown.calls.first(), Some(&"opened"));
            assert_eq!(shown.calls.last(), Some(&"closed"));
            assert_eq!(shown.calls.len(), shown.snapshots.len() + 2);
            for (number, (snapshot, interval)) in shown.snapshots.iter().zip(&load.intervals).enumerate() {
                assert_eq!(snapshot.elapsed, millis(15) * (number as u32 + 1));
                assert_eq!(snapshot.elapsed + snapshot.left, millis(300));
                let rate = interval.echoes as f64 / interval.duration_s;
                assert!((snapshot.echoes_per_s - rate).abs() <= 1e-6 * rate);
                assert_eq!(snapshot.errors, 0);
                assert!(snapshot.p99_us.is_none() || snapshot.p50_us <= snapshot.p99_us);
            }
        }
    }
}

/// Raises a flag when the window opens.
struct Stopper<'a>(&'a AtomicBool);

impl Observer for Stopper<'_> {
    fn window_opened(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The window would last for an hour: a run that does not end early would not end at all.
#[test]
fn a_run_ends_when_the_caller_stops_it() {
    for &engine in engines() {
        for serve in [echo, keep_silent] {
            let plan = Plan {
                engine,
                duration: time(Duration::from_secs(3600)),
                ..closed(1)
            };
            let plan = checked(server(serve), plan);
            let stop = AtomicBool::new(false);
            let load = loadgen::run(&plan, &mut Stopper(&stop), &stop).unwrap();
            let interrupted = |finding: &Finding| matches!(finding, Finding::Interrupted { .. });
            assert!(load.summary.findings.iter().any(interrupted));
        }
    }
}
