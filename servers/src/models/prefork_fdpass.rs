//! # `prefork-fdpass`: a parent that hands clients to its processes
//!
//! What it is: the parent accepts and passes each connection to a child that is free,
//! through a socket between the two (UNP design 5). `pool` with processes: the parent
//! knows who serves and who waits, which the other models leave to the kernel.
//!
//! The loop:
//! 1. the parent polls the listener and its children, and accepts;
//! 2. it passes the connection to a free child (SCM_RIGHTS) and closes its own descriptor;
//!    where none is free the connection waits, open and unanswered;
//! 3. the child echoes until the end of input, closes, and writes a byte: free again;
//! 4. a child that has died is replaced; at a stop the channels close, and who is idle ends.
//!
//! What it costs: per connection a descriptor sent and received and a byte back, and a poll
//! whose cost grows with the children; then the same as `fork`.
//!
//! When it wins: where one process must decide who serves whom, by load or by rights.
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
use crate::listener::Listener;
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
            listening: Listening::Yes,
            channels: iter::repeat_with(|| None).take(workers).collect(),
            free: Vec::new(),
            waiting: VecDeque::new(),
            children: Children::new(workers)?,
        };
        let mut channel = parent.fill()?;
        if channel.is_none() {
            parent.children.wait_for_beginning()?;
            parent.listener.announce()?;
        }
        while channel.is_none() && !parent.listening.is_over(parent.open()) {
            parent.turn()?;
            channel = parent.fill()?;
        }
        // In the parent this ends the children that are idle. In a child it closes what is
        // not its own, above all the connections of clients that wait.
        drop(parent);
        match channel {
            Some(channel) => children::live(|| work(&channel, config)),
            None => children::drain(),
        }
    }
}

struct Parent {
    listener: Listener,
    listening: Listening,
    /// To the children, by place.
    channels: Vec<Option<UnixStream>>,
    /// Places. The last to become free is the first to be busy again: its memory is warm.
    free: Vec<usize>,
    /// Connections that no child is free for.
    waiting: VecDeque<TcpStream>,
    /// Last, since it tells when a child has closed all that is above.
    children: Children,
}

impl Parent {
    /// Starts the children that are missing; returns in each of them with its channel.
    fn fill(&mut self) -> io::Result<Option<UnixStream>> {
        while let Some(place) = self.children.vacancy() {
            match self.children.start(place, UnixStream::pair)? {
                Some((Forked::Child, (_, theirs))) => return Ok(Some(theirs)),
                Some((Forked::Parent(_), (ours, _))) => {
                    self.channels[place] = Some(ours);
                    self.free.push(place);
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// Passes on what it can, waits until something happens, and takes note of it.
    fn turn(&mut self) -> io::Result<()> {
        self.pass_on();
        if self.listening.is_due() {
            self.listening = Listening::Yes;
        }
        let mut entries = vec![Entry::NONE, Entry::new(&self.children, Interest::Read)];
        if self.listening == Listening::Yes {
            entries[0] = Entry::new(&self.listener, Interest::Read);
        }
        let watch = |channel: &Option<_>| channel.as_ref().map_or(Entry::NONE, to_read);
        entries.extend(self.channels.iter().map(watch));
        let timeouts = [self.listening.timeout(), self.children.due_in()];
        poll(&mut entries, timeouts.into_iter().flatten().min())?;

        for place in 0..self.channels.len() {
            if entries[2 + place].is_ready() {
                self.hear(place);
            }
        }
        for place in self.children.collect() {
            self.lose(place);
        }
        if entries[0].is_ready() {
            self.accept()?;
        }
        Ok(())
    }

    /// How many connections are open: those of busy children and those that wait.
    fn open(&self) -> usize {
        self.busy() + self.waiting.len()
    }

    fn busy(&self) -> usize {
        self.channels.iter().flatten().count() - self.free.len()
    }

    /// A child that says something is free again; one that closes its channel is dying.
    fn hear(&mut self, place: usize) {
        match self.channels[place]
            .as_ref()
            .map(|mut channel| channel.read(&mut [0]))
        {
            Some(Ok(1)) => self.free.push(place),
            _ => self.lose(place),
        }
    }

    fn lose(&mut self, place: usize) {
        self.channels[place] = None;
        self.free.retain(|&free| free != place);
    }

    fn accept(&mut self) -> io::Result<()> {
        let busy = self.busy();
        self.listening = readiness::accept_all(&self.listener, |stream| {
            if self.listener.admits(busy + self.waiting.len()) {
                self.waiting.push_back(stream);
            }
        })?;
        self.listener.say_who_waits(self.open(), self.channels.len());
        Ok(())
    }

    /// Passes the connections that wait to the children that are free.
    fn pass_on(&mut self) {
        while let (Some(stream), Some(&place)) = (self.waiting.front(), self.free.last()) {
            let channel = self.channels[place].as_ref();
            if channel.is_some_and(|channel| descriptors::send(channel, stream).is_ok()) {
                self.free.pop();
                self.waiting.pop_front();
            } else {
                // It is dying, or will end when its channel closes; the next child is asked.
                self.lose(place);
            }
        }
    }
}

fn to_read(channel: &UnixStream) -> Entry {
    Entry::new(channel, Interest::Read)
}

/// The life of a child.
fn work(mut channel: &UnixStream, config: &Config) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(config.buffer);
    while let Some(stream) = descriptors::receive(channel)? {
        // The parent accepts without waiting, and that comes with the connection.
        stream.set_nonblocking(false)?;
        conn::echo(&stream, &mut buffer, config.work);
        drop(stream);
        if channel.write_all(&[0]).is_err() {
            break;
        }
    }
    Ok(())
}
