//! What only servers of datagrams promise: whom they answer, and what becomes of the rest.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use servers::listener::Transport;
use servers::models::MODELS;

use crate::support::{Server, echo_server};

/// More than the longest datagram.
const ROOM: usize = 1 << 16;

/// Time without an answer after which none will come.
const NEVER: Duration = Duration::from_millis(300);

fn for_each_server(options: &[&str], check: impl Fn(Server)) {
    let datagram = MODELS
        .iter()
        .filter(|model| model.transport() == Transport::Datagram);
    for model in datagram {
        eprintln!("model: {}", model.name());
        check(Server::start(model.name(), options));
    }
}

fn exchange(client: &UdpSocket, message: &[u8]) {
    client.send(message).unwrap();
    let mut answer = vec![0; ROOM];
    let length = receive(client, &mut answer).unwrap();
    assert_eq!(answer[..length], *message);
}

/// Waits for a datagram; with a time-out the kernel gives up at every interruption.
fn receive(client: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match client.recv(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

fn stays_unanswered(client: &UdpSocket, message: &[u8]) {
    client.send(message).unwrap();
    client.set_read_timeout(Some(NEVER)).unwrap();
    let error = receive(client, &mut [0; ROOM]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// Tells it to stop; returns what it said.
fn stopped(mut server: Server) -> String {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    server.stderr()
}

#[test]
fn every_length_comes_back_and_nothing_is_said_of_it() {
    for_each_server(&[], |server| {
        let client = server.connect_from("127.0.0.1:0");
        for length in [0, 1, 1472, 65_507] {
            exchange(&client, &vec![7; length]);
        }
        assert_eq!(stopped(server), "");
    });
}

#[test]
fn a_datagram_that_does_not_fit_is_dropped_whole_and_counted() {
    for_each_server(&["--buffer", "1KiB"], |server| {
        let client = server.connect_from("127.0.0.1:0");
        exchange(&client, &[1; 1024]);
        stays_unanswered(&client, &[2; 1025]);
        stays_unanswered(&client, &[3; 60_000]);
        exchange(&client, &[4; 1024]);
        let said = stopped(server);
        assert!(
            said.contains("2 datagrams dropped: 2 longer than --buffer"),
            "{said}"
        );
        assert_eq!(said.matches("said once").count(), 1, "{said}");
    });
}

#[test]
fn a_client_on_the_port_of_the_server_is_not_answered_on_any_address() {
    for_each_server(&[], |server| {
        let own = SocketAddr::from(([127, 0, 0, 2], server.address.port()));
        stays_unanswered(&server.connect_from(own), b"a loop");
        exchange(&server.connect_from("127.0.0.2:0"), b"no loop");
        let said = stopped(server);
        assert!(
            said.contains("1 datagram dropped: 1 from the port of this server"),
            "{said}"
        );
    });
}

#[test]
fn what_is_queued_at_the_stop_is_answered() {
    for_each_server(&["--work", "sleep:1ms"], |mut server| {
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
fn the_end_of_the_drain_cuts_the_queue_off() {
    for_each_server(&["--work", "sleep:200ms", "--drain", "300ms"], |mut server| {
        let clients: Vec<_> = (0..100).map(|_| server.connect_from("127.0.0.1:0")).collect();
        for client in &clients {
            client.send(b"too many").unwrap();
        }
        server.signal(Signal::SIGTERM);
        // Of the twenty seconds that all of them would take.
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn clients_that_go_on_do_not_keep_a_server_from_stopping() {
    for_each_server(&["--drain", "60s"], |server| {
        let client = server.connect_from("127.0.0.1:0");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    // Once the server has gone, the kernel says so.
                    let _ = client.send(b"on and on");
                }
            });
            thread::sleep(Duration::from_millis(50));
            let stopped = catch_unwind(AssertUnwindSafe(|| stopped(server)));
            ended.store(true, Relaxed);
            assert!(stopped.is_ok());
        });
    });
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for_each_server(&["--work", "sleep:50s"], |mut server| {
        server.connect_from("127.0.0.1:0").send(b"work").unwrap();
        thread::sleep(Duration::from_millis(200));
        server.signal(Signal::SIGTERM);
        thread::sleep(Duration::from_millis(200));
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait().code(), Some(128 + Signal::SIGINT as i32));
    });
}

fn refused(arguments: &[&str]) -> String {
    let output = echo_server().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_option_that_is_about_connections_is_refused() {
    for option in [
        ["--backlog", "4096"],
        ["--max-connections", "5"],
        ["--keepalive", "60s"],
        ["--write-deadline", "2s"],
        ["--nodelay", "true"],
    ] {
        let said = refused(&["udp", option[0], option[1]]);
        assert!(
            said.contains(option[0]) && said.contains("no connections"),
            "{said}"
        );
    }
}

#[test]
fn other_hosts_are_let_in_by_permission_only() {
    let said = refused(&["udp", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("--allow-remote"), "{said}");
    let server = Server::start("udp", &["--listen", "0.0.0.0:0", "--allow-remote"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", server.address.port())).unwrap();
    exchange(&client, b"hello");
    assert!(stopped(server).contains("whoever reaches this host"));
    assert!(refused(&["epoll", "--allow-remote"]).contains("over UDP"));
}
