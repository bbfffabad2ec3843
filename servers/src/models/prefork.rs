//! # `prefork`: processes that wait for clients
//!
//! What it is: the children exist before the clients, and each waits in `accept` on the
//! listener that all share (UNP design 2). The kernel wakes one of them for each client.
//! A child serves one client until it ends, so at most as many are served as there are
//! children; the next one waits in the backlog.
//!
//! The loop:
//! 1. the parent forks the children and waits for their ends;
//! 2. a child accepts a connection, echoes until the end of input, and accepts again;
//! 3. a child that has died is collected, and another is forked in its place;
//! 4. at a stop `accept` fails in every idle child, which ends, and those that serve have
//!    the drain time.
//!
//! What it costs: no fork per connection, and nothing but `accept` and `close` instead;
//! then the same as `fork`. The children cost memory whether they serve or not.
//!
//! When it wins: as `fork`, and for connections too short to be worth a fork each.
//!
//! Manual pages: fork(2), accept(2), waitpid(2), signalfd(2), prctl(2) for PR_SET_PDEATHSIG.
//!
//! Read next: `prefork-fcntl`.

use std::io;
use std::net::TcpStream;

use crate::children::{self, Children};
use crate::config::{Config, Workers};
use crate::connection_slots::Seats;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::poll::{Entry, Interest, poll};
use crate::{conn, stop};

pub struct Prefork;

impl Model for Prefork {
    fn name(&self) -> &'static str {
        "prefork"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "child processes started ahead, all of them waiting in accept"
    }

    fn workers(&self) -> Workers {
        Workers::PerConnection
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        serve_with(listener, config, self.workers().count(config), &Listener::accept)
    }
}

/// How a child gets its next connection; `None` when the server is to stop.
pub(super) type Accept<'a> = &'a dyn Fn(&Listener) -> io::Result<Option<TcpStream>>;

/// The server of all models whose children accept: they differ in how.
pub(super) fn serve_with(
    listener: Listener,
    config: &Config,
    workers: usize,
    accept: Accept,
) -> io::Result<()> {
    let seats = Seats::new(&listener, workers)?;
    let mut children = Children::new(workers)?;
    let mut place = children.fill()?;
    if place.is_none() {
        children.wait_for_beginning()?;
        listener.announce()?;
    }
    while place.is_none() {
        let mut entries = [
            Entry::new(&children, Interest::Read),
            Entry::new(&listener, Interest::End),
        ];
        poll(&mut entries, children.due_in())?;
        if stop::requested() {
            break;
        }
        for vacated in children.collect() {
            seats.free(vacated);
        }
        place = children.fill()?;
    }
    if let Some(place) = place {
        drop(children);
        children::live(|| work(&listener, config, &seats, place, accept));
    }
    drop(listener);
    children::drain()
}

/// The life of a child.
fn work(listener: &Listener, config: &Config, seats: &Seats, place: usize, accept: Accept) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(config.buffer);
    while let Some(stream) = accept(listener)? {
        let seat = seats.take(place);
        if seat.is_some() || listener.admits(seats.count()) {
            conn::echo(&stream, &mut buffer, config.work);
        }
    }
    Ok(())
}
