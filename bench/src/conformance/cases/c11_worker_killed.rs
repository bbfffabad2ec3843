//! C11: a worker process that dies takes only its own clients with it.
//!
//! The case kills a worker that serves, and all workers that wait for a client: one of those may
//! hold the lock that the others wait for. A server of one process dies as a whole; then all
//! clients must see the close.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::connecting::is_refused;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest, background_load};

pub const CASE: Case = Case::new(
    "C11",
    "worker killed",
    "When a worker process is killed, do only its clients see a close, and is it replaced?",
    drive,
)
.connections(CLIENTS)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[
    Exemption::new(
        Kind::Datagram,
        "it is one process and has no connections that could close",
    ),
    Exemption::new(
        Kind::SingleProcess,
        "it is one process, which dies as a whole: all of its clients saw their connections close",
    ),
];

const CLIENTS: usize = 4;

const MESSAGE_BYTES: usize = 16 * 1024;

/// An order to end, and a crash.
const SIGNALS: [Signal; 2] = [Signal::SIGKILL, Signal::SIGSEGV];

/// Time for a client to notice that its server has died.
const PROMPTLY: Duration = Duration::from_secs(2);

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    for signal in SIGNALS {
        let crowd = server.connect_clients(server.served_of(CLIENTS))?;
        let worker = server.process_of(&crowd[0])?;
        if worker == server.pid() {
            server.add_kind(Kind::SingleProcess)?;
            lose_whole_server(server, crowd, signal)
        } else {
            lose(server, crowd, &[worker], signal)
        }
        .with_context(|| format!("{signal} to the process of a client"))?;
        // What is counted next must not still be ending.
        server.expect_released()?;
    }
    let crowd = server.connect_clients(server.served_of(CLIENTS))?;
    let idle = idle_workers(server, &crowd)?;
    if idle.is_empty() {
        return Ok(());
    }
    lose(server, crowd, &idle, Signal::SIGKILL)
        .with_context(|| format!("SIGKILL to {} workers without a client", idle.len()))
}

fn idle_workers(server: &ServerUnderTest, crowd: &[Client]) -> anyhow::Result<Vec<Pid>> {
    let busy: anyhow::Result<Vec<Pid>> = crowd.iter().map(|client| server.process_of(client)).collect();
    let busy = busy?;
    let mut workers = server.workers()?;
    workers.retain(|worker| !busy.contains(worker));
    Ok(workers)
}

fn lose_whole_server(server: &mut ServerUnderTest, crowd: Vec<Client>, signal: Signal) -> anyhow::Result<()> {
    server.kill(server.pid(), signal)?;
    expect_closed(crowd)?;
    let address = server.address();
    ensure!(
        wait_until(PROMPTLY, || is_refused(address)),
        "new clients were still accepted after {PROMPTLY:?}"
    );
    server.expect_killed_by(signal)?;
    server.restart()
}

fn lose(
    server: &mut ServerUnderTest,
    crowd: Vec<Client>,
    workers: &[Pid],
    signal: Signal,
) -> anyhow::Result<()> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for client in crowd {
        let is_own = workers.contains(&server.process_of(&client)?);
        if is_own { &mut own } else { &mut others }.push(client);
    }
    // A worker started in advance is replaced, one started for its client is not.
    let busy_only = server.processes()?.len() - workers.len();
    let due = server.baseline().processes.max(busy_only);
    let own_count = own.len();
    let echoes = background_load::while_echoing(&mut others, MESSAGE_BYTES, || {
        for &worker in workers {
            server.kill(worker, signal)?;
        }
        expect_closed(own)?;
        let is_replaced = || {
            let now = server.resources();
            now.is_ok_and(|now| now.processes == due && now.zombies == 0)
        };
        ensure!(
            wait_until(STALL, is_replaced),
            "{STALL:?} after the end of a worker there were {} processes instead of {due}, and {} zombies",
            server.resources()?.processes,
            server.resources()?.zombies
        );
        Ok(())
    })?;
    server.note(format!(
        "{signal} to {} workers: {own_count} clients saw the close, {} others had {echoes} echoes, and {due} \
         processes remained",
        workers.len(),
        others.len()
    ));
    Ok(())
}

fn expect_closed(clients: Vec<Client>) -> anyhow::Result<()> {
    for mut client in clients {
        client
            .read_until_closed_within(PROMPTLY)
            .context("a client whose process was killed")?;
    }
    Ok(())
}
