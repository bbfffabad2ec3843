//! Models at the limits of their mechanism, and how they share work.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::support::{LONG_DRAIN, Server, blocked_in, echo_server, exchange, limit, wait_until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::gettid;

/// Loops that learn of each event only once.
const EDGE_TRIGGERED: [&str; 2] = ["epoll-et", "sigio"];

#[test]
fn select_rejects_descriptors_that_do_not_fit_and_serves_the_rest() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut server = Server::start("select", &[]);
    let mut served = Vec::new();
    let mut rejected = 0;
    for _ in 0..1100 {
        let mut client = server.connect();
        let _ = client.write_all(b"x");
        match client.read(&mut [0; 1]) {
            Ok(1) => served.push(client),
            Ok(_) => rejected += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                rejected += 1;
            }
        }
    }
    let fits = 1000..1024;
    assert!(fits.contains(&served.len()), "{} are served", served.len());
    assert_eq!(served.len() + rejected, 1100);
    served
        .iter_mut()
        .for_each(|client| exchange(client, b"still here"));

    // A descriptor that becomes free goes to the next client.
    drop(served.pop());
    served.push(server.wait_for_service());

    drop(served);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.stderr();
    assert_eq!(log.matches("rejected").count(), 1, "{log}");
}

#[test]
fn sigio_loses_no_data_when_the_signal_queue_overflows() {
    for length in [0, 4, 40] {
        let server = Server::start("sigio", &[]);
        if limit(&server, &format!("--sigpending={length}")) {
            keep_busy(&server);
        }
    }
}

#[test]
fn edge_triggered_loops_notice_each_end_among_many() {
    for model in EDGE_TRIGGERED {
        keep_busy(&Server::start(model, &[]));
    }
}

/// Serves fifty clients at once, each of which sends messages and ends.
fn keep_busy(server: &Server) {
    thread::scope(|scope| {
        for number in 0..50u8 {
            let mut client = server.connect();
            scope.spawn(move || {
                for round in 0..200u8 {
                    exchange(&mut client, &[number, round, 0, 255]);
                }
                // Data and the end of input come together, and the event of either may be lost.
                client.write_all(b"the end").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                let mut rest = Vec::new();
                client.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, b"the end");
            });
        }
    });
}

#[test]
fn a_stop_works_while_signals_are_lost() {
    let mut server = Server::start("sigio", &["--drain", "100ms"]);
    if !limit(&server, "--sigpending=0") {
        return;
    }
    exchange(&mut server.connect(), b"all signals are lost");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn an_end_of_input_that_comes_with_the_last_data_is_noticed() {
    for model in EDGE_TRIGGERED {
        let server = Server::start(model, &["--buffer", "1KiB"]);
        for length in [1, 100, 1 << 10, (1 << 10) + 1] {
            // Stopped, so that both are in the socket before the server reads.
            server.signal(Signal::SIGSTOP);
            let mut client = server.connect();
            client.write_all(&vec![7; length]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            wait_until("the end of input arrives", || has_received_end(&client));
            server.signal(Signal::SIGCONT);
            let mut back = Vec::new();
            client
                .read_to_end(&mut back)
                .unwrap_or_else(|error| panic!("{model} misses the end: {error}"));
            assert_eq!(back.len(), length, "{model}");
        }
    }
}

/// Whether the server's socket of a connection is in the state CLOSE_WAIT, in which all
/// input and its end have arrived.
fn has_received_end(client: &TcpStream) -> bool {
    const CLOSE_WAIT: &str = "08";
    let (server, client) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    let row = format!(
        ":{:04X} 0100007F:{:04X} {CLOSE_WAIT} ",
        server.port(),
        client.port()
    );
    fs::read_to_string("/proc/net/tcp").unwrap().contains(&row)
}

#[test]
fn an_end_of_input_that_comes_while_the_server_waits_to_send_is_noticed() {
    for model in EDGE_TRIGGERED {
        let server = Server::start(model, &[]);
        // The sizes differ in how much is still on its way when the server cannot send.
        for megabytes in 2..8 {
            let mut client = server.connect();
            let length = megabytes << 20;
            let writer_task = OnceLock::new();
            thread::scope(|scope| {
                let writer_task = &writer_task;
                let mut stream = client.try_clone().unwrap();
                let writer = scope.spawn(move || {
                    writer_task.set(gettid().as_raw()).unwrap();
                    stream.write_all(&vec![7; length]).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                let own = std::process::id() as i32;
                wait_until("neither side can continue", || {
                    let is_blocked = |task: &i32| blocked_in(own, *task).is_some();
                    let writer_waits = writer.is_finished() || writer_task.get().is_some_and(is_blocked);
                    writer_waits && blocked_in(server.pid(), server.pid()).is_some()
                });
                let mut back = Vec::new();
                let end = client.read_to_end(&mut back);
                end.unwrap_or_else(|error| panic!("{model} misses the end: {error}"));
                assert_eq!(back.len(), length, "{model}");
            });
        }
    }
}

#[test]
fn a_client_that_always_has_more_input_does_not_starve_the_others() {
    for model in EDGE_TRIGGERED {
        // A small buffer, so that the busy client fills it with each read.
        let server = Server::start(model, &["--buffer", "512B"]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            for _ in 0..2 {
                let mut busy = server.connect();
                let mut sink = busy.try_clone().unwrap();
                scope.spawn(move || while sink.read(&mut [0; 1 << 16]).is_ok_and(|length| length > 0) {});
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        busy.write_all(&[7; 1 << 16]).unwrap();
                    }
                    busy.shutdown(Shutdown::Write).unwrap();
                });
            }
            let result = catch_unwind(AssertUnwindSafe(|| {
                let mut client = server.connect();
                for _ in 0..100 {
                    exchange(&mut client, b"a short message");
                }
            }));
            over.store(true, Relaxed);
            assert!(result.is_ok(), "{model}");
        });
    }
}

