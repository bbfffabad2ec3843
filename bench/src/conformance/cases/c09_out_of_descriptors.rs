//! C9: a process without free descriptors waits for one instead of spinning.
//!
//! The limit is per process: workers that serve one client each never reach it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::unistd::Pid;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::faults::{Limit, Resource};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest};
use crate::proc::descriptors::descriptors;
use crate::proc::processes::{Process, process, tasks};
use crate::server::conditions::Conditions;

pub const CASE: Case = Case::new(
    "C9",
    "out of descriptors",
    "Without a free descriptor, does the server sleep, serve its open clients, and recover within a second?",
    run_out,
)
.over_udp(run_out)
.full_form(0);

/// The limit of a process.
const DESCRIPTORS: u64 = 40;

/// A process that has more descriptors from the start, such as a channel to each worker, may open
/// this many in addition.
const MORE: u64 = 10;

/// A server that needs two at a time has run out with one free.
const NEARLY: u64 = 1;

const CLIENTS: usize = 100;

/// Time over which CPU use is measured; all open clients echo after each.
const REST: Duration = Duration::from_millis(500);

/// As a fraction of a processor.
const MOST_USE: f64 = 0.2;

/// Time for the next client to be served after one has gone.
const RECOVERED_WITHIN: Duration = Duration::from_secs(1);

/// Looks at an idle server to find out whether it ever sleeps.
const LOOKS: u32 = 20;
/// Time between two of them.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A client, and the message that is due back.
type Guest = (Client, Vec<u8>);

/// Uses up the descriptors of a server and frees them again.
pub(super) fn run_out(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    // Before the limit: a server that spins only when out of descriptors must not pass as one that
    // never sleeps.
    let sleeps = !never_sleeps(server);
    let allowances = allowances(server)?;
    let limit = Limit::lower(server, Resource::Nofile, |pid| {
        let own = allowances.iter().find(|allowance| allowance.pid == pid);
        own.map_or(DESCRIPTORS, |allowance| allowance.most)
    })?;
    let guests = enter(server, &allowances)?;
    if allowances.iter().all(Allowance::is_kept) {
        return rest_and_recover(server, guests, &allowances, sleeps);
    }
    server.note(
        "its accept keeps the limit that it was armed under, so the server was restarted under this one",
    );
    drop((guests, limit));
    server.terminate()?;
    server.expect_clean_exit()?;
    server.restart_under(Conditions {
        descriptor_limit: Some(DESCRIPTORS),
        ..Conditions::NONE
    })?;
    let allowances = self::allowances(server)?;
    let guests = enter(server, &allowances)?;
    rest_and_recover(server, guests, &allowances, sleeps)
}

/// What a process may have: descriptors below `most`.
struct Allowance {
    pid: Pid,
    most: u64,
    /// Descriptors above, which it had before.
    above: usize,
}

fn allowances(server: &ServerUnderTest) -> anyhow::Result<Vec<Allowance>> {
    Ok(server.processes()?.iter().map(Allowance::of).collect())
}

impl Allowance {
    fn of(process: &Process) -> Self {
        let pid = process.pid;
        let most = DESCRIPTORS.max(descriptors(pid).len() as u64 + MORE);
        let above = Allowance { pid, most, above: 0 }.count_above();
        Allowance { pid, most, above }
    }

    fn count_above(&self) -> usize {
        descriptors(self.pid)
            .iter()
            .filter(|&&number| number >= self.most)
            .count()
    }

    fn is_kept(&self) -> bool {
        self.count_above() <= self.above
    }

    fn is_used_up(&self) -> bool {
        let all = descriptors(self.pid);
        let below = all.iter().filter(|&&number| number < self.most).count();
        below as u64 + NEARLY >= self.most
    }
}

/// Connects all clients and waits until as many as possible are served.
fn enter(server: &ServerUnderTest, allowances: &[Allowance]) -> anyhow::Result<Vec<Guest>> {
    let enter = |number| -> anyhow::Result<Guest> {
        let (client, message) = (server.connect()?, noise(number as u64, 64));
        client.send(&message)?;
        Ok((client, message))
    };
    let guests: Vec<_> = (0..CLIENTS).map(enter).collect::<Result<_, _>>()?;
    let can_be = server.served_of(CLIENTS);
    let served = || guests.iter().filter(|guest| is_served(guest)).count();
    let is_out = || allowances.iter().any(Allowance::is_used_up);
    ensure!(
        wait_until(STALL, || served() >= can_be || is_out()),
        "{} of {can_be} clients were served within {STALL:?} although descriptors were left",
        served()
    );
    Ok(guests)
}

