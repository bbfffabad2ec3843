//! A load of the user by options: what it says before it measures, and what it measures.

mod support;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::Output;

use record::{Outcome, Run, Trial};

use support::echobench;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    echobench(&[&["run"], arguments].concat())
        .current_dir(folder)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Runs a load and reads what was recorded.
fn recorded(arguments: &[&str]) -> (Run, Vec<Trial>, String) {
    let folder = tempfile::tempdir().unwrap();
    let usual = [
        "--blocks",
        "1",
        "--warmup",
        "10ms",
        "--duration",
        "100ms",
        "--output",
        "out",
    ];
    let output = run(folder.path(), &[arguments, &usual].concat());
    let file = File::open(folder.path().join("out/results.jsonl"))
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let measured = record::read(BufReader::new(file)).unwrap().measured.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (measured.run, measured.trials, text)
}

#[test]
fn a_dry_run_says_what_it_would_do_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--connections", "50", "--work", "sleep:1ms", "--slo", "p99<10ms"];
    let servers = [
        "--models",
        "epoll,udp",
        "--server",
        "mine=sh -c {port}",
        "--dry-run",
    ];
    let text = stdout(&run(folder.path(), &[&options[..], &servers].concat()));
    for part in [
        "3 servers, 1 load",
        "50 connections, messages of 64 B, a handler that waits for 1ms",
        "to achieve: p99<10ms",
        "servers: epoll, udp and mine",
        "without mine: this load starts the servers with `--work sleep:1ms`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn the_suite_that_is_printed_means_the_same_load() {
    let folder = tempfile::tempdir().unwrap();
    let options = [
        "--connections",
        "500",
        "--active",
        "10%",
        "--rate",
        "20k/s",
        "--work",
        "cpu:50us",
        "--slo",
        "p99<5ms",
        "--server-options",
        "--workers 8",
        "--models",
        "pool,tokio",
        "--blocks",
        "3",
        "--duration",
        "2s",
    ];
    let dumped = stdout(&run(folder.path(), &[&options[..], &["--dump-suite"]].concat()));
    assert_eq!(names(folder.path()), [""; 0]);
    fs::write(folder.path().join("mine.toml"), dumped).unwrap();
    let preview = |arguments: &[&str]| stdout(&run(folder.path(), &[arguments, &["--dry-run"]].concat()));
    assert_eq!(preview(&["mine.toml"]), preview(&options));
}

#[test]
fn the_handlers_of_the_models_do_the_work() {
    let (run, trials, text) = recorded(&[
        "--connections",
        "4",
        "--work",
        "sleep:3ms",
        "--slo",
        "p50>3ms",
        "--slo",
        "p50<2ms",
        "--models",
        "thread",
        "--server",
        "mine=sh -c {port}",
    ]);
    let scenario = &run.scenarios[0];
    assert_eq!(scenario.setup.work.as_deref(), Some("sleep:3ms"));
    assert_eq!(scenario.objectives.len(), 2);
    for trial in &trials {
        match &trial.outcome {
            Outcome::Measured { load, .. } => {
                let p50 = load.summary.latencies.main().unwrap().p50.unwrap();
                assert!(p50 >= 3000.0, "{p50} us is shorter than the work");
            }
            Outcome::Skipped { reason } => {
                assert_eq!(trial.server, "mine");
                assert!(reason.contains("only the models take"), "{reason}");
            }
            outcome => panic!("{}: {outcome:?}", trial.server),
        }
    }
    assert_eq!(trials.len(), 2);
    assert!(
        text.contains("No server achieves p50>3ms and p50<2ms in every block."),
        "{text}"
    );
}

#[test]
fn a_model_that_does_not_take_an_option_is_skipped() {
    let options = [
        "--connections",
        "2",
        "--server-options",
        "--workers 3",
        "--models",
        "epoll,pool",
    ];
    let (run, trials, _) = recorded(&options);
    assert_eq!(run.scenarios[0].setup.options, ["--workers", "3"]);
    let outcome = |server: &str| {
        &trials
            .iter()
            .find(|trial| trial.server == server)
            .unwrap()
            .outcome
    };
    let Outcome::Skipped { reason } = outcome("epoll") else {
        panic!("{:?}", outcome("epoll"));
    };
    assert!(reason.contains("omit --workers"), "{reason}");
    assert!(
        matches!(outcome("pool"), Outcome::Measured { .. }),
        "{:?}",
        outcome("pool")
    );
}

#[test]
fn contradictions_are_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["quick", "--connections", "5"][..], "a suite has its own loads"),
        (&["--active", "0%"], "`active`"),
        (&["--idle", "5", "--active", "50%"], "give one of them"),
        (&["--slo", "p99=5ms"], "is not a condition"),
        (&["--work", "nap:5ms"], "`work`"),
        (&["--server-options", "--nonsense"], "no model takes"),
        (&["--rate", "5"], "is not a rate"),
        (&["--depth", "4", "--rate", "1k/s"], "cannot be run"),
        (&["no-such-suite"], "built in are `quick`, `standard`"),
    ] {
        let output = run(folder.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(part),
            "{arguments:?}: {text}"
        );
    }
    assert_eq!(names(folder.path()), [""; 0]);
}
