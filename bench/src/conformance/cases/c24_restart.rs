//! C24: a restart on the same port.
//!
//! The side that closes first goes through FIN_WAIT and TIME_WAIT and holds the port meanwhile;
//! only SO_REUSEADDR lets the next server bind it. A client that does not read keeps the server's
//! side in FIN_WAIT. The kernel may have no room for TIME_WAIT (`net.ipv4.tcp_max_tw_buckets`)
//! after very many short connections of other processes, so that state is prepared but not
//! required.

use anyhow::{Context, ensure};

use crate::conformance::kit::client::Client;
use crate::conformance::kit::payload::noise;
use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest, resources};
use crate::proc::tcp::Socket;

pub const CASE: Case = Case::new(
    "C24",
    "restart",
    "Can the server be restarted on its port at once, even while old connections hold the port?",
    drive,
)
// Short, so that the server closes first.
.arguments(&["--drain", "100ms"])
.over_udp(drive_datagrams);

/// More than a client with the smallest buffer takes, less than fills the server's.
const REPLY_BYTES: usize = 32 * 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.connect_clients(1)?;
    restart(server).context("after a clean end")?;

    let mut client = leave_in_fin_wait(server)?;
    server
        .restart()
        .context("with a connection in FIN_WAIT on the server's side")?;

    // Reads the rest and closes, which leaves the server's side in TIME_WAIT.
    client.read_until_closed()?;
    drop(client);
    restart(server).context("with a connection in TIME_WAIT on the server's side")?;
    server.note("restarted at once three times, with old connections on its port");
    Ok(())
}

/// No connection remains to hold the port.
fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(2)?;
    restart(server).context("with clients that remain")?;
    for client in &mut crowd {
        client.echo(b"the same socket\n").context("after a restart")?;
    }
    server.note("restarted at once and answered the same clients");
    Ok(())
}

fn restart(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.terminate()?;
    server.expect_clean_exit()?;
    server.restart()
}

/// Stops the server while a client has not read its reply: at the end of the drain the server
/// closes first, and the kernel continues to deliver.
fn leave_in_fin_wait(server: &mut ServerUnderTest) -> anyhow::Result<Client> {
    let client = Client::connect_narrow(server.address())?;
    client.send(&noise(24, REPLY_BYTES))?;
    // A close with unread input would be a reset and leave nothing.
    await_connection(server, "has its whole input read and output pending", |found| {
        found.unread_bytes == 0 && found.unsent_bytes > 0
    })?;
    server.terminate()?;
    server.expect_clean_exit()?;
    await_connection(server, "is closing", resources::is_in_fin_wait)?;
    Ok(client)
}

fn await_connection(
    server: &ServerUnderTest,
    state: &str,
    is_wanted: impl Fn(&Socket) -> bool,
) -> anyhow::Result<()> {
    let port = server.address().port();
    let is_there = || resources::connections(port).is_ok_and(|all| all.iter().any(&is_wanted));
    ensure!(
        wait_until(STALL, is_there),
        "no connection of port {port} {state}; there are {:?}",
        resources::connections(port)?
    );
    Ok(())
}
