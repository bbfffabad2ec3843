//! The command line of `echo-server`: errors, the list, and warnings.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::{Server, TIME_OUT, echo_server, exchange, has_prlimit};
use nix::sys::signal::Signal;
use servers::config::Workers;
use servers::listener::Transport;
use servers::models::{Family, MODELS, Model, NOT_BUILT};

/// Runs the program with arguments that it must refuse; returns the exit code and standard
/// error.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = echo_server().args(arguments).output().unwrap();
    assert!(output.stdout.is_empty(), "errors go to standard error");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn an_unknown_model_gets_the_nearest_name_as_a_suggestion() {
    let (code, text) = refused(&["epol"]);
    assert_eq!(code, 2);
    assert!(text.contains("'epoll'"), "{text}");
}

#[test]
fn a_missing_model_is_a_usage_error() {
    assert_eq!(refused(&[]).0, 2);
}

#[test]
fn the_error_for_a_port_in_use_names_it_and_the_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let _taken_over_udp = UdpSocket::bind(&address).unwrap();
    for model in MODELS {
        let (code, text) = refused(&[model.name(), "--listen", &address]);
        assert_eq!(code, 1);
        assert!(
            text.contains(&address) && text.contains("in use") && text.contains("--listen"),
            "{text}"
        );
    }
}

#[test]
fn addresses_that_cannot_be_listened_on_are_refused() {
    for (address, hint) in [
        ("7007", "ADDRESS:PORT"),
        ("127.0.0.1:70000", "ADDRESS:PORT"),
        ("192.0.2.1:0", "not an address of this host"),
    ] {
        let (code, text) = refused(&["epoll", "--listen", address]);
        assert_eq!(code, 1);
        assert!(text.contains(address) && text.contains(hint), "{text}");
    }
}

#[test]
fn values_without_a_unit_or_out_of_range_are_usage_errors() {
    let wrong = [
        ["--buffer", "64"],
        ["--buffer", "0B"],
        ["--buffer", "1GiB"],
        ["--drain", "5"],
        ["--work", "50us"],
        ["--work", "cpu:50"],
        ["--keepalive", "10ms"],
        ["--keepalive", "1day"],
        ["--write-deadline", "0s"],
        ["--write-deadline", "30days"],
        ["--backlog", "0"],
        ["--workers", "0"],
        ["--max-connections", "0"],
        ["--nodelay", "maybe"],
        ["--format", "json"],
    ];
    for [option, value] in wrong {
        let (code, text) = refused(&["pool", option, value]);
        assert_eq!(code, 2, "{option} {value}: {text}");
        assert!(text.contains(option), "{text}");
    }
}

#[test]
fn the_list_has_every_model_in_both_formats() {
    let list = |arguments: &[&str]| {
        String::from_utf8(echo_server().args(arguments).output().unwrap().stdout).unwrap()
    };
    let text = list(&["--list"]);
    let json: Vec<serde_json::Value> = serde_json::from_str(&list(&["--list", "--format", "json"])).unwrap();
    let (built, left_out) = json.split_at(MODELS.len());
    for (model, entry) in MODELS.iter().zip(built) {
        assert!(text.contains(model.summary()));
        assert_eq!(entry["name"], model.name());
        assert_eq!(entry["transport"], model.transport().to_string());
        assert_eq!(entry["unavailable"], serde_json::Value::Null, "{}", model.name());
    }
    assert_eq!(left_out.len(), NOT_BUILT.len());
    for (name, entry) in NOT_BUILT.iter().zip(left_out) {
        let feature = format!("--features {name}");
        assert!(text.contains(&feature));
        assert_eq!(entry["name"], *name);
        assert!(entry["unavailable"].as_str().unwrap().contains(&feature));
    }
}

#[test]
fn the_error_for_a_model_that_is_not_built_names_its_feature() {
    for name in NOT_BUILT {
        let (code, text) = refused(&[name]);
        assert_eq!(code, 1);
        assert!(text.contains(&format!("--features {name}")), "{text}");
    }
}

#[test]
fn listening_on_all_addresses_is_reported() {
    let mut server = Server::start("epoll", &["--listen", "0.0.0.0:0"]);
    server.child.kill().unwrap();
    assert!(server.stderr().contains("any host that can reach it"));
}

