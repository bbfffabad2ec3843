//! C13: SIGTERM, and replies that are due.
//!
//! Where a server serves fewer clients concurrently, that many are in flight and the others are
//! queued; queued clients may be served or reset, but must not hang.
//!
//! The full form stops the server repeatedly, while clients send and receive.

use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::connecting::is_refused;
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::wait::wait_until;
use crate::conformance::kit::{Case, Drive, Scale, ServerUnderTest, background_load};

pub const CASE: Case = Case::new(
    "C13",
    "drain",
    "Does SIGTERM with 100 clients in flight lose no reply, refuse new clients, and end the server with status 0?",
    drive,
)
.connections(CLIENTS)
.full_form(CLIENTS)
// Far longer than the case: an exit in time cannot be the end of the drain.
.arguments(&["--drain", "60s"])
.over_udp(drive_datagrams);

const CLIENTS: usize = 100;

/// Clients that do not read before the signal, so that the server holds replies that the kernel has
/// no room for.
const FULL: usize = 4;

/// More than both directions of a connection hold.
const FULL_BYTES: usize = 32 << 20;

const MESSAGE_BYTES: usize = 64 * 1024;

/// Short enough for a hundred to fit into a receive buffer of default size.
const DATAGRAM_BYTES: usize = 256;

/// Stops of the full form: more than 200 over all models.
const STOPS: usize = 8;

/// How long the clients continue before the stop and after it.
const GO_ON: Duration = Duration::from_millis(50);

/// Time for the listener to close.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// A client whose reply is due.
struct InFlight {
    client: Client,
    message: Vec<u8>,
    sent: usize,
}

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    if server.scale() == Scale::Full {
        stop_repeatedly(server, stop_under_load)?;
    }
    stop_in_flight(server)
}

fn stop_in_flight(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(CLIENTS)?;
    let queued = crowd.split_off(server.served_of(CLIENTS));
    let in_flight = send_first_half(crowd)?;
    terminate(server)?;
    finish(in_flight)?;
    for mut client in queued {
        client
            .read_until_closed()
            .context("a client that was queued at SIGTERM")?;
    }
    server.note(format!(
        "{} clients in flight lost nothing",
        server.served_of(CLIENTS)
    ));
    server.expect_clean_exit()
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    if server.scale() == Scale::Full {
        stop_repeatedly(server, stop_with_datagrams_queued)?;
    }
    stop_with_datagrams_queued(server)
}

/// A datagram is in flight while it is in the server's receive buffer.
fn stop_with_datagrams_queued(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(CLIENTS)?;
    server.freeze()?;
    let message = |number| noise(number as u64, DATAGRAM_BYTES);
    for (number, client) in crowd.iter().enumerate() {
        client.send(&message(number))?;
    }
    server.terminate()?;
    server.thaw()?;
    for (number, client) in crowd.iter_mut().enumerate() {
        client.receive(&message(number)).with_context(|| {
            let number = number + 1;
            format!("datagram {number} of {CLIENTS} was queued at SIGTERM, and its reply was lost")
        })?;
    }
    server.expect_clean_exit()
}

fn stop_repeatedly(server: &mut ServerUnderTest, stop: Drive) -> anyhow::Result<()> {
    for number in 1..=STOPS {
        stop(server).with_context(|| format!("stop {number} of {STOPS}"))?;
        server.restart()?;
    }
    Ok(())
}

/// The clients continue after the stop: an open connection is served to its end without loss.
fn stop_under_load(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(server.served_of(CLIENTS))?;
    let echoes = background_load::while_echoing(&mut crowd, MESSAGE_BYTES, || {
        thread::sleep(GO_ON);
        terminate(server)?;
        thread::sleep(GO_ON);
        Ok(())
    })?;
    for client in &mut crowd {
        client.finish(&[])?;
    }
    server.note(format!("{echoes} echoes around a stop"));
    server.expect_clean_exit()
}

fn terminate(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.terminate()?;
    let address = server.address();
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
                    "client {} of {all} was in flight at SIGTERM, and its reply was lost",
                    number + 1
                )
            })?;
    }
    Ok(())
}
