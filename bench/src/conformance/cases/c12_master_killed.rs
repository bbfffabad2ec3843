//! C12: no process serves on once the main process is gone.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use crate::conformance::kit::connecting::is_refused;
use crate::conformance::kit::wait::wait_until;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C12",
    "master killed",
    "When the main process is killed, is the port refused within a second, and is no process left?",
    drive,
)
.over_udp(drive_datagrams);

const CLIENTS: usize = 4;

/// Time for the port to be refused, and for datagrams to stay unanswered.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Time after which a datagram counts as unanswered.
const UNANSWERED: Duration = Duration::from_millis(200);

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(server.served_of(CLIENTS))?;
    server.kill(server.pid(), Signal::SIGKILL)?;
    let address = server.address();
    let start = Instant::now();
    ensure!(
        wait_until(GONE_WITHIN, || is_refused(address)),
        "new clients were still accepted {GONE_WITHIN:?} after the main process was killed"
    );
    server.note(format!(
        "the port was refused after {} ms",
        start.elapsed().as_millis()
    ));
    for client in &mut crowd {
        client
            .read_until_closed()
            .context("a client after the main process was killed")?;
    }
    server.expect_killed_by(Signal::SIGKILL)?;
    server.restart()
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    server.connect_clients(CLIENTS)?;
    server.kill(server.pid(), Signal::SIGKILL)?;
    let is_silent = || {
        let asked = server.connect_within(UNANSWERED);
        asked.is_ok_and(|mut client| client.echo(b"hello\n").is_err())
    };
    ensure!(
        wait_until(GONE_WITHIN, is_silent),
        "datagrams were still answered {GONE_WITHIN:?} after the main process was killed"
    );
    server.note("no further datagram was answered");
    server.expect_killed_by(Signal::SIGKILL)?;
    server.restart()
}
