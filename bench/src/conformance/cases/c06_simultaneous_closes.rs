//! C6: many clients that close at the same moment.
//!
//! Signals of one kind merge: one SIGCHLD can stand for any number of children. Stopping the parent
//! while they end guarantees a merge.

use anyhow::{Context, ensure};

use crate::conformance::kit::wait::{STALL, wait_until};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C6",
    "simultaneous closes",
    "Is everything released when 5 or 500 clients close at once, even while the main process is stopped?",
    drive,
)
.connections(MANY)
.over_udp(drive);

const FEW: usize = 5;
const MANY: usize = 500;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    for clients in [FEW, MANY] {
        drop(server.connect_clients(clients)?);
        server
            .expect_released()
            .with_context(|| format!("{clients} clients closed at once"))?;
    }
    close_while_stopped(server)
        .and_then(|()| server.expect_released())
        .with_context(|| format!("{FEW} clients closed while the main process was stopped"))?;
    server.note(format!(
        "everything was released after {FEW}, {MANY} and again {FEW} clients"
    ));
    Ok(())
}

fn close_while_stopped(server: &ServerUnderTest) -> anyhow::Result<()> {
    let crowd = server.connect_clients(FEW)?;
    let children = server
        .resources()?
        .processes
        .saturating_sub(server.baseline().processes);
    server.freeze()?;
    drop(crowd);
    let have_ended = || server.resources().is_ok_and(|now| now.zombies >= children);
    ensure!(
        wait_until(STALL, have_ended),
        "{FEW} clients had closed {STALL:?} ago, and {} of the {children} processes that served them had ended",
        server.resources()?.zombies
    );
    server.thaw()
}
