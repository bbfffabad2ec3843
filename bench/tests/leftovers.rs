//! Nothing is left behind however the harness ends, by a drop, a panic or SIGKILL: no process,
//! and nothing of the networks that it makes.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bench::conformance::kit::client::Client;
use bench::conformance::kit::faults;
use bench::conformance::kit::wait::wait_until;
use bench::conformance::{self, Case, Outcome, Settings};
use bench::participant::Participant;
use bench::proc::processes;
use bench::reexec;
use bench::server::conditions::Conditions;
use bench::server::{ANY_PORT, Launch, Program, Server};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};
use servers::models;

/// Set for a process of this test that is a harness with a server, to how it ends.
const HARNESS: &str = "ECHOBENCH_LEFTOVERS";

/// Prefix of what a harness prints when the host does not allow its case.
const SKIPPED: &str = "skipped: ";

const CLIENTS: usize = 3;

/// A model with a process for each client, so that there are descendants to end.
const MODEL: &str = "fork";

/// Turns a hang into a failure; far longer than anything takes on a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    if let Some(status) = reexec::dispatch() {
        return status;
    }
    if let Ok(end) = env::var(HARNESS) {
        harness(&end);
    }
    let trials = vec![
        Trial::test("a_killed_harness_leaves_nothing_running", || {
            leaves_nothing("kill", |child| child.kill())
        }),
        Trial::test("a_killed_harness_leaves_no_stopped_process", || {
            leaves_nothing("freeze and kill", |child| child.kill())
        }),
        Trial::test("a_panicking_harness_leaves_no_stopped_process", || {
            leaves_nothing("freeze and panic", |_| Ok(()))
        }),
        Trial::test("a_panicking_harness_leaves_nothing_running", || {
            leaves_nothing("panic", |_| Ok(()))
        }),
        Trial::test("an_exiting_harness_leaves_nothing_running", || {
            leaves_nothing("exit", |_| Ok(()))
        }),
        Trial::ignorable_test("a_killed_harness_in_a_network_leaves_nothing", no_network_is_left),
        Trial::ignorable_test("a_killed_harness_in_c8_leaves_no_strace", || {
            case_leaves_nothing("C8", |pid| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "strace")
            })
        }),
        Trial::ignorable_test("a_killed_harness_in_c10_leaves_no_cgroup", || {
            case_leaves_nothing("C10", |pid| is_of_case(&folder(pid)))
        }),
        Trial::test("a_dropped_server_leaves_nothing_running", dropped),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn leaves_nothing(end: &str, act: impl FnOnce(&mut Child) -> io::Result<()>) -> Result<(), Failed> {
    let mut child = Command::new("/proc/self/exe")
        .env(HARNESS, end)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let group = Pid::from_raw(line.trim().parse()?);
    let before = living(group);
    act(&mut child)?;
    drop(child.stdin.take());
    child.wait()?;
    // The server and a child for each client.
    check(before, 1 + CLIENTS)?;
    expect_gone(group)
}

fn dropped() -> Result<(), Failed> {
    let (server, group, clients) = start();
    check(living(group), 1 + CLIENTS)?;
    drop(server);
    // The drop waits for the guard, but the processes that it kills may still be ending.
    expect_gone(group)?;
    drop(clients);
    Ok(())
}

