//! # `iterative`: one client at a time
//!
//! What it is: no concurrency at all. The kernel connects a second client, which then waits
//! in the backlog until the first one ends (UNP design 0).
//!
//! The loop:
//! 1. accept a connection;
//! 2. read, and write back what was read;
//! 3. at the end of input, close;
//! 4. repeat.
//!
//! What it costs: two system calls per echo and nothing else. Every other model adds the
//! price of its concurrency, so this is the baseline.
//!
//! When it wins: a single client, or requests so short that waiting in line is cheaper than
//! scheduling.
//!
//! Manual pages: accept(2), listen(2) for the backlog, read(2), write(2).
//!
//! Read next: `fork`.

use std::io;

use crate::config::Config;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::{conn, stop};

pub struct Iterative;

impl Model for Iterative {
    fn name(&self) -> &'static str {
        "iterative"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "one client at a time; the others wait in the backlog"
    }

    fn at_once(&self, _: &Config) -> Option<usize> {
        Some(1)
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let mut buffer = conn::buffer(config.buffer)?;
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            let _held = stop::hold(&stream);
            conn::echo(&stream, &mut buffer, config.work);
        }
        Ok(())
    }
}
