//! C4: connections that are reset before they are accepted.
//!
//! On Linux such a connection stays in the backlog and `accept` succeeds. The first call on the new
//! socket, whichever it is, meets the reset.

use anyhow::Context;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C4",
    "early reset",
    "Is the next client served after others have reset their connections before `accept`?",
    drive,
)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "there is no connection to reset before accept",
)];

/// Clients that stay; one that resets comes before each of them.
const GOOD: usize = 10;

const MESSAGE_BYTES: usize = 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.freeze_all()?;
    let mut good = Vec::new();
    for number in 0..GOOD {
        reset_early(server, number)?;
        let client = server.connect()?;
        client.send(&message(number))?;
        good.push(client);
    }
    reset_early(server, GOOD)?;
    server.thaw_all()?;
    for (number, client) in good.iter_mut().enumerate() {
        client.finish(&message(number)).with_context(|| {
            let before = number + 1;
            format!("client {before} of {GOOD}, after {before} others were reset before accept")
        })?;
    }
    server.note(format!(
        "{GOOD} clients were served among {} that reset",
        GOOD + 1
    ));
    Ok(())
}

/// Every second client has sent a message, which the server may still read.
fn reset_early(server: &ServerUnderTest, number: usize) -> anyhow::Result<()> {
    let client: Client = server.connect()?;
    if number % 2 == 1 {
        client.send(&message(number))?;
    }
    Ok(client.reset()?)
}

fn message(number: usize) -> Vec<u8> {
    noise(number as u64, MESSAGE_BYTES)
}
