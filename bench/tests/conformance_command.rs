//! `echobench conformance` as its user meets it: what it prints, what it keeps, and what
//! becomes of it in the report of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::proc::processes::family;
use loadgen::record::{
    CaseDescription, CaseOutcome, CaseResult, Conformance, Host, Record, Records, SCHEMA_VERSION,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::models::MODELS;
use tempfile::TempDir;

/// Far longer than anything takes: whoever waits for this has found a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that the program takes for cargo's, with the program in it, so that a test has
/// its results for itself.
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

    /// Leaves there what a run of every case on every model leaves.
    fn keep(&self, outcome: &Conformance) {
        let line = serde_json::to_string(&Record::Conformance(outcome.clone())).unwrap();
        fs::create_dir_all(self.path("echobench/conformance")).unwrap();
        fs::write(self.path(COMPLETE), line + "\n").unwrap();
    }

    /// The records of a run, with which its report must agree.
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

/// An outcome whose evidence is a word that can be looked for.
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

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(outcome: &Conformance) -> Vec<(&str, &str)> {
    let results = outcome.results.iter();
    results
        .map(|result| (result.model.as_str(), result.case.as_str()))
        .collect()
}

#[test]
fn json_is_one_outcome_of_the_schema_server_by_server() {
    let target = Target::new();
    let output = target.run(&[
        "conformance",
        "--model=fork,epoll,fork",
        "--case",
        "half-close,C24",
        "--full",
        "--format=json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // The schema is made of this type: what survives the way there and back is of it.
    let outcome: Conformance = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&outcome).unwrap(), json);
    let expected = [("fork", "C2"), ("fork", "C24"), ("epoll", "C2"), ("epoll", "C24")];
    assert_eq!(names(&outcome), expected);
    assert!(outcome.full && outcome.cases.len() == 2);
    assert!(outcome.results.iter().all(|result| result.seconds > 0.0));
}

#[test]
fn a_part_is_kept_beside_the_last_complete_outcome_and_not_in_its_place() {
    let target = Target::new();
    target.keep(&outcome("2026-01-01T00:00:00Z", "whole"));
    let before = target.text(COMPLETE);
    let output = target.run(&["conformance", "--models", "epoll", "--cases", "C2"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("epoll ."), "{text}");
    assert!(said(&output).contains("partial.jsonl"), "{}", said(&output));
    assert_eq!(target.text(COMPLETE), before);
    let part = reports::read(&target.path(PARTIAL)).unwrap();
    assert_eq!(names(&part.conformance.unwrap()), [("epoll", "C2")]);
}

#[test]
fn a_folder_of_its_own_gets_the_records_and_the_report() {
    let target = Target::new();
    let arguments = ["conformance", "--model=epoll", "--case=C2", "--output=out"];
    let output = target.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let records = target.records("out");
    assert!(records.measured.is_none() && records.conformance.is_some());
    let again = target.run(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("is not empty"), "{}", said(&again));
}

#[test]
fn what_cannot_be_kept_is_printed_all_the_same() {
    let target = Target::new();
    let harness = target.start(&["conformance", "--model=epoll", "--case=C2", "--output=out"]);
    let deadline = Instant::now() + PATIENCE;
    while !target.path("out/partial.jsonl").exists() {
        assert!(Instant::now() < deadline, "nothing is kept");
        thread::sleep(Duration::from_millis(5));
    }
    // In the place of the report, which then cannot be written.
    fs::create_dir(target.path("out/report.html")).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("report.html"), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("epoll ."), "{text}");
    assert_eq!(results_of(&target.path("out/partial.jsonl")), 1);
}

#[test]
fn wrong_names_are_usage_and_get_the_nearest() {
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
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{arguments:?}: {}", said(&output));
    }
    assert!(!target.path("echobench").exists(), "nothing was begun");
}

#[test]
fn ctrl_c_finishes_what_runs_and_keeps_what_there_is() {
    let target = Target::new();
    target.keep(&outcome("2026-01-01T00:00:00Z", "whole"));
    let before = target.text(COMPLETE);
    let harness = target.start(&["conformance", "--case=C2,C6,C13", "--jobs=2", "--format=json"]);
    let harness_id = Pid::from_raw(harness.id() as i32);
    let deadline = Instant::now() + PATIENCE;
    let landed = || target.path(PARTIAL).exists() && results_of(&target.path(PARTIAL)) >= 2;
    while !landed() {
        assert!(Instant::now() < deadline, "no result is kept");
        thread::sleep(Duration::from_millis(5));
    }
    let family = family(harness_id);
    kill(harness_id, Signal::SIGINT).unwrap();
    let output = harness.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let printed: Conformance = serde_json::from_slice(&output.stdout).unwrap();
    assert!(printed.results.len() >= 2 && printed.results.len() < 3 * MODELS.len());
    assert_eq!(results_of(&target.path(PARTIAL)), printed.results.len());
    assert_eq!(target.text(COMPLETE), before, "it was not complete");
    let living = family.iter().filter(|pid| is_running(**pid)).count();
    assert_eq!(living, 0, "the servers go on");
}

fn results_of(path: &Path) -> usize {
    reports::read(path).unwrap().conformance.unwrap().results.len()
}

fn is_running(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_run_copies_the_newest_complete_outcome_and_its_report_follows_a_newer_one() {
    let target = Target::new();
    fs::write(target.path("suite.toml"), SUITE).unwrap();
    let output = target.run(&["run", "suite.toml", "--output=none"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(target.records("none").conformance.is_none());
    assert!(target.text("none/report.html").contains("echobench conformance"));

    target.keep(&outcome("2026-01-01T00:00:00Z", "older evidence"));
    let output = target.run(&["run", "suite.toml", "--output=out"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(target.records("out").measured.is_some());
    assert!(target.text("out/report.html").contains("older evidence"));

    target.keep(&outcome("2026-01-02T00:00:00Z", "newer evidence"));
    // A line that was cut off when a run was killed does not spoil the one that is added.
    let cut_off = target.text("out/results.jsonl") + "{\"kind\":\"tri";
    fs::write(target.path("out/results.jsonl"), cut_off).unwrap();
    for folder in ["out", "none"] {
        let output = target.run(&["report", folder]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
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
        "the same is not added twice"
    );
}

#[test]
fn an_outcome_that_cannot_be_right_is_said_and_left_out() {
    let target = Target::new();
    let mut wrong = outcome("2026-01-01T00:00:00Z", "x");
    wrong.results[0].case = "C99".into();
    target.keep(&wrong);
    fs::write(target.path("suite.toml"), SUITE).unwrap();
    let output = target.run(&["run", "suite.toml", "--output=out"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("without the conformance cases"),
        "{}",
        said(&output)
    );
    assert!(target.records("out").conformance.is_none());
}
