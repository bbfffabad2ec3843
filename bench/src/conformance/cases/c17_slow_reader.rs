//! C17: writes to a client that does not read have a deadline.
//!
//! In addition to the client that reads nothing, another reads slowly: the deadline limits the time
//! without progress, not that of the whole message.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::wait::wait_until;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C17",
    "slow reader",
    "With a write deadline of 2 s, is a client that does not read evicted within 3 s, and a slow one served?",
    drive,
)
.arguments(&["--write-deadline", "2s"])
.connections(2)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Datagram,
    "a datagram is sent or dropped at once: no write waits for a reader",
)];

/// Time for a client that does not read to be evicted.
const EVICTED_WITHIN: Duration = Duration::from_secs(3);

/// An earlier eviction is due to another deadline.
const NOT_BEFORE: Duration = Duration::from_secs(1);

/// More than both directions of a connection hold, so that the server has to wait.
const MESSAGE_BYTES: usize = 32 << 20;

/// How long the slow client is slow: well beyond the deadline.
const SLOW_FOR: Duration = Duration::from_secs(3);

/// The slow client reads this much at a time, 1 MiB per second, with pauses shorter than the
/// deadline.
const SIP_BYTES: usize = 64 << 10;
const SIP_EVERY: Duration = Duration::from_millis(62);

const ATTEMPTS: usize = 3;

/// More than it reads in that time, and less than a connection and its server hold.
const SIPPED_BYTES: usize = 7 << 19;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let message = noise(17, MESSAGE_BYTES);
    let evicted = if server.concurrency() == Some(1) {
        let evicted = evict(server, &message)?;
        sip(server.address(), server.connect()?, &message)?;
        evicted
    } else {
        // Connected before the other client comes and until it has gone.
        let mut slow = server.connect()?;
        slow.echo(&message[..64])?;
        thread::scope(|scope| {
            let (address, message) = (server.address(), &message);
            let sipping = scope.spawn(move || sip(address, slow, message));
            let evicted = evict(server, message);
            let _slow = sipping.join().expect("reading does not panic")?;
            evicted
        })?
    };
    server.note(evicted);
    server.note("a slow one got every byte");
    Ok(())
}

/// Sends as much as possible, reads nothing, and expects to be evicted; returns the observation.
fn evict(server: &ServerUnderTest, message: &[u8]) -> anyhow::Result<String> {
    let before = server.resources()?.descriptors;
    let mut client = server.connect()?;
    client.echo(&message[..64])?;
    let begun = Instant::now();
    let sent = match client.fill(message) {
        Ok(sent) => sent,
        // On a busy machine the server may still take input when its output has been blocked for
        // the deadline.
        Err(_) if begun.elapsed() >= NOT_BEFORE => {
            return Ok(format!(
                "evicted after {:.1?}, while still sending",
                begun.elapsed()
            ));
        }
        Err(error) => return Err(error),
    };
    ensure!(
        sent < message.len(),
        "the server took all {sent} bytes of a client that does not read"
    );
    let full = Instant::now();
    let has_closed = || server.resources().is_ok_and(|now| now.descriptors <= before);
    ensure!(
        wait_until(EVICTED_WITHIN, has_closed),
        "{EVICTED_WITHIN:?} after a client had stopped reading, the server still had its connection"
    );
    let time = full.elapsed();
    ensure!(
        time >= NOT_BEFORE,
        "a client was evicted {time:?} after it had stopped reading, with a deadline of 2 s"
    );
    expect_reset(&mut client, &message[..sent])?;
    Ok(format!("evicted after {time:.1?} with {sent} bytes sent"))
}

fn expect_reset(client: &mut Client, sent: &[u8]) -> anyhow::Result<()> {
    let Err(error) = client.receive(sent) else {
        bail!("a client that had been evicted got all {} bytes back", sent.len());
    };
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(ErrorKind::ConnectionReset) => Ok(()),
        _ => Err(error.context("a client was evicted without a reset")),
    }
}

/// Reads slowly, in one of several attempts: a busy machine may delay a client so long that it
/// looks like one that does not read.
fn sip(address: SocketAddr, mut client: Client, message: &[u8]) -> anyhow::Result<Client> {
    for _ in 1..ATTEMPTS {
        if sip_once(&mut client, message).is_ok() {
            return Ok(client);
        }
        client = Client::connect(address)?;
    }
    sip_once(&mut client, message)?;
    Ok(client)
}

/// Sends as much as possible and reads it slowly; stays connected.
fn sip_once(client: &mut Client, message: &[u8]) -> anyhow::Result<()> {
    let mut sent = 0;
    // A busy machine may end a fill early; the next one continues.
    while sent < SIPPED_BYTES {
        let more = client.fill(&message[sent..])?;
        ensure!(
            more > 0,
            "after {sent} bytes the server takes no more from a client that has not read yet"
        );
        sent += more;
    }
    let message = &message[..sent];
    let start = Instant::now();
    let read = |client: &mut Client, at: usize, length: usize| {
        let seconds = start.elapsed().as_secs_f64();
        let slow = || format!("a client that read slowly, without long pauses, after {seconds:.1} s");
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
        "{sent} bytes are too few to read slowly"
    );
    read(client, done, sent - done)
}
