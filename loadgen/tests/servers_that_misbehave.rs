//! What the load generator says of servers that do not echo as they should.
//!
//! The servers are threads of the test, each a few lines of the standard library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::RunError;
use loadgen::plan::Request;
use loadgen::record::{ErrorKind, Load, Transport};
use loadgen::sizes::Sizes;

/// Starts a server that treats each connection by `serve`; returns its request.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Request {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    request(target, Transport::Tcp)
}

fn request(target: SocketAddr, transport: Transport) -> Request {
    Request {
        transport,
        connections: 4,
        threads: 2,
        warmup: Duration::from_millis(50),
        duration: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(5),
        ..Request::new(target)
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

fn run(request: Request) -> Load {
    loadgen::run(&request.validate().unwrap(), &mut (), &AtomicBool::new(false)).unwrap()
}

fn assert_wrong(load: &Load) {
    assert!(
        load.summary.errors.contains_key(&ErrorKind::WrongBytes),
        "{:?}",
        load.summary.errors
    );
    assert!(!load.summary.valid);
}

#[test]
fn a_right_echo_is_valid_whatever_the_size() {
    for message_bytes in [1, 64, 1000, 65_537, 3 << 20] {
        let load = run(Request {
            sizes: Sizes::Fixed(message_bytes),
            ..server(echo)
        });
        let summary = &load.summary;
        assert!(summary.valid, "{message_bytes} bytes: {:?}", summary.reasons);
        assert!(summary.echoes > 0 && summary.errors.is_empty());
        assert_eq!((summary.connections.open, summary.connections.answered), (4, 4));
        assert_eq!(load.histograms.service.decode().unwrap().len(), summary.echoes);
    }
}

#[test]
fn a_server_that_trickles_single_bytes_is_right_too() {
    let load = run(server(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            for byte in &buffer[..length] {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        }
    }));
    assert!(
        load.summary.valid && load.summary.echoes > 0,
        "{:?}",
        load.summary.reasons
    );
}

#[test]
fn a_flipped_bit_is_seen() {
    assert_wrong(&run(server(|mut stream| {
        let mut buffer = [0; 4096];
        let mut seen = 0;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            seen += length;
            if seen > 10_000 {
                buffer[0] ^= 1;
            }
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    })));
}

#[test]
fn a_repeated_answer_is_seen() {
    assert_wrong(&run(server(|mut stream| {
        let mut message = [0; 64];
        while stream.read_exact(&mut message).is_ok() {
            if stream.write_all(&[message, message].concat()).is_err() {
                return;
            }
        }
    })));
}

#[test]
fn an_answer_from_yesterday_is_seen() {
    assert_wrong(&run(server(|mut stream| {
        let (mut first, mut message) = ([0; 64], [0; 64]);
        let _ = stream.read_exact(&mut first);
        let _ = stream.write_all(&first);
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&first).is_ok() {}
    })));
}

#[test]
fn single_bytes_swapped_between_connections_are_seen() {
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
    assert_wrong(&run(Request {
        sizes: Sizes::Fixed(1),
        connections: 2,
        threads: 1,
        ..request
    }));
}

#[test]
fn garbage_is_not_an_echo() {
    assert_wrong(&run(server(|mut stream| {
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 64]);
    })));
}

#[test]
fn an_early_end_is_an_error_and_ends_the_run_early_when_it_meets_all() {
    let begun = Instant::now();
    let request = server(|mut stream| {
        let mut buffer = [0; 64];
        for _ in 0..10 {
            let _ = stream.read_exact(&mut buffer);
            let _ = stream.write_all(&buffer);
        }
    });
    let load = run(Request {
        duration: Duration::from_secs(60),
        ..request
    });
    let lost: u64 = load.summary.errors.values().sum();
    assert_eq!(lost, 4, "{:?}", load.summary.errors);
    assert!(!load.summary.valid);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "nobody is left to talk to"
    );
}

