//! `echobench doctor`, and what a run says of its host.
//!
//! What a host has is its own matter: tests ask for what no host can give, or take it away themselves.

use std::fs::{self, File};
use std::io::BufReader;
use std::process::{Command, Output, Stdio};

use record::{HostCheck, HostChecks, HostState};

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn doctor(arguments: &[&str]) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_echobench"))
        .arg("doctor")
        .args(arguments))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn checks(output: &Output) -> Vec<HostCheck> {
    let checks: HostChecks = serde_json::from_slice(&output.stdout).unwrap();
    checks.checks
}

#[test]
fn the_exit_code_says_whether_anything_is_in_the_way() {
    let output = doctor(&["--models", "epoll", "--connections", "1", "--format", "json"]);
    let checks = checks(&output);
    let in_the_way = checks.iter().any(|check| check.state.is_in_the_way());
    assert_eq!(
        output.status.code(),
        Some(if in_the_way { 3 } else { 0 }),
        "{checks:?}"
    );
    assert!(checks.is_sorted_by_key(|check| check.state), "the worst first");
    for check in &checks {
        let texts = [
            &check.name,
            &check.found,
            &check.read_from,
            &check.why,
            &check.affects,
        ];
        assert!(texts.iter().all(|text| !text.is_empty()), "{check:?}");
    }
}

#[test]
fn more_connections_than_there_are_ports_are_in_the_way_of_any_host() {
    let output = doctor(&["--models", "epoll", "--connections", "100000"]);
    assert_eq!(output.status.code(), Some(3));
    let shown = text(&output.stdout);
    let ports = { shown.lines() }.position(|line| line.starts_with("stops      ephemeral ports: "));
    let lines: Vec<&str> = shown
        .lines()
        .skip(ports.expect(&shown))
        .take(5)
        .map(str::trim)
        .collect();
    assert!(lines[0].ends_with("ports for 100,000 connections"), "{shown}");
    assert!(
        lines[1].starts_with("read from: /proc/sys/net/ipv4/ip_local_port_range"),
        "{shown}"
    );
    assert!(
        lines[2].starts_with("why: ") && lines[3].starts_with("affects: "),
        "{shown}"
    );
    assert!(lines[4].starts_with("mend: sysctl -w"), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("In the way of a measurement: "), "{shown}");
}

#[test]
fn a_suite_decides_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let suite = folder.path().join("suite.toml");
    let text = "name = \"test\"\nblocks = 1\nwarmup = \"50ms\"\nduration = \"1s\"\nservers = [\"udp\"]\n\n\
                [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 100000\nsize = \"64B\"\n";
    fs::write(&suite, text).unwrap();
    let suite = suite.to_str().unwrap();
    let state = |arguments: &[&str], name: &str| {
        let all = checks(&doctor(&[arguments, &["--format", "json"]].concat()));
        let check = all.into_iter().find(|check| check.name == name).unwrap();
        (check.state, check.found)
    };
    assert_eq!(state(&[suite], "ephemeral ports").0, HostState::Stops);
    assert_eq!(
        state(&[suite, "--connections", "1"], "ephemeral ports").0,
        HostState::Good
    );
    assert!(state(&[suite], "models").1.starts_with("1 model can run here"));
    // One that is built in has a name.
    let built_in = &["standard", "--connections", "1"];
    assert_eq!(state(built_in, "ephemeral ports").0, HostState::Good);
}

#[test]
fn bad_arguments_are_named() {
    let table: [(&[&str], i32, &str); 4] = [
        (&["--models", "epol"], 2, "did you mean `epoll`?"),
        (&["--connections", "0"], 2, "0 is not in 1..=10000000"),
        (&["--format", "csv"], 2, "possible values: text, json"),
        (
            &["no-such-suite.toml"],
            1,
            "cannot read the suite no-such-suite.toml",
        ),
    ];
    for (arguments, code, message) in table {
        let output = doctor(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(message),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_run_says_and_records_what_of_its_host_concerns_it() {
    let folder = tempfile::tempdir().unwrap();
    let (suite, out) = (folder.path().join("suite.toml"), folder.path().join("out"));
    let text_of_suite = "name = \"test\"\nblocks = 1\nwarmup = \"50ms\"\nduration = \"100ms\"\nservers = [\"splice\"]\n\n\
                         [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 40\nsize = \"64B\"\n";
    fs::write(&suite, text_of_suite).unwrap();
    // Enough for what is measured, and less than the margin for 40 connections with three descriptors each.
    let command = "ulimit -n 180 && exec \"$@\"";
    let output = run(Command::new("sh")
        .args(["-c", command, "sh", env!("CARGO_BIN_EXE_echobench"), "run"])
        .arg(&suite)
        .arg("--output")
        .arg(&out));
    let shown = text(&output.stderr);
    let records = record::read(BufReader::new(File::open(out.join("results.jsonl")).unwrap())).unwrap();
    let checks = records.measured.expect(&shown).run.host_checks;
    let descriptors = checks
        .iter()
        .find(|check| check.name == "open descriptors")
        .unwrap();
    assert_eq!(descriptors.state, HostState::Stops);
    assert!(
        descriptors.found.contains("too few for 40 connections to splice"),
        "{descriptors:?}"
    );
    for check in checks.iter().filter(|check| check.state.is_in_the_way()) {
        let line = format!("this host {}: {}: ", check.state.word(), check.name);
        assert_eq!(
            shown.lines().filter(|shown| shown.starts_with(&line)).count(),
            1,
            "{shown}"
        );
    }
    for name in ["performance counters", "other load"] {
        assert!(
            !checks.iter().any(|check| check.name == name),
            "{name} is not of a run"
        );
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        page.contains("too few for 40 connections to splice"),
        "the report draws it from the record"
    );
}