#[test]
fn a_server_with_all_shared_options_echoes() {
    let options = [
        "--workers",
        "3",
        "--backlog",
        "16",
        "--buffer",
        "1KiB",
        "--max-connections",
        "5",
        "--drain",
        "1s",
        "--keepalive",
        "60s",
        "--write-deadline",
        "2s",
        "--nodelay",
        "false",
        "--work",
        "sleep:1ms",
    ];
    exchange(&mut Server::start("pool", &options).connect(), &[7; 5000]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut list = echo_server()
        .arg("--list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn exhausted_descriptors_are_reported_once_and_open_connections_are_served() {
    for model in with_connections() {
        let Some(mut server) = start_short_of_descriptors(model, "0s") else {
            return;
        };
        let log = log_of(&mut server);
        let is_report = |line: &String| line.contains("until resources are free");
        // Connected before descriptors run out: if each loop has a queue, one of them may
        // get all other clients.
        let mut first = server.connect();
        exchange(&mut first, b"served");
        let clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        exchange(&mut first, b"still served");
        // A process per client has its own descriptor table, so the parent may never run out.
        let single_process = model.family() != Family::Process;
        if single_process {
            // Before the clients leave, since the server may not have reached the limit yet.
            let line = log.recv_timeout(TIME_OUT);
            assert!(line.as_ref().is_ok_and(is_report), "{}: {line:?}", model.name());
        }
        drop((first, clients));
        exchange(&mut server.connect(), b"and again");
        server.signal(Signal::SIGTERM);
        server.wait();
        let further = log.iter().filter(is_report).count();
        assert!(
            further <= usize::from(!single_process),
            "{}: it is reported more than once",
            model.name()
        );
    }
}

#[test]
fn a_server_without_free_descriptors_still_stops_and_cuts_off() {
    for model in with_connections() {
        let Some(mut server) = start_short_of_descriptors(model, "100ms") else {
            return;
        };
        let mut first = server.connect();
        exchange(&mut first, b"served");
        let _clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().code(), Some(0), "{}", model.name());
    }
}

/// The models with connections; a datagram server needs one socket for all clients.
fn with_connections() -> impl Iterator<Item = &'static dyn Model> {
    let models = MODELS.iter().copied();
    models.filter(|model| model.transport() == Transport::Stream)
}

/// Starts a server with descriptors for a few clients; `None` if this host lacks prlimit(1).
fn start_short_of_descriptors(model: &dyn Model, drain: &str) -> Option<Server> {
    if !has_prlimit() {
        return None;
    }
    let mut options = vec!["--drain", drain];
    if model.family() == Family::Process && model.workers() == Workers::PerConnection {
        // Few workers, since the parent may need a descriptor for each.
        options.extend(["--workers", "8"]);
    }
    let unlimited = Server::start(model.name(), &options);
    let own = fs::read_dir(format!("/proc/{}/fd", unlimited.child.id()));
    let limit = own.unwrap().count() + 16;
    drop(unlimited);
    // Set before the start: a request keeps the limit under which it was submitted.
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={limit}"));
    limited.arg(echo_server().get_program());
    Some(Server::start_as(limited, model.name(), &options))
}

/// The lines of a server's standard error, as they appear.
fn log_of(server: &mut Server) -> Receiver<String> {
    let (lines, log) = channel();
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    thread::spawn(move || {
        stderr
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| lines.send(line))
    });
    log
}

#[test]
fn bytes_that_are_not_utf_8_are_named_in_an_argument_and_ignored_in_the_environment() {
    let bad = OsStr::from_bytes(b"\xff=\xff");
    for option in ["--work", "--buffer", "--workers"] {
        // The path of a socket may have such bytes, so it is not the one to name.
        let listen = OsStr::from_bytes(b"--listen=unix:/nowhere/\xfe");
        let output = echo_server()
            .arg("pool")
            .arg(listen)
            .arg(option)
            .arg(bad)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(r"\xFF=\xFF"), "{message}");
    }
    let mut command = echo_server();
    for name in [
        "RUST_BACKTRACE",
        "RUST_MIN_STACK",
        "COLUMNS",
        "NO_COLOR",
        "TERM",
        "TOKIO_WORKER_THREADS",
    ] {
        command.env(name, bad);
    }
    command.env(OsStr::from_bytes(b"\xff"), bad);
    exchange(&mut Server::start_as(command, "tokio", &[]).connect(), b"hello");
}
