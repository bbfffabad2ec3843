//! C13: a server that is told to stop first finishes what it has begun.
//!
//! Of a server that serves fewer clients at once, as many are in flight, and the others
//! are queued: those may be served or reset, but are not left hanging.
//!
//! In full it is stopped again and again, under clients that go on sending and receiving while
//! it is told to.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::client::{Client, is_refused, noise, wait_until};
use super::{Case, Drive, Running, Scale, load};

pub const CASE: Case = Case::new(
    "C13",
    "drain",
    "Does SIGTERM with 100 clients in flight lose no reply, refuse new clients, and end the server with 0?",
    drive,
)
.room(CLIENTS)
.full(CLIENTS)
// Far above what the case takes: an exit within its own bound is one before the deadline.
.arguments(&["--drain", "60s"])
.over_datagrams(drive_datagrams);

const CLIENTS: usize = 100;

/// So many of them do not read until the signal has come, so that the server holds
/// replies that the kernel has no room for.
const FULL: usize = 4;

/// More than both directions of a connection hold.
const FULL_BYTES: usize = 32 << 20;

const MESSAGE_BYTES: usize = 64 * 1024;

/// So short that a hundred fit into the queue that a socket has if nobody asks for more.
const DATAGRAM_BYTES: usize = 256;

/// Stops in full: more than 200 over the models.
const STOPS: usize = 8;

/// How long the clients go on before the stop and after it.
const GO_ON: Duration = Duration::from_millis(50);

/// Time for the listener to close.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// A client with a message whose reply is due.
struct InFlight {
    client: Client,
    message: Vec<u8>,
    sent: usize,
}

fn drive(running: &mut Running) -> anyhow::Result<()> {
    if running.scale() == Scale::Full {
        stop_repeatedly(running, stop_under_load)?;
    }
    stop_in_flight(running)
}

fn stop_in_flight(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(CLIENTS)?;
    let queued = crowd.split_off(running.served_of(CLIENTS));
    let in_flight = send_first_half(crowd)?;
    terminate(running)?;
    finish(in_flight)?;
    for mut client in queued {
        client
            .expect_release()
            .context("a client that was queued when SIGTERM came")?;
    }
    running.saw(format!(
        "{} clients in flight lost nothing",
        running.served_of(CLIENTS)
    ));
    running.expect_clean_exit()
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    if running.scale() == Scale::Full {
        stop_repeatedly(running, stop_with_datagrams_queued)?;
    }
    stop_with_datagrams_queued(running)
}

/// A datagram is in flight while it is queued in the server's socket.
fn stop_with_datagrams_queued(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(CLIENTS)?;
    running.freeze()?;
    let message = |number| noise(number as u64, DATAGRAM_BYTES);
    for (number, client) in crowd.iter().enumerate() {
        client.send(&message(number))?;
    }
    running.terminate()?;
    running.thaw()?;
    for (number, client) in crowd.iter_mut().enumerate() {
        client.receive(&message(number)).with_context(|| {
            let number = number + 1;
            format!("datagram {number} of {CLIENTS} was queued when SIGTERM came, and its reply was lost")
        })?;
    }
    running.expect_clean_exit()
}

fn stop_repeatedly(running: &mut Running, stop: Drive) -> anyhow::Result<()> {
    for number in 1..=STOPS {
        stop(running).with_context(|| format!("stop {number} of {STOPS}"))?;
        running.start_again()?;
    }
    Ok(())
}

/// The clients go on until some time after the stop: an open connection is served to its end,
/// and nothing that was sent on it may be lost.
fn stop_under_load(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(running.served_of(CLIENTS))?;
    let echoes = load::while_echoing(&mut crowd, MESSAGE_BYTES, || {
        thread::sleep(GO_ON);
        terminate(running)?;
        thread::sleep(GO_ON);
        Ok(())
    })?;
    for client in &mut crowd {
        client.finish(&[])?;
    }
    running.saw(format!("{echoes} echoes around a stop"));
    running.expect_clean_exit()
}

fn terminate(running: &mut Running) -> anyhow::Result<()> {
    running.terminate()?;
    let address = running.address();
    ensure!(
        wait_until(REFUSED_WITHIN, || is_refused(address)),
        "new clients were still accepted {REFUSED_WITHIN:?} after SIGTERM"
    );
    Ok(())
}

fn send_first_half(crowd: Vec<Client>) -> anyhow::Result<Vec<InFlight>> {
    // At least one client also sends after the signal.
    let full = FULL.min(crowd.len() - 1);
    let send = |(number, client): (usize, Client)| -> anyhow::Result<InFlight> {
        let (message, sent) = if number < full {
            let mut message = noise(number as u64, FULL_BYTES);
            message.truncate(client.fill(&message)?);
            let sent = message.len();
            (message, sent)
        } else {
            let message = noise(number as u64, MESSAGE_BYTES);
            client.send(&message[..MESSAGE_BYTES / 2])?;
            (message, MESSAGE_BYTES / 2)
        };
        Ok(InFlight {
            client,
            message,
            sent,
        })
    };
    crowd.into_iter().enumerate().map(send).collect()
}

fn finish(in_flight: Vec<InFlight>) -> anyhow::Result<()> {
    let all = in_flight.len();
    for (number, mut flight) in in_flight.into_iter().enumerate() {
        flight
            .client
            .send(&flight.message[flight.sent..])
            .and_then(|()| flight.client.finish(&flight.message))
            .with_context(|| {
                format!(
                    "client {} of {all} was in flight when SIGTERM came, and its reply was lost",
                    number + 1
                )
            })?;
    }
    Ok(())
}
