//! C7: signals that mean nothing interrupt nothing.
//!
//! A signal interrupts a call only where somebody handles it. SIGCHLD is handled by servers
//! that have children, and means nothing when none has ended. Beside that the processes are
//! stopped and let go on: that interrupts `epoll_wait`, `sigtimedwait`, `io_uring_enter` and
//! every call on a socket that has a time-out (EINTR), in every thread, whether or not
//! anything is handled (signal(7), "Interruption of system calls and library functions by stop
//! signals").

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::Client;
use super::{Case, Running, load};

pub const CASE: Case = Case::new(
    "C7",
    "signals",
    "Does no byte get lost while harmless signals come a thousand times a second?",
    drive,
)
.room(CLIENTS)
.full(CLIENTS)
.over_datagrams(drive_datagrams);

const CLIENTS: usize = 4;

/// Fewer interruptions say nothing; a quiet host comes to several hundred.
const FEWEST: u32 = 20;

/// Signals come in each of these.
const PERIOD: Duration = Duration::from_millis(1);

/// So much that a server has to write again and again for one message.
const MESSAGE_BYTES: usize = 512 * 1024;

const DATAGRAM_BYTES: usize = 8 * 1024;

fn drive(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(running.served_of(CLIENTS))?;
    let mut pids = vec![running.pid()];
    for client in &crowd {
        let pid = running.server_of(client)?;
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    flood(running, &mut crowd, &pids, MESSAGE_BYTES)
}

fn drive_datagrams(running: &mut Running) -> anyhow::Result<()> {
    let mut crowd = running.crowd(CLIENTS)?;
    flood(running, &mut crowd, &[running.pid()], DATAGRAM_BYTES)
}

fn flood(running: &mut Running, crowd: &mut [Client], pids: &[Pid], bytes: usize) -> anyhow::Result<()> {
    let time = running.pick(Duration::from_millis(500), Duration::from_secs(2));
    let mut rounds = 0;
    let interrupted = load::while_echoing(crowd, bytes, || {
        rounds = interrupt(pids, time);
        Ok(())
    });
    let echoes = interrupted
        .with_context(|| format!("while the server was interrupted {rounds} times in {time:?}"))?;
    ensure!(
        rounds >= FEWEST,
        "the server could only be interrupted {rounds} times in {time:?}: the host is too busy to say"
    );
    running.saw(format!(
        "{echoes} echoes while {} processes were interrupted {rounds} times in {time:?}",
        pids.len()
    ));
    Ok(())
}

/// Returns how often.
fn interrupt(pids: &[Pid], time: Duration) -> u32 {
    let send = |signal| {
        for &pid in pids {
            // One that has ended is found out by its client.
            let _ = kill(pid, signal);
        }
    };
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < time {
        send(Signal::SIGCHLD);
        send(Signal::SIGSTOP);
        // It must come to a stop before it goes on, and is to serve for half of the time.
        thread::sleep(PERIOD / 2);
        send(Signal::SIGCONT);
        rounds += 1;
        thread::sleep((PERIOD * rounds).saturating_sub(start.elapsed()));
    }
    rounds
}
