//! Servers that do not echo as they should, over both engines. What follows from a failure for the
//! run is proved in virtual time; these tests show that the engines report it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use loadgen::{Observer, RunError, Snapshot};
use record::histogram::Statistic;
use record::{Arrivals, ErrorKind, Finding, Load, Plan};
use socket2::SockRef;

mod support;
use support::*;

const MINUTE: Duration = Duration::from_secs(60);

fn constant(rate: f64, duration: Duration) -> Plan {
    open(rate, duration, Arrivals::Constant)
}

/// Runs every loop whose connections stay open, over both engines at the same time.
fn each_lasting(connections: usize, server: impl Fn() -> SocketAddr + Sync) -> Vec<Load> {
    let window = Duration::from_millis(300);
    let run_each = &|engine| {
        [closed(1), closed(8), constant(500.0, window)].map(|plan| {
            let plan = Plan {
                engine,
                connections: Some(connections),
                duration: time(window),
                ..plan
            };
            run(server(), plan)
        })
    };
    thread::scope(|scope| {
        let start = |&engine| scope.spawn(move || run_each(engine));
        let running: Vec<_> = engines().iter().map(start).collect();
        running
            .into_iter()
            .flat_map(|runs| runs.join().unwrap())
            .collect()
    })
}

fn assert_wrong(loads: &[Load]) {
    for load in loads {
        let summary = &load.summary;
        assert!(count(load, ErrorKind::WrongBytes) > 0, "{:?}", summary.errors);
        assert!(!summary.is_valid());
    }
}

/// Asserts that this many connections failed, and that a finding says so.
fn assert_failed(load: &Load, failed: u64) {
    let errors = &load.summary.errors;
    assert_eq!(errors.values().sum::<u64>(), failed, "{errors:?}");
    let findings: Vec<_> = load.summary.findings.iter().collect();
    let is_reported = |finding: &&Finding| matches!(finding, Finding::ConnectionsFailed(connections) if connections.connections == failed);
    assert!(findings.iter().any(is_reported), "{findings:?}");
}

/// Resets a connection.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Whether a connection is every second one.
fn every_second() -> impl Fn() -> bool {
    let number = AtomicUsize::new(0);
    move || number.fetch_add(1, Ordering::SeqCst) % 2 == 1
}

/// Echoes a number of messages of 64 bytes.
fn echo_some(stream: &mut TcpStream, messages: usize) {
    let mut message = [0; 64];
    for _ in 0..messages {
        if stream
            .read_exact(&mut message)
            .and_then(|()| stream.write_all(&message))
            .is_err()
        {
            return;
        }
    }
}

#[test]
fn a_server_that_trickles_single_bytes_is_right_too() {
    let loads = each_lasting(4, || {
        server(|mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                for byte in &buffer[..length] {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
            }
        })
    });
    loads.iter().for_each(assert_right);
}

#[test]
fn a_server_of_another_protocol_is_named() {
    let loads = each_lasting(4, || {
        server(|mut stream| {
            echo_some(&mut stream, 3);
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Until the client has seen it.
            let _ = stream.read_to_end(&mut Vec::new());
        })
    });
    assert_wrong(&loads);
    for load in loads {
        let example = &load.error_examples[&ErrorKind::WrongBytes];
        assert!(
            example.starts_with("byte 192 is 0x48 instead of 0x") && example.contains("an HTTP server"),
            "{example}"
        );
    }
}

#[test]
fn a_flipped_bit_is_detected() {
    assert_wrong(&each_lasting(4, || {
        server(|mut stream| {
            let mut buffer = [0; 4096];
            let mut seen = 0;
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                seen += length;
                if seen > 100 {
                    buffer[0] ^= 1;
                }
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        })
    }));
}

#[test]
fn a_repeated_answer_is_detected() {
    assert_wrong(&each_lasting(4, || {
        server(|mut stream| {
            let mut message = [0; 64];
            while stream.read_exact(&mut message).is_ok() {
                if stream.write_all(&[message, message].concat()).is_err() {
                    return;
                }
            }
        })
    }));
}

