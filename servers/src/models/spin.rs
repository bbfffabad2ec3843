//! # `spin`: one thread that tries every socket and never waits
//!
//! What it is: the non-blocking model (UNP section 6.2). Every call returns at once, with
//! EWOULDBLOCK where there is nothing to do; nobody says what is ready, so the thread asks
//! each socket again and again.
//!
//! The loop:
//! 1. try to accept until nobody waits;
//! 2. try each connection: read once and echo, or send the rest of what did not fit;
//! 3. where that fails with EWOULDBLOCK, go on to the next;
//! 4. if a whole round has found nothing, let other programs have a turn and begin again.
//!
//! What it costs: a whole processor, idle or not, and a read for each idle connection in
//! each round: a thousand of which one is busy make each echo pay for a thousand. What it
//! saves is the call that waits, and being woken.
//!
//! When it wins: a few busy connections and a processor to spare for each server; it
//! takes that processor away from whoever else needs it.
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
    let mut listening = Listening::Yes;
    while !listening.is_over(echoes.len()) {
        if listening.is_due() {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(echoes.len()) {
                    echoes.push(Echo::new(stream));
                }
            })?;
        }
        if !advance_all(&mut echoes, &mut scratch, config) {
            // It would not wait otherwise either, but on a processor that it shares the
            // clients could not make what it looks for.
            thread::yield_now();
        }
    }
    Ok(())
}

/// Tries all connections and says whether there was anything to do.
fn advance_all(echoes: &mut Vec<Echo>, scratch: &mut [u8], config: &Config) -> bool {
    let mut found = false;
    // From the end, since closing one moves the last into its place.
    for at in (0..echoes.len()).rev() {
        match echoes[at].advance(scratch, config.work) {
            Wants::Read => found |= echoes[at].drained() != Drained::Fully,
            Wants::Write => {}
            Wants::Close => drop(echoes.swap_remove(at)),
        }
    }
    found
}
