//! What the load generator says, over both engines, of servers that do not echo as they should.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::plan::{Engine, Loop, Request};
use loadgen::sizes::Sizes;
use loadgen::{RunError, text};
use record::{Arrivals, ErrorKind, Load, Span, Transport};
use socket2::SockRef;

mod support;
use support::*;

const MINUTE: Duration = Duration::from_secs(60);

fn open(rate: f64, duration: Duration) -> Loop {
    Loop::open(rate, duration, Arrivals::Constant)
}

fn deep() -> Loop {
    Loop::Closed {
        depth: 8,
        think: Duration::ZERO,
        messages_per_connection: None,
    }
}

fn churn() -> Loop {
    Loop::Closed {
        depth: 1,
        think: Duration::ZERO,
        messages_per_connection: Some(2),
    }
}

fn partly_open(rate: f64, duration: Duration) -> Loop {
    let pace = open(rate, duration).pace().unwrap().clone();
    Loop::PartlyOpen {
        pace,
        think: Duration::ZERO,
        messages_per_connection: 2,
    }
}

/// Runs in every loop whose connections stay open, over both engines at the same time.
fn each_lasting(request: impl Fn() -> Request + Sync) -> Vec<Load> {
    let window = Duration::from_millis(150);
    let run_each = &|engine| {
        let disciplines = [Loop::closed(), deep(), open(500.0, window)];
        disciplines.map(|discipline| {
            run(Request {
                engine,
                discipline,
                duration: window,
                ..request()
            })
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

fn assert_reason(load: &Load, text: &str) {
    let reasons = &load.summary.reasons();
    assert!(reasons.iter().any(|reason| reason.contains(text)), "{reasons:?}");
    assert!(!load.summary.is_valid());
}

/// Breaks a connection off, with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Whether a connection is one of every second that there is.
fn every_second() -> impl Fn() -> bool {
    let number = AtomicUsize::new(0);
    move || number.fetch_add(1, Ordering::SeqCst) % 2 == 1
}

/// Echoes so many messages of 64 bytes.
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
    let loads = each_lasting(|| {
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
fn a_flipped_bit_is_seen() {
    assert_wrong(&each_lasting(|| {
        server(|mut stream| {
            let mut buffer = [0; 4096];
            let mut seen = 0;
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                seen += length;
                if seen > 1000 {
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
fn a_repeated_answer_is_seen() {
    assert_wrong(&each_lasting(|| {
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
fn an_answer_from_yesterday_is_seen() {
    assert_wrong(&each_lasting(|| {
        server(|mut stream| {
            let (mut first, mut message) = ([0; 64], [0; 64]);
            let _ = stream.read_exact(&mut first);
            let _ = stream.write_all(&first);
            while stream.read_exact(&mut message).is_ok() && stream.write_all(&first).is_ok() {}
        })
    }));
}

#[test]
fn single_bytes_swapped_between_connections_are_seen() {
    for &engine in engines() {
        // Each pair of connections exchanges what it reads.
        let other: Arc<Mutex<Option<u8>>> = Arc::default();
        let meeting = Arc::new(Barrier::new(2));
        let request = server(move |mut stream| {
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
        assert_wrong(&[run(Request {
            engine,
            sizes: Sizes::Fixed(1),
            connections: 2,
            threads: 1,
            ..request
        })]);
    }
}

#[test]
fn garbage_is_not_an_echo() {
    assert_wrong(&each_lasting(|| {
        server(|mut stream| {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.read(&mut [0; 64]);
        })
    }));
}

#[test]
fn an_early_end_is_an_error_and_ends_the_run_early_when_it_meets_all() {
    for &engine in engines() {
        for discipline in [Loop::closed(), open(1000.0, MINUTE)] {
            let begun = Instant::now();
            let load = run(Request {
                engine,
                discipline,
                duration: MINUTE,
                ..server(|mut stream| echo_some(&mut stream, 10))
            });
            let lost: u64 = load.summary.errors.values().sum();
            assert_eq!(lost, 4, "{:?}", load.summary.errors);
            assert_reason(&load, "4 of 4 connections failed");
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nobody is left to talk to"
            );
        }
    }
}

#[test]
fn connections_that_end_early_are_counted_and_the_others_go_on() {
    let loads = each_lasting(|| {
        let ends_early = every_second();
        Request {
            connections: 6,
            ..server(move |mut stream| match ends_early() {
                true => echo_some(&mut stream, 10),
                false => echo(stream),
            })
        }
    });
    for load in &loads {
        // What was sent and not read becomes a reset.
        let errors = count(load, ErrorKind::EarlyEnd) + count(load, ErrorKind::Reset);
        assert_eq!(errors, 3, "{:?}", load.summary.errors);
        assert_eq!(load.summary.errors.values().sum::<u64>(), 3);
        assert_reason(load, "3 of 6 connections failed");
        assert_eq!(load.summary.connections.open, 6);
        assert!(load.summary.connections.answered >= 3 && load.window_s > 0.14);
    }
}

#[test]
fn a_connection_that_is_reset_is_counted_as_that() {
    let loads = each_lasting(|| {
        let resets = every_second();
        server(move |mut stream| match resets() {
            true => {
                echo_some(&mut stream, 10);
                reset(stream);
            }
            false => echo(stream),
        })
    });
    for load in &loads {
        assert_eq!(count(load, ErrorKind::Reset), 2, "{:?}", load.summary.errors);
        assert_reason(load, "2 of 4 connections failed");
    }
}

#[test]
fn a_server_that_dies_in_the_middle_ends_the_run_early() {
    for &engine in engines() {
        let answers = AtomicUsize::new(0);
        let begun = Instant::now();
        let load = run(Request {
            engine,
            discipline: open(1000.0, MINUTE),
            ..server(move |mut stream| {
                while answers.fetch_add(1, Ordering::SeqCst) < 300 {
                    echo_some(&mut stream, 1);
                }
                reset(stream);
            })
        });
        assert_eq!(
            load.summary.errors.values().sum::<u64>(),
            4,
            "{:?}",
            load.summary.errors
        );
        assert!(load.summary.echoes > 0 && load.window_s < 30.0);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_reason(&load, "4 of 4 connections failed");
    }
}

#[test]
fn a_server_that_is_gone_refuses_those_who_come_later() {
    for &engine in engines() {
        for discipline in [churn(), partly_open(200.0, Duration::from_millis(300))] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let target = listener.local_addr().unwrap();
            thread::spawn(move || {
                for stream in listener.incoming().flatten().take(20) {
                    thread::spawn(|| echo(stream));
                }
            });
            let load = run(Request {
                engine,
                discipline,
                warmup: Duration::ZERO,
                ..request(target, Transport::Tcp)
            });
            assert!(count(&load, ErrorKind::Refused) > 0, "{:?}", load.summary.errors);
            assert_reason(&load, "connections failed");
        }
    }
}

#[test]
fn a_server_that_never_answers_is_not_valid_and_said_so() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            connections: 512,
            ..server_of(listen(4096), keep_silent)
        });
        assert_eq!((load.summary.echoes, load.summary.connections.answered), (0, 0));
        assert_eq!(load.summary.connections.open, 512);
        let first = &load.summary.reasons()[0];
        assert!(first.contains("no message came back"), "{first}");
        let said = text::describe(&load);
        assert!(
            said.contains("512 of 512 connections were not answered"),
            "{said}"
        );
    }
}

#[test]
fn what_is_due_and_nobody_takes_is_unanswered() {
    for &engine in engines() {
        let load = run(Request {
            engine,
            discipline: open(1000.0, Duration::from_millis(300)),
            ..server(keep_silent)
        });
        assert_eq!((load.summary.echoes, load.summary.unanswered), (0, 300));
        assert_reason(&load, "300 of 300 messages that were due were never answered");
    }
}

#[test]
fn answers_that_never_come_are_waited_for_a_while_and_counted() {
    let assert_gives_up = |engine: Engine| {
        let begun = Instant::now();
        let load = run(Request {
            engine,
            discipline: open(1000.0, Duration::from_millis(300)),
            ..server(|mut stream| {
                echo_some(&mut stream, 1);
                keep_silent(stream);
            })
        });
        assert_eq!((load.summary.echoes, load.summary.unanswered), (0, 300));
        assert_eq!(load.summary.errors.values().sum::<u64>(), 0);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(9), "{took:?}");
    };
    thread::scope(|scope| {
        for &engine in engines() {
            scope.spawn(move || assert_gives_up(engine));
        }
    });
}

#[test]
fn starved_connections_are_counted_and_are_no_error() {
    for &engine in engines() {
        let is_starved = every_second();
        let load = run(Request {
            engine,
            connections: 8,
            ..server(move |stream| match is_starved() {
                true => keep_silent(stream),
                false => echo(stream),
            })
        });
        assert_right(&load);
        let connections = load.summary.connections;
        assert_eq!((connections.open, connections.answered), (8, 4));
        let said = text::describe(&load);
        assert!(said.contains("4 of 8 connections were not answered"), "{said}");
    }
}

#[test]
fn a_server_that_does_not_accept_lets_its_backlog_wait_and_the_rest_in_vain() {
    for &engine in engines() {
        let listener = listen(1);
        let target = listener.local_addr().unwrap();
        let load = run(Request {
            engine,
            connections: 16,
            connect_timeout: Duration::from_millis(300),
            ..request(target, Transport::Tcp)
        });
        let (open, late) = (load.summary.connections.open, count(&load, ErrorKind::TimedOut));
        assert_eq!(open + late, 16, "{:?}", load.summary.errors);
        assert!(open > 0 && late > 0, "{open} open");
        assert_eq!(
            load.error_examples[&ErrorKind::TimedOut],
            "no connection within 300ms"
        );
        assert_reason(&load, &format!("{late} of 16 connections failed"));
    }
}

#[test]
fn a_server_that_does_not_end_its_side_is_waited_for_so_long() {
    for &engine in engines() {
        for discipline in [churn(), partly_open(100.0, Duration::from_millis(600))] {
            let load = run(Request {
                engine,
                discipline,
                duration: Duration::from_millis(600),
                connect_timeout: Duration::from_millis(200),
                ..server(|mut stream| {
                    echo_some(&mut stream, 2);
                    let _ = stream.read(&mut [0; 64]);
                    thread::sleep(Duration::from_secs(5));
                })
            });
            assert!(load.summary.echoes > 0);
            assert!(count(&load, ErrorKind::TimedOut) > 0, "{:?}", load.summary.errors);
            let example = &load.error_examples[&ErrorKind::TimedOut];
            assert_eq!(example, "the server did not end the connection within 200ms");
            assert_eq!(load.summary.latencies[Span::Close].as_ref().unwrap().count, 0);
            assert_reason(&load, "connections failed");
        }
    }
}

#[test]
fn nobody_listening_is_an_error_of_its_own_in_every_loop() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for &engine in engines() {
        for discipline in [
            Loop::closed(),
            churn(),
            open(1000.0, MINUTE),
            partly_open(1000.0, MINUTE),
        ] {
            let error = run_in_vain(Request {
                engine,
                discipline,
                ..request(target, Transport::Tcp)
            });
            let kind = match &error {
                RunError::NoConnection { kind, .. } => Some(*kind),
                RunError::Own(_) => None,
            };
            assert_eq!(kind, Some(ErrorKind::Refused), "{error}");
        }
    }
}

#[test]
fn an_observer_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl loadgen::Observer for Panics {
        fn window_opened(&mut self) {
            panic!("on purpose");
        }
    }
    for &engine in engines() {
        let plan = Request {
            engine,
            ..server(echo)
        }
        .validate()
        .unwrap();
        let ended = thread::spawn(move || loadgen::run(&plan, &mut Panics, &AtomicBool::new(false)));
        await_that("the workers end", || ended.is_finished());
        assert!(ended.join().is_err(), "the panic is passed on");
    }
}
