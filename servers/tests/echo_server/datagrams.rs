//! What only datagram servers promise: which datagrams they answer, and what happens to
//! the rest.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::{fs, thread};

use nix::sys::signal::Signal;
use servers::listener::Transport;
use servers::models::MODELS;

use crate::support::{LONG_DRAIN, Server, blocked_in, echo_server, wait_until};

/// More than the longest datagram.
const MAX_DATAGRAM: usize = 1 << 16;

fn for_each_server(options: &[&str], check: impl Fn(Server)) {
    let datagram = MODELS
        .iter()
        .filter(|model| model.transport() == Transport::Datagram);
    for model in datagram {
        eprintln!("model: {}", model.name());
        check(Server::start(model.name(), options));
    }
}

/// Sends a message and expects it back as the first answer. A server answers in order, so
/// this also proves that it has not answered the messages before.
fn exchange(client: &UdpSocket, message: &[u8]) {
    client.send(message).unwrap();
    let mut answer = vec![0; MAX_DATAGRAM];
    let length = receive(client, &mut answer).unwrap();
    assert_eq!(answer[..length], *message);
}

/// Waits for a datagram. With a time-out, the kernel does not restart an interrupted call.
fn receive(client: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match client.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Stops the server; returns its standard error.
fn stop(mut server: Server) -> String {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    server.stderr()
}

#[test]
fn datagrams_of_every_length_return_without_a_message() {
    for_each_server(&[], |server| {
        let client = server.connect_from("127.0.0.1:0");
        for length in [0, 1, 1472, 65_507] {
            exchange(&client, &vec![7; length]);
        }
        assert_eq!(stop(server), "");
    });
}

#[test]
fn a_datagram_that_does_not_fit_is_dropped_whole_and_counted() {
    for_each_server(&["--buffer", "1KiB"], |server| {
        let client = server.connect_from("127.0.0.1:0");
        exchange(&client, &[1; 1024]);
        client.send(&[2; 1025]).unwrap();
        client.send(&[3; 60_000]).unwrap();
        exchange(&client, &[4; 1024]);
        let log = stop(server);
        assert!(
            log.contains("2 datagrams dropped: 2 longer than --buffer"),
            "{log}"
        );
        assert_eq!(log.matches("reported once").count(), 1, "{log}");
    });
}

#[test]
fn a_client_on_the_server_s_port_is_not_answered_on_any_address() {
    for_each_server(&[], |server| {
        let own = SocketAddr::from(([127, 0, 0, 2], server.address.port()));
        let refused = server.connect_from(own);
        refused.send(b"a loop").unwrap();
        // The answer to this one comes after an answer to the first.
        exchange(&server.connect_from("127.0.0.2:0"), b"no loop");
        refused.set_nonblocking(true).unwrap();
        let error = refused.recv(&mut [0; MAX_DATAGRAM]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let log = stop(server);
        assert!(
            log.contains("1 datagram dropped: 1 from the port of this server"),
            "{log}"
        );
    });
}

#[test]
fn datagrams_that_are_queued_at_the_stop_are_answered() {
    for_each_server(&["--work", "sleep:1ms", "--drain", LONG_DRAIN], |mut server| {
        let clients: Vec<_> = (0..100).map(|_| server.connect_from("127.0.0.1:0")).collect();
        server.signal(Signal::SIGSTOP);
        for client in &clients {
            client.send(b"in time").unwrap();
        }
        server.signal(Signal::SIGTERM);
        server.signal(Signal::SIGCONT);
        for client in &clients {
            assert_eq!(receive(client, &mut [0; 16]).unwrap(), 7);
        }
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn the_end_of_the_drain_time_cuts_the_queue_off() {
    // All of the queue would take 100 s, longer than the server may take to exit.
    for_each_server(&["--work", "sleep:1s", "--drain", "100ms"], |mut server| {
        let clients: Vec<_> = (0..100).map(|_| server.connect_from("127.0.0.1:0")).collect();
        for client in &clients {
            client.send(b"too many").unwrap();
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn clients_that_keep_sending_do_not_prevent_a_stop() {
    // The work makes the server slower than its client, so its queue is never empty.
    for_each_server(&["--work", "cpu:20us", "--drain", LONG_DRAIN], |server| {
        let client = server.connect_from("127.0.0.1:0");
        let (ended, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    // Fails once the server is gone.
                    let _ = client.send(b"on and on");
                    sent.fetch_add(1, Relaxed);
                }
            });
            let stopped = catch_unwind(AssertUnwindSafe(|| {
                wait_until("the client sends", || sent.load(Relaxed) > 100);
                stop(server)
            }));
            ended.store(true, Relaxed);
            assert!(stopped.is_ok());
        });
    });
}

#[test]
fn a_second_signal_ends_the_server_during_its_work() {
    for_each_server(&["--work", "sleep:60s", "--drain", LONG_DRAIN], |mut server| {
        server.connect_from("127.0.0.1:0").send(b"work").unwrap();
        wait_until("the server works", || sleeps(&server));
        server.signal(Signal::SIGTERM);
        // The server sleeps again once the handler of the first signal has run.
        wait_until("the server has handled SIGTERM", || {
            !is_pending(&server, Signal::SIGTERM) && sleeps(&server)
        });
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait().code(), Some(128 + Signal::SIGINT as i32));
    });
}

fn sleeps(server: &Server) -> bool {
    let call = blocked_in(server.pid(), server.pid());
    call == Some(libc::SYS_clock_nanosleep) || call == Some(libc::SYS_nanosleep)
}

/// Whether a signal waits to be delivered to the process.
fn is_pending(server: &Server, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = u64::from_str_radix(pending.unwrap().trim(), 16).unwrap();
    pending & 1 << (signal as i32 - 1) != 0
}

fn refused(arguments: &[&str]) -> String {
    let output = echo_server().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn options_that_concern_connections_are_refused() {
    for option in [
        ["--backlog", "4096"],
        ["--max-connections", "5"],
        ["--keepalive", "60s"],
        ["--write-deadline", "2s"],
        ["--nodelay", "true"],
    ] {
        let log = refused(&["udp", option[0], option[1]]);
        assert!(log.contains(option[0]) && log.contains("no connections"), "{log}");
    }
}

#[test]
fn other_hosts_need_allow_remote() {
    let log = refused(&["udp", "--listen", "0.0.0.0:0"]);
    assert!(log.contains("--allow-remote"), "{log}");
    let server = Server::start("udp", &["--listen", "0.0.0.0:0", "--allow-remote"]);
    let client = server.connect_from("127.0.0.1:0");
    client.connect(("127.0.0.1", server.address.port())).unwrap();
    exchange(&client, b"hello");
    assert!(stop(server).contains("any host that can reach it"));
    assert!(refused(&["epoll", "--allow-remote"]).contains("over UDP"));
}
