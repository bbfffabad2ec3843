//! C27: which datagrams a server answers, and what it does with the others.
//!
//! A datagram does not prove its source. A server that answers the port of another service, or its
//! own, can be made to loop with that service, or with itself, by one forged datagram
//! (CVE-2024-2169).

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest};
use crate::proc::counters::lost_datagrams;

pub const CASE: Case = Case::new(
    "C27",
    "datagrams",
    "Is an empty datagram answered, and one that is too long, overflows the queue or would cause a loop dropped and counted?",
    |_| Ok(()),
)
.arguments(&["--buffer", "1KiB"])
.over_udp(drive)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Stream,
    "it serves TCP, where there are no datagrams to drop",
)];

/// The longest datagram that a server with this buffer answers.
const FITS: usize = 1024;

/// Slightly longer than that, and about the maximum.
const TOO_LONG: [usize; 2] = [FITS + 1, 60_000];

/// Ports of services that answer everything, or every error.
const SERVICES: [u16; 7] = [7, 13, 17, 19, 37, 53, 69];

/// Time after which a datagram counts as unanswered.
const UNANSWERED: Duration = Duration::from_millis(200);

/// Datagrams of the longest size that fits: 16 MiB, more than a receive buffer holds.
const FLOOD: usize = 16 << 10;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut client = server.connect()?;
    client.echo(b"").context("an empty datagram")?;
    client
        .echo(&noise(1, FITS))
        .context("a datagram that just fits")?;
    let services = refuses(server)?;
    client.echo(b"here\n").context("after unanswerable datagrams")?;
    let lost = flood(server, &client)?;
    server.terminate()?;
    server.expect_clean_exit()?;

    server.note(format!(
        "{services} datagrams from ports of services were dropped, and {lost} overflowed the queue"
    ));
    let stderr = server.stderr();
    let Some(report) = stderr.lines().last() else {
        bail!("the server did not report the datagrams that it dropped");
    };
    let dropped = [
        (TOO_LONG.len() as u64, "longer than"),
        (1, "from the port of this server"),
        (services, "from the port of a service"),
        (lost, "for which the queue had no room"),
    ];
    for (count, what) in dropped.into_iter().filter(|(count, _)| *count > 0) {
        ensure!(
            report.contains(&format!(" {count} {what}")),
            "{count} datagrams were dropped, {what}, but the server reported: {report}"
        );
    }
    Ok(())
}

/// Sends what must not be answered; returns the number of datagrams from ports of services.
fn refuses(server: &mut ServerUnderTest) -> anyhow::Result<u64> {
    let mut sent = Vec::new();
    for size in TOO_LONG {
        let client = server.connect()?;
        client.send(&noise(2, size))?;
        sent.push((
            client,
            format!("a datagram of {size} bytes, more than the {FITS} that fit,"),
        ));
    }
    let destination = server.address();
    let own_port = destination.port();
    // A loopback address that no other process sends from at the same time.
    let [high, low] = own_port.to_be_bytes();
    let address = Ipv4Addr::new(127, 127, high, low);
    let from = |port| Client::udp_from((address, port).into(), destination);
    let own = from(own_port)?;
    own.send(b"loop\n")?;
    sent.push((own, "a datagram from the server's own port".into()));
    let others = sent.len();
    for port in SERVICES {
        match from(port) {
            Ok(client) => {
                client.send(b"loop\n")?;
                sent.push((
                    client,
                    format!("a datagram from port {port}, where a service answers,"),
                ));
            }
            // The port may be in use, and binding it needs a privilege.
            Err(error) => server.note(format!("not checked for port {port}: {error:#}")),
        }
    }
    thread::sleep(UNANSWERED);
    let services = sent.len() - others;
    for (mut client, what) in sent {
        ensure!(
            client.is_silent_for(Duration::from_millis(1))?,
            "{what} was answered"
        );
    }
    Ok(services as u64)
}

/// Fills the receive buffer of the stopped server; returns the kernel's count of dropped datagrams.
fn flood(server: &ServerUnderTest, client: &Client) -> anyhow::Result<u64> {
    server.freeze()?;
    let message = noise(3, FITS);
    for _ in 0..FLOOD {
        client.send(&message)?;
    }
    server.thaw()?;
    let lost = lost_datagrams(server.address().port())?;
    ensure!(
        lost > 0,
        "the receive buffer holds {FLOOD} datagrams of {FITS} bytes, so none was dropped"
    );
    Ok(lost)
}
