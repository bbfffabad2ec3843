//! Loads over Unix sockets, with both engines: every loop, a full backlog, and what goes wrong.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use loadgen::plan::CheckedPlan;
use loadgen::{Observer, RunError};
use record::{Arrivals, ErrorKind, Load, Plan, Span};
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

mod support;
use support::*;

/// A folder, and a path in it.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.sock");
    (folder, path)
}

/// Listens with this backlog.
fn listen_at(path: &Path, backlog: i32) -> UnixListener {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(path).unwrap()).unwrap();
    socket.listen(backlog).unwrap();
    socket.into()
}

/// Accepts after a time, and then calls `serve` for each connection.
fn serve_at(
    listener: UnixListener,
    after: Duration,
    serve: impl Fn(UnixStream) + Send + Sync + Copy + 'static,
) {
    thread::spawn(move || {
        thread::sleep(after);
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
}

fn echo_over(mut stream: UnixStream) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn checked_at(path: &Path, plan: &Plan) -> CheckedPlan {
    CheckedPlan::new(plan, format!("unix:{}", path.display()).parse().unwrap()).unwrap()
}

fn run_at(path: &Path, plan: Plan) -> Result<Load, RunError> {
    loadgen::run(&checked_at(path, &plan), &mut (), &Default::default())
}

/// Runs a plan with each engine, against a new server each.
fn with_each_engine(
    plan: &Plan,
    backlog: i32,
    after: Duration,
    serve: impl Fn(UnixStream) + Send + Sync + Copy + 'static,
    check: impl Fn(&Load),
) {
    for &engine in engines() {
        let (_folder, path) = place();
        serve_at(listen_at(&path, backlog), after, serve);
        let plan = Plan {
            engine,
            ..plan.clone()
        };
        let load = match run_at(&path, plan) {
            // A server that misbehaves may have ended everything before the window.
            Err(RunError::EndedInWarmUp(load)) => *load,
            other => other.unwrap(),
        };
        assert_eq!(load.target, format!("unix:{}", path.display()));
        check(&load);
    }
}

#[test]
fn every_loop_gets_its_bytes_back() {
    let millis = Duration::from_millis;
    let large = Plan {
        size: "uniform:1B..300KiB".parse().unwrap(),
        ..closed(8)
    };
    for plan in [
        closed(1),
        closed(100),
        large,
        churn(2),
        open(200.0, millis(300), Arrivals::Poisson),
        sessions(50.0, millis(300), 2),
        Plan {
            idle: 20,
            ..closed(1)
        },
    ] {
        with_each_engine(&plan, 128, Duration::ZERO, echo_over, |load| {
            assert_right(load);
            assert_eq!(load.summary.connections.idle, plan.idle as u64);
            let connect = load.histograms[Span::Connect].as_ref();
            let comes = plan.messages_per_connection().is_some();
            assert_eq!(
                connect.is_some_and(|times| !times.decode().unwrap().is_empty()),
                comes
            );
        });
    }
}

#[test]
fn connections_wait_for_a_full_backlog_in_every_loop() {
    let millis = Duration::from_millis;
    let crowd = Plan {
        connections: Some(60),
        ..closed(1)
    };
    let churn = Plan {
        connections: Some(60),
        ..churn(1)
    };
    for plan in [crowd, churn] {
        with_each_engine(&plan, 1, millis(200), echo_over, |load| {
            assert_right(load);
            assert!(
                load.summary.connections.open >= 60,
                "{:?}",
                load.summary.connections
            );
            assert_eq!(load.starved(), 0);
        });
    }
}

/// Tells that the window opens.
struct Opened(Sender<()>);

impl Observer for Opened {
    fn window_opened(&mut self) {
        self.0.send(()).unwrap();
    }
}

#[test]
fn sessions_wait_for_a_full_backlog_and_their_waiting_is_measured() {
    let millis = Duration::from_millis;
    for &engine in engines() {
        let (_folder, path) = place();
        let listener = listen_at(&path, 2);
        let (opened, opens) = channel();
        thread::spawn(move || {
            opens.recv().unwrap();
            serve_at(listener, millis(300), echo_over);
        });
        // The backlog holds three of the thirty that are due before the server accepts the first.
        let plan = Plan {
            engine,
            warmup: Duration::ZERO.into(),
            ..sessions(100.0, millis(1500), 1)
        };
        let plan = checked_at(&path, &plan);
        let load = loadgen::run(&plan, &mut Opened(opened), &Default::default()).unwrap();
        assert_right(&load);
        assert_eq!(load.summary.unanswered, 0);
        for (span, least) in [(Span::Response, 15), (Span::Connect, 12)] {
            let times = load.histograms[span].as_ref().unwrap().decode().unwrap();
            let waited = times.len() - times.count_between(0, 100_000_000);
            assert!(
                waited >= least,
                "{span:?}: {waited} of {} waited for 100 ms",
                times.len()
            );
        }
    }
}

#[test]
fn a_backlog_that_stays_full_is_a_time_out() {
    for &engine in engines() {
        let (_folder, path) = place();
        let _listener = listen_at(&path, 0);
        let _first = UnixStream::connect(&path).unwrap();
        let plan = Plan {
            engine,
            connect_timeout: time(Duration::from_millis(200)),
            ..closed(1)
        };
        let error = run_at(&path, plan).unwrap_err();
        let text = error.to_string();
        let RunError::NoConnection { kind, .. } = error else {
            panic!("{text}")
        };
        assert_eq!(kind, ErrorKind::TimedOut, "{text}");
        assert!(text.contains("queue of them is full"), "{text}");
    }
}

#[test]
fn without_a_server_the_reason_is_named() {
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        let (folder, missing) = place();
        let left_behind = folder.path().join("left-behind.sock");
        drop(UnixListener::bind(&left_behind).unwrap());
        for path in [missing, left_behind] {
            let error = run_at(&path, plan.clone()).unwrap_err();
            let text = error.to_string();
            let RunError::NoConnection { kind, .. } = error else {
                panic!("{text}")
            };
            assert_eq!(kind, ErrorKind::Refused, "{text}");
            assert!(
                text.contains("is this the path of its socket?") && text.contains("unix:/"),
                "{text}"
            );
        }
        let datagrams = folder.path().join("datagrams.sock");
        let _socket = UnixDatagram::bind(&datagrams).unwrap();
        let text = run_at(&datagrams, plan).unwrap_err().to_string();
        assert!(text.contains("is it a stream socket"), "{text}");
    }
}

#[test]
fn a_server_that_misbehaves_is_recognised() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    /// Answers a hundred messages and closes with a message that it has not read, or has.
    fn close_early(mut stream: UnixStream) {
        let mut message = [0; 64];
        for _ in 0..100 {
            stream.read_exact(&mut message).unwrap();
            stream.write_all(&message).unwrap();
        }
        if COUNT.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            stream.read_exact(&mut message).unwrap();
        } else {
            let socket = socket2::SockRef::from(&stream);
            // Wait until the next message is there.
            let _ = socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
        }
    }
    fn change(mut stream: UnixStream) {
        let mut message = [0; 64];
        while stream.read_exact(&mut message).is_ok() {
            message[7] ^= 1;
            if stream.write_all(&message).is_err() {
                return;
            }
        }
    }
    with_each_engine(&closed(1), 128, Duration::ZERO, close_early, |load| {
        // Unread bytes make the end a reset.
        let (ended, reset) = (count(load, ErrorKind::EarlyEnd), count(load, ErrorKind::Reset));
        assert_eq!((ended, reset), (2, 2), "{:?}", load.summary.errors);
        assert!(!load.summary.is_valid());
    });
    with_each_engine(&closed(1), 128, Duration::ZERO, change, |load| {
        assert_eq!(count(load, ErrorKind::WrongBytes), 4);
    });
}

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_command_line_names_the_socket_in_every_format() {
    let (_folder, path) = place();
    serve_at(listen_at(&path, 128), Duration::ZERO, echo_over);
    let target = format!("unix:{}", path.display());
    let short = [
        "run", &target, "-c", "3", "-d", "200ms", "--warmup", "0s", "--force",
    ];
    let text = String::from_utf8(loadgen(&short).stdout).unwrap();
    for words in [&target[..], "3 connections over a Unix socket", "3 answered"] {
        assert!(text.contains(words), "{words} is missing: {text}");
    }
    let json = loadgen(&[&short[..], &["--format", "json", "--threads", "2"]].concat());
    let load: Load = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(load.target, target);
    assert!(load.is_over_unix_socket());
}

