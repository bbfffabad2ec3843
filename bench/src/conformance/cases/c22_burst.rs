//! C22: more input at once than the queues between server and kernel hold.
//!
//! All clients send while the server is frozen, so everything is there at once: more than the
//! provided buffers of an io_uring hold and, in the full form, more completions than a ring holds.

use anyhow::Context;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C22",
    "burst",
    "When more arrives at once than rings and buffers hold, even with a stop in the middle, is nothing lost?",
    drive,
)
.connections(FEW)
.full_form(FEW)
// Far longer than the case.
.arguments(&["--drain", "60s"])
// Two full forms at a time would need more descriptors than the harness has.
.exclusive_in_full()
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "it has no queue besides the kernel's, which C27 covers",
)];

/// Enough to use up the buffers: pieces of 512 bytes, one per connection plus 64.
const FEW: usize = 200;

/// Enough to overflow two rings of 2048 completions each.
const MANY: usize = 5_000;

/// Fits into the buffers of a connection that is not read.
const BURST_BYTES: usize = 32 * 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let clients = clients(server)?;
    let crowd = burst(server, clients)?;
    server.thaw_all()?;
    for (number, mut client) in crowd.into_iter().enumerate() {
        client
            .finish(&due(server, number))
            .with_context(|| format!("client {} of {clients} sent a burst", number + 1))?;
    }
    server.expect_released()?;

    let mut in_service = burst(server, clients)?;
    server.terminate()?;
    server.thaw_all()?;
    let waiting = in_service.split_off(server.served_of(clients));
    for (number, mut client) in in_service.into_iter().enumerate() {
        client.finish(&due(server, number)).with_context(|| {
            let number = number + 1;
            format!("client {number} of {clients} had sent a burst at SIGTERM")
        })?;
    }
    for mut client in waiting {
        client
            .read_until_closed()
            .context("a client that was queued at SIGTERM")?;
    }
    server.note(format!(
        "twice {clients} bursts of {} KiB at once, the second time with a stop",
        BURST_BYTES / 1024
    ));
    server.expect_clean_exit()
}

/// As many clients as the server can hold, if it holds fewer.
fn clients(server: &mut ServerUnderTest) -> anyhow::Result<usize> {
    let limited = server.concurrency().is_some() || server.is(Kind::LowDescriptorsOnly);
    let few = limited || server.has_worker_per_connection()?;
    Ok(if few { FEW } else { server.by_scale(FEW, MANY) })
}

/// Connects all clients and freezes the server while they send.
fn burst(server: &ServerUnderTest, clients: usize) -> anyhow::Result<Vec<Client>> {
    let crowd = server.connect_clients(clients)?;
    server.freeze_all()?;
    for (number, client) in crowd.iter().enumerate() {
        client
            .send(&message(number))
            .with_context(|| format!("client {} of {clients}", number + 1))?;
    }
    Ok(crowd)
}

/// What comes back: a client that had to wait has not had its first echo yet.
fn due(server: &ServerUnderTest, number: usize) -> Vec<u8> {
    let mut due = match number < server.served_of(number + 1) {
        true => Vec::new(),
        false => noise(number as u64, 64),
    };
    due.extend(message(number));
    due
}

fn message(number: usize) -> Vec<u8> {
    noise(!(number as u64), BURST_BYTES)
}
