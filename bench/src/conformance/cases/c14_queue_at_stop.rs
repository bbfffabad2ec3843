//! C14: connections that nobody has accepted when the stop comes.
//!
//! A listener that is shut down or closed resets all that is queued on it, and a server may
//! also serve them first. What it may not do is keep them open and serve them never.

use anyhow::{Context, bail, ensure};

use super::client::{Client, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C14",
    "queue at stop",
    "Is each connection in the backlog served or reset, and none left hanging, when the server is told to stop?",
    drive,
)
// Longer than a client waits: what only the end of the drain ends was left hanging.
.arguments(&["--drain", "60s"]);

/// Every second one has sent its message before the stop, the others send it after that.
const QUEUED: usize = 20;

const MESSAGE_BYTES: usize = 1024;

/// What became of a queued connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Served,
    Reset,
    Closed,
}

fn drive(running: &mut Running) -> anyhow::Result<()> {
    running.freeze_all()?;
    let mut queued = Vec::new();
    for number in 0..QUEUED {
        let client = running.client()?;
        if number % 2 == 0 {
            client.send(&message(number))?;
        }
        queued.push(client);
    }
    running.terminate()?;
    running.thaw_all()?;
    let mut fates = Vec::new();
    for (number, client) in queued.iter_mut().enumerate() {
        // A send that fails has heard of the reset, which is then not heard of again.
        let is_reset = number % 2 == 1 && client.send(&message(number)).is_err();
        // The connection may be gone, as `fate` finds out.
        let _ = client.end();
        let name = || {
            format!(
                "client {} of {QUEUED} that were queued when SIGTERM came",
                number + 1
            )
        };
        let fate = fate(client, is_reset, &message(number)).with_context(name)?;
        ensure!(
            fate != Fate::Closed || number % 2 == 1,
            "{} had sent a message, and saw an end without an answer, as if there were none",
            name()
        );
        fates.push(fate);
    }
    let count = |due| fates.iter().filter(|&&fate| fate == due).count();
    running.saw(format!(
        "of {QUEUED} queued connections {} were served, {} reset, {} closed",
        count(Fate::Served),
        count(Fate::Reset),
        count(Fate::Closed)
    ));
    running.expect_clean_exit()
}

fn fate(client: &mut Client, is_reset: bool, message: &[u8]) -> anyhow::Result<Fate> {
    let rest = client.expect_release()?;
    match rest.bytes.len() {
        0 if is_reset || rest.was_reset => Ok(Fate::Reset),
        0 => Ok(Fate::Closed),
        _ if rest.bytes == message => Ok(Fate::Served),
        length => bail!(
            "{length} bytes of a message of {} came back, or wrong ones",
            message.len()
        ),
    }
}

fn message(number: usize) -> Vec<u8> {
    noise(number as u64, MESSAGE_BYTES)
}
