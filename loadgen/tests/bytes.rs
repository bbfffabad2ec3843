//! Bytes that are not UTF-8, in arguments, in the names of files and in the environment.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

/// Neither UTF-8 nor any other word that is understood.
const BAD: &[u8] = b"\xff=\xff";

fn bad() -> &'static OsStr {
    OsStr::from_bytes(BAD)
}

fn loadgen() -> Command {
    Command::new(env!("CARGO_BIN_EXE_loadgen"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An echo server in a thread.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(echo));
    address
}

fn echo(mut stream: impl Read + Write + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..length]);
        }
    });
}

/// The argument `file:PATH`.
fn sizes_in(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

#[test]
fn an_argument_that_is_not_utf_8_is_a_usage_error_that_names_it() {
    let target = OsStr::new("127.0.0.1:1");
    let table: [&[&OsStr]; 5] = [
        &["run".as_ref(), bad()],
        &["run".as_ref(), target, "--fail-on".as_ref(), bad()],
        &["run".as_ref(), target, "--rate".as_ref(), bad()],
        &[
            "run".as_ref(),
            target,
            "--hlog".as_ref(),
            "\u{e9}".as_ref(),
            "--cpus".as_ref(),
            bad(),
        ],
        &["capacity".as_ref(), target, "--slo".as_ref(), bad()],
    ];
    for arguments in table {
        let output = loadgen().args(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(r"\xFF=\xFF"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    // One of a few words can only be wrong.
    let output = loadgen()
        .args(["merge", "a", "b", "--format"])
        .arg(bad())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--format"), "{}", stderr(&output));
    // A size may be the name of a file, so this one is understood, and wrong.
    let output = loadgen()
        .arg("run")
        .arg(target)
        .arg("--size")
        .arg(bad())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--size"), "{}", stderr(&output));
}

#[test]
fn files_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &[u8]| folder.path().join(OsStr::from_bytes(&[name, BAD].concat()));
    let (sizes, log, distribution) = (named(b"sizes"), named(b"hlog"), named(b"hgrm"));
    fs::write(&sizes, "64B\n128B\n").unwrap();
    let run = || {
        let output = loadgen()
            .args([
                "run",
                &echo_server().to_string(),
                "-c",
                "2",
                "-d",
                "100ms",
                "--warmup",
                "0s",
            ])
            .args(["--force", "--format", "json", "--size"])
            .arg(sizes_in(&sizes))
            .arg("--hlog")
            .arg(&log)
            .arg("--hgrm")
            .arg(&distribution)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output.stdout
    };
    let load: serde_json::Value = serde_json::from_slice(&run()).unwrap();
    let recorded = load["plan"]["size"].as_str().unwrap();
    assert!(recorded.ends_with("sizes\u{fffd}=\u{fffd}"), "{recorded}");
    assert_eq!(load["listed_mean_bytes"], 96.0);
    assert!(fs::read_to_string(log).unwrap().contains("Histogram log format"));
    assert!(fs::read_to_string(distribution).unwrap().contains("Percentile"));

    let missing = named(b"missing");
    let output = loadgen()
        .arg("merge")
        .args([&missing, &missing])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("missing\u{fffd}"), "{}", stderr(&output));
}

#[test]
fn a_unix_socket_may_have_any_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(bad());
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(echo));
    let mut target = OsString::from("unix:");
    target.push(&path);
    let output = loadgen()
        .arg("run")
        .arg(target)
        .args([
            "-c", "2", "-d", "100ms", "--warmup", "0s", "--force", "--format", "json",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let load: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let recorded = load["target"].as_str().unwrap();
    assert!(
        recorded.starts_with("unix:/") && recorded.ends_with("\u{fffd}=\u{fffd}"),
        "{recorded}"
    );
}

#[test]
fn the_environment_may_have_any_bytes() {
    let mut command = loadgen();
    for name in [
        "COLUMNS",
        "NO_COLOR",
        "CLICOLOR",
        "TERM",
        "LANG",
        "RUST_BACKTRACE",
        "ECHOBENCH_MODELS",
    ] {
        command.env(name, bad());
    }
    let output = command
        .env(OsStr::from_bytes(b"\xff"), bad())
        .args([
            "run",
            &echo_server().to_string(),
            "-c",
            "2",
            "-d",
            "100ms",
            "--warmup",
            "0s",
            "--force",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(command.arg("--help").output().unwrap().status.success());
}
