//! # `uring-multi`: a ring on each processor
//!
//! What it is: as many `uring` loops as there are processors, and nothing shared between
//! them: a ring, a pool of pieces and a listener (SO_REUSEPORT) for each. The kernel
//! decides by a hash of the addresses which of them gets a connection.
//!
//! The loop:
//! 1. bind a listener, let others join it, and start a thread with a ring for each;
//! 2. each thread runs the loop of `uring` on its own listener;
//! 3. a stop shuts all the listeners down, and each loop drains what it has;
//! 4. the server ends with the last of its loops, or with the first that fails.
//!
//! What it costs: per echo what `uring` costs, and a pool of pieces for each ring. The
//! hash does not look at the load: with few connections one ring may have most of them.
//!
//! When it wins: more load than one processor can bear, over many connections.
//!
//! Manual pages: io_uring(7), socket(7) for SO_REUSEPORT, sched_getaffinity(2).
//!
//! Read next: `tokio`.

use std::io;

use super::uring::Loop;
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::per_core::{self, Beginning};
use crate::sys::uring::Ring;

pub struct UringMulti;

impl Model for UringMulti {
    fn name(&self) -> &'static str {
        "uring-multi"
    }

    fn family(&self) -> Family {
        Family::Completion
    }

    fn summary(&self) -> &'static str {
        "an io_uring on each processor, each with its own listener"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn probe(&self) -> io::Result<()> {
        Ring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let count = self.workers().count(config);
        if count == 1 {
            eprintln!("echo-server: with one ring this is `uring` (--workers sets their number)");
        }
        per_core::run(listener, config, count, |_, open| {
            let server = Loop::new(config, open)?;
            Ok(|listener: Listener, config: &Config, beginning: Beginning| {
                beginning.complete(&listener)?;
                server.run(&listener, config)
            })
        })
    }
}
