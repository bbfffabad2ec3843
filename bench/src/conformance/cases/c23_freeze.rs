//! C23: a server that stands still for two seconds.

use std::time::Duration;
use std::{panic, thread};

use anyhow::Context;

use super::client::{Client, Reading, noise};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C23",
    "freeze",
    "Are all bytes intact after the server was stopped for 2 s and went on?",
    drive,
)
.room(STREAMING + STEADY)
.over_datagrams(drive_datagrams);

/// Clients that send more than the buffers hold, and are held up by the freeze.
const STREAMING: usize = 2;

/// Clients that send a message now and then during the freeze.
const STEADY: usize = 4;

/// More than both directions of a connection hold: read late, it is under way when the freeze
/// begins.
const STREAM_BYTES: usize = 24 << 20;

const PIECE_BYTES: usize = 64 * 1024;

/// So short that all of them fit into the queue that a socket for datagrams has if nobody asks
/// for more.
const MESSAGE_BYTES: usize = 256;

/// Messages of each steady client.
const MESSAGES: usize = 20;

const FREEZE: Duration = Duration::from_secs(2);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let mut streaming = running.crowd(running.served_of(STREAMING + STEADY))?;
    let mut steady = streaming.split_off(STREAMING.min(streaming.len()));
    let stream = noise(23, STREAM_BYTES);
    thread::scope(|scope| {
        let converse = |client: &mut Client| client.converse(&stream, PIECE_BYTES, Reading::Late);
        let start = |client| scope.spawn(move || converse(client));
        let threads: Vec<_> = streaming.iter_mut().map(start).collect();
        freeze(running, &mut steady)?;
        for thread in threads {
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
                .with_context(|| {
                    format!("a client that sent {STREAM_BYTES} bytes when the server was stopped")
                })?;
        }
        Ok(())
    })
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let mut steady = running.crowd(STEADY)?;
    freeze(running, &mut steady)
}

/// Stops the server while these clients send.
fn freeze(running: &mut Running, steady: &mut [Client]) -> anyhow::Result<()> {
    let message = |client: usize, number: usize| noise((client * MESSAGES + number) as u64, MESSAGE_BYTES);
    running.freeze_all()?;
    for number in 0..MESSAGES {
        thread::sleep(FREEZE / MESSAGES as u32);
        for (at, client) in steady.iter().enumerate() {
            client.send(&message(at, number))?;
        }
    }
    running.thaw_all()?;
    for (at, client) in steady.iter_mut().enumerate() {
        for number in 0..MESSAGES {
            client.receive(&message(at, number)).with_context(|| {
                let number = number + 1;
                format!("message {number} of {MESSAGES} that were sent while the server was stopped")
            })?;
        }
    }
    running.saw(format!(
        "{} messages sent while it was stopped came back",
        steady.len() * MESSAGES
    ));
    Ok(())
}
