//! C3: an idle client does not keep the server from serving others.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::conformance::kit::exemption::{Exemption, Kind};
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C3",
    "second client",
    "Is a second client answered while the first one is idle?",
    drive,
)
.over_udp(drive)
.exemptions(EXEMPTIONS);

const EXEMPTIONS: &[Exemption] = &[Exemption::new(
    Kind::Sequential,
    "it serves one client at a time: the second was answered once the first had ended",
)];

/// A second client is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// Number of second clients, one after another. On a busy machine a single answer may be late
/// without a fault of the server; the median of nine is not.
const TIMES: usize = 9;

/// Time without an answer after which a client counts as waiting.
const WAITING: Duration = Duration::from_millis(200);

/// Time without an answer after which none will come.
const NEVER: Duration = Duration::from_secs(3);

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    if server.concurrency() != Some(1) {
        second_is_answered(server)?;
    }
    match server.concurrency() {
        Some(most) => one_too_many_waits(server, most),
        None => Ok(()),
    }
}

fn second_is_answered(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let _idle = server.connect_clients(1)?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        server
            .connect_within(NEVER)
            .and_then(|mut client| client.echo(b"second\n"))
            .context("a second client was not answered while the first one was idle")?;
        times.push(start.elapsed());
    }
    times.sort();
    ensure!(
        times[TIMES / 2] <= ANSWERED_WITHIN,
        "while the first client was idle, half of the second clients waited for {:?} or longer; the limit is \
         {ANSWERED_WITHIN:?}",
        times[TIMES / 2]
    );
    server.note(format!(
        "a second client was answered after {} µs",
        times[TIMES / 2].as_micros()
    ));
    Ok(())
}

/// The server has the limit that it declares, and serves the client beyond the limit as soon as it
/// can.
fn one_too_many_waits(server: &mut ServerUnderTest, most: usize) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(most)?;
    let mut waiting = server.connect()?;
    waiting.send(b"waiting\n")?;
    ensure!(
        waiting.is_silent_for(WAITING)?,
        "client {} was answered or closed in addition to {most} others, the declared limit",
        most + 1
    );
    drop(crowd.pop());
    waiting.receive(b"waiting\n").with_context(|| {
        format!(
            "client {} was not answered after one of the {most} others had ended",
            most + 1
        )
    })?;
    server.note(format!(
        "client {} waited until one of {most} had ended",
        most + 1
    ));
    Ok(())
}
