//! # `select`: one thread, and a bit for each descriptor
//!
//! What it is: the first event loop. A set of bits says which descriptors to look at, and
//! the kernel leaves those set that are ready (UNP section 6.3). The set has FD_SETSIZE
//! bits, 1024: a connection whose descriptor is higher is turned away.
//!
//! The loop:
//! 1. copy the sets, ask which descriptors are ready, and wait if none is;
//! 2. the listener: accept all that wait and turn away those that do not fit;
//! 3. go through the connections, and where the bit is set read once and echo, or send
//!    the rest of what did not fit;
//! 4. note in the sets what each waits for next.
//!
//! What it costs: two system calls per echo and a share of a call that looks at every bit
//! up to the highest; then the same again to find out which bits are left. `poll` does
//! without the limit, not without the search.
//!
//! When it wins: nowhere any more on Linux; it is the oldest, so it is everywhere, and it
//! is what `poll` and `epoll` are answers to.
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
use crate::listener::Listener;
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
        let door = listener.as_fd().as_raw_fd();
        // Fails at once if it does not fit itself.
        server.read.insert(door)?;
        listener.announce()?;
        server.run(&listener, door, config)
    }
}

struct Loop {
    /// The descriptors to ask about; `select` gets copies, since it writes to them.
    read: Set,
    write: Set,
    echoes: DescriptorMap<Echo>,
}

impl Loop {
    fn run(&mut self, listener: &Listener, door: RawFd, config: &Config) -> io::Result<()> {
        let mut scratch = vec![0; config.buffer];
        let mut listening = Listening::Yes;
        while !listening.is_over(self.echoes.count()) {
            listening = listening.resumed();
            match listening {
                Listening::Yes => self.read.insert(door)?,
                _ => self.read.remove(door),
            }
            let (mut read, mut write) = (self.read, self.write);
            let highest = self.echoes.highest().max(door);
            select::select(&mut read, &mut write, highest, listening.timeout())?;
            for fd in 0..=highest {
                if fd == door && read.contains(door) {
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
            Err(error) => listener.turned_away("cannot watch a connection", &error),
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
