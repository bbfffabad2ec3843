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
    let load: record::Load = serde_json::from_slice(&output.stdout).unwrap();
    assert!(load.summary.is_valid() && load.summary.echoes_per_s > 0.0);
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
    let wrong: [(&[&str], &str); 30] = [
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
        (&["--udp", "--connect-timeout", "1s"], "cannot be used with `udp`"),
        (&["--answer-timeout", "1s"], "needs `udp`"),
        (&["--rate", "50k"], "is not a rate"),
        (&["--rate", "1G/s"], "is not a rate"),
        (
            &["--rate", "1k/s", "--stages", "1s@1k/s"],
            "`rate` cannot be used with `stages`",
        ),
        (&["--rate", "0.01/s"], "raise it, or run for longer"),
        (&["--stages", "1s"], "is not a stage"),
        (
            &["--connect-rate", "5/s", "-c", "5"],
            "cannot be used with `connections`",
        ),
        (&["--arrivals", "poisson"], "give `rate`"),
        (&["--depth", "0"], "from 1 to"),
        (&["--messages-per-connection", "0"], "at least 1"),
        (&["--udp", "--depth", "2"], "one message in flight"),
        (&["--udp", "--connect-rate", "5/s"], "cannot be used with `udp`"),
        (&["--size", "file:/nowhere/sizes"], "cannot read"),
        (&["--source", "192.0.2.1"], "must be an address of this host"),
        (&["--source", "::1"], "family"),
        (&["--fail-on", "p98>1ms"], "is not a metric"),
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
fn force_lets_a_measurement_count_that_is_not_valid_and_still_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let silent = [
        "run", &target, "-d", "100ms", "--warmup", "0s", "--format", "json",
    ];
    let plain = loadgen(&silent);
    assert_eq!(plain.status.code(), Some(3));
    assert!(stderr(&plain).contains("--force"), "{}", stderr(&plain));
    let forced = loadgen(&[&silent[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0), "{}", stderr(&forced));
    let load: record::Load = serde_json::from_slice(&forced.stdout).unwrap();
    assert!(!load.summary.is_valid() && !load.summary.reasons().is_empty());
}

#[test]
fn a_condition_that_holds_or_cannot_be_told_exits_with_99_and_says_what_was_seen() {
    let target = echo_server().to_string();
    let run = |condition| {
        let short = [
            "run",
            &target,
            "-c",
            "3",
            "-d",
            "200ms",
            "--warmup",
            "0s",
            "--fail-on",
        ];
        loadgen(&[&short[..], &[condition]].concat())
    };
    let fine = run("errors>0");
    assert_eq!(fine.status.code(), Some(0), "{}", stderr(&fine));
    assert_eq!(stderr(&fine), "");
    let slow = run("p50>1ns");
    assert_eq!(slow.status.code(), Some(99));
    assert!(
        stderr(&slow).contains("failed: p50>1ns: p50 is "),
        "{}",
        stderr(&slow)
    );
    let unknown = run("response.p99>1h");
    assert_eq!(unknown.status.code(), Some(99));
    assert!(
        stderr(&unknown).contains("was not measured"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn the_latencies_are_exported_over_what_the_files_held() {
    let folder = tempfile::tempdir().unwrap();
    let [log, distribution] = ["a.hlog", "a.hgrm"].map(|name| folder.path().join(name));
    std::fs::write(&log, "old ".repeat(100_000)).unwrap();
    let target = echo_server().to_string();
    let output = loadgen(&[
        "run",
        &target,
        "-c",
        "3",
        "-d",
        "200ms",
        "--warmup",
        "0s",
        "--hlog",
        log.to_str().unwrap(),
        "--hgrm",
        distribution.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("Histogram log format") && !log.contains("old "),
        "{log}"
    );
    let distribution = std::fs::read_to_string(distribution).unwrap();
    assert!(distribution.contains("Percentile"), "{distribution}");
}

#[test]
fn a_file_that_cannot_be_written_costs_no_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let output = loadgen(&["run", &target, "--hlog", "/nowhere/a.hlog"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nowhere/a.hlog"), "{}", stderr(&output));
    assert!(listener.accept().is_err(), "nobody connected");
}

#[test]
fn nothing_is_drawn_where_standard_error_is_no_terminal() {
    let target = echo_server().to_string();
    let output = loadgen(&["run", &target, "-c", "1", "-d", "300ms", "--warmup", "0s"]);
    assert_eq!(stderr(&output), "");
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

#[test]
fn a_search_that_makes_no_sense_is_a_usage_error() {
    let wrong: [(&[&str], &str); 10] = [
        (&[], "--slo"),
        (&["--slo", "p99"], "p99<1ms"),
        (&["--slo", "p98<1ms"], "p99.9"),
        (&["--slo", "p99<1"], "is not a time"),
        (&["--slo", "p99>1ms"], "upper bound"),
        (&["--slo", "rate<=1k/s"], "the search chooses the rate"),
        (
            &["--slo", "p99<1ms", "--from", "2k/s", "--to", "1k/s"],
            "raise --to",
        ),
        (
            &["--slo", "p99.9<1ms", "--to", "2k/s", "-d", "1s"],
            "10000: raise --to or --duration",
        ),
        (&["--slo", "p99<1ms", "--to", "200M/s"], "at most 10M/s"),
        (&["--slo", "p99<1ms", "--verify", "0"], "1..=1000"),
    ];
    for (arguments, hint) in wrong {
        let output = loadgen(&[&["capacity", "127.0.0.1:7"], arguments].concat());
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
fn a_search_says_how_long_it_takes_and_needs_a_server() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let output = loadgen(&["capacity", &free, "--slo", "p99.9<1ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    for hint in ["is the server running", "at most about", "begins at 3.00k/s"] {
        assert!(stderr(&output).contains(hint), "{hint}: {}", stderr(&output));
    }
}

#[test]
fn an_interrupted_search_prints_what_was_found_and_exits_with_130() {
    let child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["capacity", &echo_server().to_string(), "-c", "2"])
        .args(["--slo", "max<1h", "-d", "60s", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(500));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let found: record::Capacity = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!found.complete && found.trials.is_empty(), "{found:?}");
    assert_eq!(found.objectives, ["max<1h"]);
}
