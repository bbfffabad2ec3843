//! C27: whom a server of datagrams answers, and what becomes of the rest.
//!
//! A datagram cannot prove where it comes from. A server that answers the port of another
//! service, or its own, can be set on that service, or on itself, by one forged datagram,
//! for ever (CVE-2024-2169).

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::client::{Client, noise};
use super::{Case, Running, observe};

pub const CASE: Case = Case::new(
    "C27",
    "datagrams",
    "Is an empty datagram answered, and one that is cut off, finds no room or would loop dropped and counted?",
    |_| Ok(()),
)
.arguments(&["--buffer", "1KiB"])
.over_datagrams(drive);

/// The longest datagram that a server with the buffer of this case answers.
const FITS: usize = 1024;

/// Longer than that, and as long as they come.
const TOO_LONG: [usize; 2] = [FITS + 1, 60_000];

/// Services that answer whatever comes, or whatever is wrong.
const SERVICES: [u16; 7] = [7, 13, 17, 19, 37, 53, 69];

/// Time without an answer after which none will come.
const UNANSWERED: Duration = Duration::from_millis(200);

/// Of the longest that fit: 16 MiB, more than the queue of a server holds.
const FLOOD: usize = 16 << 10;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let mut client = running.client()?;
    client.echo(b"").context("an empty datagram")?;
    client.echo(&noise(1, FITS)).context("one that just fits")?;
    let services = refuses(running)?;
    client.echo(b"here\n").context("after what is not answered")?;
    let lost = flood(running, &client)?;
    running.terminate()?;
    running.expect_clean_exit()?;

    running.saw(format!(
        "{services} datagrams from ports of services were dropped, and {lost} found no room"
    ));
    let said = running.said();
    let Some(account) = said.lines().last() else {
        bail!("the server said nothing of the datagrams that it dropped");
    };
    let dropped = [
        (TOO_LONG.len() as u64, "longer than"),
        (1, "from the port of this server"),
        (services, "from the port of a service"),
        (lost, "for which the queue had no room"),
    ];
    for (count, what) in dropped.into_iter().filter(|(count, _)| *count > 0) {
        ensure!(
            account.contains(&format!(" {count} {what}")),
            "{count} datagrams were dropped, {what}, and at its end the server said: {account}"
        );
    }
    Ok(())
}

/// Sends what must not be answered; returns how many datagrams came from ports of services.
fn refuses(running: &mut Running) -> anyhow::Result<u64> {
    let mut sent = Vec::new();
    for size in TOO_LONG {
        let client = running.client()?;
        client.send(&noise(2, size))?;
        sent.push((client, format!("a datagram of {size} bytes, where {FITS} fit,")));
    }
    let server = running.address();
    let own_port = server.port();
    // An address of this host that nobody else sends from at the same time.
    let [high, low] = own_port.to_be_bytes();
    let address = Ipv4Addr::new(127, 127, high, low);
    let from = |port| Client::over_datagrams_from((address, port).into(), server);
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
            // The port may be taken, and binding it needs a right that not everybody has.
            Err(error) => running.saw(format!("not checked for port {port}: {error:#}")),
        }
    }
    thread::sleep(UNANSWERED);
    let services = sent.len() - others;
    for (mut client, what) in sent {
        ensure!(
            client.hears_nothing_for(Duration::from_millis(1))?,
            "{what} was answered"
        );
    }
    Ok(services as u64)
}

/// Fills the queue of the server while it is stopped; returns how many found no room, as
/// the kernel counts.
fn flood(running: &Running, client: &Client) -> anyhow::Result<u64> {
    running.freeze()?;
    let message = noise(3, FITS);
    for _ in 0..FLOOD {
        client.send(&message)?;
    }
    running.thaw()?;
    let lost = observe::lost_datagrams(running.address().port())?;
    ensure!(
        lost > 0,
        "no queue of a server is to hold {FLOOD} datagrams of {FITS} bytes"
    );
    Ok(lost)
}
