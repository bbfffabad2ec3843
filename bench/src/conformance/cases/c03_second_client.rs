//! C3: a client that says nothing does not keep the next one from being served.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C3",
    "second client",
    "Is a second client answered while the first one is idle?",
    drive,
)
.over_datagrams(drive);

/// The second client is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_millis(100);

/// So often a second client comes. On a busy machine a single answer may be late through
/// no fault of the server; that the middle one of nine is late, is its fault.
const TIMES: usize = 9;

/// Time without an answer after which a client counts as waiting.
const WAITING: Duration = Duration::from_millis(200);

/// Time after which a client that gets no answer will get none.
const NEVER: Duration = Duration::from_secs(3);

fn drive(running: &mut Running) -> anyhow::Result<()> {
    if running.at_once() != Some(1) {
        second_is_answered(running)?;
    }
    match running.at_once() {
        Some(most) => one_too_many_waits(running, most),
        None => Ok(()),
    }
}

fn second_is_answered(running: &mut Running) -> anyhow::Result<()> {
    let _idle = running.crowd(1)?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        running
            .client_within(NEVER)
            .and_then(|mut client| client.echo(b"second\n"))
            .context("a second client was not answered while the first one was idle")?;
        times.push(start.elapsed());
    }
    times.sort();
    ensure!(
        times[TIMES / 2] <= ANSWERED_WITHIN,
        "while the first client was idle, half of the second ones waited {:?} and more for an answer, where \
         {ANSWERED_WITHIN:?} are allowed",
        times[TIMES / 2]
    );
    running.saw(format!(
        "a second client was answered after {} µs",
        times[TIMES / 2].as_micros()
    ));
    Ok(())
}

/// The limit is as it was declared, and nobody is forgotten beyond it.
fn one_too_many_waits(running: &mut Running, most: usize) -> anyhow::Result<()> {
    let mut crowd = running.crowd(most)?;
    let mut waiting = running.client()?;
    waiting.send(b"waiting\n")?;
    ensure!(
        waiting.hears_nothing_for(WAITING)?,
        "client {} was answered or closed beside {most} others, which is said to be all that are served at once",
        most + 1
    );
    drop(crowd.pop());
    waiting.receive(b"waiting\n").with_context(|| {
        format!(
            "client {} was not answered after one of the {most} before it had ended",
            most + 1
        )
    })?;
    running.saw(format!(
        "client {} waited until one of {most} had ended",
        most + 1
    ));
    Ok(())
}
