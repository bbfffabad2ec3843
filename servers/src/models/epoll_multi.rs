//! # `epoll-multi`: an event loop on each processor
//!
//! What it is: as many `epoll` loops as processors, with nothing shared. Each loop has its own
//! listener on the same address (SO_REUSEPORT); the kernel picks the listener of a connection
//! by a hash of the addresses. Over a Unix socket they share one, and a free loop accepts.
//!
//! The loop:
//! 1. bind a listener, let others join it, and start a thread for each;
//! 2. each thread runs the loop of `epoll` on its own listener;
//! 3. a stop shuts all listeners down, and each loop drains its connections;
//! 4. the server ends with the last loop, or with the first that fails.
//!
//! What it costs: the same as `epoll` per echo. The hash ignores the load: with few
//! connections, one loop may get most of them and cannot give any away.
//!
//! When it wins: more load than one processor can carry, over many connections.
//!
//! Manual pages: socket(7) for SO_REUSEPORT, epoll(7), sched_getaffinity(2).
//!
//! Read next: `sigio`.

use std::io;

use super::epoll::Loop;
use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::per_core::{self, ReadyCount};

pub struct EpollMulti;

impl Model for EpollMulti {
    fn name(&self) -> &'static str {
        "epoll-multi"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "an epoll loop on each processor, each with its own listener"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let count = self.workers().count(config);
        if count == 1 {
            complain!("echo-server: with one loop this is `epoll` (--workers sets the number of loops)");
        }
        per_core::run(listener, config, count, |listener, open| {
            let mut one = Loop::new(listener, open)?;
            Ok(move |listener: Listener, config: &Config, ready: ReadyCount| {
                ready.count_down(&listener)?;
                one.run(&listener, config)
            })
        })
    }
}
