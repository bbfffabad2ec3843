//! What `echo-server` says to arguments that make no sense.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::{PATIENCE, Server, echo_server, exchange};
use nix::sys::signal::Signal;
use servers::config::Workers;
use servers::listener::Transport;
use servers::models::{Family, MODELS, Model, NOT_BUILT};

/// Runs it with arguments that it must refuse; returns the exit code and what it says.
fn refused(arguments: &[&str]) -> (i32, String) {
    let output = echo_server().args(arguments).output().unwrap();
    assert!(output.stdout.is_empty(), "errors go to standard error");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn an_unknown_model_is_answered_with_the_nearest_name() {
    let (code, text) = refused(&["epol"]);
    assert_eq!(code, 2);
    assert!(text.contains("'epoll'"), "{text}");
}

#[test]
fn no_model_at_all_is_a_usage_error() {
    assert_eq!(refused(&[]).0, 2);
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let _taken_for_datagrams = UdpSocket::bind(&address).unwrap();
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
fn the_list_holds_every_model_in_both_formats() {
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
fn a_model_that_is_not_built_is_refused_with_the_feature_that_brings_it_in() {
    for name in NOT_BUILT {
        let (code, text) = refused(&[name]);
        assert_eq!(code, 1);
        assert!(text.contains(&format!("--features {name}")), "{text}");
    }
}

#[test]
fn listening_beyond_this_host_is_said() {
    let mut server = Server::start("epoll", &["--listen", "0.0.0.0:0"]);
    server.child.kill().unwrap();
    assert!(server.stderr().contains("whoever reaches this host"));
}

#[test]
fn all_shared_options_together_serve() {
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
fn a_reader_that_leaves_early_is_no_error() {
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
fn that_descriptors_have_run_out_is_said_and_the_others_are_served() {
    for model in with_connections() {
        let Some(mut server) = start_short_of_descriptors(model, "0s") else {
            return;
        };
        let said = said_by(&mut server);
        let is_said = |line: &String| line.contains("until something is free");
        // Open before they run out: where each loop has a queue, the rest may all be
        // given to one.
        let mut first = server.connect();
        exchange(&mut first, b"served");
        let clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
        exchange(&mut first, b"still served");
        // In a process per client each has a table of its own, so the parent's may suffice.
        let kept_in_one = model.family() != Family::Process;
        if kept_in_one {
            // With the clients still there: it may be a while until the limit is met.
            let line = said.recv_timeout(PATIENCE);
            assert!(line.as_ref().is_ok_and(is_said), "{}: {line:?}", model.name());
        }
        drop((first, clients));
        exchange(&mut server.connect(), b"and again");
        server.signal(Signal::SIGTERM);
        server.wait();
        let further = said.iter().filter(is_said).count();
        assert!(
            further <= usize::from(!kept_in_one),
            "{}: it is said once, or never",
            model.name()
        );
    }
}

#[test]
fn a_server_that_is_out_of_descriptors_still_stops_and_cuts_off() {
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

/// A server of datagrams has one socket, however many clients there are.
fn with_connections() -> impl Iterator<Item = &'static dyn Model> {
    let models = MODELS.iter().copied();
    models.filter(|model| model.transport() == Transport::Stream)
}

/// A server with room for a few clients; none where there is nothing to limit it with.
fn start_short_of_descriptors(model: &dyn Model, drain: &str) -> Option<Server> {
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("not checked: there is no prlimit(1)");
        return None;
    }
    let mut options = vec!["--drain", drain];
    if model.family() == Family::Process && model.workers() == Workers::PerConnection {
        // Few, since the parent may need a descriptor for each.
        options.extend(["--workers", "8"]);
    }
    let unlimited = Server::start(model.name(), &options);
    let own = fs::read_dir(format!("/proc/{}/fd", unlimited.child.id()));
    let limit = own.unwrap().count() + 16;
    drop(unlimited);
    // From its start: a request that waits in the kernel keeps the limit that it was made with.
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={limit}"));
    limited.arg(echo_server().get_program());
    Some(Server::start_as(limited, model.name(), &options))
}

/// The lines of a server's standard error as they come.
fn said_by(server: &mut Server) -> Receiver<String> {
    let (lines, said) = channel();
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    thread::spawn(move || {
        stderr
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| lines.send(line))
    });
    said
}
