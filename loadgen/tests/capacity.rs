// For loadgen/tests/capacity.rs, once the core runs open loops.

//! `loadgen capacity` against a server whose capacity has a known bound.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use record::Capacity;
use record::Limit;

/// One answer takes at least this long, and one is made at a time: no more than 500 a second.
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

#[test]
fn the_capacity_of_a_server_is_not_found_above_what_it_can_do() {
    let (output, found) = capacity(&["--slo", "p50<20ms", "--from", "100/s", "--to", "2k/s"]);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    let (low, high) = (found.low_per_s.unwrap(), found.high_per_s.unwrap());
    assert!(found.complete && found.limit == Limit::Server);
    // Half a second at 600/s leaves half of the messages waiting for more than 50 ms.
    assert!(low < 600.0, "{low} to {high}");
    assert!(low < high && high / low < 1.06, "{low} to {high}");
    assert_eq!((found.verified, found.of), (1, 1));
    let offered = found.trials.iter().map(|trial| trial.summary.offered_per_s);
    assert!(
        { offered }.all(|offered| offered.is_some()),
        "every trial is an open loop"
    );
}

#[test]
fn an_objective_that_no_rate_meets_exits_with_99() {
    let (output, found) = capacity(&["--slo", "max<=0s", "--from", "10/s"]);
    assert_eq!(output.status.code(), Some(99), "{found:?}");
    assert_eq!((found.low_per_s, found.limit), (None, Limit::Server));
}
