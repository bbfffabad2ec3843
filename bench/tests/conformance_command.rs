//! `echobench conformance` as a user runs it: its output, its files, and the report of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::proc::processes::family;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::{CaseDescription, CaseOutcome, CaseResult, Conformance, Host, Record, Records, SCHEMA_VERSION};
use servers::models::MODELS;
use tempfile::TempDir;

/// Turns a hang into a failure; far longer than anything takes on a busy host.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A folder that the program takes for the target folder of cargo, so that a test has its results
/// to itself. It contains the program.
struct Target(TempDir);

impl Target {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let target = Target(folder);
        fs::write(target.path("CACHEDIR.TAG"), "").unwrap();
        fs::create_dir(target.path("debug")).unwrap();
        let program = env!("CARGO_BIN_EXE_echobench");
        fs::hard_link(program, target.path("debug/echobench")).unwrap();
        target
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(self.path("debug/echobench"));
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }

    /// Leaves a complete outcome, in one record as older versions wrote it.
    fn keep(&self, outcome: &Conformance) {
        let line = serde_json::to_string(&Record::Conformance(outcome.clone())).unwrap();
        fs::create_dir_all(self.path("echobench/conformance")).unwrap();
        fs::write(self.path(COMPLETE), line + "\n").unwrap();
    }

    /// The records of a folder, after a check that its report agrees with them.
    fn records(&self, folder: &str) -> Records {
        let records = reports::read(&self.path(folder).join("results.jsonl")).unwrap();
        let page = self.text(&format!("{folder}/report.html"));
        assert_eq!(reports::check(&page, &records), Vec::<String>::new());
        records
    }
}

const COMPLETE: &str = "echobench/conformance/results.jsonl";
const PARTIAL: &str = "echobench/conformance/partial.jsonl";

/// The shortest run.
const SUITE: &str = r#"
name = "test"
blocks = 1
warmup = "20ms"
duration = "50ms"
servers = ["epoll"]

[[scenario]]
name = "only"
title = "The only load"
connections = 2
size = "64B"
"#;

