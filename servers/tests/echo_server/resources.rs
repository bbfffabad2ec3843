//! Threads, memory and descriptors that run out, at the start and while clients are served.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use crate::support::{Server, echo_server, exchange, has_prlimit, limit, wait_until};
use nix::sys::signal::Signal;
use servers::config::Workers;
use servers::listener::Transport;
use servers::models::{Family, MODELS};

/// Models that start threads for each client. (`aio` leaves that to the C library, where a request without
/// a thread waits for another client to leave.)
const THREAD_PER_CLIENT: [&str; 3] = ["thread", "thread-duplex", "splice"];

/// A number of clients that no test here leaves room for.
const TOO_MANY: usize = 3000;

#[test]
fn a_client_whose_thread_cannot_start_is_closed_and_the_others_are_served() {
    for model in THREAD_PER_CLIENT {
        let mut server = Server::start(model, &["--drain", "100ms"]);
        let threads = threads(&server);
        exchange(&mut server.connect(), b"before");
        // With its end, since only then the C library has reserved all that it does.
        wait_until("the threads of the first client end", || {
            self::threads(&server) == threads
        });
        let room = address_space(&server) + (8 << 20);
        if !limit(&server, &format!("--as={room}")) {
            return;
        }
        let mut served = Vec::new();
        while let Some(client) = answered(&server) {
            served.push(client);
            assert!(served.len() < TOO_MANY, "{model}: the limit has no effect");
        }
        assert!(!served.is_empty(), "{model}: nobody is served");
        // Not only the first of them.
        assert!((0..5).all(|_| answered(&server).is_none()), "{model}");
        served
            .iter_mut()
            .for_each(|client| exchange(client, b"still here"));
        // What a client leaves behind serves the next one.
        served.truncate(served.len() / 2);
        served.push(server.wait_for_service());
        served
            .iter_mut()
            .for_each(|client| exchange(client, b"still here"));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0), "{model}");
        let log = server.stderr();
        assert_eq!(log.matches("rejected").count(), 1, "{model}: {log}");
    }
}

/// A client that the server answers; `None` if it closes the connection.
fn answered(server: &Server) -> Option<TcpStream> {
    let mut client = server.connect();
    let _ = client.write_all(b"x");
    matches!(client.read(&mut [0; 1]), Ok(1)).then_some(client)
}

fn threads(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/task", server.pid()))
        .unwrap()
        .count()
}

/// Bytes of address space that the server uses.
fn address_space(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = size.and_then(|size| size.trim().strip_suffix(" kB"));
    kilobytes.unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn workers_that_cannot_all_start_are_refused_with_their_number_and_the_limit() {
    if !has_prlimit() {
        return;
    }
    for model in MODELS {
        // No limit of memory counts processes.
        let limit = match (model.workers(), model.family()) {
            (Workers::Fixed, _) => continue,
            (_, Family::Process) if model.name() == "prefork-fdpass" => "--nofile=100",
            (_, Family::Process) => continue,
            _ => "--as=268435456",
        };
        let output = start_with(limit, model.name(), &["--workers", "5000"]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}: {message}", model.name());
        assert!(output.stdout.is_empty(), "{}: it is ready", model.name());
        for part in ["of 5000 workers can be started", "use fewer --workers", "raise"] {
            assert!(message.contains(part), "{}: {message}", model.name());
        }
    }
}

/// Runs a server under a limit until it ends, which must be at its start.
fn start_with(limit: &str, model: &str, options: &[&str]) -> Output {
    Command::new("prlimit")
        .arg(limit)
        .arg(echo_server().get_program())
        .args([model, "--listen", "127.0.0.1:0"])
        .args(options)
        .output()
        .unwrap()
}

#[test]
fn with_few_descriptors_a_server_is_ready_or_ends_with_a_message() {
    if !has_prlimit() {
        return;
    }
    // The standard streams, the listener, and what the tests were started with.
    let fewest = Server::start("iterative", &[]).descriptors();
    for model in MODELS
        .iter()
        .filter(|model| model.transport() == Transport::Stream)
    {
        if model.family() == Family::Process {
            // It waits for descriptors that its children free.
            continue;
        }
        let options: &[&str] = match model.workers() {
            Workers::Fixed => &["--drain", "100ms"],
            _ => &["--drain", "100ms", "--workers", "2"],
        };
        for descriptors in fewest..fewest + 12 {
            let mut command = Command::new("prlimit");
            command
                .arg(format!("--nofile={descriptors}"))
                .arg(echo_server().get_program());
            let what = format!("{} with {descriptors} descriptors", model.name());
            match Server::try_start_as(command, model.name(), options) {
                Ok(mut server) => {
                    // Nobody is promised an answer, but a fault while it serves must end the server.
                    let _clients: Vec<_> = (0..descriptors).map(|_| server.connect()).collect();
                    server.signal(Signal::SIGTERM);
                    assert_eq!(server.wait().code(), Some(0), "{what}: {}", server.stderr());
                }
                Err(output) => {
                    assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
                    assert!(!output.stderr.is_empty(), "{what}: it says nothing");
                }
            }
        }
    }
}

#[test]
fn a_buffer_that_does_not_fit_into_memory_is_refused() {
    if !has_prlimit() {
        return;
    }
    let output = start_with("--as=40000000", "epoll", &["--buffer", "64MiB"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("--buffer") && output.stdout.is_empty(),
        "{message}"
    );
}
