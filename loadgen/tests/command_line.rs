//! What `loadgen` prints and how it exits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The echoes of each connection of a server, in the order of accepting.
#[derive(Clone, Default)]
struct Echoes(Arc<Mutex<Vec<u64>>>);

impl Echoes {
    /// Waits until that many connections have that many echoes each.
    fn wait_for(&self, connections: usize, echoes: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let busy = |counts: &[u64]| counts.iter().filter(|&&count| count >= echoes).count();
        while busy(&self.0.lock().unwrap()) < connections {
            assert!(Instant::now() < deadline, "the load does not begin");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// An echo server in a thread.
fn echo_server() -> SocketAddr {
    counting_server(Echoes::default())
}

fn counting_server(echoes: Echoes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, mut stream) in listener.incoming().flatten().enumerate() {
            echoes.0.lock().unwrap().push(0);
            let echoes = echoes.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..length]);
                    echoes.0.lock().unwrap()[number] += 1;
                }
            });
        }
    });
    address
}

/// Starts `loadgen` for a test that interrupts it.
fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: Child) -> Output {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn text_has_the_load_its_numbers_and_the_state_of_the_connections() {
    let target = echo_server().to_string();
    let output = loadgen(&[
        "run", &target, "-c", "3", "-d", "1s", "--warmup", "50ms", "--force",
    ]);
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
    let echoes = Echoes::default();
    let target = counting_server(echoes.clone()).to_string();
    let child = start(&[
        "run", &target, "-c", "3", "-d", "300s", "--warmup", "0s", "--format", "json",
    ]);
    // Each connection has one echo before the window.
    echoes.wait_for(3, 100);
    let output = interrupt(child);
    let load: record::Load = serde_json::from_slice(&output.stdout).unwrap();
    assert!(load.summary.echoes_per_s > 0.0);
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
fn invalid_arguments_and_plans_are_usage_errors() {
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
fn a_target_without_a_server_is_an_error() {
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

/// A server that ends each connection after two answers.
fn curt_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut message = [0; 64];
                for _ in 0..2 {
                    let _ = stream.read_exact(&mut message);
                    let _ = stream.write_all(&message);
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_ends_every_connection_in_the_warm_up_is_an_error_and_no_result() {
    let target = curt_server().to_string();
    let commands: [&[&str]; 2] = [&["run", &target], &["capacity", &target, "--slo", "p99<1s"]];
    for command in commands {
        let output = loadgen(&[command, &["-c", "2", "--warmup", "60s"]].concat());
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {stderr}");
        assert!(
            stderr.contains("ended all of 2 connections during the warm-up, after"),
            "{stderr}"
        );
        assert!(output.stdout.is_empty(), "{command:?}");
    }
}

#[test]
fn connecting_that_takes_long_shows_how_far_it_is_and_ends_with_the_reason() {
    // It has room for one or two connections, and never accepts.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let target = listener.local_addr().unwrap().to_string();
    let output = loadgen(&["run", &target, "-c", "300", "--connect-timeout", "2s"]);
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    let progress = stderr.lines().next().unwrap();
    assert!(progress.contains(" of 300 connections open, "), "{stderr}");
    let reason = stderr.lines().last().unwrap();
    for words in [
        "of 300 connections to",
        "after 2s 300ms",
        "not tried",
        "--connect-timeout",
    ] {
        assert!(reason.contains(words), "{words}: {stderr}");
    }
}

#[test]
fn an_invalid_measurement_exits_with_3_and_the_reason() {
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
fn force_accepts_an_invalid_measurement_and_keeps_the_reason() {
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
fn a_condition_that_holds_or_cannot_be_decided_exits_with_99_and_the_value() {
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
            "--force",
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

/// Exports the latencies of a short run.
fn export(log: &str, distribution: &str) -> Output {
    let target = echo_server().to_string();
    let run = [
        "run", &target, "-c", "3", "-d", "200ms", "--warmup", "0s", "--force",
    ];
    let exports = ["--hlog", log, "--hgrm", distribution];
    let output = loadgen(&[&run[..], &exports].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

#[test]
fn exported_latencies_replace_the_content_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let [log, distribution] = ["a.hlog", "a.hgrm"].map(|name| folder.path().join(name));
    std::fs::write(&log, "old ".repeat(100_000)).unwrap();
    export(log.to_str().unwrap(), distribution.to_str().unwrap());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("Histogram log format") && !log.contains("old "),
        "{log}"
    );
    let distribution = std::fs::read_to_string(distribution).unwrap();
    assert!(distribution.contains("Percentile"), "{distribution}");
}

#[test]
fn latencies_can_be_exported_into_a_pipe_and_a_device() {
    let output = export("/dev/null", "/dev/stderr");
    assert!(
        stderr(&output).contains("1/(1-Percentile)"),
        "{}",
        stderr(&output)
    );
}

/// Asserts that a run ends with this code and reason, before there is a connection.
fn assert_refused(arguments: &[&str], code: i32, reason: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let output = loadgen(&[&["run", target.as_str()], arguments].concat());
    assert_eq!(output.status.code(), Some(code));
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    assert!(listener.accept().is_err(), "there was a connection");
}

#[test]
fn two_exports_into_one_file_are_an_error_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("one", folder.path().join("other")).unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name).display().to_string());
    assert_refused(&["--hlog", &one, "--hgrm", &other], 2, "the same file");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_the_run() {
    assert_refused(&["--hlog", "/nowhere/a.hlog"], 1, "/nowhere/a.hlog");
}

#[test]
fn progress_is_not_drawn_unless_standard_error_is_a_terminal() {
    let target = echo_server().to_string();
    let output = loadgen(&[
        "run", &target, "-c", "1", "-d", "300ms", "--warmup", "0s", "--force",
    ]);
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_interrupted_load_is_printed_and_exits_with_130() {
    let echoes = Echoes::default();
    let target = counting_server(echoes.clone()).to_string();
    let child = start(&["run", &target, "-c", "2", "-d", "300s", "--warmup", "0s"]);
    // Each connection has one echo before the window.
    echoes.wait_for(2, 100);
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("2 answered") && text.contains("interrupted: "),
        "{text}"
    );
}

#[test]
fn an_invalid_search_is_a_usage_error() {
    let wrong: [(&[&str], &str); 11] = [
        (&[], "--slo"),
        (
            &["--slo", "p99<1ms", "--depth", "2"],
            "each trial is an open loop",
        ),
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
fn a_search_announces_its_time_and_needs_a_server() {
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
fn an_interrupted_search_prints_its_result_and_exits_with_130() {
    let echoes = Echoes::default();
    let target = counting_server(echoes.clone()).to_string();
    let search = ["capacity", &target, "-c", "2", "--slo", "max<1h"];
    let child = start(&[&search[..], &["-d", "300s", "--format", "json"]].concat());
    echoes.wait_for(1, 1);
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(130));
    let found: record::Capacity = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!found.complete && found.trials.is_empty(), "{found:?}");
    assert_eq!(found.objectives, ["max<1h"]);
}
