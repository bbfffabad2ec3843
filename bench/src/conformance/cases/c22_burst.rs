//! C22: more at once than the queues between server and kernel hold.
//!
//! Everybody sends while the server is frozen. When it goes on, all is there at once: more than
//! an io_uring has buffers provided for, and in the full form more completions than a ring holds.

use anyhow::Context;
use servers::by_design::Kind;

use super::client::{Client, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C22",
    "burst",
    "When more comes at once than rings and buffers hold, and a stop in the middle of it, is nothing lost?",
    drive,
)
.room(FEW)
.full(FEW)
// Far above what the case takes.
.arguments(&["--drain", "60s"])
// In full, two of them need more descriptors than the harness has.
.alone_in_full();

/// Enough for the buffers to run out: they are pieces of 512 bytes, one for each connection and 64.
const FEW: usize = 200;

/// Enough for the completions of two rings to run over that hold 2048 each.
const MANY: usize = 5_000;

/// Fits into the buffers of a connection that nobody reads from.
const BURST_BYTES: usize = 32 * 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let clients = clients(running)?;
    let crowd = burst(running, clients)?;
    running.thaw_all()?;
    for (number, mut client) in crowd.into_iter().enumerate() {
        client
            .finish(&due(running, number))
            .with_context(|| format!("client {} of {clients} sent a burst", number + 1))?;
    }
    running.settle()?;

    let mut in_service = burst(running, clients)?;
    running.terminate()?;
    running.thaw_all()?;
    let waiting = in_service.split_off(running.served_of(clients));
    for (number, mut client) in in_service.into_iter().enumerate() {
        client.finish(&due(running, number)).with_context(|| {
            let number = number + 1;
            format!("client {number} of {clients} had sent a burst when SIGTERM came")
        })?;
    }
    for mut client in waiting {
        client
            .expect_release()
            .context("a client that was queued when SIGTERM came")?;
    }
    running.saw(format!(
        "twice {clients} bursts of {} KiB at once, the second with a stop in it",
        BURST_BYTES / 1024
    ));
    running.expect_clean_exit()
}

/// As many as the server can hold, where it holds fewer than are due.
fn clients(running: &mut Running) -> anyhow::Result<usize> {
    let limited = running.at_once().is_some() || running.kinds().contains(&Kind::LowDescriptors);
    let few = limited || running.has_worker_per_connection()?;
    Ok(if few { FEW } else { running.pick(FEW, MANY) })
}

/// Connects everybody and lets them send while nobody reads; the server is frozen then.
fn burst(running: &Running, clients: usize) -> anyhow::Result<Vec<Client>> {
    let crowd = running.crowd(clients)?;
    running.freeze_all()?;
    for (number, client) in crowd.iter().enumerate() {
        client
            .send(&message(number))
            .with_context(|| format!("client {} of {clients}", number + 1))?;
    }
    Ok(crowd)
}

/// What comes back: one that has waited has not had its echo from entering yet.
fn due(running: &Running, number: usize) -> Vec<u8> {
    let mut due = match number < running.served_of(number + 1) {
        true => Vec::new(),
        false => noise(number as u64, 64),
    };
    due.extend(message(number));
    due
}

fn message(number: usize) -> Vec<u8> {
    noise(!(number as u64), BURST_BYTES)
}
