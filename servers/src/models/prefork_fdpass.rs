//! # `prefork-fdpass`: a parent that passes clients to its processes
//!
//! What it is: the parent accepts and passes each connection to a free child through a socket
//! pair (UNP design 5). It is `pool` with processes: the parent knows which children are busy
//! and which clients wait, which other prefork models leave to the kernel.
//!
//! The loop:
//! 1. the parent polls the listener and its children, and accepts;
//! 2. it sends the connection to a free child (SCM_RIGHTS) and closes its own descriptor; if
//!    no child is free, the connection stays open and unanswered;
//! 3. the child echoes until the end of input, closes, and writes one byte: it is free again;
//! 4. the parent replaces dead children; at a stop it closes the channels, and idle ones end.
//!
//! What it costs: sending and receiving a descriptor and a byte back per connection, and a
//! poll whose cost grows with the number of children; otherwise the same as `fork`.
//!
//! When it wins: when one process must decide which child serves a client, by load or by
//! privileges.
//!
//! Manual pages: unix(7) for SCM_RIGHTS, sendmsg(2), recvmsg(2), socketpair(2), cmsg(3).
//!
//! Read next: `thread`.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::children::{self, Children};
use crate::config::{Config, Workers};
use crate::conn;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::sys::descriptors;
use crate::sys::poll::{Entry, Interest, poll};
use crate::sys::process::Forked;

pub struct PreforkFdpass;

impl Model for PreforkFdpass {
    fn name(&self) -> &'static str {
        "prefork-fdpass"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "child processes that the parent passes clients to"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        let workers = self.workers().count(config);
        let mut parent = Parent {
            listener,
            listening: Listening::Active,
            channels: iter::repeat_with(|| None).take(workers).collect(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            children: Children::new(workers)?,
        };
        let mut channel = parent.start_missing()?;
        if channel.is_none() {
            parent.children.wait_for_startup()?;
            parent.listener.announce()?;
        }
        while channel.is_none() && !parent.listening.is_over(parent.open()) {
            parent.step()?;
            channel = parent.start_missing()?;
        }
        // In the parent, this ends the idle children. In a child, it closes the descriptors of
        // the parent, such as the connections of waiting clients.
        drop(parent);
        match channel {
            Some(channel) => children::run_child(|| work(&channel, config)),
            None => children::drain(),
        }
    }
}

struct Parent {
    listener: Listener,
    listening: Listening,
    /// The channels to the children, by worker number.
    channels: Vec<Option<UnixStream>>,
    /// Numbers of free workers. The last one freed is reused first: its cache is warm.
    free: Vec<usize>,
    /// Connections that wait for a free child.
    waiting: VecDeque<TcpStream>,
    /// Last field: dropping it signals that a child has closed all of the above.
    children: Children,
}

impl Parent {
    /// Starts the missing children. Returns the channel in each child, and `None` in the
    /// parent.
    fn start_missing(&mut self) -> io::Result<Option<UnixStream>> {
        while let Some(worker) = self.children.next_missing() {
            match self.children.start(worker, UnixStream::pair)? {
                Some((Forked::Child, (_, theirs))) => return Ok(Some(theirs)),
                Some((Forked::Parent(_), (ours, _))) => {
                    self.channels[worker] = Some(ours);
                    self.free.push(worker);
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// Passes waiting connections to free children, then waits for events and handles them.
    fn step(&mut self) -> io::Result<()> {
        self.pass_waiting();
        if self.listening.is_due() {
            self.listening = Listening::Active;
        }
        let mut entries = vec![Entry::NONE, Entry::new(&self.children, Interest::Read)];
        if self.listening == Listening::Active {
            entries[0] = Entry::new(&self.listener, Interest::Read);
        }
        let watch = |channel: &Option<_>| channel.as_ref().map_or(Entry::NONE, to_read);
        entries.extend(self.channels.iter().map(watch));
        let timeouts = [self.listening.timeout(), self.children.next_start_in()];
        poll(&mut entries, timeouts.into_iter().flatten().min())?;

        for worker in 0..self.channels.len() {
            if entries[2 + worker].is_ready() {
                self.receive(worker);
            }
        }
        for worker in self.children.reap() {
            self.forget(worker);
        }
        if entries[0].is_ready() {
            self.accept()?;
        }
        Ok(())
    }

    /// The number of open connections: those of busy children and the waiting ones.
    fn open(&self) -> usize {
        self.busy() + self.waiting.len()
    }

    fn busy(&self) -> usize {
        self.channels.iter().flatten().count() - self.free.len()
    }

    /// A byte from a child means that it is free; a closed channel, that it is dying.
    fn receive(&mut self, worker: usize) {
        match self.channels[worker]
            .as_ref()
            .map(|mut channel| channel.read(&mut [0]))
        {
            Some(Ok(1)) => self.free.push(worker),
            _ => self.forget(worker),
        }
    }

    fn forget(&mut self, worker: usize) {
        self.channels[worker] = None;
        self.free.retain(|&free| free != worker);
    }

    fn accept(&mut self) -> io::Result<()> {
        let busy = self.busy();
        self.listening = readiness::accept_all(&self.listener, |stream| {
            if self.listener.admits(busy + self.waiting.len()) {
                self.waiting.push_back(stream);
            }
        })?;
        listener::report_waiting(self.open(), self.channels.len());
        Ok(())
    }

    /// Passes waiting connections to free children.
    fn pass_waiting(&mut self) {
        while let (Some(stream), Some(&worker)) = (self.waiting.front(), self.free.last()) {
            let channel = self.channels[worker].as_ref();
            if channel.is_some_and(|channel| descriptors::send(channel, stream).is_ok()) {
                self.free.pop();
                self.waiting.pop_front();
            } else {
                // The child is dying, or ends when its channel closes; try the next one.
                self.forget(worker);
            }
        }
    }
}

fn to_read(channel: &UnixStream) -> Entry {
    Entry::new(channel, Interest::Read)
}

/// Serves clients in a child.
fn work(mut channel: &UnixStream, config: &Config) -> io::Result<()> {
    let mut buffer = conn::buffer(config.buffer)?;
    while let Some(stream) = descriptors::receive(channel)? {
        // The parent accepts nonblocking sockets.
        stream.set_nonblocking(false)?;
        conn::echo(&stream, &mut buffer, config.work);
        drop(stream);
        if channel.write_all(&[0]).is_err() {
            break;
        }
    }
    Ok(())
}
