//! C24: a server that has ended can be started again at once, on the port that it had.

use anyhow::{Context, ensure};

use super::client::{STALL, wait_until};
use super::{Case, Running, observe};

pub const CASE: Case = Case::new(
    "C24",
    "restart",
    "Can the server be started again on its port at once, also while old connections are in TIME_WAIT?",
    drive,
)
// Short, so that the server is the side that closes first.
.arguments(&["--drain", "100ms"]);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    running.crowd(1)?;
    running.terminate()?;
    running.expect_clean_exit()?;
    running.start_again().context("after a clean end")?;
    leave_in_time_wait(running)?;
    running
        .start_again()
        .context("with a connection left in TIME_WAIT on the server's side")
}

/// Stops the server under an idle client: at the end of the drain the server closes
/// first, and TIME_WAIT is the lot of that side.
fn leave_in_time_wait(running: &mut Running) -> anyhow::Result<()> {
    let mut idle = running.crowd(1)?;
    running.terminate()?;
    for client in &mut idle {
        client
            .expect_end()
            .context("a client that was idle to the end of the drain")?;
    }
    running.expect_clean_exit()?;
    drop(idle);
    let port = running.address().port();
    let is_left = || observe::time_wait(port).is_ok_and(|count| count > 0);
    ensure!(
        wait_until(STALL, is_left),
        "the server closed first, but no connection of port {port} is in TIME_WAIT"
    );
    Ok(())
}
