//! Nothing is left running, however the harness ends: by a drop, a panic, or SIGKILL.

use std::env;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bench::conformance::client::{Client, wait_until};
use bench::processes;
use bench::role;
use bench::server::{ANY_PORT, Launch, Program, Server};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::unistd::{Pid, getpgid};

/// Set for a process of this test that is a harness with a server, and says how it ends.
const HARNESS: &str = "ECHOBENCH_LEFTOVERS";

const CLIENTS: usize = 3;

/// The server and its children are gone after this time.
const GONE_WITHIN: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    if let Some(status) = role::play() {
        return status;
    }
    if let Ok(end) = env::var(HARNESS) {
        harness(&end);
    }
    let trials = vec![
        Trial::test("a_harness_that_is_killed_leaves_nothing", || {
            leaves_nothing("kill", |child| child.kill())
        }),
        Trial::test("a_harness_that_panics_leaves_nothing", || {
            leaves_nothing("panic", |_| Ok(()))
        }),
        Trial::test("a_harness_that_exits_leaves_nothing", || {
            leaves_nothing("exit", |_| Ok(()))
        }),
        Trial::test("a_server_that_is_dropped_leaves_nothing", dropped),
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
    // A drop has waited for the guard; the processes it has killed may still be ending.
    expect_gone(group)?;
    drop(clients);
    Ok(())
}

/// A harness, in its own process: starts a server and ends as it was told to.
fn harness(end: &str) -> ! {
    let (_server, group, _clients) = start();
    println!("{group}");
    let _ = io::stdin().read(&mut [0; 1]);
    match end {
        "panic" => panic!("as it was told to"),
        _ => std::process::exit(0),
    }
}

fn start() -> (Server, Pid, Vec<Client>) {
    let server = Server::start(&Launch {
        program: Program::Model("fork"),
        listen: ANY_PORT,
        arguments: Vec::new(),
        cpus: Vec::new(),
        log: "/dev/null".into(),
    })
    .unwrap();
    let group = getpgid(Some(server.pid())).unwrap();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::connect(server.address()).unwrap())
        .collect();
    for client in &mut clients {
        client.echo(b"hello").unwrap();
    }
    (server, group, clients)
}

/// Processes of the group that have not ended, the guard not counted.
fn living(group: Pid) -> usize {
    let members = processes::group_members(group).unwrap_or_default();
    members.iter().filter(|process| process.state != 'Z').count()
}

fn check(seen: usize, expected: usize) -> Result<(), Failed> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("{seen} processes served where {expected} were expected").into())
}

fn expect_gone(group: Pid) -> Result<(), Failed> {
    let guard_is_gone = || processes::process(group).is_none_or(|guard| guard.state == 'Z');
    if wait_until(GONE_WITHIN, || living(group) == 0 && guard_is_gone()) {
        return Ok(());
    }
    Err(format!(
        "{GONE_WITHIN:?} after the end of the harness there were {:?}",
        processes::group_members(group)
    )
    .into())
}
