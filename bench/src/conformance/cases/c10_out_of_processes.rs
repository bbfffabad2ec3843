//! C10: no room for another process or thread.
//!
//! Who comes then may be turned away, but is told so; nobody hangs, and nothing else dies. A
//! worker that is lost meanwhile is replaced when there is room again. Nor does a server need
//! a new thread to stop.

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};

use super::client::{STALL, noise, wait_until};
use super::fault::PidsCgroup;
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C10",
    "out of processes",
    "When no process or thread can be started, is a client served or shed, and does the server live, and stop?",
    drive,
)
.over_datagrams(drive);

/// Clients that are served before.
const OPEN: usize = 2;

/// Clients that come meanwhile, and after.
const NEW: usize = 5;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    // One place is for those that come.
    let open = running.at_once().map_or(OPEN, |most| OPEN.min(most - 1));
    let mut crowd = running.crowd(open)?;
    let cgroup = PidsCgroup::around(running)?;
    cgroup.close()?;
    let mut served = 0;
    for number in 0..NEW {
        let fate = is_served(running, number);
        served += usize::from(fate.with_context(|| format!("new client {} of {NEW}", number + 1))?);
    }
    for client in &mut crowd {
        let echo = client.echo(b"still here\n");
        echo.context("a client that was served before nothing could be started any more")?;
    }
    running.saw(match served {
        NEW => format!("{NEW} of {NEW} were served meanwhile"),
        _ => format!("{served} of {NEW} were served meanwhile, and the others closed"),
    });
    drop(crowd);
    lose_a_worker(running, &cgroup)?;
    cgroup.open()?;
    for number in 0..NEW {
        let mut client = running.client()?;
        let echo = client.echo(&noise(number as u64, 64));
        echo.context("a client that came when processes could be started again")?;
    }
    running.settle()?;

    cgroup.freeze()?;
    running.terminate()?;
    running
        .expect_clean_exit()
        .context("stopped while nothing could be started")
}

/// Whether a client is served; that it is closed is an answer, too.
fn is_served(running: &Running, number: usize) -> anyhow::Result<bool> {
    let mut client = running.client()?;
    match client.echo(&noise(number as u64, 64)) {
        Ok(()) => Ok(true),
        Err(_) => client.expect_release().map(|_| false),
    }
}

/// Kills one of the workers that were there before any client, if there are such, and keeps
/// its place vacant until the server has tried in vain to fill it.
fn lose_a_worker(running: &mut Running, cgroup: &PidsCgroup) -> anyhow::Result<()> {
    let workers = running.baseline().processes - 1;
    if workers == 0 {
        return Ok(());
    }
    running.settle()?;
    let Some(&worker) = running.workers()?.first() else {
        return Ok(());
    };
    let before = cgroup.refusals()?;
    cgroup.freeze()?;
    kill(worker, Signal::SIGKILL)?;
    ensure!(
        wait_until(STALL, || cgroup.refusals().is_ok_and(|now| now > before)),
        "a worker was killed, and {STALL:?} later no other had been tried in its place"
    );
    cgroup.open()?;
    running
        .settle()
        .context("a worker was killed while no other could be started")?;
    running.saw("a worker killed meanwhile was replaced");
    Ok(())
}
