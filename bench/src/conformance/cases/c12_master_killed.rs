//! C12: nobody serves on once the main process is gone.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use super::client::{is_refused, wait_until};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C12",
    "master killed",
    "Is the port refused within a second of the main process being killed, and no process left?",
    drive,
)
.over_datagrams(drive_datagrams);

const CLIENTS: usize = 4;

/// Time for the port to be refused, and for datagrams not to be answered any more.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Time after which a datagram that is not answered never will be.
const UNANSWERED: Duration = Duration::from_millis(200);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(running.served_of(CLIENTS))?;
    running.kill(running.pid(), Signal::SIGKILL)?;
    let address = running.address();
    let start = Instant::now();
    ensure!(
        wait_until(GONE_WITHIN, || is_refused(address)),
        "new clients were still accepted {GONE_WITHIN:?} after the main process had been killed"
    );
    running.saw(format!(
        "the port was refused after {} ms",
        start.elapsed().as_millis()
    ));
    for client in &mut crowd {
        client
            .expect_release()
            .context("a client, after the main process had been killed")?;
    }
    running.expect_death_by(Signal::SIGKILL)?;
    running.start_again()
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    running.crowd(CLIENTS)?;
    running.kill(running.pid(), Signal::SIGKILL)?;
    let is_silent = || {
        let asked = running.client_within(UNANSWERED);
        asked.is_ok_and(|mut client| client.echo(b"anybody?\n").is_err())
    };
    ensure!(
        wait_until(GONE_WITHIN, is_silent),
        "datagrams were still answered {GONE_WITHIN:?} after the main process had been killed"
    );
    running.saw("no datagram was answered any more");
    running.expect_death_by(Signal::SIGKILL)?;
    running.start_again()
}
