//! C14: connections in the backlog when the server stops.
//!
//! Shutting down or closing a listener resets the connections queued on it; a server may also serve
//! them first. It must not keep them open without serving them.

use anyhow::{Context, bail, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C14",
    "queue at stop",
    "When the server stops, is each connection in the backlog served or reset, and none left open?",
    drive,
)
// Longer than a client waits: a connection that only the end of the drain closes counts as left
// open.
.arguments(&["--drain", "60s"])
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "there is no backlog of connections; C13 covers queued datagrams",
)];

/// Every second client sends its message before the stop, the others after it.
const QUEUED: usize = 20;

const MESSAGE_BYTES: usize = 1024;

/// The end of a queued connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Served,
    Reset,
    Closed,
}

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.freeze_all()?;
    let mut queued = Vec::new();
    for number in 0..QUEUED {
        let client = server.connect()?;
        if number % 2 == 0 {
            client.send(&message(number))?;
        }
        queued.push(client);
    }
    server.terminate()?;
    server.thaw_all()?;
    let mut fates = Vec::new();
    for (number, client) in queued.iter_mut().enumerate() {
        // A failed send has consumed the reset: no later call reports it.
        let send_failed = number % 2 == 1 && client.send(&message(number)).is_err();
        // The connection may be closed, which `fate` finds out.
        let _ = client.half_close();
        let name = || format!("client {} of {QUEUED} that were queued at SIGTERM", number + 1);
        let fate = fate(client, send_failed, &message(number)).with_context(name)?;
        ensure!(
            fate != Fate::Closed || number % 2 == 1,
            "{} had sent a message and got a FIN without an answer",
            name()
        );
        fates.push(fate);
    }
    let count = |due| fates.iter().filter(|&&fate| fate == due).count();
    server.note(format!(
        "of {QUEUED} queued connections {} were served, {} reset, {} closed",
        count(Fate::Served),
        count(Fate::Reset),
        count(Fate::Closed)
    ));
    server.expect_clean_exit()
}

fn fate(client: &mut Client, send_failed: bool, message: &[u8]) -> anyhow::Result<Fate> {
    let closed = client.read_until_closed()?;
    match closed.bytes.len() {
        0 if send_failed || closed.was_reset => Ok(Fate::Reset),
        0 => Ok(Fate::Closed),
        _ if closed.bytes == message => Ok(Fate::Served),
        length => bail!(
            "{length} bytes came back that are not the message of {}",
            message.len()
        ),
    }
}

fn message(number: usize) -> Vec<u8> {
    noise(number as u64, MESSAGE_BYTES)
}
