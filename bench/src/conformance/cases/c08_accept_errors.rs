//! C8: errors of `accept` that are not the listener's.
//!
//! strace lets the calls fail, and counts them: that is better evidence of a busy loop than
//! the time of a processor, which strace itself takes, and holds for a server too that never
//! waits by design. Where it sees none, the server accepts by other means (io_uring), which
//! it cannot reach; descriptors do run out there, so this comes to what C9 does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::c09_out_of_descriptors::run_out;
use super::fault::{EVERY, FIRST_THREE, Injection};
use super::{Case, Running};

pub const CASE: Case = Case::new(
    "C8",
    "accept errors",
    "Does the server go on, without a busy loop, when accept fails with ECONNABORTED, EPROTO, EMFILE, ENOBUFS and ENOMEM?",
    drive,
)
.over_datagrams(drive_datagrams);

/// How a server takes what comes, and the errors of that.
struct Taking {
    calls: &'static str,
    /// Of what was to be taken: the next one is tried.
    of_one: &'static [&'static str],
    /// Of what the system is short of: to be tried again, but not at once.
    of_shortage: &'static [&'static str],
}

const CONNECTIONS: Taking = Taking {
    calls: "accept,accept4",
    of_one: &["ECONNABORTED", "EPROTO"],
    of_shortage: &["EMFILE", "ENOBUFS", "ENOMEM"],
};

/// An earlier answer that the network has returned is told of by the next receive.
const DATAGRAMS: Taking = Taking {
    calls: "recvfrom",
    of_one: &["ECONNREFUSED", "EHOSTUNREACH"],
    of_shortage: &["ENOBUFS", "ENOMEM"],
};

/// Clients that come after an error.
const NEXT: usize = 2;

/// Time for which every call fails while a client waits.
const SHORTAGE: Duration = Duration::from_millis(300);

/// Calls of a thread in a second, with a reserve: after waiting 10 ms between two, 100. A loop
/// that does not wait makes thousands, also under strace and on a busy machine.
const CALLS_PER_S: f64 = 400.0;

/// So often that is tried, until a call is seen to fail.
const ATTEMPTS: usize = 3;

/// Time for the client that waits to be served after that.
const RECOVERED_WITHIN: Duration = Duration::from_secs(1);

const HELLO: &[u8] = b"hello\n";

fn drive(running: &mut Running) -> anyhow::Result<()> {
    match survive(running, &CONNECTIONS)? {
        Seen::Calls => Ok(()),
        Seen::Nothing => {
            running.saw("it accepts without a call that could fail: descriptors run out instead");
            run_out(running)
        }
    }
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let seen = survive(running, &DATAGRAMS)?;
    ensure!(seen == Seen::Calls, "strace saw no call of {}", DATAGRAMS.calls);
    Ok(())
}

/// What strace saw of the calls.
#[derive(PartialEq, Eq)]
enum Seen {
    Calls,
    Nothing,
}

fn survive(running: &mut Running, taking: &Taking) -> anyhow::Result<Seen> {
    for error in taking.of_one {
        let failed = go_on(running, taking.calls, error).with_context(|| {
            format!(
                "the first three calls of each thread ({}) failed with {error}",
                taking.calls
            )
        })?;
        if failed == 0 {
            ensure!(
                running.has_ring()?,
                "strace saw no call of {}, and the server has no io_uring that would take its place",
                taking.calls
            );
            return Ok(Seen::Nothing);
        }
        running.saw(format!("{error} {failed} times"));
    }
    for error in taking.of_shortage {
        let failed = back_off(running, taking.calls, error).with_context(|| {
            format!(
                "each call ({}) failed with {error} for {SHORTAGE:?}",
                taking.calls
            )
        })?;
        running.saw(format!("{error} {failed} times in a thread"));
    }
    Ok(Seen::Calls)
}

/// Returns how many calls have failed.
fn go_on(running: &Running, calls: &str, error: &str) -> anyhow::Result<usize> {
    let injection = Injection::start(running, calls, error, FIRST_THREE)?;
    for _ in 0..NEXT {
        running
            .client()
            .and_then(|mut client| client.echo(HELLO))
            .context("the next client")?;
    }
    Ok(injection.failed().values().sum())
}

/// Returns how many calls of the thread that made the most have failed.
fn back_off(running: &Running, calls: &str, error: &str) -> anyhow::Result<usize> {
    for _ in 0..ATTEMPTS {
        if let Some(most) = run_short(running, calls, error)? {
            return Ok(most);
        }
    }
    bail!("no call was seen while a client waited, {ATTEMPTS} times")
}

/// The same, or nothing where no call has failed: a client may come between the moment at which
/// strace has a thread and the one at which it stops it, and one that comes is then all that
/// such a server as `iterative` looks at.
fn run_short(running: &Running, calls: &str, error: &str) -> anyhow::Result<Option<usize>> {
    let injection = Injection::start(running, calls, error, EVERY)?;
    let before = injection.failed();
    let start = Instant::now();
    let mut client = running.client()?;
    client.send(HELLO)?;
    thread::sleep(SHORTAGE);
    let failed = injection.failed().into_iter();
    let most = failed
        .map(|(thread, count)| count - before.get(&thread).copied().unwrap_or(0))
        .max()
        .unwrap_or(0);
    let allowed = CALLS_PER_S * start.elapsed().as_secs_f64();
    ensure!(
        most as f64 <= allowed,
        "a busy loop: a thread made {most} of these calls, where {allowed:.0} are allowed"
    );
    drop(injection);
    let start = Instant::now();
    client.receive(HELLO).context("a client that waited meanwhile")?;
    ensure!(
        start.elapsed() <= RECOVERED_WITHIN,
        "a client that waited meanwhile was served {:?} after that, where {RECOVERED_WITHIN:?} are allowed",
        start.elapsed()
    );
    Ok((most > 0).then_some(most))
}