#[test]
fn the_answer_to_the_first_message_is_wrong_for_a_later_one() {
    assert_wrong(&each_lasting(4, || {
        server(|mut stream| {
            let (mut first, mut message) = ([0; 64], [0; 64]);
            let _ = stream.read_exact(&mut first);
            let _ = stream.write_all(&first);
            while stream.read_exact(&mut message).is_ok() && stream.write_all(&first).is_ok() {}
        })
    }));
}

#[test]
fn single_bytes_swapped_between_connections_are_detected() {
    for &engine in engines() {
        // Each pair of connections exchanges what it reads.
        let other: Arc<Mutex<Option<u8>>> = Arc::default();
        let meeting = Arc::new(Barrier::new(2));
        let target = server(move |mut stream| {
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                let theirs = other.lock().unwrap().replace(byte[0]);
                meeting.wait();
                let answer = theirs.or_else(|| *other.lock().unwrap()).unwrap_or(0);
                meeting.wait();
                *other.lock().unwrap() = None;
                if stream.write_all(&[answer]).is_err() {
                    return;
                }
            }
        });
        let plan = Plan {
            engine,
            size: bytes(1),
            connections: Some(2),
            threads: Some(1),
            ..closed(1)
        };
        assert_wrong(&[run(target, plan)]);
    }
}

#[test]
fn answers_that_stop_coming_are_in_the_latencies_as_far_as_they_are_known() {
    let loads = each_lasting(4, || {
        server(|mut stream| {
            // Within the window of the open loop, whose connections have one message in 8 ms.
            echo_some(&mut stream, 20);
            keep_silent(stream);
        })
    });
    for load in &loads {
        let summary = &load.summary;
        assert!(
            summary.unanswered >= 4 && load.unfinished.is_some(),
            "{summary:?}"
        );
        let max = summary.latencies.main().unwrap().known(Statistic::Max).unwrap();
        assert!(!max.is_exact(), "{max:?}");
        assert!(loadgen::text::describe(load).contains("lower bounds"));
        let json = serde_json::to_value(load).unwrap();
        let main = if load.plan.rate.is_some() {
            "response_us"
        } else {
            "service_us"
        };
        assert!(json["summary"][main]["max"].is_null());
        assert_eq!(json["summary"][main]["at_least"]["max"], max.value());
    }
}

#[test]
fn garbage_is_not_an_echo() {
    assert_wrong(&each_lasting(4, || {
        server(|mut stream| {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        })
    }));
}

#[test]
fn connections_that_end_early_are_counted_and_the_others_go_on() {
    let loads = each_lasting(6, || {
        let ends_early = every_second();
        server(move |mut stream| match ends_early() {
            true => echo_some(&mut stream, 2),
            false => echo(stream),
        })
    });
    for load in &loads {
        // Data that the server has not read makes the kernel reset the connection.
        let errors = count(load, ErrorKind::EarlyEnd) + count(load, ErrorKind::Reset);
        assert_eq!(errors, 3, "{:?}", load.summary.errors);
        assert_failed(load, 3);
        assert_eq!(load.summary.connections.open, 6);
    }
}

#[test]
fn a_connection_that_is_reset_is_counted_as_that() {
    let loads = each_lasting(4, || {
        let resets = every_second();
        server(move |mut stream| match resets() {
            true => {
                echo_some(&mut stream, 2);
                reset(stream);
            }
            false => echo(stream),
        })
    });
    for load in &loads {
        assert_eq!(count(load, ErrorKind::Reset), 2, "{:?}", load.summary.errors);
        assert_failed(load, 2);
    }
}

/// Tells when a piece of the window has been measured.
struct Measured(Arc<AtomicBool>);

impl Observer for Measured {
    fn wants_progress(&self) -> bool {
        true
    }

    fn progress(&mut self, _: &Snapshot) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_server_that_dies_in_the_middle_ends_the_run_early() {
    for &engine in engines() {
        for plan in [closed(1), constant(1000.0, MINUTE)] {
            let is_to_die = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&is_to_die);
            let dies = server(move |mut stream| {
                while !told.load(Ordering::SeqCst) {
                    echo_some(&mut stream, 1);
                }
                reset(stream);
            });
            let plan = Plan {
                engine,
                duration: time(MINUTE),
                ..plan
            };
            let load = watch(dies, plan, &mut Measured(is_to_die));
            assert_failed(&load, 4);
            assert!(load.window_s < MINUTE.as_secs_f64());
        }
    }
}

