//! C9: a process without free descriptors waits for them, and does not burn a processor.
//!
//! The limit is one of each process: workers that serve a client each never come to it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::unistd::Pid;

use super::client::{Client, STALL, noise, wait_until};
use super::fault::{Limit, Resource};
use super::{Case, Running};
use crate::proc::descriptors::descriptors;
use crate::proc::processes::{Process, process};
use crate::proc::usage::cpu_time;
use crate::server::conditions::Conditions;

pub const CASE: Case = Case::new(
    "C9",
    "out of descriptors",
    "Without a free descriptor, does the server rest, serve who is open, and recover within a second?",
    run_out,
)
.over_datagrams(run_out)
.full(0);

const DESCRIPTORS: u64 = 40;

/// A process that has more from the start, such as one with a channel to each worker, may
/// have so many beside them.
const MORE: u64 = 10;

/// Who needs two at once is out of them with one that is free.
const NEARLY: u64 = 1;

const CLIENTS: usize = 100;

/// How long its use of a processor is looked at at a time; then all that are open have an echo.
const REST: Duration = Duration::from_millis(500);

/// Of a processor.
const MOST_USE: f64 = 0.2;

/// Time for the next client to be served when one has gone.
const RECOVERED_WITHIN: Duration = Duration::from_secs(1);

/// So often a server is looked at to see whether it waits when idle, and so far apart.
const LOOKS: u32 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A client, and what it is to have back.
type Guest = (Client, Vec<u8>);

/// Lets the descriptors of a server run out, and come back.
pub(super) fn run_out(running: &mut Running) -> anyhow::Result<()> {
    // Asked before: one that begins to run when descriptors are out, and goes on, is not meant.
    let rests = !never_waits(running);
    let allowances = allowances(running)?;
    let limit = Limit::lower(running, Resource::Nofile, |pid| {
        let own = allowances.iter().find(|allowance| allowance.pid == pid);
        own.map_or(DESCRIPTORS, |allowance| allowance.most)
    })?;
    let guests = enter(running, &allowances)?;
    if allowances.iter().all(Allowance::is_kept) {
        return rest_and_recover(running, guests, &allowances, rests);
    }
    running.saw("its accept keeps the limit under which it was armed: started again under this one");
    drop((guests, limit));
    running.terminate()?;
    running.expect_clean_exit()?;
    running.start_again_under(Conditions {
        descriptor_limit: Some(DESCRIPTORS),
        ..Conditions::NONE
    })?;
    let allowances = self::allowances(running)?;
    let guests = enter(running, &allowances)?;
    rest_and_recover(running, guests, &allowances, rests)
}

/// What a process may have: descriptors below `most`.
struct Allowance {
    pid: Pid,
    most: u64,
    /// Those above have been there before.
    above: usize,
}

fn allowances(running: &Running) -> anyhow::Result<Vec<Allowance>> {
    Ok(running.processes()?.iter().map(Allowance::of).collect())
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

/// Lets all clients come, and waits until as many are served as can be.
fn enter(running: &Running, allowances: &[Allowance]) -> anyhow::Result<Vec<Guest>> {
    let enter = |number| -> anyhow::Result<Guest> {
        let (client, message) = (running.client()?, noise(number as u64, 64));
        client.send(&message)?;
        Ok((client, message))
    };
    let guests: Vec<_> = (0..CLIENTS).map(enter).collect::<Result<_, _>>()?;
    let can_be = running.served_of(CLIENTS);
    let served = || guests.iter().filter(|guest| is_served(guest)).count();
    let is_out = || allowances.iter().any(Allowance::is_used_up);
    ensure!(
        wait_until(STALL, || served() >= can_be || is_out()),
        "with descriptors left {} of {can_be} clients were served after {STALL:?}",
        served()
    );
    Ok(guests)
}

fn rest_and_recover(
    running: &mut Running,
    guests: Vec<Guest>,
    allowances: &[Allowance],
    rests: bool,
) -> anyhow::Result<()> {
    // When this has been measured, who has been accepted has its answer, and who has not
    // been will not be.
    let mut used = use_of_processor(running)?;
    let is_out = allowances.iter().any(Allowance::is_used_up);
    let (mut open, waiting): (Vec<_>, Vec<_>) = guests.into_iter().partition(is_served);
    ensure!(!open.is_empty(), "of {CLIENTS} clients none was served");
    for (client, message) in &mut open {
        client.receive(message)?;
    }
    for _ in 1..running.pick(1, 120) {
        used = used.max(use_of_processor(running)?);
        echo_all(&mut open)?;
    }
    echo_all(&mut open)?;
    let count = open.len();
    recover(open, waiting)?;

    let percent = (used * 100.0).round();
    running.saw(match is_out {
        false => format!("{count} of {CLIENTS} were open, and no process came to its limit"),
        true if used <= MOST_USE => {
            format!("{count} of {CLIENTS} were open, at {percent}% of a processor")
        }
        // What it takes then says nothing of its accept.
        true if !rests => {
            format!("{count} of {CLIENTS} were open; it never waits, idle or not: C8 counts its calls")
        }
        true => bail!(
            "out of descriptors it took {percent}% of a processor, where {}% are allowed",
            MOST_USE * 100.0
        ),
    });
    Ok(())
}

fn is_served((client, _): &Guest) -> bool {
    // An error is one of the connection, which the next call tells of.
    client.has_heard().unwrap_or(true)
}

fn echo_all(open: &mut [Guest]) -> anyhow::Result<()> {
    open.iter_mut()
        .try_for_each(|(client, message)| client.echo(message))
        .context("a client that was open when descriptors ran out")
}

/// Each that is served goes, and makes room for the next, in whatever order.
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

/// How much of a processor a server takes now.
fn use_of_processor(running: &Running) -> anyhow::Result<f64> {
    let pids: Vec<_> = running.processes()?.iter().map(|process| process.pid).collect();
    let (before, start) = (cpu_time(&pids), Instant::now());
    thread::sleep(REST);
    let used = cpu_time(&pids).saturating_sub(before);
    Ok(used.as_secs_f64() / start.elapsed().as_secs_f64())
}

/// Whether it runs, or would if it had a processor, although nobody is there.
fn never_waits(running: &Running) -> bool {
    (0..LOOKS).all(|_| {
        thread::sleep(LOOK_EVERY);
        process(running.pid()).is_some_and(|process| process.state == 'R')
    })
}
