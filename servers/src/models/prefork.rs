//! # `prefork`: processes that wait for clients
//!
//! What it is: the children exist before the clients and all block in `accept` on a shared
//! listener (UNP design 2). The kernel wakes one of them per connection. A child serves one
//! client until it ends, so the number of children limits the clients served at once; the
//! next client waits in the backlog.
//!
//! The loop:
//! 1. the parent forks the children and waits for one to end;
//! 2. a child accepts a connection, echoes until the end of input, and accepts again;
//! 3. the parent reaps a dead child and forks a replacement;
//! 4. at a stop, `accept` fails in idle children, which exit; busy ones have the drain time.
//!
//! What it costs: `accept` and `close` per connection instead of a fork; otherwise the same
//! as `fork`. Idle children take memory too.
//!
//! When it wins: like `fork`, and also for connections too short to justify a fork.
//!
//! Manual pages: fork(2), accept(2), waitpid(2), signalfd(2), prctl(2) for PR_SET_PDEATHSIG.
//!
//! Read next: `prefork-fcntl`.

use std::io;
use std::net::TcpStream;

use crate::children::{self, Children};
use crate::config::{Config, Workers};
use crate::connection_slots::Slots;
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

/// How a child accepts its next connection; `None` when the server must stop.
pub(super) type Accept<'a> = &'a dyn Fn(&Listener) -> io::Result<Option<TcpStream>>;

/// The server of all models whose children accept; they differ in the locking.
pub(super) fn serve_with(
    listener: Listener,
    config: &Config,
    workers: usize,
    accept: Accept,
) -> io::Result<()> {
    let slots = Slots::new(&listener, workers)?;
    let mut children = Children::new(workers)?;
    let mut worker = children.start_missing()?;
    if worker.is_none() {
        children.wait_for_startup()?;
        listener.announce()?;
    }
    while worker.is_none() {
        let mut entries = [
            Entry::new(&children, Interest::Read),
            Entry::new(&listener, Interest::End),
        ];
        poll(&mut entries, children.next_start_in())?;
        if stop::requested() {
            break;
        }
        for dead in children.reap() {
            slots.free(dead);
        }
        worker = children.start_missing()?;
    }
    if let Some(worker) = worker {
        drop(children);
        children::run_child(|| work(&listener, config, &slots, worker, accept));
    }
    drop(listener);
    children::drain()
}

/// Serves clients in a child.
fn work(
    listener: &Listener,
    config: &Config,
    slots: &Slots,
    worker: usize,
    accept: Accept,
) -> io::Result<()> {
    let mut buffer = conn::buffer(config.buffer)?;
    while let Some(stream) = accept(listener)? {
        let slot = slots.take(worker);
        if slot.is_some() || listener.admits(slots.count()) {
            conn::echo(&stream, &mut buffer, config.work);
        }
    }
    Ok(())
}
