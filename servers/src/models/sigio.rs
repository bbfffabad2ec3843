//! # `sigio`: one thread, told by signals
//!
//! What it is: signal-driven I/O (UNP section 6.2 and chapter 25). Each descriptor sends the
//! process a real-time signal per event, and the signal carries the descriptor (F_SETSIG). The
//! loop reads the queued signals like messages, without a handler.
//!
//! The loop:
//! 1. wait for signals; only check for them if a connection may have more input;
//! 2. a signal of the listener, or the end of a pause for lack of descriptors: accept all, arm
//!    each connection and queue it, since earlier input raises no signal;
//! 3. a signal of a connection: add it to the ready queue. A plain SIGIO reports that the
//!    signal queue overflowed and signals are lost: add all connections;
//! 4. serve each queued connection once: read and echo; if the read filled the buffer, move
//!    the connection to the end of the queue.
//!
//! What it costs: two system calls per echo, a share of a third, and a queued signal for each
//! segment that arrives, wanted or not; four calls to arm a connection.
//!
//! When it wins: never against `epoll`, which replaced it. It shows how a program that is busy
//! with other work can learn of input.
//!
//! Manual pages: fcntl(2) for F_SETSIG, signal(7), signalfd(2), getrlimit(2) for
//! RLIMIT_SIGPENDING.
//!
//! Read next: `aio`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::ready_queue::{ReadUntil, ReadyQueue};
use crate::stop;
use crate::sys::sigio::{self, Event, Signals};
use crate::sys::terminal;

pub struct Sigio;

impl Model for Sigio {
    fn name(&self) -> &'static str {
        "sigio"
    }

    fn family(&self) -> Family {
        Family::Signal
    }

    fn summary(&self) -> &'static str {
        "one thread told by a signal for each event"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        let mut signals = Signals::take_over()?;
        // Shutting a TCP listener down raises a signal too, a Unix socket none.
        sigio::arm_queued(&listener)?;
        stop::also_raise(libc::SIGIO);
        listener.announce()?;
        run(&mut signals, &listener, config)
    }
}

fn run(signals: &mut Signals, listener: &Listener, config: &Config) -> io::Result<()> {
    let listener_fd = listener.as_fd().as_raw_fd();
    let mut scratch = vec![0; config.buffer];
    let mut ready = ReadyQueue::default();
    // Accept at once: a client may have come before the listener was armed.
    let mut listening = Listening::PausedUntil(Instant::now());
    while !listening.is_over(ready.open()) {
        let timeout = match ready.is_idle() {
            true => listening.timeout(),
            false => Some(Duration::ZERO),
        };
        let mut listener_ready = false;
        for event in signals.wait(timeout)? {
            match event {
                Event::Ready(fd) if fd == listener_fd => listener_ready = true,
                Event::Ready(fd) => ready.push(fd, ReadUntil::ShortRead),
                Event::Unknown => {
                    terminal::look();
                    listener_ready = true;
                    ready.push_all();
                }
            }
        }
        if listening.accepts(listener_ready) {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(ready.open()) {
                    insert(&mut ready, stream);
                }
            })?;
        }
        ready.serve_round(&mut scratch, config.work);
    }
    Ok(())
}

fn insert(ready: &mut ReadyQueue, stream: TcpStream) {
    match sigio::arm_queued(&stream) {
        Ok(()) => {
            let fd = stream.as_raw_fd();
            ready.insert(stream);
            ready.push(fd, ReadUntil::WouldBlock);
        }
        Err(error) => listener::report_rejected("cannot arm a connection", &error),
    }
}
