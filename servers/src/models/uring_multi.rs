//! # `uring-multi`: a ring on each processor
//!
//! What it is: as many `uring` loops as processors, with nothing shared: each has a ring, a
//! buffer pool and a listener (SO_REUSEPORT). The kernel picks the listener of a connection by
//! a hash of the addresses. Over a Unix socket the rings share one, and a free ring accepts.
//!
//! The loop:
//! 1. bind a listener, let others join it, and start a thread with a ring for each;
//! 2. each thread runs the loop of `uring` on its own listener;
//! 3. a stop shuts all listeners down, and each loop drains its connections;
//! 4. the server ends with the last loop, or with the first that fails.
//!
//! What it costs: the same as `uring` per echo, and a buffer pool per ring. The hash ignores
//! the load: with few connections, one ring may get most of them.
//!
//! When it wins: more load than one processor can carry, over many connections.
//!
//! Manual pages: io_uring(7), socket(7) for SO_REUSEPORT, sched_getaffinity(2).
//!
//! Read next: `tokio`.

use std::io;

use super::uring::Loop;
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::per_core::{self, ReadyCount};
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

    fn demands(&self) -> Demands {
        Demands {
            io_uring: true,
            ..Demands::default()
        }
    }

    fn probe(&self) -> io::Result<()> {
        Ring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let count = self.workers().count(config);
        if count == 1 {
            complain!("echo-server: with one ring this is `uring` (--workers sets the number of rings)");
        }
        per_core::run(listener, config, count, |_, open| {
            let server = Loop::new(config, open)?;
            Ok(|listener: Listener, config: &Config, ready: ReadyCount| {
                ready.count_down(&listener)?;
                server.run(&listener, config)
            })
        })
    }
}
