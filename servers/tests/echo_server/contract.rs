//! The contract of a server process, for every model of the registry.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{LONG_DRAIN, Server, connect, echo_server, exchange, expect_end, wait_until};
use nix::sys::signal::Signal;
use servers::config::{Config, Workers};
use servers::listener::Transport;
use servers::models::{MODELS, Model};

/// Runs a check for each model. The output names the model that failed.
fn for_each_model(check: impl Fn(&dyn Model)) {
    for model in MODELS {
        eprintln!("model: {}", model.name());
        check(*model);
    }
}

/// The same for models with connections, for checks that are about connections.
fn for_each_model_with_connections(check: impl Fn(&dyn Model)) {
    for_each_model(|model| {
        if model.transport() == Transport::Stream {
            check(model);
        }
    });
}

#[test]
fn a_server_without_clients_exits_with_status_0_before_the_drain_time_ends() {
    for_each_model(|model| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut server = Server::start(model.name(), &["--drain", LONG_DRAIN]);
            server.signal(signal);
            assert_eq!(server.wait().code(), Some(0));
        }
    });
}

#[test]
fn after_a_stop_open_connections_are_served_and_new_ones_refused() {
    for_each_model_with_connections(|model| {
        let mut server = Server::start(model.name(), &["--drain", LONG_DRAIN]);
        let mut client = server.connect();
        exchange(&mut client, b"before");
        server.signal(Signal::SIGTERM);
        server.wait_until_refused();
        exchange(&mut client, b"after");
        drop(client);
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn open_connections_are_cut_off_at_the_end_of_the_drain_time() {
    for_each_model_with_connections(|model| {
        for (drain, at_least) in [("0s", Duration::ZERO), ("200ms", Duration::from_millis(200))] {
            let mut server = Server::start(model.name(), &["--drain", drain]);
            let mut client = server.connect();
            exchange(&mut client, b"here");
            let begun = Instant::now();
            server.signal(Signal::SIGTERM);
            assert_eq!(server.wait().code(), Some(0));
            assert!(begun.elapsed() >= at_least, "it was cut off early");
            expect_end(&mut client);
        }
    });
}

#[test]
fn a_server_whose_workers_are_all_busy_stops() {
    for_each_model_with_connections(|model| {
        let workers: &[&str] = match model.workers() {
            Workers::Fixed => &[],
            _ => &["--workers", "2"],
        };
        let mut server = Server::start(model.name(), &[&["--drain", "100ms"], workers].concat());
        let mut clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
        exchange(&mut clients[0], b"busy");
        if model.at_once(&Config::default()) != Some(1) {
            exchange(&mut clients[1], b"busy");
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
        clients.iter_mut().for_each(expect_end);
    });
}

#[test]
fn unfinished_work_does_not_delay_the_end_of_the_drain_time() {
    for_each_model_with_connections(|model| {
        // 5,120 reads of 20 ms are more than the server may take to exit. The buffers of the
        // kernel hold all of the input.
        let options = ["--drain", "100ms", "--work", "sleep:20ms", "--buffer", "256B"];
        let mut server = Server::start(model.name(), &options);
        let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
        exchange(&mut clients[0], b"here");
        for client in &mut clients {
            client.write_all(&[7; 256 * 1024]).unwrap();
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0));
    });
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for_each_model_with_connections(|model| {
        let mut server = Server::start(model.name(), &["--drain", LONG_DRAIN]);
        let mut client = server.connect();
        exchange(&mut client, b"here");
        server.signal(Signal::SIGTERM);
        server.wait_until_refused();
        server.signal(Signal::SIGINT);
        assert_eq!(server.wait().code(), Some(128 + Signal::SIGINT as i32));
    });
}

#[test]
fn standard_output_holds_nothing_but_the_ready_line() {
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
fn an_answer_takes_at_least_the_time_of_its_work() {
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
fn a_message_that_fits_into_the_buffer_takes_few_reads() {
    for_each_model_with_connections(|model| {
        // The server answers each read separately, and pauses between them, so the client
        // receives the answer in parts. A client that is delayed receives fewer parts.
        let server = Server::start(model.name(), &["--work", "sleep:20ms"]);
        let mut client = server.connect();
        let mut buffer = vec![7; 64 * 1024];
        client.write_all(&buffer).unwrap();
        let (mut received, mut parts) = (0, 0);
        while received < buffer.len() {
            received += client.read(&mut buffer).unwrap();
            parts += 1;
        }
        assert!(parts <= 50, "reads of 1 KiB would make it 64: {parts}");
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_are_served() {
    for_each_model_with_connections(|model| {
        let defaults = Config::default();
        if model.at_once(&defaults) == Some(1) {
            return; // It cannot exceed a limit.
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
        server.wait_for_service();
        server.signal(Signal::SIGTERM);
        server.wait();
        assert!(
            server.stderr().contains("--max-connections"),
            "the limit is reported"
        );
    });
}

#[test]
fn a_model_with_a_fixed_number_of_workers_refuses_the_option() {
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
fn nothing_outlives_a_killed_server() {
    for_each_model(|model| {
        let mut server = Server::start(model.name(), &[]);
        let mut client = server.connect();
        exchange(&mut client, b"hello");
        server.signal(Signal::SIGKILL);
        assert_eq!(server.wait().signal(), Some(Signal::SIGKILL as i32));
        if model.transport() == Transport::Datagram {
            assert!(UdpSocket::bind(server.address).is_ok(), "the port is free");
            return;
        }
        expect_end(&mut client);
        // The kernel kills the children and destroys the rings a moment later.
        server.wait_until_refused();
    });
}

#[test]
fn q_and_enter_stop_a_server_on_a_terminal_and_other_lines_do_not() {
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
            eprintln!("not checked: script(1), which creates a terminal, is missing");
            return;
        };
        let mut output = terminal.stdout.take().unwrap();
        let mut read_line_with = |text: &str| -> String {
            let mut line = Vec::new();
            loop {
                let mut byte = [0];
                output.read_exact(&mut byte).unwrap();
                match byte[0] {
                    b'\n' if String::from_utf8_lossy(&line).contains(text) => break,
                    b'\n' => line.clear(),
                    byte => line.push(byte),
                }
            }
            String::from_utf8(line).unwrap()
        };
        let ready = read_line_with("ready ");
        let address = ready.rsplit("ready ").next().unwrap().trim().parse().unwrap();
        let mut keyboard = terminal.stdin.take().unwrap();
        keyboard.write_all(b"what?\n").unwrap();
        // The terminal has sent its signal before it echoes the line, so a server that
        // stopped at any line would refuse this client.
        read_line_with("what?");
        exchange(&mut connect(address, model.transport()), b"still here");
        keyboard.write_all(b"q\n").unwrap();
        assert_eq!(terminal.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn models_take_what_they_say_for_each_connection() {
    const MORE: usize = 5;
    for_each_model_with_connections(|model| {
        let ahead = model.workers() != Workers::Fixed;
        if ahead || model.at_once(&Config::default()) == Some(1) {
            return;
        }
        let server = Server::start(model.name(), &[]);
        let serve = |clients: usize| -> Vec<_> {
            let mut clients: Vec<_> = (0..clients).map(|_| server.connect()).collect();
            clients.iter_mut().for_each(|client| exchange(client, b"here"));
            clients
        };
        let _first = serve(1);
        let (tasks, descriptors) = (server.tasks(), server.descriptors());
        let _others = serve(MORE);
        let demands = model.demands();
        let each = demands.processes_per_connection + demands.threads_per_connection;
        // The children of `fork` have the descriptors, and their parent closes them later.
        let held = match demands.processes_per_connection {
            0 => demands.descriptors_per_connection,
            _ => 0,
        };
        wait_until("what it takes for each connection", || {
            server.tasks() == tasks + MORE * each && server.descriptors() == descriptors + MORE * held
        });
    });
}
