//! What the exit code of `loadgen run` says about a load.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use record::Load;

const FINE: i32 = 0;
const INVALID: i32 = 3;
const FAILED: i32 = 99;

/// An echo server; if `is_wrong`, it flips a bit of its first answer. The generator waits for that
/// answer before it begins the load, however busy the host is.
fn server(is_wrong: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let wrong = AtomicBool::new(is_wrong);
        thread::scope(|scope| {
            for mut stream in listener.incoming().flatten() {
                let wrong = &wrong;
                scope.spawn(move || {
                    let mut message = [0; 64];
                    while stream.read_exact(&mut message).is_ok() {
                        if wrong.swap(false, Ordering::SeqCst) {
                            message[0] ^= 1;
                        }
                        if stream.write_all(&message).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

fn run(target: SocketAddr, options: &[&str]) -> (i32, Load, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", &target.to_string(), "--format", "json"])
        .args(["-c", "2", "-d", "300ms", "--warmup", "50ms"])
        .args(options)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let load = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    (output.status.code().unwrap(), load, stderr)
}

/// A host that is busy with other things may make any load invalid.
#[test]
fn a_valid_load_ends_with_0_and_one_that_meets_a_condition_with_99() {
    for (options, valid) in [
        (&[][..], FINE),
        (&["--fail-on", "p50>1ns"], FAILED),
        (&["--fail-on", "p50>1h"], FINE),
    ] {
        let (code, load, stderr) = run(server(false), options);
        let expected = if load.summary.is_valid() { valid } else { INVALID };
        assert_eq!(code, expected, "{stderr}");
    }
}

/// An echo server that answers some messages on each connection and then none.
fn forgetful() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut message = [0; 64];
                for number in 0.. {
                    let is_answered = stream.read_exact(&mut message).is_ok()
                        && (number > 20 || stream.write_all(&message).is_ok());
                    if !is_answered {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn answers_that_stop_coming_fail_the_conditions_that_they_could_break() {
    for (condition, expected, described) in [
        ("max>100ms", FAILED, "max is at least"),
        ("unanswered>0", FAILED, "unanswered is 2"),
        ("max>1h", FAILED, "max is at least"),
        ("unanswered>2", FINE, ""),
        ("max<100ms", FINE, ""),
    ] {
        let options = ["--force", "--fail-on", condition];
        let (code, load, stderr) = run(forgetful(), &options);
        assert!(!load.summary.is_valid());
        assert_eq!(code, expected, "{condition}: {stderr}");
        assert!(stderr.contains(described), "{stderr}");
    }
}

#[test]
fn an_invalid_load_ends_with_3_unless_it_is_forced() {
    let condition = ["--fail-on", "p50>1ns"];
    for (options, expected) in [
        (vec![], INVALID),
        (condition.to_vec(), INVALID),
        (vec!["--force"], FINE),
        (["--force"].into_iter().chain(condition).collect(), FAILED),
    ] {
        let (code, load, stderr) = run(server(true), &options);
        assert!(!load.summary.is_valid());
        assert_eq!(code, expected, "{options:?}: {stderr}");
        assert_eq!(
            stderr.contains("failed: p50>1ns: "),
            options.contains(&"--fail-on"),
            "{stderr}"
        );
    }
}