/// An outcome whose evidence is easy to find.
fn outcome(started_at: &str, evidence: &str) -> Conformance {
    Conformance {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".into(),
        started_at: started_at.into(),
        host: Host::default(),
        full: true,
        seed: 1,
        cases: vec![CaseDescription {
            id: "C1".into(),
            name: "exact".into(),
            question: "Does every byte come back?".into(),
        }],
        results: vec![CaseResult {
            case: "C1".into(),
            model: "epoll".into(),
            outcome: CaseOutcome::Pass {
                evidence: evidence.into(),
            },
            seconds: 0.5,
        }],
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run ended normally: with 0, or with 3 if the host was too busy for a valid load.
fn expect_run(output: &Output) {
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(output));
}

fn names(outcome: &Conformance) -> Vec<(&str, &str)> {
    let results = outcome.results.iter();
    results
        .map(|result| (result.model.as_str(), result.case.as_str()))
        .collect()
}

#[test]
fn json_is_one_outcome_of_the_schema_in_the_order_of_the_servers() {
    let target = Target::new();
    let output = target.run(&[
        "conformance",
        "--model=fork,epoll,fork",
        "--case",
        "half-close,C24",
        "--full",
        "--format=json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // The schema follows from this type, so a value that survives the round trip matches it.
    let outcome: Conformance = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&outcome).unwrap(), json);
    let expected = [("fork", "C2"), ("fork", "C24"), ("epoll", "C2"), ("epoll", "C24")];
    assert_eq!(names(&outcome), expected);
    assert!(outcome.full && outcome.cases.len() == 2);
    assert!(outcome.results.iter().all(|result| result.seconds > 0.0));
}

#[test]
fn a_partial_run_does_not_replace_the_last_complete_outcome() {
    let target = Target::new();
    target.keep(&outcome("2026-01-01T00:00:00Z", "whole"));
    let before = target.text(COMPLETE);
    let output = target.run(&["conformance", "--models", "epoll", "--cases", "C2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("epoll ."), "{text}");
    assert!(stderr(&output).contains("partial.jsonl"), "{}", stderr(&output));
    assert_eq!(target.text(COMPLETE), before);
    let part = reports::read(&target.path(PARTIAL)).unwrap();
    assert_eq!(names(&part.conformance.unwrap()), [("epoll", "C2")]);
}

#[test]
fn an_output_folder_gets_the_records_and_the_report() {
    let target = Target::new();
    let arguments = ["conformance", "--model=epoll", "--case=C2", "--output=out"];
    let output = target.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let records = target.records("out");
    assert!(records.measured.is_none() && records.conformance.is_some());
    let again = target.run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is not empty"), "{}", stderr(&again));
}

#[test]
fn results_are_printed_even_if_they_cannot_be_stored() {
    let target = Target::new();
    // The server, which starts while the file of results exists, makes a folder with the name of
    // the report; then it is the harness's own server.
    let server = "own=env ECHOBENCH_REEXEC=server sh -c \
                  'mkdir -p out/report.html && exec debug/echobench epoll --listen 127.0.0.1:$0' {port}";
    let output = target.run(&["conformance", "--server", server, "--case=C2", "--output=out"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("report.html"), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("own ."), "{text}");
    assert_eq!(results_of(&target.path("out/partial.jsonl")), 1);
}

#[test]
fn wrong_names_are_usage_errors_with_a_suggestion() {
    let target = Target::new();
    let wrong: [(&[&str], &str); 5] = [
        (&["--case", "drian"], "did you mean `drain`?"),
        (&["--case", "C99"], "there is no case `C99`"),
        (&["--model", "epol"], "did you mean `epoll`?"),
        (&["--jobs", "0"], "--jobs"),
        (&["--format", "xml"], "markdown"),
    ];
    for (arguments, hint) in wrong {
        let output = target.run(&[&["conformance"], arguments].concat());
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
    }
    assert!(!target.path("echobench").exists(), "a run was started");
}

#[test]
fn ctrl_c_finishes_running_cases_and_keeps_their_results() {
    let target = Target::new();
    target.keep(&outcome("2026-01-01T00:00:00Z", "whole"));
    let before = target.text(COMPLETE);
    let harness = target.start(&["conformance", "--case=C2,C6,C13", "--jobs=2", "--format=json"]);
    let harness_id = Pid::from_raw(harness.id() as i32);
    let deadline = Instant::now() + TIMEOUT;
    let landed = || target.path(PARTIAL).exists() && results_of(&target.path(PARTIAL)) >= 2;
    while !landed() {
        assert!(Instant::now() < deadline, "no result is stored");
        thread::sleep(Duration::from_millis(5));
    }
    let family = family(harness_id);
    kill(harness_id, Signal::SIGINT).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let printed: Conformance = serde_json::from_slice(&output.stdout).unwrap();
    assert!(printed.results.len() >= 2 && printed.results.len() < 3 * MODELS.len());
    assert_eq!(results_of(&target.path(PARTIAL)), printed.results.len());
    assert_eq!(target.text(COMPLETE), before, "a partial run replaced it");
    let living = family.iter().filter(|pid| is_running(**pid)).count();
    assert_eq!(living, 0, "servers continue to run");
}

fn results_of(path: &Path) -> usize {
    reports::read(path).unwrap().conformance.unwrap().results.len()
}

fn is_running(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_run_copies_the_newest_complete_outcome_and_its_report_takes_a_newer_one() {
    let target = Target::new();
    fs::write(target.path("suite.toml"), SUITE).unwrap();
    expect_run(&target.run(&["run", "suite.toml", "--output=none"]));
    assert!(target.records("none").conformance.is_none());
    assert!(target.text("none/report.html").contains("echobench conformance"));

    target.keep(&outcome("2026-01-01T00:00:00Z", "older evidence"));
    expect_run(&target.run(&["run", "suite.toml", "--output=out"]));
    assert!(target.records("out").measured.is_some());
    assert!(target.text("out/report.html").contains("older evidence"));

    target.keep(&outcome("2026-01-02T00:00:00Z", "newer evidence"));
    // The cut-off line of a killed run does not corrupt the line that is added.
    let cut_off = target.text("out/results.jsonl") + "{\"kind\":\"tri";
    fs::write(target.path("out/results.jsonl"), cut_off).unwrap();
    for folder in ["out", "none"] {
        let output = target.run(&["report", folder]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(target.records(folder).measured.unwrap().trials.len(), 1);
        assert!(
            target
                .text(&format!("{folder}/report.html"))
                .contains("newer evidence")
        );
    }
    let once = target.text("out/results.jsonl");
    assert_eq!(target.run(&["report", "out"]).status.code(), Some(0));
    assert_eq!(
        target.text("out/results.jsonl"),
        once,
        "the same outcome was added twice"
    );
}

#[test]
fn an_invalid_outcome_is_reported_and_omitted() {
    let target = Target::new();
    let mut wrong = outcome("2026-01-01T00:00:00Z", "x");
    wrong.results[0].case = "C99".into();
    target.keep(&wrong);
    fs::write(target.path("suite.toml"), SUITE).unwrap();
    let output = target.run(&["run", "suite.toml", "--output=out"]);
    expect_run(&output);
    assert!(
        stderr(&output).contains("omits the conformance cases"),
        "{}",
        stderr(&output)
    );
    assert!(target.records("out").conformance.is_none());
}
