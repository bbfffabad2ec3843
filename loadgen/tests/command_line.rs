//! What `loadgen` prints and how it exits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An echo server in a thread, good enough to be loaded.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..length]);
                }
            });
        }
    });
    address
}

#[test]
fn text_says_what_a_person_wants_to_know() {
    let target = echo_server().to_string();
    let output = loadgen(&["run", &target, "-c", "3", "-d", "200ms", "--warmup", "50ms"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in [
        &target[..],
        "3 connections",
        "echoes",
        "p99",
        "3 answered",
        "none",
        "of CPU per echo",
    ] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}

#[test]
fn json_is_one_load_of_the_schema() {
    let target = echo_server().to_string();
    let output = loadgen(&[
        "run", &target, "-c", "3", "-d", "200ms", "--warmup", "50ms", "--format", "json",
    ]);
    let load: loadgen::record::Load = serde_json::from_slice(&output.stdout).unwrap();
    assert!(load.summary.valid && load.summary.echoes_per_s > 0.0);
    assert_eq!(load.target, target);
    let raw: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in [
        "echoes_per_s",
        "offered_per_s",
        "errors",
        "connections",
        "service_us",
        "cpu_us_per_echo",
        "valid",
        "reasons",
    ] {
        assert!(raw["summary"].get(name).is_some(), "scripts rely on {name}");
    }
    for name in ["p50", "p90", "p99", "p99_9", "max", "mean", "count"] {
        assert!(
            raw["summary"]["service_us"].get(name).is_some(),
            "scripts rely on {name}"
        );
    }
    assert!(
        raw["summary"]["response_us"].is_null(),
        "a closed loop has no response time"
    );
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let wrong: [(&[&str], &str); 15] = [
        (&["--cpus", "9999"], "choose from"),
        (&["--size", "0"], "is not a size"),
        (&["--size", "0B"], "0 bytes"),
        (&["--size", "1GiB"], "64MiB"),
        (&["-c", "0"], "at least 1"),
        (&["-c", "100000000"], "ulimit -n"),
        (&["-d", "10"], "is not a time"),
        (&["-d", "0s"], "duration"),
        (&["--threads", "65"], "at most as many threads"),
        (&["--warmup", "48h"], "24h"),
        (&["--format", "xml"], "json"),
        (&["--udp", "--size", "7B"], "from 8B"),
        (&["--udp", "--size", "64KiB"], "65507B"),
        (&["--udp", "--connect-timeout", "1s"], "--udp"),
        (&["--answer-timeout", "1s"], "--udp"),
    ];
    for (arguments, hint) in wrong {
        let output = loadgen(&[&["run", "127.0.0.1:7"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(hint),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn other_hosts_are_refused_without_permission() {
    let output = loadgen(&["run", "192.0.2.1:7007"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--allow-remote"), "{}", stderr(&output));
}

#[test]
fn nobody_listening_is_an_error() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let output = loadgen(&["run", &free, "-d", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is the server running"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_measurement_that_is_not_valid_exits_with_3_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = loadgen(&[
        "run",
        &listener.local_addr().unwrap().to_string(),
        "-d",
        "100ms",
        "--warmup",
        "0s",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("not valid") && text.contains("no message came back"),
        "{text}"
    );
}

#[test]
fn an_interrupt_prints_what_was_measured_and_exits_with_130() {
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "run",
            &echo_server().to_string(),
            "-c",
            "2",
            "-d",
            "60s",
            "--warmup",
            "0s",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(500));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("2 answered") && text.contains("interrupted: "),
        "{text}"
    );
}
