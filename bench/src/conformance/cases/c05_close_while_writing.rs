//! C5: peers that go away while the server writes to them.
//!
//! After a reset the next call fails with ECONNRESET. After a FIN the first write succeeds and
//! provokes a reset, and the next one fails with EPIPE and raises SIGPIPE, which kills the process
//! unless it is ignored or MSG_NOSIGNAL is set.

use std::io;
use std::thread;

use anyhow::{Context, anyhow};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::{Case, ServerUnderTest, background_load};

pub const CASE: Case = Case::new(
    "C5",
    "close while writing",
    "Does the server survive clients that reset or close while it writes to them?",
    drive,
)
.connections(GOING + STAYING)
.over_udp(drive_datagrams);

/// Clients that go away, per way of going.
const GOING: usize = 6;

/// Clients that are served throughout.
const STAYING: usize = 3;

const MESSAGE_BYTES: usize = 16 * 1024;

/// More than a client with the smallest receive buffer, its server and the kernel hold.
const FULL_BYTES: usize = 32 << 20;

/// Twice this fits into the window of a new connection, so the FIN behind it arrives before the
/// first reply.
const UNHEARD_BYTES: usize = 16 * 1024;

/// A way of going, and its name.
type Way = (&'static str, fn(Client) -> io::Result<()>);

/// Ways of a client that the server is blocked on. It has read nothing, so the kernel turns a close
/// into a reset, too.
const WAYS: [Way; 2] = [
    ("reset", Client::reset),
    ("closed with its replies unread", |client| {
        drop(client);
        Ok(())
    }),
];

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let served = server.served_of(GOING + STAYING);
    let staying = served.saturating_sub(GOING);
    let going = served - staying;
    let mut crowd = server.connect_clients(staying)?;
    let all_go = || {
        for (name, go) in WAYS {
            blocked_on(server, going)?
                .into_iter()
                .try_for_each(go)
                .with_context(|| name)?;
        }
        close_unheard(server, going)
    };
    let echoes = background_load::while_echoing(&mut crowd, MESSAGE_BYTES, all_go)
        .with_context(|| format!("while others reset or closed, {going} each way"))?;
    server.note(format!(
        "{going} clients went away in each of 3 ways; {staying} others had {echoes} echoes meanwhile"
    ));
    Ok(())
}

/// Clients that have filled their connection and read nothing.
fn blocked_on(server: &ServerUnderTest, clients: usize) -> anyhow::Result<Vec<Client>> {
    let message = noise(5, FULL_BYTES);
    let address = server.address();
    let fill = || -> anyhow::Result<Client> {
        let client = Client::connect_narrow(address)?;
        client.fill(&message)?;
        Ok(client)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(fill)).collect();
        let join =
            |thread: thread::ScopedJoinHandle<_>| thread.join().map_err(|_| anyhow!("a client panicked"))?;
        threads.into_iter().map(join).collect()
    })
}

/// Clients that send and close before the first reply. Nothing is unread, so they close with a FIN.
/// Reads stop at the urgent byte, however large the server's buffer: its second write comes after
/// the first reply has provoked a reset.
fn close_unheard(server: &ServerUnderTest, clients: usize) -> anyhow::Result<()> {
    let message = noise(6, UNHEARD_BYTES);
    server.freeze_all()?;
    for _ in 0..clients {
        let client = server.connect()?;
        client.send(&message)?;
        client.send_urgent(b'!')?;
        client.send(&message)?;
    }
    server.thaw_all()
}

/// The reply goes to a closed port, which an ICMP message answers.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(STAYING)?;
    server.freeze_all()?;
    for number in 0..GOING {
        server.connect()?.send(&noise(number as u64, MESSAGE_BYTES))?;
    }
    server.thaw_all()?;
    for client in &mut crowd {
        client
            .echo(b"still here\n")
            .context("after other clients had closed before their replies")?;
    }
    Ok(())
}
