//! # `poll`: one thread that asks about all sockets
//!
//! What it is: the event loop before `epoll`. Each call passes the whole list of descriptors,
//! and the kernel checks every one of them (UNP section 6.10).
//!
//! The loop:
//! 1. wait until the listener or a connection is ready;
//! 2. the listener: accept all queued connections;
//! 3. scan the list; where a connection is ready, read once and echo, or send the unsent rest;
//! 4. update the list with what each connection waits for next.
//!
//! What it costs: two system calls per echo, and a share of a call whose cost grows with the
//! number of connections, idle ones included: with one busy connection in a thousand, each
//! echo pays for a thousand.
//!
//! When it wins: a few connections, nearly all of them busy; and it is available everywhere.
//!
//! Manual pages: poll(2), select(2) for its predecessor.
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
    /// The list for the kernel: the listener, then the connections in the order of `echoes`.
    entries: Vec<Entry>,
    echoes: Vec<Echo>,
}

impl Loop {
    fn run(&mut self, listener: &Listener, config: &Config) -> io::Result<()> {
        let mut scratch = vec![0; config.buffer];
        let mut listening = Listening::Active;
        while !listening.is_over(self.echoes.len()) {
            listening = listening.resumed();
            self.entries[0] = match listening {
                Listening::Active => Entry::new(listener, Interest::Read),
                _ => Entry::NONE,
            };
            poll::poll(&mut self.entries, listening.timeout())?;
            // Backwards, since `swap_remove` moves the last connection.
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
