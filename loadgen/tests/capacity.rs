//! `loadgen capacity` against a server whose capacity has a known upper bound.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use record::{Capacity, Limit};

/// The server makes one answer at a time, and each takes at least this long: at most 500 a second.
const ANSWER: Duration = Duration::from_millis(2);

fn slow_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let turn = Arc::new(Mutex::new(()));
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let turn = Arc::clone(&turn);
            thread::spawn(move || {
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() {
                    let _mine = turn.lock().unwrap();
                    thread::sleep(ANSWER);
                    let _ = stream.write_all(&message);
                }
            });
        }
    });
    address
}

fn capacity(arguments: &[&str]) -> (Output, Capacity) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["capacity", &slow_server().to_string(), "-c", "4", "--size", "64B"])
        .args([
            "-d", "500ms", "--warmup", "100ms", "--verify", "1", "--format", "json",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, found)
}

/// The exit code that belongs to a capacity. On a busy host the generator may be the limit.
fn exit_code(found: &Capacity) -> i32 {
    match (found.limit, found.low_per_s) {
        (Limit::Generator, _) => 3,
        (_, None) => 99,
        (_, Some(_)) => 0,
    }
}

#[test]
fn no_rate_above_what_the_server_can_do_is_found() {
    let (output, found) = capacity(&["--slo", "p50<20ms", "--from", "100/s", "--to", "2k/s"]);
    assert_eq!(output.status.code(), Some(exit_code(&found)));
    assert!(found.complete);
    for trial in &found.trials {
        assert!(
            trial.summary.offered_per_s.is_some(),
            "every trial is an open loop"
        );
        // Half a second at 600/s leaves half of the messages waiting for more than 50 ms.
        assert!(!trial.held || trial.rate_per_s < 600.0, "{trial:?}");
        assert_eq!(trial.held, trial.limit.is_none());
    }
    let held = { found.trials.iter() }.filter(|trial| trial.held);
    let highest = held.map(|trial| trial.rate_per_s).fold(0.0, f64::max);
    assert!(found.low_per_s.unwrap_or(0.0) <= highest, "above {highest}");
}

#[test]
fn an_objective_that_no_rate_meets_has_no_capacity() {
    let (output, found) = capacity(&["--slo", "max<=0s", "--from", "10/s"]);
    assert_eq!(output.status.code(), Some(exit_code(&found)));
    assert!(found.complete && found.low_per_s.is_none());
    assert!(found.trials.iter().all(|trial| !trial.held));
}
