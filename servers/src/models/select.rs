//! # `select`: one thread, and a bit for each descriptor
//!
//! What it is: the first event loop. A bit set selects the descriptors to check, and the
//! kernel leaves the bits of the ready ones set (UNP section 6.3). The set has FD_SETSIZE
//! bits, 1024, so the server rejects a connection with a higher descriptor.
//!
//! The loop:
//! 1. copy the sets, and wait until a descriptor in them is ready;
//! 2. the listener: accept all queued connections, and reject those that do not fit;
//! 3. scan the descriptors; where the bit is set, read once and echo, or send the unsent rest;
//! 4. set the bits that each connection waits for next.
//!
//! What it costs: two system calls per echo, and a share of a call that checks every bit up to
//! the highest; then the program scans the result again. `poll` removes the limit but not the
//! scan.
//!
//! When it wins: nowhere on Linux today. It is the oldest of its kind and available
//! everywhere, and `poll` and `epoll` exist to fix its shortcomings.
//!
//! Manual pages: select(2), select_tut(2), FD_SET(3).
//!
//! Read next: `poll`.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::config::Config;
use crate::conn::{Echo, Wants};
use crate::descriptor_map::DescriptorMap;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::sys::select::{self, Set};

pub struct Select;

impl Model for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "one thread on select, for descriptors below 1024"
    }

    fn descriptor_limit(&self) -> Option<RawFd> {
        Some(select::LIMIT)
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        let mut server = Loop {
            read: Set::new(),
            write: Set::new(),
            echoes: DescriptorMap::default(),
        };
        let listener_fd = listener.as_fd().as_raw_fd();
        // Fails at once if the listener itself does not fit.
        server.read.insert(listener_fd)?;
        listener.announce()?;
        server.run(&listener, listener_fd, config)
    }
}

struct Loop {
    /// The descriptors to watch; `select` gets copies, which it overwrites.
    read: Set,
    write: Set,
    echoes: DescriptorMap<Echo>,
}

impl Loop {
    fn run(&mut self, listener: &Listener, listener_fd: RawFd, config: &Config) -> io::Result<()> {
        let mut scratch = vec![0; config.buffer];
        let mut listening = Listening::Active;
        while !listening.is_over(self.echoes.count()) {
            listening = listening.resumed();
            match listening {
                Listening::Active => self.read.insert(listener_fd)?,
                _ => self.read.remove(listener_fd),
            }
            let (mut read, mut write) = (self.read, self.write);
            let highest = self.echoes.highest().max(listener_fd);
            select::select(&mut read, &mut write, highest, listening.timeout())?;
            for fd in 0..=highest {
                if fd == listener_fd && read.contains(listener_fd) {
                    listening = readiness::accept_all(listener, |stream| self.insert(listener, stream))?;
                } else if read.contains(fd) || write.contains(fd) {
                    self.advance(fd, &mut scratch, config)?;
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, listener: &Listener, stream: TcpStream) {
        let fd = stream.as_raw_fd();
        if !listener.admits(self.echoes.count()) {
            return;
        }
        match self.read.insert(fd) {
            Ok(()) => self.echoes.insert(fd, Echo::new(stream)),
            Err(error) => listener::report_rejected("cannot watch a connection", &error),
        }
    }

    fn advance(&mut self, fd: RawFd, scratch: &mut [u8], config: &Config) -> io::Result<()> {
        let Some(echo) = self.echoes.find(fd) else {
            return Ok(());
        };
        let wants = echo.advance(scratch, config.work);
        self.read.remove(fd);
        self.write.remove(fd);
        match wants {
            Wants::Read => self.read.insert(fd),
            Wants::Write => self.write.insert(fd),
            Wants::Close => {
                self.echoes.remove(fd);
                Ok(())
            }
        }
    }
}
