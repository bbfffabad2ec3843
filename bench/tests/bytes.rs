//! Bytes that are not UTF-8, in arguments, in the names of files and in the environment.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use record::Run;

/// Neither UTF-8 nor any other word that is understood.
const BAD: &[u8] = b"\xff=\xff";

fn bad() -> &'static OsStr {
    OsStr::from_bytes(BAD)
}

fn echobench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_echobench"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_usage(mut command: Command, named: &str) {
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {message}");
    assert!(message.contains(named), "{command:?}: {message}");
}

/// A suite that takes moments, in a file with such a name.
fn suite(folder: &Path) -> PathBuf {
    let path = folder.join(OsStr::from_bytes(&[b"suite", BAD].concat()));
    let text = "name = \"test\"\nblocks = 1\nwarmup = \"20ms\"\nduration = \"100ms\"\nservers = [\"epoll\"]\n\n\
                [[scenario]]\nname = \"only\"\ntitle = \"The only load\"\nconnections = 2\n";
    fs::write(&path, text).unwrap();
    path
}

fn run_in(folder: &Path) -> Run {
    let file = File::open(folder.join("results.jsonl")).unwrap();
    record::read(BufReader::new(file)).unwrap().measured.unwrap().run
}

#[test]
fn an_argument_that_is_not_utf_8_is_a_usage_error_that_names_it() {
    for option in [
        "--models", "--server", "--target", "--seed", "--margin", "--slice",
    ] {
        let mut command = echobench();
        command.arg("run").arg(option).arg(bad());
        assert_usage(command, r"\xFF=\xFF");
    }
    let mut command = echobench();
    let server = OsStr::from_bytes(b"mine=./\xff {port}");
    // The output folder may have such a name, so it is not the one to name.
    command
        .args(["run", "--output"])
        .arg(bad())
        .arg("--server")
        .arg(server);
    assert_usage(command, r#""mine=./\xFF {port}" is not UTF-8"#);
    for option in ["--model", "--case", "--seed"] {
        let mut command = echobench();
        command.arg("conformance").arg(option).arg(bad());
        assert_usage(command, r"\xFF=\xFF");
    }
}

#[test]
fn a_variable_of_echobench_that_is_not_utf_8_is_a_usage_error_that_names_it() {
    for option in [
        "MODELS",
        "SERVER",
        "TARGET",
        "BLOCKS",
        "BUDGET",
        "MARGIN",
        "P99_MARGIN",
        "DURATION",
        "WARMUP",
        "SLICE",
        "SEED",
    ] {
        let name = format!("ECHOBENCH_{option}");
        let mut command = echobench();
        // Not wrong, since it is the name of a folder.
        command
            .env("ECHOBENCH_OUTPUT", bad())
            .env(&name, bad())
            .arg("run");
        assert_usage(command, &format!(r#"{name} is not UTF-8: "\xFF=\xFF""#));
    }
    let mut command = echobench();
    command.env("ECHOBENCH_ALLOW_REMOTE", bad()).arg("run");
    assert_usage(command, "--allow-remote");
    let output = echobench()
        .env("ECHOBENCH_REEXEC", bad())
        .arg("list")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("ECHOBENCH_REEXEC"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_run_may_have_any_bytes_in_its_paths_and_in_variables_that_are_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(OsStr::from_bytes(&[b"out", BAD].concat()));
    let mut command = echobench();
    for name in [
        "COLUMNS",
        "NO_COLOR",
        "TERM",
        "RUST_BACKTRACE",
        "LANG",
        "FOREIGN",
        "ECHOBENCH_UNKNOWN",
    ] {
        command.env(name, bad());
    }
    command.env(OsStr::from_bytes(b"\xff"), bad());
    command
        .arg("run")
        .arg(suite(folder.path()))
        .arg("--output")
        .arg(&out);
    let output = command.output().unwrap();
    // Whether the load is valid depends on how busy this host is.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let recorded = run_in(&out).command;
    assert!(
        recorded.contains(&"ECHOBENCH_UNKNOWN=\u{fffd}=\u{fffd}".into()),
        "{recorded:?}"
    );
    let shown = |word: &String| word.ends_with("out\u{fffd}=\u{fffd}");
    assert!(recorded.iter().any(shown), "{recorded:?}");
    assert!(out.join("report.html").is_file());

    let output = echobench().arg("report").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
