//! C17: a write that nobody takes has a deadline.
//!
//! Beside the client that takes nothing, another one reads, slowly: what has a deadline is
//! the wait for any progress, and not the whole of a message.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::client::{Client, noise, wait_until};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C17",
    "slow reader",
    "With a write deadline of 2 s, is a client that does not read evicted within 3 s, and a slow one served?",
    drive,
)
.arguments(&["--write-deadline", "2s"])
.room(2);

/// Time for a client that does not read to be evicted.
const EVICTED_WITHIN: Duration = Duration::from_secs(3);

/// Whoever is evicted before that, is so by another deadline.
const NOT_BEFORE: Duration = Duration::from_secs(1);

/// More than both directions of a connection hold, so that the server itself has to wait.
const MESSAGE_BYTES: usize = 32 << 20;

/// So long the slow one is slow: well beyond the deadline.
const SLOW_FOR: Duration = Duration::from_secs(3);

/// It takes so much so often, 1 MiB per second, and stops for less than the deadline.
const SIP_BYTES: usize = 64 << 10;
const SIP_EVERY: Duration = Duration::from_millis(62);

const ATTEMPTS: usize = 3;

/// More than it reads in that time, and less than a connection and its server hold.
const SIPPED_BYTES: usize = 7 << 19;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let message = noise(17, MESSAGE_BYTES);
    let evicted = if running.at_once() == Some(1) {
        let evicted = evict(running, &message)?;
        sip(running.address(), running.client()?, &message)?;
        evicted
    } else {
        // It is there before the other comes, and until that one has gone.
        let mut slow = running.client()?;
        slow.echo(&message[..64])?;
        thread::scope(|scope| {
            let (server, message) = (running.address(), &message);
            let sipping = scope.spawn(move || sip(server, slow, message));
            let evicted = evict(running, message);
            let _slow = sipping.join().expect("reading does not panic")?;
            evicted
        })?
    };
    running.saw(evicted);
    running.saw("a slow one got every byte");
    Ok(())
}

/// Sends as much as goes, reads nothing, and is cut off; returns what was seen.
fn evict(running: &Running, message: &[u8]) -> anyhow::Result<String> {
    let before = running.holdings()?.descriptors;
    let mut client = running.client()?;
    client.echo(&message[..64])?;
    let begun = Instant::now();
    let sent = match client.fill(message) {
        Ok(sent) => sent,
        // On a busy machine the server still takes input when its output has stood for so long.
        Err(_) if begun.elapsed() >= NOT_BEFORE => {
            return Ok(format!(
                "evicted after {:.1?}, while it was still sending",
                begun.elapsed()
            ));
        }
        Err(error) => return Err(error),
    };
    ensure!(
        sent < message.len(),
        "the server took all of {sent} bytes of a client that does not read"
    );
    let full = Instant::now();
    let has_let_go = || running.holdings().is_ok_and(|now| now.descriptors <= before);
    ensure!(
        wait_until(EVICTED_WITHIN, has_let_go),
        "{EVICTED_WITHIN:?} after a client had stopped to read, the server still had its connection"
    );
    let time = full.elapsed();
    ensure!(
        time >= NOT_BEFORE,
        "a client was evicted {time:?} after it had stopped to read, with a deadline of 2 s"
    );
    expect_reset(&mut client, &message[..sent])?;
    Ok(format!("evicted after {time:.1?} with {sent} bytes sent"))
}

fn expect_reset(client: &mut Client, sent: &[u8]) -> anyhow::Result<()> {
    let Err(error) = client.receive(sent) else {
        bail!(
            "a client that had been evicted got all of {} bytes back",
            sent.len()
        );
    };
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(ErrorKind::ConnectionReset) => Ok(()),
        _ => Err(error.context("a client was evicted, and saw no reset")),
    }
}

/// Reads slowly, in one of several attempts: a busy machine may keep a client waiting for so
/// long that it looks like one that does not read.
fn sip(server: SocketAddr, mut client: Client, message: &[u8]) -> anyhow::Result<Client> {
    for _ in 1..ATTEMPTS {
        if sip_once(&mut client, message).is_ok() {
            return Ok(client);
        }
        client = Client::connect(server)?;
    }
    sip_once(&mut client, message)?;
    Ok(client)
}

/// Sends as much as goes, and reads it slowly; it stays connected.
fn sip_once(client: &mut Client, message: &[u8]) -> anyhow::Result<()> {
    let mut sent = 0;
    // A pause of a busy machine ends a filling early; the next one goes on with it.
    while sent < SIPPED_BYTES {
        let more = client.fill(&message[sent..])?;
        ensure!(
            more > 0,
            "the server takes nothing after {sent} bytes of a client that has not yet read"
        );
        sent += more;
    }
    let message = &message[..sent];
    let start = Instant::now();
    let read = |client: &mut Client, at: usize, length: usize| {
        let seconds = start.elapsed().as_secs_f64();
        let slow = || format!("a client that read slowly, but never paused for long, after {seconds:.1} s");
        client.receive(&message[at..at + length]).with_context(slow)
    };
    let mut done = 0;
    while start.elapsed() < SLOW_FOR && sent - done > SIP_BYTES {
        read(client, done, SIP_BYTES)?;
        done += SIP_BYTES;
        thread::sleep(SIP_EVERY);
    }
    ensure!(
        start.elapsed() >= SLOW_FOR,
        "{sent} bytes were too few to read them slowly"
    );
    read(client, done, sent - done)
}
