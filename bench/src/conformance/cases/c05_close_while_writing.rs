//! C5: a peer that goes away while the server writes to it.
//!
//! A reset that comes first is met as ECONNRESET. After a FIN the first write succeeds and
//! is answered by a reset, and the next is EPIPE: with SIGPIPE, which kills, unless it is
//! ignored or the call asks for none.

use std::io;
use std::thread;

use anyhow::{Context, anyhow};

use super::client::{Client, noise};
use super::{Case, Running, load};

pub const CASE: Case = Case::new(
    "C5",
    "close while writing",
    "Does the server outlive clients that reset or close while it writes to them?",
    drive,
)
.room(GOING + STAYING)
.over_datagrams(drive_datagrams);

/// Clients that go away, in each way.
const GOING: usize = 6;

/// Clients that are served all the while.
const STAYING: usize = 3;

const MESSAGE_BYTES: usize = 16 * 1024;

/// More than a client with the smallest receive buffer, its server and the kernel hold.
const FULL_BYTES: usize = 32 << 20;

/// Twice this fits into the window of a fresh connection, so that the FIN behind it arrives
/// before the first reply.
const UNHEARD_BYTES: usize = 16 * 1024;

/// How a client goes, and what that is called.
type Way = (&'static str, fn(Client) -> io::Result<()>);

/// Of a client that the server is blocked on: it has read nothing, so a close is a reset too,
/// one that the kernel sends.
const WAYS: [Way; 2] = [
    ("reset", Client::reset),
    ("closed with its replies unread", |client| {
        drop(client);
        Ok(())
    }),
];

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let served = running.served_of(GOING + STAYING);
    let staying = served.saturating_sub(GOING);
    let going = served - staying;
    let mut crowd = running.crowd(staying)?;
    let all_go = || {
        for (name, go) in WAYS {
            blocked_on(running, going)?
                .into_iter()
                .try_for_each(go)
                .with_context(|| name)?;
        }
        close_unheard(running, going)
    };
    let echoes = load::while_echoing(&mut crowd, MESSAGE_BYTES, all_go)
        .with_context(|| format!("while others reset or closed, {going} in each way"))?;
    running.saw(format!(
        "{going} clients went in each of 3 ways; {staying} beside them had {echoes} echoes"
    ));
    Ok(())
}

/// Clients that have sent until nothing more went, and have read nothing.
fn blocked_on(running: &Running, clients: usize) -> anyhow::Result<Vec<Client>> {
    let message = noise(5, FULL_BYTES);
    let address = running.address();
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

/// Clients that send and are gone before the first reply: they close with nothing unread,
/// which is a FIN. The urgent byte is where a read stops short, however large the server's
/// buffer: it writes a second time, after the first reply was answered by a reset.
fn close_unheard(running: &Running, clients: usize) -> anyhow::Result<()> {
    let message = noise(6, UNHEARD_BYTES);
    running.freeze_all()?;
    for _ in 0..clients {
        let client = running.client()?;
        client.send(&message)?;
        client.send_urgent(b'!')?;
        client.send(&message)?;
    }
    running.thaw_all()
}

/// The reply goes to a port that nobody has any more, and is answered by an ICMP message.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(STAYING)?;
    running.freeze_all()?;
    for number in 0..GOING {
        running.client()?.send(&noise(number as u64, MESSAGE_BYTES))?;
    }
    running.thaw_all()?;
    for client in &mut crowd {
        client
            .echo(b"still here\n")
            .context("after others had closed before their replies")?;
    }
    Ok(())
}
