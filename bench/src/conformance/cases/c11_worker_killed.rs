//! C11: a worker process that dies takes its own client with it and nobody else.
//!
//! Killed are a worker that serves, and all that wait for a client: one of those may have the
//! lock that the others wait for. A server of one process dies whole: then all clients must
//! see the end.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use servers::by_design::Kind;

use super::client::{Client, STALL, is_refused, wait_until};
use super::{Case, Running, load};

pub const CASE: Case = Case::new(
    "C11",
    "worker killed",
    "When a worker process is killed, does its client see the end, the others nothing, and is it replaced?",
    drive,
)
.room(CLIENTS);

const CLIENTS: usize = 4;

const MESSAGE_BYTES: usize = 16 * 1024;

/// An order, and a crash.
const SIGNALS: [Signal; 2] = [Signal::SIGKILL, Signal::SIGSEGV];

/// Time for a client to see that its server has died.
const PROMPTLY: Duration = Duration::from_secs(2);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    for signal in SIGNALS {
        let crowd = running.crowd(running.served_of(CLIENTS))?;
        let worker = running.server_of(&crowd[0])?;
        if worker == running.pid() {
            running.shows_to_be(Kind::OneProcess)?;
            die_whole(running, crowd, signal)
        } else {
            lose(running, crowd, &[worker], signal)
        }
        .with_context(|| format!("{signal} to the process of a client"))?;
        // So that what is counted next is not what is still ending.
        running.settle()?;
    }
    let crowd = running.crowd(running.served_of(CLIENTS))?;
    let idle = idle_workers(running, &crowd)?;
    if idle.is_empty() {
        return Ok(());
    }
    lose(running, crowd, &idle, Signal::SIGKILL)
        .with_context(|| format!("SIGKILL to {} workers that had no client", idle.len()))
}

fn idle_workers(running: &Running, crowd: &[Client]) -> anyhow::Result<Vec<Pid>> {
    let busy: anyhow::Result<Vec<Pid>> = crowd.iter().map(|client| running.server_of(client)).collect();
    let busy = busy?;
    let mut workers = running.workers()?;
    workers.retain(|worker| !busy.contains(worker));
    Ok(workers)
}

fn die_whole(running: &mut Running, crowd: Vec<Client>, signal: Signal) -> anyhow::Result<()> {
    running.kill(running.pid(), signal)?;
    expect_ends(crowd)?;
    let address = running.address();
    ensure!(
        wait_until(PROMPTLY, || is_refused(address)),
        "new clients were still accepted after {PROMPTLY:?}"
    );
    running.expect_death_by(signal)?;
    running.start_again()
}

fn lose(running: &mut Running, crowd: Vec<Client>, workers: &[Pid], signal: Signal) -> anyhow::Result<()> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for client in crowd {
        let is_own = workers.contains(&running.server_of(&client)?);
        if is_own { &mut own } else { &mut others }.push(client);
    }
    // One that was started ahead is replaced, one that was started for its client is not.
    let busy_only = running.processes()?.len() - workers.len();
    let due = running.baseline().processes.max(busy_only);
    let own_count = own.len();
    let echoes = load::while_echoing(&mut others, MESSAGE_BYTES, || {
        for &worker in workers {
            running.kill(worker, signal)?;
        }
        expect_ends(own)?;
        let is_replaced = || {
            let now = running.holdings();
            now.is_ok_and(|now| now.processes == due && now.zombies == 0)
        };
        ensure!(
            wait_until(STALL, is_replaced),
            "{STALL:?} after the end of a worker there were {} processes instead of {due}, and {} zombies",
            running.holdings()?.processes,
            running.holdings()?.zombies
        );
        Ok(())
    })?;
    running.saw(format!(
        "{signal} to {} workers: {own_count} clients saw the end, {} others had {echoes} echoes, then there were \
         {due} processes",
        workers.len(),
        others.len()
    ));
    Ok(())
}

fn expect_ends(clients: Vec<Client>) -> anyhow::Result<()> {
    for mut client in clients {
        client
            .expect_release_within(PROMPTLY)
            .context("a client whose process was killed")?;
    }
    Ok(())
}
