//! C8: errors of `accept` that are not the listener's.
//!
//! strace makes the calls fail and counts them. The number of calls reveals a busy loop better than
//! CPU time, which strace itself takes, and also in a server that never sleeps by design. If strace
//! sees no call, the server accepts through io_uring, which strace cannot reach; descriptors do run
//! out there, as in C9.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::c09_out_of_descriptors::run_out;
use crate::conformance::kit::faults::{EVERY, FIRST_THREE, Injection};
use crate::conformance::kit::wait::wait_until;
use crate::conformance::kit::{Case, ServerUnderTest};

pub const CASE: Case = Case::new(
    "C8",
    "accept errors",
    "Does the server continue, without a busy loop, when accept fails with ECONNABORTED, EPROTO, EMFILE, ENOBUFS and ENOMEM?",
    drive,
)
.over_udp(drive_datagrams);

/// The calls that take input, and their errors.
struct Taking {
    calls: &'static str,
    /// Errors of one connection or datagram: the server takes the next one.
    of_one: &'static [&'static str],
    /// Shortages of the system: the server tries again, but not at once.
    of_shortage: &'static [&'static str],
}

const CONNECTIONS: Taking = Taking {
    calls: "accept,accept4",
    of_one: &["ECONNABORTED", "EPROTO"],
    of_shortage: &["EMFILE", "ENOBUFS", "ENOMEM"],
};

/// A receive reports that the network has returned an earlier reply.
const DATAGRAMS: Taking = Taking {
    calls: "recvfrom",
    of_one: &["ECONNREFUSED", "EHOSTUNREACH"],
    of_shortage: &["ENOBUFS", "ENOMEM"],
};

/// Clients that follow an error.
const NEXT: usize = 2;

/// Time for which every call fails while a client waits.
const SHORTAGE: Duration = Duration::from_millis(300);

/// Further time for the first failed call on a busy host.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// Calls per thread and second, with a reserve: a wait of 10 ms between two calls makes 100. A loop
/// without a wait makes thousands, even under strace on a busy machine.
const CALLS_PER_S: f64 = 400.0;

/// Attempts to see a call fail.
const ATTEMPTS: usize = 3;

/// Time for the waiting client to be served after the shortage.
const RECOVERED_WITHIN: Duration = Duration::from_secs(1);

const HELLO: &[u8] = b"hello\n";

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    match survive(server, &CONNECTIONS)? {
        Seen::Calls => Ok(()),
        Seen::Nothing => {
            server.note("it accepts without a system call, so descriptors ran out instead");
            run_out(server)
        }
    }
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let seen = survive(server, &DATAGRAMS)?;
    ensure!(seen == Seen::Calls, "strace saw no call of {}", DATAGRAMS.calls);
    Ok(())
}

/// What strace saw of the calls.
#[derive(PartialEq, Eq)]
enum Seen {
    Calls,
    Nothing,
}

fn survive(server: &mut ServerUnderTest, taking: &Taking) -> anyhow::Result<Seen> {
    for error in taking.of_one {
        let failed = go_on(server, taking.calls, error).with_context(|| {
            format!(
                "the first three calls of each thread ({}) failed with {error}",
                taking.calls
            )
        })?;
        if failed == 0 {
            ensure!(
                server.has_ring()?,
                "strace saw no call of {}, and the server has no io_uring to replace it",
                taking.calls
            );
            return Ok(Seen::Nothing);
        }
        server.note(format!("{error} {failed} times"));
    }
    for error in taking.of_shortage {
        let failed = back_off(server, taking.calls, error).with_context(|| {
            format!(
                "each call ({}) failed with {error} for {SHORTAGE:?}",
                taking.calls
            )
        })?;
        server.note(format!("{error} {failed} times in one thread"));
    }
    Ok(Seen::Calls)
}

/// Returns the number of failed calls.
fn go_on(server: &ServerUnderTest, calls: &str, error: &str) -> anyhow::Result<usize> {
    let injection = Injection::start(server, calls, error, FIRST_THREE)?;
    for _ in 0..NEXT {
        server
            .connect()
            .and_then(|mut client| client.echo(HELLO))
            .context("the next client")?;
    }
    Ok(injection.failed().values().sum())
}

/// Returns the number of failed calls of the thread that made the most.
fn back_off(server: &ServerUnderTest, calls: &str, error: &str) -> anyhow::Result<usize> {
    for _ in 0..ATTEMPTS {
        if let Some(most) = run_short(server, calls, error)? {
            return Ok(most);
        }
    }
    bail!("strace saw no call while a client waited, in {ATTEMPTS} attempts")
}

/// The same, or `None` if no call failed: a client may connect between the moments when strace
/// knows a thread and when it stops it, and a server like `iterative` then serves only that client.
fn run_short(server: &ServerUnderTest, calls: &str, error: &str) -> anyhow::Result<Option<usize>> {
    let injection = Injection::start(server, calls, error, EVERY)?;
    let before = injection.failed();
    let start = Instant::now();
    let mut client = server.connect()?;
    client.send(HELLO)?;
    thread::sleep(SHORTAGE);
    let failed = |(thread, count)| count - before.get(&thread).copied().unwrap_or(0);
    let mut most = 0;
    wait_until(NOTICED_WITHIN, || {
        most = injection.failed().into_iter().map(failed).max().unwrap_or(0);
        most > 0
    });
    let allowed = CALLS_PER_S * start.elapsed().as_secs_f64();
    ensure!(
        most as f64 <= allowed,
        "a busy loop: a thread made {most} of these calls; the limit is {allowed:.0}"
    );
    drop(injection);
    let start = Instant::now();
    client
        .receive(HELLO)
        .context("a client that waited during the shortage")?;
    ensure!(
        start.elapsed() <= RECOVERED_WITHIN,
        "a client that waited during the shortage was served {:?} after its end; the limit is {RECOVERED_WITHIN:?}",
        start.elapsed()
    );
    Ok((most > 0).then_some(most))
}
