//! # `epoll-et`: one thread, told of each change once
//!
//! What it is: edge-triggered `epoll`. The kernel reports that a socket has become ready, not
//! that it still is, so the loop must read until the socket is empty: no reminder follows.
//! Each connection is registered once, for input and output, and never changed.
//!
//! The loop:
//! 1. wait for events; only check for them if a connection may have more input;
//! 2. if the listener is ready, or after a pause for lack of descriptors: accept all;
//! 3. a connection: add it to the ready queue;
//! 4. serve each queued connection once: read and echo; if the read filled the buffer, move
//!    the connection to the end of the queue.
//!
//! What it costs: two system calls per echo and a share of a wait. A read that does not fill
//! the buffer has emptied the stream, which saves the read that would find nothing. This does
//! not hold if the event reports more than data: the end of input, an error, or urgent data.
//!
//! When it wins: when the kernel's second check of every reported socket matters, or when
//! connections often alternate between reading and writing.
//!
//! Manual pages: epoll(7), section "Level-triggered and edge-triggered"; epoll_ctl(2).
//!
//! Read next: `epoll-pool`.

use std::io;
use std::net::TcpStream;
use std::os::fd::RawFd;
use std::time::Duration;

use super::epoll::{EVENTS, token};
use crate::config::Config;
use crate::listener::{self, Listener};
use crate::model::{Family, Model};
use crate::readiness::{self, Listening};
use crate::ready_queue::{ReadUntil, ReadyQueue};
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
    let mut ready = ReadyQueue::default();
    let mut listening = Listening::Active;
    while !listening.is_over(ready.open()) {
        let timeout = match ready.is_idle() {
            true => listening.timeout(),
            false => Some(Duration::ZERO),
        };
        let count = epoll.wait(&mut events, timeout)?;
        let mut listener_ready = false;
        for event in &events[..count] {
            if event.data() == token(listener) {
                listener_ready = true;
            } else {
                ready.push(event.data() as RawFd, until(event.events()));
            }
        }
        if listening.accepts(listener_ready) {
            listening = readiness::accept_all(listener, |stream| {
                if listener.admits(ready.open()) {
                    insert(epoll, &mut ready, stream);
                }
            })?;
        }
        ready.serve_round(&mut scratch, config.work);
    }
    Ok(())
}

fn insert(epoll: &Epoll, ready: &mut ReadyQueue, stream: TcpStream) {
    let flags = Flags::EPOLLIN | Flags::EPOLLOUT | Flags::EPOLLRDHUP | Flags::EPOLLPRI;
    match epoll.add(&stream, flags | Flags::EPOLLET, token(&stream)) {
        // Input that arrived earlier is reported too.
        Ok(()) => ready.insert(stream),
        Err(error) => listener::report_rejected("cannot watch a connection", &error),
    }
}

/// After an event for data or room alone, later input raises another event. After an event
/// that reports more, it may not.
fn until(flags: Flags) -> ReadUntil {
    match (Flags::EPOLLIN | Flags::EPOLLOUT).contains(flags) {
        true => ReadUntil::ShortRead,
        false => ReadUntil::WouldBlock,
    }
}
