//! # `poll`: one thread that asks about all sockets
//!
//! What it is: the event loop before `epoll`. Each call hands the kernel the whole list
//! of descriptors, and the kernel looks at every one of them (UNP section 6.10).
//!
//! The loop:
//! 1. ask which of the listener and all connections are ready, and wait if none is;
//! 2. the listener: accept all that wait;
//! 3. go through the list, and where a connection is ready read once and echo, or send
//!    the rest of what did not fit;
//! 4. note in the list what each waits for next.
//!
//! What it costs: two system calls per echo and a share of a call whose price grows with
//! the number of connections, idle ones included: with a thousand of which one is busy,
//! each echo pays for a thousand.
//!
//! When it wins: a few connections, nearly all of them busy; and it exists everywhere.
//!
//! Manual pages: poll(2), select(2) for what came before it.
//!
//! Read next: `epoll`.

use std::io;
use std::net::TcpStream;

use crate::config::Config;
use crate::conn::{Echo, Wants};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::sys::poll::{self, Entry, Interest};

pub struct Poll;

impl Model for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "one thread on poll, which looks at every connection each time"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        listener.announce()?;
        Loop {
            entries: vec![Entry::NONE],
            echoes: Vec::new(),
        }
        .run(&listener, config)
    }
}

struct Loop {
    /// The list for the kernel: the listener, then the connections in order.
    entries: Vec<Entry>,
    echoes: Vec<Echo>,
}

impl Loop {
    fn run(&mut self, listener: &Listener, config: &Config) -> io::Result<()> {
        let mut scratch = vec![0; config.buffer];
        let mut listening = Listening::Yes;
        while !listening.is_over(self.echoes.len()) {
            listening = listening.resumed();
            self.entries[0] = match listening {
                Listening::Yes => Entry::new(listener, Interest::Read),
                _ => Entry::NONE,
            };
            poll::poll(&mut self.entries, listening.timeout())?;
            // From the end, since closing one moves the last into its place.
            for at in (0..self.echoes.len()).rev() {
                if self.entries[at + 1].is_ready() {
                    self.advance(at, &mut scratch, config);
                }
            }
            if self.entries[0].is_ready() {
                listening = readiness::accept_all(listener, |stream| {
                    if listener.admits(self.echoes.len()) {
                        self.insert(stream);
                    }
                })?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, stream: TcpStream) {
        self.entries.push(Entry::new(&stream, Interest::Read));
        self.echoes.push(Echo::new(stream));
    }

    fn advance(&mut self, at: usize, scratch: &mut [u8], config: &Config) {
        let interest = match self.echoes[at].advance(scratch, config.work) {
            Wants::Read => Interest::Read,
            Wants::Write => Interest::Write,
            Wants::Close => {
                self.entries.swap_remove(at + 1);
                self.echoes.swap_remove(at);
                return;
            }
        };
        self.entries[at + 1] = Entry::new(self.echoes[at].stream(), interest);
    }
}
