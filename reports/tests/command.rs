//! The program `report`: its output, its errors and its exit codes.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use assert_cmd::Command;
use record::{CaseOutcome, Outcome, Record};
use support::{conformance, lines, models, run, trials};
use tempfile::TempDir;

fn report() -> Command {
    Command::new(env!("CARGO_BIN_EXE_report"))
}

/// A folder with the records of a small run.
fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let records = folder.path().join("results.jsonl");
    fs::write(
        &records,
        lines(&run(&models(), &[10], 2), &trials(&models(), &[10], 2)),
    )
    .unwrap();
    (folder, records)
}

fn stderr(command: &mut Command, code: i32) -> String {
    let output = command.assert().code(code).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_report_is_written_beside_its_records_and_passes_the_check() {
    let (folder, records) = folder();
    report().arg("html").arg(&records).assert().success();
    let page = folder.path().join("report.html");
    report().arg("check").arg(&page).arg(&records).assert().success();
    let changed = fs::read_to_string(&page)
        .unwrap()
        .replacen("data-low=\"", "data-low=\"9", 1);
    fs::write(&page, changed).unwrap();
    let message = stderr(report().arg("check").arg(&page).arg(&records), 1);
    assert!(message.contains("does not agree with"), "{message}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn records_with_an_incomplete_last_line_are_read() {
    let (_folder, records) = folder();
    let whole = fs::read_to_string(&records).unwrap();
    fs::write(&records, &whole[..whole.len() - 500]).unwrap();
    let output = report()
        .arg("text")
        .arg(&records)
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    assert!(String::from_utf8(output).unwrap().contains("10-connections"));
}

#[test]
fn json_is_one_document() {
    let (_folder, records) = folder();
    let output = report()
        .arg("json")
        .arg(&records)
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let json: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(
        json["scenarios"][0]["rows"].as_array().unwrap().len(),
        models().len()
    );
}

#[test]
fn conformance_outcomes_alone_have_a_report_that_passes_the_check() {
    let folder = TempDir::new().unwrap();
    let records = folder.path().join("results.jsonl");
    let evidence = || "7 of 20 were reset".into();
    let outcome = conformance(3, 2, |_, _| Some(CaseOutcome::Pass { evidence: evidence() }));
    let line = serde_json::to_string(&Record::Conformance(outcome)).unwrap();
    fs::write(&records, line + "\n").unwrap();
    report().arg("html").arg(&records).assert().success();
    let page = folder.path().join("report.html");
    report().arg("check").arg(&page).arg(&records).assert().success();
    for format in ["text", "json"] {
        let shown = report().arg(format).arg(&records).assert().success();
        let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
        assert!(
            shown.contains("server-3") && shown.contains("case number 2"),
            "{shown}"
        );
    }
}

#[test]
fn errors_name_the_file_and_a_remedy() {
    let (folder, records) = folder();
    let absent = folder.path().join("absent.jsonl");
    let message = stderr(report().arg("html").arg(&absent), 1);
    assert!(
        message.starts_with("report: cannot read")
            && message.contains("absent.jsonl")
            && message.contains("give"),
        "{message}"
    );
    let other = folder.path().join("other.jsonl");
    fs::write(&other, "{}\n").unwrap();
    assert!(stderr(report().arg("text").arg(&other), 1).contains("line 1 is not a record"));
    let overflown = fs::read_to_string(&records).unwrap().replacen(
        "\"echoes_per_s\":",
        "\"echoes_per_s\":1e999,\"x\":",
        1,
    );
    fs::write(&other, overflown).unwrap();
    assert!(stderr(report().arg("text").arg(&other), 1).contains("number out of range"));
    let nowhere = folder.path().join("no/such/folder.html");
    let message = stderr(report().arg("html").arg(&records).arg("-o").arg(nowhere), 1);
    assert!(message.contains("--output"), "{message}");
}

#[test]
fn the_examples_of_the_help_run() {
    let (folder, records) = folder();
    let latest = folder.path().join("target/echobench/latest");
    fs::create_dir_all(&latest).unwrap();
    fs::rename(records, latest.join("results.jsonl")).unwrap();
    let before = folder.path().join("before");
    fs::create_dir_all(&before).unwrap();
    let mut earlier = run(&models(), &[10], 2);
    earlier.seed += 1;
    fs::write(
        before.join("results.jsonl"),
        lines(&earlier, &trials(&models(), &[10], 2)),
    )
    .unwrap();
    let Outcome::Measured { load, .. } = trials(&models(), &[10], 1).remove(0).outcome else {
        panic!("it was measured")
    };
    fs::write(
        folder.path().join("load.json"),
        serde_json::to_vec_pretty(&load).unwrap(),
    )
    .unwrap();
    let help = report()
        .arg("--help")
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let help = String::from_utf8(help).unwrap();
    let examples: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  report "))
        .collect();
    assert!(examples.len() >= 3, "{help}");
    for example in examples {
        report()
            .args(example.split_whitespace())
            .current_dir(folder.path())
            .assert()
            .success();
    }
}

#[test]
fn wrong_usage_has_exit_code_two() {
    report().assert().code(2);
    report().arg("draw").assert().code(2);
    report().arg("html").assert().code(2);
}

#[test]
fn files_may_have_any_name_and_other_arguments_have_to_be_utf_8() {
    let (folder, records) = folder();
    let named = |name: &[u8]| folder.path().join(OsStr::from_bytes(&[name, b"\xff"].concat()));
    let (same, page) = (named(b"results"), named(b"page"));
    fs::rename(records, &same).unwrap();
    let written = report()
        .arg("html")
        .arg(&same)
        .arg("-o")
        .arg(&page)
        .assert()
        .success();
    let message = String::from_utf8(written.get_output().stderr.clone()).unwrap();
    assert!(message.contains("page\u{fffd}"), "{message}");
    report().arg("check").arg(&page).arg(&same).assert().success();
    let message = stderr(report().arg(OsStr::from_bytes(b"\xff")), 2);
    assert!(message.contains("unrecognized subcommand"), "{message}");
    let mut in_bytes = report();
    for name in ["COLUMNS", "NO_COLOR", "TERM", "RUST_BACKTRACE"] {
        in_bytes.env(name, OsStr::from_bytes(b"\xff"));
    }
    in_bytes
        .env(OsStr::from_bytes(b"\xff"), "")
        .arg("text")
        .arg(&same)
        .assert()
        .success();
}

#[test]
fn records_of_two_runs_and_blank_lines_are_told_apart() {
    let (_folder, records) = folder();
    let one = fs::read_to_string(&records).unwrap();
    fs::write(&records, format!("{one}\n\n")).unwrap();
    report().arg("text").arg(&records).assert().success();
    fs::write(&records, format!("{one}{one}")).unwrap();
    let message = stderr(report().arg("text").arg(&records), 1);
    let begins = format!("another run begin at line {}", one.lines().count() + 1);
    assert!(message.contains(&begins), "{message}");
}

#[test]
fn an_error_of_standard_output_names_it() {
    let (_folder, records) = folder();
    for format in ["text", "json"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_report"))
            .arg(format)
            .arg(&records)
            .stdout(full)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("standard output: No space left"), "{message}");
    }
}