#[test]
fn a_server_that_never_answers_is_not_valid_and_counted() {
    let load = run(server(|stream| {
        thread::sleep(Duration::from_secs(5));
        drop(stream);
    }));
    assert_eq!((load.summary.echoes, load.summary.connections.answered), (0, 0));
    assert_eq!(load.summary.connections.open, 4);
    assert!(
        load.summary.reasons[0].contains("no message came back"),
        "{:?}",
        load.summary.reasons
    );
}

#[test]
fn starved_connections_are_counted_and_are_no_error() {
    let free = Arc::new(AtomicBool::new(true));
    let load = run(server(move |stream| match free.swap(false, Ordering::SeqCst) {
        true => echo(stream),
        false => thread::sleep(Duration::from_secs(5)),
    }));
    assert_eq!(
        (load.summary.connections.open, load.summary.connections.answered),
        (4, 1)
    );
    assert!(load.summary.valid);
    assert!(loadgen::text::describe(&load).contains("3 of 4 connections were never answered"));
}

#[test]
fn nobody_listening_is_an_error_of_its_own() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Request {
        target,
        ..server(echo)
    }
    .validate()
    .unwrap();
    let error = loadgen::run(&plan, &mut (), &AtomicBool::new(false)).unwrap_err();
    assert!(
        matches!(
            error,
            RunError::NoConnection {
                kind: ErrorKind::Refused,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_run_that_is_told_to_stop_keeps_what_it_measured() {
    let stop = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&stop);
    let plan = Request {
        duration: Duration::from_secs(60),
        ..server(echo)
    }
    .validate()
    .unwrap();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        setter.store(true, Ordering::SeqCst);
    });
    let load = loadgen::run(&plan, &mut (), &stop).unwrap();
    assert!(load.summary.echoes > 0 && load.window_s < 30.0 && load.window_s > 0.0);
}

#[test]
fn an_observer_that_panics_leaves_nobody_waiting() {
    struct Panics;
    impl loadgen::Observer for Panics {
        fn window_opened(&mut self) {
            panic!("on purpose");
        }
    }
    let plan = server(echo).validate().unwrap();
    let ended = thread::spawn(move || loadgen::run(&plan, &mut Panics, &AtomicBool::new(false)));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ended.is_finished() {
        assert!(Instant::now() < deadline, "the workers wait for ever");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(ended.join().is_err(), "the panic is passed on");
}

/// Starts a server of datagrams: `answer` is called with the number of each datagram, from
/// 1, its bytes, and what sends an answer.
fn datagram_server(mut answer: impl FnMut(u64, &[u8], &dyn Fn(&[u8])) + Send + 'static) -> Request {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        for number in 1.. {
            let (length, source) = socket.recv_from(&mut buffer).unwrap();
            // The client may have left.
            let send = |message: &[u8]| drop(socket.send_to(message, source));
            answer(number, &buffer[..length], &send);
        }
    });
    request(target, Transport::Udp)
}

fn count(load: &Load, kind: ErrorKind) -> u64 {
    load.summary.errors.get(&kind).copied().unwrap_or(0)
}

#[test]
fn datagrams_that_come_back_are_valid_whatever_the_size() {
    // Two, since a socket has room for three of the longest.
    for message_bytes in [8, 64, 1473, 65_507] {
        let load = run(Request {
            sizes: Sizes::Fixed(message_bytes),
            connections: 2,
            ..datagram_server(|_, message, send| send(message))
        });
        let summary = &load.summary;
        assert!(summary.valid, "{message_bytes} bytes: {:?}", summary.reasons);
        assert_eq!((summary.connections.open, summary.connections.answered), (2, 2));
        assert!(loadgen::text::describe(&load).contains("2 connections over UDP"));
    }
}

