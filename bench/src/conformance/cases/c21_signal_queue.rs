//! C21: a signal queue with room for four.
//!
//! A server that uses queued signals learns from the fifth only that something has happened, and
//! must look at everything. Other servers are not affected.

use anyhow::Context;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::faults::{Limit, Resource};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C21",
    "signal queue",
    "With room for four pending signals, does no connection stall?",
    drive,
)
.connections(CLIENTS)
.over_udp(drive_datagrams);

const PENDING_SIGNALS: u64 = 4;

/// Each of them causes an event while the server is stopped.
const CLIENTS: usize = 200;

/// Short enough for that many datagrams to fit into a receive buffer of default size.
const MESSAGE_BYTES: usize = 256;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let _limit = Limit::lower(server, Resource::Sigpending, |_| PENDING_SIGNALS)?;
    let clients = server.served_of(CLIENTS);

    let mut crowd = Vec::new();
    at_once(server, || {
        for number in 0..clients {
            let client = server.connect()?;
            client.send(&message(number))?;
            crowd.push(client);
        }
        Ok(())
    })?;
    receive(&mut crowd).context("clients that connected and sent at once")?;

    at_once(server, || send(&crowd))?;
    receive(&mut crowd).context("clients that sent at once")?;

    at_once(server, || {
        send(&crowd)?;
        crowd.iter().try_for_each(Client::half_close)
    })?;
    receive(&mut crowd)
        .and_then(|()| crowd.iter_mut().try_for_each(Client::expect_eof))
        .context("clients that sent and half-closed at once")?;
    server.note(format!(
        "{clients} clients connected, sent and half-closed at once"
    ));
    Ok(())
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let _limit = Limit::lower(server, Resource::Sigpending, |_| PENDING_SIGNALS)?;
    let mut crowd = server.connect_clients(CLIENTS)?;
    at_once(server, || send(&crowd))?;
    receive(&mut crowd).context("clients that sent at once")?;
    server.note(format!("{CLIENTS} clients sent at once"));
    Ok(())
}

/// What happens while the server is stopped happens at once for it.
fn at_once(server: &ServerUnderTest, happen: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    server.freeze_all()?;
    let happened = happen();
    server.thaw_all()?;
    happened
}

fn send(crowd: &[Client]) -> anyhow::Result<()> {
    let mut clients = crowd.iter().enumerate();
    clients.try_for_each(|(number, client)| client.send(&message(number)))
}

fn receive(crowd: &mut [Client]) -> anyhow::Result<()> {
    let all = crowd.len();
    for (number, client) in crowd.iter_mut().enumerate() {
        let due = client.receive(&message(number));
        due.with_context(|| format!("client {} of {all}", number + 1))?;
    }
    Ok(())
}

fn message(number: usize) -> Vec<u8> {
    noise(number as u64, MESSAGE_BYTES)
}