#[test]
fn data_behind_an_urgent_byte_is_not_forgotten() {
    for model in EDGE_TRIGGERED {
        let server = Server::start(model, &[]);
        server.signal(Signal::SIGSTOP);
        let client = socket2::Socket::from(server.connect());
        client.send(b"before").unwrap();
        client.send_out_of_band(b"!").unwrap();
        client.send(b"after").unwrap();
        server.signal(Signal::SIGCONT);
        let mut back = [0; 11];
        TcpStream::from(client).read_exact(&mut back).unwrap();
        assert_eq!(&back, b"beforeafter", "{model}");
    }
}

#[test]
fn two_workers_serve_fifty_open_connections_and_the_last_one_ends_the_drain() {
    let mut server = Server::start("epoll-pool", &["--workers", "2", "--drain", LONG_DRAIN]);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for round in 0..20u8 {
        for client in &mut clients {
            client.write_all(&[round; 32]).unwrap();
        }
        for client in &mut clients {
            let mut answer = [0; 32];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round; 32]);
        }
    }
    server.signal(Signal::SIGTERM);
    clients
        .iter_mut()
        .for_each(|client| exchange(client, b"while it drains"));
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn connections_spread_over_all_loops_and_the_address_remains_exclusive() {
    let mut server = Server::start("epoll-multi", &["--workers", "3", "--drain", LONG_DRAIN]);
    let second = echo_server()
        .args(["epoll-multi", "--workers", "3", "--listen"])
        .arg(server.address.to_string())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && log.contains("in use"), "{log}");

    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| exchange(client, b"hello"));
    let watched = watched_by_loops(server.child.id());
    // Each loop also watches its listener.
    assert_eq!(watched.iter().sum::<usize>(), 203, "{watched:?}");
    assert!(
        watched.len() == 3 && watched.iter().all(|&count| count > 10),
        "{watched:?}"
    );

    server.signal(Signal::SIGTERM);
    clients
        .iter_mut()
        .for_each(|client| exchange(client, b"while it drains"));
    server.wait_until_refused();
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

/// The number of descriptors that each epoll instance of a process watches.
fn watched_by_loops(process: u32) -> Vec<usize> {
    fs::read_dir(format!("/proc/{process}/fdinfo"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default())
        .map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count())
        .filter(|&count| count > 0)
        .collect()
}

#[test]
fn the_connection_limit_applies_to_all_loops_together() {
    let server = Server::start("epoll-multi", &["--workers", "3", "--max-connections", "20"]);
    let clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    let served = clients.into_iter().filter_map(|mut client| {
        let _ = client.write_all(b"x");
        let served = client.read(&mut [0; 1]).is_ok_and(|length| length == 1);
        served.then_some(client)
    });
    assert_eq!(served.collect::<Vec<_>>().len(), 20);
}

#[test]
fn only_a_write_deadline_cuts_off_a_client_that_takes_no_output() {
    // The server without a deadline is blocked first, so it has waited for longer.
    let patient = Server::start("epoll", &[]);
    let (waiting, _) = block_sending(&patient);
    let bounded = Server::start("epoll", &["--write-deadline", "500ms"]);
    let (cut_off, idle_descriptors) = block_sending(&bounded);
    wait_until("the server closes the connection", || {
        bounded.descriptors() == idle_descriptors
    });
    let read = |mut client: TcpStream, max: u64| io::copy(&mut (&mut client).take(max), &mut io::sink());
    let error = read(cut_off, u64::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert_eq!(read(waiting, 1 << 20).unwrap(), 1 << 20);
}

/// Sends without reading until the server cannot send any more. Returns the client, and the
/// number of the server's descriptors without it.
fn block_sending(server: &Server) -> (TcpStream, usize) {
    let idle_descriptors = server.descriptors();
    let client = server.connect();
    client.set_nonblocking(true).unwrap();
    wait_until("the server cannot send", || {
        while (&client).write(&[7; 1 << 16]).is_ok() {}
        // With a full socket the server has input, so it is blocked because of its output.
        blocked_in(server.pid(), server.pid()).is_some() && (&client).write(&[7]).is_err()
    });
    client.set_nonblocking(false).unwrap();
    (client, idle_descriptors)
}

#[test]
fn a_single_loop_reports_that_it_equals_epoll() {
    let mut server = Server::start("epoll-multi", &["--workers", "1"]);
    exchange(&mut server.connect(), b"alone");
    server.signal(Signal::SIGTERM);
    server.wait();
    assert!(server.stderr().contains("this is `epoll`"));
}

#[test]
fn clients_that_wait_for_descriptors_are_served_once_some_are_free() {
    for model in ["spin", "select", "epoll-et", "epoll-pool", "epoll-multi", "sigio"] {
        let mut server = Server::start(model, &["--drain", "100ms"]);
        if !limit(&server, "--nofile=30") {
            return;
        }
        let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        // Each client that leaves frees a descriptor for one whose event has passed.
        thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    let answer = client.read_exact(&mut [0]);
                    answer.unwrap_or_else(|error| panic!("{model} forgets a waiting client: {error}"));
                });
            }
        });
        let _full: Vec<_> = (0..60).map(|_| server.connect()).collect();
        server.signal(Signal::SIGTERM);
        assert_eq!(
            server.wait().code(),
            Some(0),
            "{model} stops without a free descriptor"
        );
    }
}