#[test]
fn every_third_datagram_dropped_is_lost_and_counted_and_the_rest_is_measured() {
    let load = run(Request {
        duration: Duration::from_secs(1),
        ..datagram_server(|number, message, send| {
            if number % 3 != 0 {
                send(message);
            }
        })
    });
    let (lost, echoes) = (count(&load, ErrorKind::Lost), load.summary.echoes);
    assert!(echoes > 0 && lost > 0, "{:?}", load.summary.errors);
    // The window holds a part of what the errors are counted over.
    assert!(lost + 4 >= echoes / 2, "{lost} of {echoes}");
    assert_eq!(load.summary.errors.len(), 1, "{:?}", load.summary.errors);
    assert_eq!(load.summary.connections.answered, 4, "a loss ends no connection");
    assert!(!load.summary.valid && load.summary.reasons[0].contains("were lost"));
    let slowest = load.summary.service_us.max.unwrap();
    assert!(slowest < 200_000.0, "{slowest} us: what was lost has no latency");
    assert!(loadgen::text::describe(&load).contains("lost (no answer within 200ms)"));
}

#[test]
fn a_rare_loss_is_counted_and_leaves_the_load_valid() {
    let load = run(datagram_server(|number, message, send| {
        if number != 1000 {
            send(message);
        }
    }));
    assert_eq!(count(&load, ErrorKind::Lost), 1, "{:?}", load.summary.errors);
    assert!(load.summary.valid, "{:?}", load.summary.reasons);
}

#[test]
fn garbage_cut_off_and_empty_datagrams_are_wrong() {
    type Answer = fn(&[u8]) -> Vec<u8>;
    let answers: [Answer; 5] = [
        |_| b"HTTP/1.1 400 Bad Request".to_vec(),
        |message| message[..message.len() - 1].to_vec(),
        |message| [message, b"x"].concat(),
        |message| message.iter().map(|byte| byte ^ 1).collect(),
        |_| Vec::new(),
    ];
    for answer in answers {
        let load = run(datagram_server(move |_, message, send| send(&answer(message))));
        assert_wrong(&load);
        assert_eq!(load.summary.echoes, 0);
    }
}

#[test]
fn a_doubled_answer_is_taken_for_no_other_and_counted() {
    let load = run(datagram_server(|_, message, send| {
        send(message);
        send(message);
    }));
    let (stale, echoes) = (count(&load, ErrorKind::Stale), load.summary.echoes);
    assert!(echoes > 0 && stale + 4 >= echoes, "{stale} of {echoes}");
    assert_eq!(load.summary.errors.len(), 1, "{:?}", load.summary.errors);
    assert!(!load.summary.valid && load.summary.reasons[0].contains("more than once"));
}

#[test]
fn a_late_answer_is_lost_and_then_recognised() {
    let mut held = None;
    let load = run(Request {
        duration: Duration::from_secs(1),
        connections: 1,
        threads: 1,
        ..datagram_server(move |number, message, send| {
            // Every tenth answer comes after that to the next message.
            match number % 10 {
                0 => held = Some(message.to_vec()),
                _ => send(message),
            }
            if number % 10 == 1
                && let Some(held) = held.take()
            {
                send(&held);
            }
        })
    });
    let (lost, stale) = (count(&load, ErrorKind::Lost), count(&load, ErrorKind::Stale));
    assert!(
        load.summary.echoes > 0 && lost > 0 && stale + 1 >= lost,
        "{lost} {stale}"
    );
    assert_eq!(load.summary.errors.len(), 2, "{:?}", load.summary.errors);
}

#[test]
fn datagrams_that_are_never_answered_are_counted_and_not_valid() {
    let load = run(datagram_server(|_, _, _| {}));
    let summary = &load.summary;
    assert_eq!(
        (
            summary.echoes,
            summary.connections.open,
            summary.connections.answered
        ),
        (0, 4, 0)
    );
    assert!(count(&load, ErrorKind::Lost) >= 4);
    assert!(
        summary.reasons[0].contains("no message came back"),
        "{:?}",
        summary.reasons
    );
}

#[test]
fn no_server_of_datagrams_on_the_port_is_an_error_of_its_own() {
    let target = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = request(target, Transport::Udp).validate().unwrap();
    let error = loadgen::run(&plan, &mut (), &AtomicBool::new(false)).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("refused") && said.contains("is the server running"),
        "{said}"
    );
}