#[test]
fn a_search_for_the_capacity_works_over_a_unix_socket() {
    let (_folder, path) = place();
    serve_at(listen_at(&path, 128), Duration::ZERO, echo_over);
    let target = format!("unix:{}", path.display());
    let output = loadgen(&[
        "capacity", &target, "--slo", "max<1h", "-c", "2", "-d", "1s", "--warmup", "50ms", "--from", "100/s",
        "--to", "200/s", "--verify", "1", "--format", "json",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found: record::Capacity = serde_json::from_slice(&output.stdout).expect(&stderr);
    assert_eq!(found.target, target);
    assert!(!found.trials.is_empty(), "{stderr}");
}

#[test]
fn what_makes_no_sense_over_a_unix_socket_is_a_usage_error() {
    let too_long = format!("unix:/tmp/{}", "x".repeat(200));
    let wrong: [(&[&str], &str); 5] = [
        (&["unix:/tmp/echo.sock", "--udp"], "`udp`"),
        (&["unix:/tmp/echo.sock", "--source", "127.0.0.2"], "`source`"),
        (&["unix:"], "unix:PATH"),
        (&[&too_long], "at most 107"),
        (&["/tmp/echo.sock"], "unix:PATH"),
    ];
    for (arguments, hint) in wrong {
        let output = loadgen(&[&["run"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(hint), "{arguments:?}: {stderr}");
    }
}

#[test]
fn busy_polling_works_over_a_unix_socket() {
    let plan = Plan {
        spin: true,
        threads: Some(1),
        ..closed(1)
    };
    with_each_engine(&plan, 128, Duration::ZERO, echo_over, assert_right);
}
