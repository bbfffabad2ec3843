//! # `spin`: one thread that tries every socket and never waits
//!
//! What it is: the nonblocking model (UNP section 6.2). Every call returns at once, with
//! EWOULDBLOCK if there is nothing to do. No call reports readiness, so the thread polls all
//! sockets in an endless loop.
//!
//! The loop:
//! 1. accept until the backlog is empty;
//! 2. try each connection: read once and echo, or send the unsent rest;
//! 3. on EWOULDBLOCK, go on to the next one;
//! 4. if a whole round found nothing, yield the processor and repeat.
//!
//! What it costs: a whole processor, busy or idle, and one read per idle connection and round:
//! with one busy connection in a thousand, each echo pays for a thousand reads. It saves the
//! call that waits, and the wake-up.
//!
//! When it wins: a few busy connections on a dedicated processor. Other programs cannot use
//! that processor.
//!
//! Manual pages: read(2) for EAGAIN, fcntl(2) for O_NONBLOCK, sched_yield(2).
//!
//! Read next: `select`.

use std::io;
use std::thread;

use crate::config::Config;
use crate::conn::{Drained, Echo, Wants};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};

pub struct Spin;

impl Model for Spin {
    fn name(&self) -> &'static str {
        "spin"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "one thread that tries every socket in turn and never waits"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        listener.announce()?;
        run(&listener, config)
    }
}

fn run(listener: &Listener, config: &Config) -> io::Result<()> {
    let mut echoes = Vec::new();
    let mut scratch = vec![0; config.buffer];
    let mut listening = Listening::Active;
    while !listening.is_over(echoes.len()) {
        if listening.is_due() {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(echoes.len()) {
                    echoes.push(Echo::new(stream));
                }
            })?;
        }
        if !advance_all(&mut echoes, &mut scratch, config) {
            // Not needed to make progress, but on a shared processor the clients could not
            // run to send their input.
            thread::yield_now();
        }
    }
    Ok(())
}

/// Tries all connections; returns whether any had work.
fn advance_all(echoes: &mut Vec<Echo>, scratch: &mut [u8], config: &Config) -> bool {
    let mut found = false;
    // Backwards, since `swap_remove` moves the last connection.
    for at in (0..echoes.len()).rev() {
        match echoes[at].advance(scratch, config.work) {
            Wants::Read => found |= echoes[at].drained() != Drained::Fully,
            Wants::Write => {}
            Wants::Close => drop(echoes.swap_remove(at)),
        }
    }
    found
}
