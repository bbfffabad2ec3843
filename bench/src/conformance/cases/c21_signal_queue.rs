//! C21: a queue of signals that has room for four.
//!
//! A server that is told by queued signals what has happened hears of the fifth only that
//! something has: it has to look at all. To the others the limit means nothing.

use anyhow::Context;

use super::client::{Client, noise};
use super::fault::{Limit, Resource};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C21",
    "signal queue",
    "With room for four pending signals, does no connection stall?",
    drive,
)
.room(CLIENTS)
.over_datagrams(drive_datagrams);

const PENDING_SIGNALS: u64 = 4;

/// Each of them is news, while the server is stopped.
const CLIENTS: usize = 200;

/// So short that as many datagrams fit into the queue that a socket has if nobody asks for more.
const MESSAGE_BYTES: usize = 256;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let _limit = Limit::lower(running, Resource::Sigpending, |_| PENDING_SIGNALS)?;
    let clients = running.served_of(CLIENTS);

    let mut crowd = Vec::new();
    at_once(running, || {
        for number in 0..clients {
            let client = running.client()?;
            client.send(&message(number))?;
            crowd.push(client);
        }
        Ok(())
    })?;
    receive(&mut crowd).context("clients that came at once, with a message each")?;

    at_once(running, || send(&crowd))?;
    receive(&mut crowd).context("clients that sent at once")?;

    at_once(running, || {
        send(&crowd)?;
        crowd.iter().try_for_each(Client::end)
    })?;
    receive(&mut crowd)
        .and_then(|()| crowd.iter_mut().try_for_each(Client::expect_end))
        .context("clients that sent and ended at once")?;
    running.saw(format!("{clients} came, sent and ended at once"));
    Ok(())
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let _limit = Limit::lower(running, Resource::Sigpending, |_| PENDING_SIGNALS)?;
    let mut crowd = running.crowd(CLIENTS)?;
    at_once(running, || send(&crowd))?;
    receive(&mut crowd).context("clients that sent at once")?;
    running.saw(format!("{CLIENTS} sent at once"));
    Ok(())
}

/// Whatever happens while the server is stopped happens at once to it.
fn at_once(running: &Running, happen: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    running.freeze_all()?;
    let happened = happen();
    running.thaw_all()?;
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
