//! C4: reset before it is accepted.
//!
//! On Linux such a connection stays in the backlog, and `accept` succeeds: the reset is
//! met by the first call on the new socket, whichever that is.

use anyhow::Context;

use super::client::{Client, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C4",
    "early reset",
    "Is the next client served when others have reset their connections before they were accepted?",
    drive,
);

/// Each of them comes after one that resets.
const GOOD: usize = 10;

const MESSAGE_BYTES: usize = 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    running.freeze_all()?;
    let mut good = Vec::new();
    for number in 0..GOOD {
        reset_early(running, number)?;
        let client = running.client()?;
        client.send(&message(number))?;
        good.push(client);
    }
    reset_early(running, GOOD)?;
    running.thaw_all()?;
    for (number, client) in good.iter_mut().enumerate() {
        client.finish(&message(number)).with_context(|| {
            let before = number + 1;
            format!("client {before} of {GOOD}, after {before} that were reset before they were accepted")
        })?;
    }
    running.saw(format!(
        "{GOOD} clients were served among {} that had reset",
        GOOD + 1
    ));
    Ok(())
}

/// Every second one has sent something, which the server may still read.
fn reset_early(running: &Running, number: usize) -> anyhow::Result<()> {
    let client: Client = running.client()?;
    if number % 2 == 1 {
        client.send(&message(number))?;
    }
    Ok(client.reset()?)
}

fn message(number: usize) -> Vec<u8> {
    noise(number as u64, MESSAGE_BYTES)
}
