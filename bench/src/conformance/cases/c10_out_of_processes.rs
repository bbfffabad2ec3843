//! C10: no new process or thread can be started.
//!
//! The server may close the connection of a new client, but the client does not hang, and nothing
//! else dies. A lost worker is replaced as soon as possible. Stopping needs no new thread.

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};

use crate::conformance::kit::faults::PidsCgroup;
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C10",
    "out of processes",
    "When no process or thread can be started, is a new client served or closed, and does the server survive and stop?",
    drive,
)
.over_udp(drive);

/// Clients that are served before.
const OPEN: usize = 2;

/// Clients that come during the shortage, and after it.
const NEW: usize = 5;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    // One place is left for new clients.
    let open = server.concurrency().map_or(OPEN, |most| OPEN.min(most - 1));
    let mut crowd = server.connect_clients(open)?;
    let cgroup = PidsCgroup::around(server)?;
    cgroup.close()?;
    let mut served = 0;
    for number in 0..NEW {
        let fate = is_served(server, number);
        served += usize::from(fate.with_context(|| format!("new client {} of {NEW}", number + 1))?);
    }
    for client in &mut crowd {
        let echo = client.echo(b"still here\n");
        echo.context("a client that was served before the shortage")?;
    }
    server.note(match served {
        NEW => format!("{NEW} of {NEW} were served meanwhile"),
        _ => format!("{served} of {NEW} were served meanwhile, the others were closed"),
    });
    drop(crowd);
    lose_a_worker(server, &cgroup)?;
    cgroup.open()?;
    for number in 0..NEW {
        let mut client = server.connect()?;
        let echo = client.echo(&noise(number as u64, 64));
        echo.context("a client after the shortage")?;
    }
    server.expect_released()?;

    cgroup.forbid()?;
    server.terminate()?;
    server.expect_clean_exit().context("stopped during the shortage")
}

/// Whether a client is served; a close is an answer, too.
fn is_served(server: &ServerUnderTest, number: usize) -> anyhow::Result<bool> {
    let mut client = server.connect()?;
    match client.echo(&noise(number as u64, 64)) {
        Ok(()) => Ok(true),
        Err(_) => client.read_until_closed().map(|_| false),
    }
}

/// Kills a worker that existed before any client, if there is one, and allows a replacement only
/// after the server has failed to start one.
fn lose_a_worker(server: &mut ServerUnderTest, cgroup: &PidsCgroup) -> anyhow::Result<()> {
    let workers = server.baseline().processes - 1;
    if workers == 0 {
        return Ok(());
    }
    server.expect_released()?;
    let Some(&worker) = server.workers()?.first() else {
        return Ok(());
    };
    let before = cgroup.refusals()?;
    cgroup.forbid()?;
    kill(worker, Signal::SIGKILL)?;
    ensure!(
        wait_until(STALL, || cgroup.refusals().is_ok_and(|now| now > before)),
        "a worker was killed {STALL:?} ago, and the server has not tried to replace it"
    );
    cgroup.open()?;
    server
        .expect_released()
        .context("after a worker was killed during the shortage")?;
    server.note("a worker killed meanwhile was replaced");
    Ok(())
}
