//! C20: a crowd that says nothing.
//!
//! What a server does for each connection, and not for each that has something to say, makes
//! the one that is active wait.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use servers::by_design::Kind;

use super::client::{Client, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C20",
    "idle crowd",
    "Beside a crowd of idle connections, is the p99 of an active one under 10 ms?",
    drive,
)
.over_datagrams(drive)
.room(FEW)
.full(REDUCED)
.alone();

/// The crowd of the quick form.
const FEW: usize = 400;

const MANY: usize = 10_000;

/// The crowd where a connection is a process or a thread: ten thousand of them are possible, and
/// would only show what memory the host has. Some of them fit below FD_SETSIZE as well.
const REDUCED: usize = 1_000;

/// A server whose workers are busy leaves the rest in its backlog, which holds 4096.
const WAITING: usize = 3_000;

const P99_BELOW: Duration = Duration::from_millis(10);

/// Echoes in a window: all but the slowest are within the p99.
const ECHOES: usize = 100;

/// Noise of the machine only adds, so the best window counts.
const WINDOWS: usize = 20;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let idle = idle_connections(running)?;
    running.require_descriptors_for(idle + 1)?;
    let mut crowd = running.crowd(idle + 1)?;
    // The first to come is served, also where the others wait.
    let mut active = crowd.swap_remove(0);
    let mut best = Duration::MAX;
    for _ in 0..WINDOWS {
        best = best.min(p99(&mut active).context("the active connection")?);
        if best < P99_BELOW {
            break;
        }
    }
    ensure!(
        best < P99_BELOW,
        "beside {idle} idle connections the p99 of the active one was {best:?} in the best of {WINDOWS} windows, \
         where {P99_BELOW:?} are allowed"
    );
    running.saw(format!(
        "p99 {} µs beside {idle} idle connections, {} of them served",
        best.as_micros(),
        running.served_of(idle + 1) - 1
    ));
    Ok(())
}

/// How large a crowd it can hold.
fn idle_connections(running: &mut Running) -> anyhow::Result<usize> {
    let all = running.pick(FEW, MANY);
    if let Some(most) = running.at_once() {
        return Ok(all.min(most + WAITING));
    }
    if running.kinds().contains(&Kind::LowDescriptors) {
        return Ok(all.min(REDUCED));
    }
    Ok(match running.has_worker_per_connection()? {
        true => all.min(REDUCED),
        false => all,
    })
}

fn p99(active: &mut Client) -> anyhow::Result<Duration> {
    let message = noise(1, 64);
    let mut times = Vec::with_capacity(ECHOES);
    for _ in 0..ECHOES {
        let start = Instant::now();
        active.echo(&message)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[ECHOES * 99 / 100 - 1])
}
