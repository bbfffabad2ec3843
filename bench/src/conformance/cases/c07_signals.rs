//! C7: harmless signals.
//!
//! A signal interrupts a call if the process handles it. Servers with children handle SIGCHLD,
//! which means nothing while no child has ended. Stopping and continuing a process also interrupts
//! `epoll_wait`, `sigtimedwait`, `io_uring_enter` and every call on a socket with a time-out
//! (EINTR), in every thread, handled or not: signal(7), "Interruption of system calls and library
//! functions by stop signals".

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::conformance::kit::client::Client;
use crate::conformance::kit::{Case, ServerUnderTest, background_load};

pub const CASE: Case = Case::new(
    "C7",
    "signals",
    "Is no byte lost while harmless signals arrive a thousand times a second?",
    drive,
)
.connections(CLIENTS)
.full_form(CLIENTS)
.over_udp(drive_datagrams);

const CLIENTS: usize = 4;

/// Fewer interruptions prove nothing; a quiet host reaches several hundred.
const FEWEST: u32 = 20;

/// Interval of the signals.
const PERIOD: Duration = Duration::from_millis(1);

/// Long enough that a server needs many writes for a message.
const MESSAGE_BYTES: usize = 512 * 1024;

const DATAGRAM_BYTES: usize = 8 * 1024;

fn drive(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(server.served_of(CLIENTS))?;
    let mut pids = vec![server.pid()];
    for client in &crowd {
        let pid = server.process_of(client)?;
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    flood(server, &mut crowd, &pids, MESSAGE_BYTES)
}

fn drive_datagrams(server: &mut ServerUnderTest) -> anyhow::Result<()> {
    let mut crowd = server.connect_clients(CLIENTS)?;
    flood(server, &mut crowd, &[server.pid()], DATAGRAM_BYTES)
}

fn flood(
    server: &mut ServerUnderTest,
    crowd: &mut [Client],
    pids: &[Pid],
    bytes: usize,
) -> anyhow::Result<()> {
    let time = server.by_scale(Duration::from_millis(500), Duration::from_secs(2));
    let mut rounds = 0;
    let interrupted = background_load::while_echoing(crowd, bytes, || {
        rounds = interrupt(pids, time);
        Ok(())
    });
    let echoes = interrupted.with_context(|| format!("while the server was interrupted {rounds} times"))?;
    server.note(format!(
        "{echoes} echoes while {} processes were interrupted {rounds} times",
        pids.len()
    ));
    Ok(())
}

/// Interrupts the processes for at least `time`, and until there were enough rounds; returns their
/// number.
fn interrupt(pids: &[Pid], time: Duration) -> u32 {
    let send = |signal| {
        for &pid in pids {
            // A process that has ended is noticed by its client.
            let _ = kill(pid, signal);
        }
    };
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < time || rounds < FEWEST {
        send(Signal::SIGCHLD);
        send(Signal::SIGSTOP);
        // Time to stop, and half of the time to serve.
        thread::sleep(PERIOD / 2);
        send(Signal::SIGCONT);
        rounds += 1;
        thread::sleep((PERIOD * rounds).saturating_sub(start.elapsed()));
    }
    rounds
}
