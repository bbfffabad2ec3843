//! C6: many clients that end at the same moment leave nothing behind.
//!
//! Signals merge: one SIGCHLD may stand for any number of children that have ended.
//! Stopping the parent while they end makes sure that it does.

use anyhow::{Context, ensure};

use super::client::{STALL, wait_until};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C6",
    "simultaneous closes",
    "Is all given back when 5 or 500 clients end at once, also while the server's main process is stopped?",
    drive,
)
.room(MANY)
.over_datagrams(drive);

const FEW: usize = 5;
const MANY: usize = 500;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    for clients in [FEW, MANY] {
        drop(running.crowd(clients)?);
        running
            .settle()
            .with_context(|| format!("{clients} clients closed at once"))?;
    }
    close_while_stopped(running)
        .and_then(|()| running.settle())
        .with_context(|| format!("{FEW} clients closed while the server was stopped (SIGSTOP, SIGCONT)"))?;
    running.saw(format!(
        "all was given back after {FEW}, {MANY} and again {FEW} clients"
    ));
    Ok(())
}

fn close_while_stopped(running: &Running) -> anyhow::Result<()> {
    let crowd = running.crowd(FEW)?;
    let children = running
        .holdings()?
        .processes
        .saturating_sub(running.baseline().processes);
    running.freeze()?;
    drop(crowd);
    let have_ended = || running.holdings().is_ok_and(|now| now.zombies >= children);
    ensure!(
        wait_until(STALL, have_ended),
        "of {children} processes that served {FEW} clients, {} had ended {STALL:?} after them",
        running.holdings()?.zombies
    );
    running.thaw()
}
