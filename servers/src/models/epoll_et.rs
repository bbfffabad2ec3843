//! # `epoll-et`: one thread, told of each change once
//!
//! What it is: `epoll` edge-triggered. The kernel reports that something has become ready
//! and not that it still is, so a connection is read until its socket is empty: the kernel
//! will not remind. Each is registered once, for input and for output, and never again.
//!
//! The loop:
//! 1. wait for news; only look, if some connection may have more input;
//! 2. the listener, or the time to try again after descriptors ran out: accept all;
//! 3. a connection: into the queue of those that have a turn to come;
//! 4. a turn for each in the queue: read once and echo, and if the read filled the
//!    buffer, back to the end of the queue, behind the others.
//!
//! What it costs: two system calls per echo and a share of a wait. A read that does not
//! fill the buffer has emptied a stream, which spares the read that would find nothing;
//! not so when the event tells of more than data: the end of input, an error, urgent data.
//!
//! When it wins: where the kernel's second look at every reported socket counts, and
//! where connections often switch between reading and writing.
//!
//! Manual pages: epoll(7), and there "Edge-triggered and level-triggered"; epoll_ctl(2).
//!
//! Read next: `epoll-pool`.

use std::io;
use std::net::TcpStream;
use std::os::fd::RawFd;
use std::time::Duration;

use super::epoll::{EVENTS, token};
use crate::config::Config;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::ready_queue::{Turns, Until};
use crate::sys::epoll::{Epoll, Event, Flags};

pub struct EpollEt;

impl Model for EpollEt {
    fn name(&self) -> &'static str {
        "epoll-et"
    }

    fn family(&self) -> Family {
        Family::Readiness
    }

    fn summary(&self) -> &'static str {
        "one thread on edge-triggered epoll"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        listener.set_nonblocking()?;
        let epoll = Epoll::new()?;
        epoll.add(&listener, Flags::EPOLLIN | Flags::EPOLLET, token(&listener))?;
        listener.announce()?;
        run(&epoll, &listener, config)
    }
}

fn run(epoll: &Epoll, listener: &Listener, config: &Config) -> io::Result<()> {
    let mut events = vec![Event::empty(); EVENTS];
    let mut scratch = vec![0; config.buffer];
    let mut turns = Turns::default();
    let mut listening = Listening::Yes;
    while !listening.is_over(turns.open()) {
        let timeout = match turns.is_idle() {
            true => listening.timeout(),
            false => Some(Duration::ZERO),
        };
        let count = epoll.wait(&mut events, timeout)?;
        let mut knocked = false;
        for event in &events[..count] {
            if event.data() == token(listener) {
                knocked = true;
            } else {
                turns.wake(event.data() as RawFd, until(event.events()));
            }
        }
        if listening.accepts(knocked) {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(turns.open()) {
                    insert(epoll, &mut turns, listener, stream);
                }
            })?;
        }
        turns.take(&mut scratch, config.work);
    }
    Ok(())
}

fn insert(epoll: &Epoll, turns: &mut Turns, listener: &Listener, stream: TcpStream) {
    let news = Flags::EPOLLIN | Flags::EPOLLOUT | Flags::EPOLLRDHUP | Flags::EPOLLPRI;
    match epoll.add(&stream, news | Flags::EPOLLET, token(&stream)) {
        // What has come already is reported as well.
        Ok(()) => turns.insert(stream),
        Err(error) => listener.turned_away("cannot watch a connection", &error),
    }
}

/// An event that tells of data and room alone will be followed by another for whatever
/// comes after the read; one that tells of more will not.
fn until(news: Flags) -> Until {
    match (Flags::EPOLLIN | Flags::EPOLLOUT).contains(news) {
        true => Until::Short,
        false => Until::Nothing,
    }
}
