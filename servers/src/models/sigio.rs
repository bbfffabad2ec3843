//! # `sigio`: one thread, told by signals
//!
//! What it is: signal-driven I/O (UNP section 6.2 and chapter 25). Each descriptor sends
//! the process a real-time signal for each event, and the signal names the descriptor
//! (F_SETSIG). They are queued and taken like messages, without a handler.
//!
//! The loop:
//! 1. wait for signals; only look, if some connection may have more input;
//! 2. the listener's, or the time to try again after descriptors ran out: accept all, and
//!    arm each before its first turn, since what came before gives no signal;
//! 3. a connection's: into the queue of those that have a turn to come; and all of them
//!    after a plain SIGIO, which says that the queue of signals was full and some are lost;
//! 4. a turn for each in the queue: read once and echo, and if the read filled the
//!    buffer, back to the end of the queue, behind the others.
//!
//! What it costs: two system calls per echo, a share of a third, and a queued signal for
//! each segment that arrives, wanted or not; four calls to arm a connection.
//!
//! When it wins: never against `epoll`, which was made because of it; it shows how a
//! program that does something else can be told of input.
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
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::ready_queue::{Turns, Until};
use crate::sys::sigio::{self, News, Signals};
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
        // Shutting the listener down at a stop counts as an event.
        sigio::arm_queued(&listener)?;
        listener.announce()?;
        run(&mut signals, &listener, config)
    }
}

fn run(signals: &mut Signals, listener: &Listener, config: &Config) -> io::Result<()> {
    let door = listener.as_fd().as_raw_fd();
    let mut scratch = vec![0; config.buffer];
    let mut turns = Turns::default();
    // Somebody may have come before the listener was armed.
    let mut listening = Listening::After(Instant::now());
    while !listening.is_over(turns.open()) {
        let timeout = match turns.is_idle() {
            true => listening.timeout(),
            false => Some(Duration::ZERO),
        };
        let mut knocked = false;
        for news in signals.wait(timeout)? {
            match news {
                News::Of(fd) if fd == door => knocked = true,
                News::Of(fd) => turns.wake(fd, Until::Short),
                News::Some => {
                    terminal::look();
                    knocked = true;
                    turns.wake_all();
                }
            }
        }
        if listening.accepts(knocked) {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(turns.open()) {
                    insert(&mut turns, listener, stream);
                }
            })?;
        }
        turns.take(&mut scratch, config.work);
    }
    Ok(())
}

fn insert(turns: &mut Turns, listener: &Listener, stream: TcpStream) {
    match sigio::arm_queued(&stream) {
        Ok(()) => {
            let fd = stream.as_raw_fd();
            turns.insert(stream);
            turns.wake(fd, Until::Nothing);
        }
        Err(error) => listener.turned_away("cannot arm a connection", &error),
    }
}