#[test]
fn a_server_that_ends_every_connection_in_the_warm_up_is_an_error() {
    for &engine in engines() {
        for plan in [closed(1), constant(1000.0, MINUTE)] {
            let ends = server(|mut stream| echo_some(&mut stream, 2));
            let plan = Plan {
                engine,
                warmup: MINUTE.into(),
                ..plan
            };
            let error = run_to_error(ends, plan);
            let text = error.to_string();
            let RunError::EndedInWarmUp(load) = error else {
                panic!("{text}");
            };
            assert!(text.contains("all of 4 connections"), "{text}");
            assert_failed(&load, 4);
            assert_eq!((load.summary.connections.open, load.window_s), (4, 0.0));
        }
    }
}

#[test]
fn connects_that_do_not_end_are_not_waited_for_one_hundred_after_the_other() {
    for &engine in engines() {
        let listener = listen(1);
        let target = listener.local_addr().unwrap();
        let plan = Plan {
            engine,
            connections: Some(300),
            threads: Some(1),
            connect_timeout: time(Duration::from_millis(300)),
            ..closed(1)
        };
        let error = run_to_error(target, plan);
        let text = error.to_string();
        let RunError::NotConnected { open, untried, .. } = error else {
            panic!("{text}");
        };
        // In 600 ms, or fewer of them on a busy host.
        assert!(open > 0 && untried >= 100 - open, "{text}");
        assert!(text.contains("timed_out (no connection within"), "{text}");
    }
}

#[test]
fn a_server_that_is_gone_refuses_later_connections() {
    for &engine in engines() {
        for plan in [churn(2), sessions(200.0, Duration::from_millis(300), 2)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let target = listener.local_addr().unwrap();
            thread::spawn(move || {
                for stream in listener.incoming().flatten().take(5) {
                    thread::spawn(|| echo(stream));
                }
            });
            let plan = Plan {
                engine,
                warmup: Duration::ZERO.into(),
                ..plan
            };
            let load = run(target, plan);
            assert!(count(&load, ErrorKind::Refused) > 0, "{:?}", load.summary.errors);
            assert!(!load.summary.is_valid());
        }
    }
}

#[test]
fn connects_beyond_the_backlog_of_a_server_that_does_not_accept_time_out() {
    for &engine in engines() {
        let listener = listen(1);
        let target = listener.local_addr().unwrap();
        let plan = Plan {
            engine,
            connections: Some(16),
            connect_timeout: time(Duration::from_millis(300)),
            ..closed(1)
        };
        let load = run(target, plan);
        let (open, late) = (load.summary.connections.open, count(&load, ErrorKind::TimedOut));
        assert!(open > 0 && late > 0, "{open} open");
        assert_eq!(
            load.error_examples[&ErrorKind::TimedOut],
            "no connection within 300ms"
        );
        assert_eq!(open + late, 16);
        assert_failed(&load, late);
    }
}

#[test]
fn a_port_without_a_server_is_an_error_of_its_own_in_every_loop() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for &engine in engines() {
        for plan in [
            closed(1),
            churn(2),
            constant(1000.0, MINUTE),
            sessions(1000.0, MINUTE, 2),
        ] {
            let error = run_to_error(target, Plan { engine, ..plan });
            let kind = match &error {
                RunError::NoConnection { kind, .. } => Some(*kind),
                _ => None,
            };
            assert_eq!(kind, Some(ErrorKind::Refused), "{error}");
        }
    }
}

#[test]
fn an_observer_that_panics_ends_the_run() {
    struct Panics;
    impl Observer for Panics {
        fn window_opened(&mut self) {
            panic!("on purpose");
        }
    }
    for &engine in engines() {
        let plan = Plan { engine, ..closed(1) };
        let plan = checked(server(echo), plan);
        let ended = thread::spawn(move || loadgen::run(&plan, &mut Panics, &AtomicBool::new(false)));
        await_that("the workers end", || ended.is_finished());
        assert!(ended.join().is_err(), "the panic is passed on");
    }
}
