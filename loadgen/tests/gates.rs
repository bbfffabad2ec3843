//! The gates, each by a fault that is made on purpose: the load must not be valid, and the
//! reason must name what was done to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::affinity;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use record::Load;

const INVALID: i32 = 3;
const FAILED: i32 = 99;

/// Loads until one shows a fault.
const ATTEMPTS: usize = 5;

/// Bytes in a message, where nothing else is asked for.
const MESSAGE: usize = 64;

/// Each fault alone.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An echo server with a thread for each connection, which reads so many bytes at most and
/// does something before it echoes them.
fn server(most: usize, before: impl Fn() + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let before = Arc::new(before);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let before = Arc::clone(&before);
            thread::spawn(move || {
                let mut buffer = vec![0; most];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    before();
                    if stream.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn good_server() -> SocketAddr {
    server(1 << 16, || ())
}

/// A server that takes a millisecond for a message, and does one at a time.
fn slow_server() -> SocketAddr {
    let busy = Mutex::new(());
    server(MESSAGE, move || {
        let _busy = busy.lock().unwrap();
        thread::sleep(Duration::from_millis(1));
    })
}

/// The command that loads a server.
fn load_of(target: SocketAddr, options: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .args(["run", &target.to_string(), "--format", "json"])
        .args(options.split_whitespace());
    command
}

/// The same in a shell, after something else.
fn after(what: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{what} exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

fn load(output: &Output) -> Load {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Runs a load until it is objected to in these words, since on a busy host one trouble hides
/// another; returns all that is said. Each time the exit code tells what the record does.
#[track_caller]
fn assert_objects(words: &str, mut command: impl FnMut() -> Command) -> Vec<String> {
    for _ in 0..ATTEMPTS {
        let output = command().output().unwrap();
        let summary = load(&output).summary;
        assert_eq!(
            output.status.code(),
            Some(if summary.is_valid() { 0 } else { INVALID })
        );
        assert_eq!(summary.is_valid(), summary.reasons().is_empty());
        if summary.reasons().iter().any(|reason| reason.contains(words)) {
            return summary.reasons();
        }
        println!("{:?}", summary.reasons());
    }
    panic!("`{words}` is not said");
}

#[test]
fn a_rate_that_the_server_cannot_keep_is_its_own() {
    let _alone = alone();
    let options = "--rate 5k/s -d 500ms --warmup 100ms -c 8";
    assert_objects("the server, or the path to it, did not keep up", || {
        load_of(slow_server(), options)
    });
    let forced = load_of(slow_server(), options).arg("--force").output().unwrap();
    assert_eq!(forced.status.code(), Some(0));
    assert!(!load(&forced).summary.is_valid());
}

/// Ends a process when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps a processor busy.
fn busy_loop(cpu: usize) -> Process {
    let process = Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
    let process = Process(process.unwrap());
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(process.0.id() as i32), &set).unwrap();
    process
}

/// A rate that takes more than a fifth of a processor.
const BUSY: &str = "--rate 20k/s -d 1s --warmup 200ms -c 50";

#[test]
fn a_generator_that_has_a_fifth_of_its_processor_says_so() {
    let _alone = alone();
    let cpu = affinity::allowed().unwrap()[0];
    let _others: Vec<_> = (0..4).map(|_| busy_loop(cpu)).collect();
    assert_objects("the generator was kept from running", || {
        let mut command = load_of(good_server(), BUSY);
        command.args(["--cpus", &cpu.to_string()]);
        command
    });
}

/// A control group whose processes together have a fifth of a processor.
struct Quota(PathBuf);

impl Quota {
    /// Makes one, as root; says why that cannot be.
    fn of_a_fifth() -> Result<Self, String> {
        let name = format!("loadgen-test-{}", std::process::id());
        let [v1, v2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&name));
        let (group, file, quota) = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => (v2, "cpu.max", "20000 100000"),
            false => (v1, "cpu.cfs_quota_us", "20000"),
        };
        std::fs::create_dir(&group).map_err(|error| format!("cannot make {}: {error}", group.display()))?;
        let group = Quota(group);
        let file = group.0.join(file);
        match std::fs::write(&file, quota) {
            Ok(()) => Ok(group),
            Err(error) => Err(format!("cannot write {}: {error}", file.display())),
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_generator_that_a_quota_holds_says_so() {
    let _alone = alone();
    let quota = match Quota::of_a_fifth() {
        Ok(quota) => quota,
        Err(reason) => return println!("skipped: {reason}"),
    };
    assert_objects("the generator was kept from running", || {
        let join = format!("echo $$ > {} &&", quota.0.join("cgroup.procs").display());
        after(&join, &load_of(good_server(), BUSY))
    });
}

#[test]
fn a_generator_that_never_sleeps_is_saturated_and_not_the_server() {
    let _alone = alone();
    let cpus = affinity::allowed().unwrap();
    let (ours, theirs) = (cpus[0], *cpus.last().unwrap());
    // The threads of the server inherit it.
    let address = thread::spawn(move || {
        affinity::pin(&[theirs]).unwrap();
        good_server()
    });
    let address = address.join().unwrap();
    for engine in ["epoll", "uring"] {
        let options = format!("--rate 2M/s -d 200ms --warmup 0s -c 10 --cpus {ours} --engine {engine}");
        let reasons = assert_objects("the generator fell behind", || load_of(address, &options));
        assert!(
            !reasons.iter().any(|reason| reason.contains("the server")),
            "{reasons:?}"
        );
    }
}

/// A server whose answers take longer and longer: from nothing to 50 ms after 2 s,
/// which is much even beside what a busy host adds.
fn tiring_server() -> SocketAddr {
    let begun = Instant::now();
    server(MESSAGE, move || thread::sleep(begun.elapsed() / 40))
}

#[test]
fn a_server_that_slows_down_is_not_in_a_steady_state() {
    let _alone = alone();
    // Twenty connections that take 50 ms at most are answered 400 times a second.
    for options in ["", "--rate 200/s"] {
        let options = format!("{options} -d 2s --warmup 50ms -c 20");
        assert_objects("not in a steady state", || load_of(tiring_server(), &options));
    }
}

#[test]
fn connections_that_find_no_descriptor_are_a_limit_of_this_side() {
    let _alone = alone();
    // Answers that take 100 ms, to 1,000 connections a second: 100 at a time.
    let target = server(MESSAGE, || thread::sleep(Duration::from_millis(100)));
    let load = load_of(target, "--connect-rate 1k/s -d 300ms --warmup 200ms");
    let words = "a limit of this side and not of the server";
    let reasons = assert_objects(words, || after("ulimit -n 100 &&", &load));
    let of_the_server = "the server, or the path to it, did not keep up";
    assert!(
        !reasons.iter().any(|reason| reason.contains(of_the_server)),
        "{reasons:?}"
    );
}

#[test]
fn a_condition_that_holds_fails_and_what_is_not_valid_is_graver() {
    let _alone = alone();
    let condition = ["--fail-on", "p50>1ns"];
    let quick = "-d 200ms --warmup 50ms -c 2";
    let failed = load_of(good_server(), quick).args(condition).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(FAILED), "{said}");
    assert!(load(&failed).summary.is_valid());
    assert!(said.contains("failed: p50>1ns: "), "{said}");

    let passed = load_of(good_server(), quick)
        .args(["--fail-on", "p50>1h"])
        .output()
        .unwrap();
    assert_eq!(passed.status.code(), Some(0));

    let slow = "--rate 5k/s -d 200ms --warmup 50ms -c 8";
    let invalid = load_of(slow_server(), slow).args(condition).output().unwrap();
    assert_eq!(invalid.status.code(), Some(INVALID));
    let forced = load_of(slow_server(), slow)
        .args(condition)
        .arg("--force")
        .output()
        .unwrap();
    assert_eq!(
        forced.status.code(),
        Some(FAILED),
        "with --force the condition counts"
    );
}
