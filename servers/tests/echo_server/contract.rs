//! The contract of a server process, for every model of the registry.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Server, echo_server, exchange};
use nix::sys::signal::Signal;
use servers::config::{Config, Workers};
use servers::listener::Transport;
use servers::models::{MODELS, Model};

/// Runs a check for each model and says which one failed.
fn for_each_model(check: impl Fn(&dyn Model)) {
    for model in MODELS {
        eprintln!("model: {}", model.name());
        check(*model);
    }
}

/// The same for those that have connections, which is what the check is about: over
/// datagrams nothing is open, nothing is refused and nothing ends.
fn for_each_model_with_connections(check: impl Fn(&dyn Model)) {
    for_each_model(|model| {
        if model.transport() == Transport::Stream {
            check(model);
        }
    });
}

#[test]
fn a_server_without_clients_stops_at_once_with_status_0() {
    for_each_model(|model| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut server = Server::start(model.name(), &[]);
            let begun = Instant::now();
            server.signal(signal);
            assert_eq!(server.wait().code(), Some(0));
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "it waits for the drain time with nobody to drain"
            );
        }
    });
}

#[test]
fn what_is_open_is_served_on_after_a_stop_and_nobody_new_is() {
    for_each_model_with_connections(|model| {
        let mut server = Server::start(model.name(), &["--drain", "20s"]);
        let mut client = server.connect();
        exchange(&mut client, b"before");
        server.signal(Signal::SIGTERM);
        wait_until_refused(&server);
        exchange(&mut client, b"after");
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
    });
}

fn wait_until_refused(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(server.address).is_ok() {
        assert!(Instant::now() < deadline, "the listener stays open");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_is_open_at_the_end_of_the_drain_is_cut_off() {
    for_each_model_with_connections(|model| {
        for drain in ["0s", "200ms"] {
            let mut server = Server::start(model.name(), &["--drain", drain]);
            let mut client = server.connect();
            exchange(&mut client, b"here");
            let begun = Instant::now();
            server.signal(Signal::SIGTERM);
            assert_eq!(server.wait().code(), Some(0));
            if drain != "0s" {
                assert!(
                    begun.elapsed() >= Duration::from_millis(200),
                    "it was cut off early"
                );
            }
            let end = client.read(&mut [0; 8]);
            let reset = end
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
            assert!(reset || matches!(end, Ok(0)), "{end:?}");
        }
    });
}

#[test]
fn work_that_is_left_at_the_end_of_the_drain_does_not_keep_the_server() {
    for_each_model_with_connections(|model| {
        let mut server = Server::start(model.name(), &["--drain", "100ms", "--work", "sleep:20ms"]);
        let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
        exchange(&mut clients[0], b"here");
        for client in &mut clients {
            // Less than the kernel takes while the server is busy.
            client.write_all(&[7; 256 * 1024]).unwrap();
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for_each_model_with_connections(|model| {
        let mut server = Server::start(model.name(), &["--drain", "60s"]);
        let mut client = server.connect();
        exchange(&mut client, b"here");
        server.signal(Signal::SIGTERM);
        wait_until_refused(&server);
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait().code(), Some(128 + Signal::SIGINT as i32));
    });
}

#[test]
fn the_ready_line_is_all_that_is_printed() {
    for_each_model(|model| {
        let mut server = Server::start(model.name(), &[]);
        exchange(&mut server.connect(), b"hello");
        server.signal(Signal::SIGTERM);
        server.wait();
        let mut rest = String::new();
        server
            .child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert_eq!(rest, "");
    });
}

#[test]
fn work_is_done_for_each_piece_of_input() {
    for_each_model(|model| {
        for (work, at_least) in [("sleep:30ms", 30), ("cpu:30ms", 30)] {
            let server = Server::start(model.name(), &["--work", work]);
            let mut client = server.connect();
            let begun = Instant::now();
            exchange(&mut client, b"work");
            assert!(begun.elapsed() >= Duration::from_millis(at_least), "{work}");
        }
    });
}

#[test]
fn a_message_that_fits_into_the_buffer_is_few_pieces_of_input() {
    for_each_model_with_connections(|model| {
        let server = Server::start(model.name(), &["--work", "sleep:20ms"]);
        let mut client = server.connect();
        let begun = Instant::now();
        exchange(&mut client, &[7; 64 * 1024]);
        // As much as fifty pieces take; read in pieces of a kilobyte it would be 64.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_served() {
    for_each_model_with_connections(|model| {
        let defaults = Config::default();
        if model.at_once(&defaults) == Some(1) {
            return; // It never has more than one, so never too many.
        }
        let mut server = Server::start(model.name(), &["--max-connections", "2"]);
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(|client| exchange(client, b"hello"));
        let mut third = server.connect();
        let end = third.read(&mut [0; 8]);
        assert!(matches!(end, Ok(0)), "{end:?}");
        clients
            .iter_mut()
            .for_each(|client| exchange(client, b"still here"));
        drop(clients);
        serves_again(&server);
        server.signal(Signal::SIGTERM);
        server.wait();
        assert!(
            server.stderr().contains("--max-connections"),
            "the limit is not hidden"
        );
    });
}

/// The server learns of an end a moment after the client.
fn serves_again(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut client = server.connect();
        let _ = client.write_all(b"x");
        match client.read(&mut [0; 1]) {
            Ok(1) => return,
            _ => assert!(Instant::now() < deadline, "the limit was never lifted"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_model_with_a_fixed_number_of_workers_refuses_to_be_told_one() {
    for_each_model(|model| {
        let fixed = model.workers() == Workers::Fixed;
        if fixed {
            let output = echo_server()
                .args([model.name(), "--workers", "2"])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.code() == Some(1) && text.contains("--workers"),
                "{text}"
            );
        } else {
            exchange(
                &mut Server::start(model.name(), &["--workers", "2"]).connect(),
                b"two",
            );
        }
    });
}

#[test]
fn nothing_outlives_a_server_that_is_killed() {
    for_each_model(|model| {
        let mut server = Server::start(model.name(), &[]);
        let mut client = server.connect();
        exchange(&mut client, b"hello");
        server.signal(Signal::SIGKILL);
        assert_eq!(server.wait().signal(), Some(Signal::SIGKILL as i32));
        if model.transport() == Transport::Datagram {
            assert!(
                UdpSocket::bind(server.address).is_ok(),
                "somebody still has the port"
            );
            return;
        }
        let end = client.read(&mut [0; 8]);
        let reset = end
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert!(
            reset || matches!(end, Ok(0)),
            "somebody still holds the connection: {end:?}"
        );
        // The kernel kills children one after another, and takes rings apart, a moment later.
        wait_until_refused(&server);
    });
}

#[test]
fn q_and_enter_stop_a_server_on_a_terminal() {
    for_each_model(|model| {
        let command = format!(
            "{} {} --listen 127.0.0.1:0",
            env!("CARGO_BIN_EXE_echo-server"),
            model.name()
        );
        let terminal = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut terminal) = terminal else {
            eprintln!("not checked: there is no script(1) to make a terminal with");
            return;
        };
        let mut seen = Vec::new();
        let mut output = terminal.stdout.take().unwrap();
        while !String::from_utf8_lossy(&seen).contains("ready ") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        let mut keyboard = terminal.stdin.take().unwrap();
        keyboard.write_all(b"what?\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(
            terminal.try_wait().unwrap().is_none(),
            "another line stops it too"
        );
        keyboard.write_all(b"q\n").unwrap();
        assert_eq!(terminal.wait().unwrap().code(), Some(0));
    });
}