/// No process and no mount keeps a network namespace of the case, and none of its interfaces
/// appears in this one.
fn no_network_is_left() -> Result<Completion, Failed> {
    let before = interfaces()?;
    let mut child = start_examining("C15")?;
    let harness = Pid::from_raw(child.id() as i32);
    let own = namespace(harness).ok_or("a process without a network namespace")?;
    let others = || {
        let mut family = processes::family(harness);
        family.retain(|&pid| namespace(pid).is_some_and(|other| other != own));
        family
    };
    // The guard, the server, and a child for each of its clients.
    let serves = || others().len() > 2 + CLIENTS;
    let got_so_far = gets_so_far(&mut child, serves);
    let in_network = others();
    let namespaces: BTreeSet<_> = in_network.iter().filter_map(|&pid| namespace(pid)).collect();
    // A running ip(8) ends by itself, and is in the group of this process.
    let groups = in_network.iter().filter_map(|&pid| getpgid(Some(pid)).ok());
    let groups: BTreeSet<_> = groups.filter(|&group| group != getpgrp()).collect();
    let during = interfaces()?;
    child.kill()?;
    child.wait()?;
    if !got_so_far {
        return unless_skipped(child);
    }
    if !(during.is_subset(&before) && interfaces()?.is_subset(&before)) {
        return Err(format!("the interfaces changed from {before:?} to {during:?}").into());
    }
    for group in groups {
        expect_gone(group)?;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let held = |namespace: &PathBuf| mounts.contains(&*namespace.to_string_lossy());
    match namespaces.iter().find(|namespace| held(namespace)) {
        Some(namespace) => Err(format!("{namespace:?} is mounted, which keeps it").into()),
        None => Ok(Completion::Completed),
    }
}

/// The names of the interfaces of this network namespace.
fn interfaces() -> io::Result<BTreeSet<String>> {
    let interfaces = procfs::net::dev_status().map_err(io::Error::other)?;
    Ok(interfaces.into_keys().collect())
}

/// Such as `net:[4026531840]`; `None` if the process does not exist.
fn namespace(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Kills a harness that runs a case as soon as `is_there` is true of one of its processes.
fn case_leaves_nothing(id: &str, is_there: fn(Pid) -> bool) -> Result<Completion, Failed> {
    let mut child = start_examining(id)?;
    let harness = Pid::from_raw(child.id() as i32);
    let is_in_case = || processes::family(harness).into_iter().any(is_there);
    let got_so_far = gets_so_far(&mut child, is_in_case);
    let family = processes::family(harness);
    let folders: Vec<_> = family
        .iter()
        .map(|&pid| folder(pid))
        .filter(|folder| is_of_case(folder))
        .collect();
    child.kill()?;
    child.wait()?;
    if !got_so_far {
        return unless_skipped(child);
    }
    let is_gone = |&pid: &Pid| processes::process(pid).is_none_or(|process| process.state == 'Z');
    let nothing_is_left = || family.iter().all(is_gone) && !folders.iter().any(|folder| folder.exists());
    if wait_until(TIMEOUT, nothing_is_left) {
        return Ok(Completion::Completed);
    }
    let left: Vec<_> = family.iter().filter(|pid| !is_gone(pid)).collect();
    Err(format!("{TIMEOUT:?} after the end of the harness, {left:?} and {folders:?} still exist").into())
}

/// Starts a harness that runs a case until it is killed, and prints the outcomes.
fn start_examining(id: &str) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.env(HARNESS, id).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// Waits until the harness is where it is to be killed; false if it ends first, as it does
/// when the host does not allow its case.
fn gets_so_far(harness: &mut Child, is_there: impl Fn() -> bool) -> bool {
    let mut there = false;
    wait_until(TIMEOUT, || {
        there = is_there();
        there || harness.try_wait().is_ok_and(|end| end.is_some())
    });
    there
}

/// The result of a test whose harness ended before it could be killed.
fn unless_skipped(mut harness: Child) -> Result<Completion, Failed> {
    let mut printed = String::new();
    let mut output = harness.stdout.take().ok_or("no output")?;
    output.read_to_string(&mut printed)?;
    match printed.strip_prefix(SKIPPED) {
        Some(reason) => Ok(Completion::ignored_with(reason.trim())),
        None => Err(format!("the case did not get so far: {printed}").into()),
    }
}

/// The pids cgroup of a process; empty if there is none.
fn folder(pid: Pid) -> PathBuf {
    faults::folder_of(pid).unwrap_or_default()
}

fn is_of_case(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("echobench-"))
}

/// A harness that runs a case until it is killed, or ends if the host does not allow it.
fn examine(case: &Case) -> ! {
    let participant = models::find(MODEL).map(Participant::Model).expect("a model");
    loop {
        match conformance::run(case, &participant, Settings::QUICK).outcome {
            Outcome::Skipped { reason } => {
                println!("{SKIPPED}{reason}");
                std::process::exit(0);
            }
            other => println!("{other:?}"),
        }
    }
}

/// A harness in its own process: starts a server and ends as `end` requires.
fn harness(end: &str) -> ! {
    if let Some(case) = conformance::find(end) {
        examine(case);
    }
    let (_server, group, _clients) = start();
    if end.starts_with("freeze") {
        freeze(group);
    }
    println!("{group}");
    let _ = io::stdin().read(&mut [0; 1]);
    match end.ends_with("panic") {
        true => panic!("on purpose"),
        false => std::process::exit(0),
    }
}

fn start() -> (Server, Pid, Vec<Client>) {
    let server = Server::start(&Launch {
        program: Program::Model(MODEL),
        listen: ANY_PORT,
        arguments: Vec::new(),
        conditions: Conditions::NONE,
        cpus: Vec::new(),
        log: "/dev/null".into(),
    })
    .unwrap();
    let group = server.guard();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::connect(server.address()).unwrap())
        .collect();
    for client in &mut clients {
        client.echo(b"hello").unwrap();
    }
    (server, group, clients)
}

/// Stops the server and its children with SIGSTOP, as some cases do.
fn freeze(group: Pid) {
    for process in processes::guarded_by(group).unwrap() {
        kill(process.pid, Signal::SIGSTOP).unwrap();
    }
    let are_stopped = || {
        let members = processes::guarded_by(group).unwrap();
        members.iter().all(|process| process.state == 'T')
    };
    assert!(wait_until(TIMEOUT, are_stopped));
}

/// Counts the live processes of the group, without the guard.
fn living(group: Pid) -> usize {
    let members = processes::guarded_by(group).unwrap_or_default();
    members.iter().filter(|process| process.state != 'Z').count()
}

fn check(seen: usize, expected: usize) -> Result<(), Failed> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("{seen} processes served instead of {expected}").into())
}

fn expect_gone(group: Pid) -> Result<(), Failed> {
    let guard_is_gone = || processes::process(group).is_none_or(|guard| guard.state == 'Z');
    if wait_until(TIMEOUT, || living(group) == 0 && guard_is_gone()) {
        return Ok(());
    }
    Err(format!(
        "{TIMEOUT:?} after the end of the harness, these still run: {:?}",
        processes::guarded_by(group)
    )
    .into())
}