fn rest_and_recover(
    server: &mut ServerUnderTest,
    guests: Vec<Guest>,
    allowances: &[Allowance],
    sleeps: bool,
) -> anyhow::Result<()> {
    // After this measurement every accepted client has its answer.
    let mut used = use_of_processor(server)?;
    let is_out = allowances.iter().any(Allowance::is_used_up);
    let (mut open, waiting): (Vec<_>, Vec<_>) = guests.into_iter().partition(is_served);
    ensure!(!open.is_empty(), "none of {CLIENTS} clients was served");
    for (client, message) in &mut open {
        client.receive(message)?;
    }
    for _ in 1..server.by_scale(1, 120) {
        used = used.max(use_of_processor(server)?);
        echo_all(&mut open)?;
    }
    echo_all(&mut open)?;
    let count = open.len();
    recover(open, waiting)?;

    let percent = (used * 100.0).round();
    server.note(match is_out {
        false => format!("{count} of {CLIENTS} were open, and no process reached its limit"),
        true if used <= MOST_USE => {
            format!("{count} of {CLIENTS} were open, with {percent}% of a processor")
        }
        // Its CPU use then does not show what accept costs.
        true if !sleeps => {
            format!("{count} of {CLIENTS} were open; it never sleeps, idle or not: C8 counts its calls")
        }
        true => bail!(
            "out of descriptors it used {percent}% of a processor; the limit is {}%",
            MOST_USE * 100.0
        ),
    });
    Ok(())
}

fn is_served((client, _): &Guest) -> bool {
    // The next call on the connection reports the error.
    client.has_input().unwrap_or(true)
}

fn echo_all(open: &mut [Guest]) -> anyhow::Result<()> {
    open.iter_mut()
        .try_for_each(|(client, message)| client.echo(message))
        .context("a client that was open when descriptors ran out")
}

/// Each served client closes and makes room for the next, in any order.
fn recover(open: Vec<Guest>, mut waiting: Vec<Guest>) -> anyhow::Result<()> {
    drop(open);
    while !waiting.is_empty() {
        let mut served = None;
        wait_until(RECOVERED_WITHIN, || {
            served = waiting.iter().position(is_served);
            served.is_some()
        });
        let Some(served) = served else {
            bail!(
                "{} clients still waited {RECOVERED_WITHIN:?} after descriptors had become free",
                waiting.len()
            );
        };
        let (mut client, message) = waiting.swap_remove(served);
        client
            .receive(&message)
            .context("a client that waited for a descriptor")?;
    }
    Ok(())
}

/// The fraction of a processor that the server uses now. Time in which a thread waits for a
/// processor does not count, so that a busy host does not hide a busy loop.
fn use_of_processor(server: &ServerUnderTest) -> anyhow::Result<f64> {
    let (before, start) = (schedule(server)?, Instant::now());
    thread::sleep(REST);
    let (after, elapsed) = (schedule(server)?, start.elapsed().as_secs_f64());
    let used = after.iter().map(|(thread, now)| {
        let then = before.get(thread).copied().unwrap_or_default();
        let ran = now.ran_s - then.ran_s;
        let could_run = (elapsed - (now.waited_s - then.waited_s)).max(ran);
        if could_run > 0.0 { ran / could_run } else { 0.0 }
    });
    Ok(used.sum())
}

/// How long a thread has run, and waited for a processor.
#[derive(Clone, Copy, Default)]
struct Scheduled {
    ran_s: f64,
    waited_s: f64,
}

/// By the folder of the thread in `/proc`.
fn schedule(server: &ServerUnderTest) -> anyhow::Result<HashMap<PathBuf, Scheduled>> {
    let processes = server.processes()?;
    let tasks = processes.iter().flat_map(|process| tasks(process.pid));
    let scheduled = |task: PathBuf| {
        // A thread that has just ended has no file.
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        let mut seconds = text.split_whitespace().map(|field| {
            let nanoseconds: f64 = field.parse().unwrap_or(0.0);
            nanoseconds / 1e9
        });
        let (ran_s, waited_s) = (seconds.next()?, seconds.next()?);
        Some((task, Scheduled { ran_s, waited_s }))
    };
    Ok(tasks.filter_map(scheduled).collect())
}

/// Whether its main process is always runnable, even without clients.
fn never_sleeps(server: &ServerUnderTest) -> bool {
    (0..LOOKS).all(|_| {
        thread::sleep(LOOK_EVERY);
        process(server.pid()).is_some_and(|process| process.state == 'R')
    })
}
