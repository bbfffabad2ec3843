//! C23: a server that is stopped for two seconds.

use std::time::Duration;
use std::{panic, thread};

use anyhow::Context;

use crate::conformance::kit::client::{Client, ReadStart};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C23",
    "freeze",
    "Are all bytes intact after the server was stopped for 2 s and continued?",
    drive,
)
.connections(STREAMING + STEADY)
.over_udp(drive_datagrams);

/// Clients that send more than the buffers hold, and are blocked by the freeze.
const STREAMING: usize = 2;

/// Clients that send a message now and then during the freeze.
const STEADY: usize = 4;

/// More than both directions of a connection hold: read late, it is on its way when the freeze
/// starts.
const STREAM_BYTES: usize = 24 << 20;

const PIECE_BYTES: usize = 64 * 1024;

/// Short enough for all messages to fit into a receive buffer of default size.
const MESSAGE_BYTES: usize = 256;

/// Messages per steady client.
const MESSAGES: usize = 20;

const FREEZE: Duration = Duration::from_secs(2);

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut streaming = server.connect_clients(server.served_of(STREAMING + STEADY))?;
    let mut steady = streaming.split_off(STREAMING.min(streaming.len()));
    let stream = noise(23, STREAM_BYTES);
    thread::scope(|scope| {
        let echo = |client: &mut Client| client.echo_to_eof(&stream, PIECE_BYTES, ReadStart::WhenFull);
        let start = |client| scope.spawn(move || echo(client));
        let threads: Vec<_> = streaming.iter_mut().map(start).collect();
        freeze(server, &mut steady)?;
        for thread in threads {
            thread
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
                .with_context(|| {
                    format!("a client that sent {STREAM_BYTES} bytes while the server was stopped")
                })?;
        }
        Ok(())
    })
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut steady = server.connect_clients(STEADY)?;
    freeze(server, &mut steady)
}

/// Stops the server while these clients send.
fn freeze(server: &mut ServerUnderTest, steady: &mut [Client]) -> anyhow::Result<()> {
    let message = |client: usize, number: usize| noise((client * MESSAGES + number) as u64, MESSAGE_BYTES);
    server.freeze_all()?;
    for number in 0..MESSAGES {
        thread::sleep(FREEZE / MESSAGES as u32);
        for (at, client) in steady.iter().enumerate() {
            client.send(&message(at, number))?;
        }
    }
    server.thaw_all()?;
    for (at, client) in steady.iter_mut().enumerate() {
        for number in 0..MESSAGES {
            client.receive(&message(at, number)).with_context(|| {
                let number = number + 1;
                format!("message {number} of {MESSAGES} sent while the server was stopped")
            })?;
        }
    }
    server.note(format!(
        "{} messages sent while it was stopped came back",
        steady.len() * MESSAGES
    ));
    Ok(())
}
