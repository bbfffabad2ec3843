//! C24: a server that has ended can be started again at once, on the port that it had.
//!
//! The side that closes first goes through FIN_WAIT and TIME_WAIT, and holds the port for
//! as long: only SO_REUSEADDR lets the next server have it. A client that does not read
//! keeps the server's side in FIN_WAIT for certain. For TIME_WAIT the kernel may have no
//! room (`net.ipv4.tcp_max_tw_buckets`) when others have just opened and closed very
//! many connections, so that stage is set but not insisted on.

use anyhow::{Context, ensure};

use super::client::{Client, STALL, noise, wait_until};
use super::observe::{self, Connection};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C24",
    "restart",
    "Can the server be started again on its port at once, also while old connections hold the port?",
    drive,
)
// Short, so that the server is the side that closes first.
.arguments(&["--drain", "100ms"])
.over_datagrams(drive_datagrams);

/// More than a client with the smallest buffer takes, less than fills the server's.
const REPLY_BYTES: usize = 32 * 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    running.crowd(1)?;
    restart(running).context("after a clean end")?;

    let mut client = leave_in_fin_wait(running)?;
    running
        .start_again()
        .context("with a connection left in FIN_WAIT on the server's side")?;

    // Takes the rest and closes, which leaves the server's side in TIME_WAIT.
    client.expect_release()?;
    drop(client);
    restart(running).context("with a connection left in TIME_WAIT on the server's side")?;
    running.saw("started again at once three times, with old connections on its port");
    Ok(())
}

/// Nothing of a client stays behind, so neither does anything that holds the port.
fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(2)?;
    restart(running).context("with clients that have not gone")?;
    for client in &mut crowd {
        client.echo(b"the same socket\n").context("after a restart")?;
    }
    running.saw("started again at once, and answered the same clients");
    Ok(())
}

fn restart(running: &mut Running) -> anyhow::Result<()> {
    running.terminate()?;
    running.expect_clean_exit()?;
    running.start_again()
}

/// Stops the server under a client that has not read its reply: at the end of the drain
/// the server closes first, and the kernel goes on delivering.
fn leave_in_fin_wait(running: &mut Running) -> anyhow::Result<Client> {
    let client = Client::connect_narrow(running.address())?;
    client.send(&noise(24, REPLY_BYTES))?;
    // A close with unread input would be a reset, and nothing would be left.
    await_connection(running, "has its whole input read and output pending", |found| {
        found.unread_bytes == 0 && found.unsent_bytes > 0
    })?;
    running.terminate()?;
    running.expect_clean_exit()?;
    await_connection(running, "is closing", Connection::is_in_fin_wait)?;
    Ok(client)
}

fn await_connection(
    running: &Running,
    state: &str,
    is_wanted: impl Fn(&Connection) -> bool,
) -> anyhow::Result<()> {
    let port = running.address().port();
    let is_there = || observe::connections(port).is_ok_and(|all| all.iter().any(&is_wanted));
    ensure!(
        wait_until(STALL, is_there),
        "no connection of port {port} {state}; there are {:?}",
        observe::connections(port)?
    );
    Ok(())
}
