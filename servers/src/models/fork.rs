//! # `fork`: a process per client
//!
//! What it is: the parent accepts and forks; the child owns the connection and ends
//! with it (UNP design 1). The operating system does all the scheduling, and a crash
//! takes one client with it.
//!
//! The loop:
//! 1. accept a connection;
//! 2. fork: the child closes the listener, the parent closes the connection;
//! 3. the child echoes until the end of input and exits;
//! 4. SIGCHLD comes, and the parent collects every child that has ended.
//!
//! What it costs: a fork per connection (it grows with the parent's memory, which is
//! why the parent is kept small), then two system calls per echo and a switch of
//! address space whenever another client's turn comes.
//!
//! When it wins: few, long connections that must be isolated from each other.
//!
//! Manual pages: fork(2), waitpid(2), signal(7), prctl(2) for PR_SET_PDEATHSIG.
//!
//! Read next: `thread`.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use super::{Family, Model};
use crate::config::Config;
use crate::listener::{BACK_OFF, Listener};
use crate::sys::process::{self, Forked};
use crate::sys::signal;
use crate::{conn, stop};

pub struct Fork;

/// Children that have not been collected. The kernel keeps the list of them.
static CHILDREN: AtomicUsize = AtomicUsize::new(0);

impl Model for Fork {
    fn name(&self) -> &'static str {
        "fork"
    }

    fn family(&self) -> Family {
        Family::Process
    }

    fn summary(&self) -> &'static str {
        "a child process per client"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        process::require_one_thread()?;
        signal::catch(libc::SIGCHLD, collect_children)?;
        let mut buffer = Vec::with_capacity(config.buffer);
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            if !listener.admits(CHILDREN.load(SeqCst)) {
                continue;
            }
            // Counted before it exists: it may have ended before fork returns here.
            CHILDREN.fetch_add(1, SeqCst);
            match process::fork() {
                Ok(Forked::Child) => {
                    drop(listener);
                    serve_as_child(&stream, &mut buffer, config);
                }
                Ok(Forked::Parent(_)) => {}
                Err(error) => {
                    CHILDREN.fetch_sub(1, SeqCst);
                    listener.turned_away("cannot fork", &error);
                    thread::sleep(BACK_OFF);
                }
            }
        }
        drop(listener);
        wait_for_children()
    }
}

fn serve_as_child(stream: &TcpStream, buffer: &mut Vec<u8>, config: &Config) -> ! {
    let left = stop::leave_to_parent();
    if left.is_ok() {
        conn::echo(stream, buffer, config.work);
    }
    process::exit_now(left.is_err().into())
}

/// Runs as a signal handler. Signals merge, so it collects all that it finds; a zombie
/// that waited for the next `accept` to return could wait for ever.
extern "C" fn collect_children(_: i32) {
    signal::preserving_errno(|| {
        CHILDREN.fetch_sub(process::reap(), SeqCst);
    });
}

fn wait_for_children() -> io::Result<()> {
    // From here on the children are collected by the loop; blocked, a SIGCHLD that
    // comes between the check and the wait is kept.
    signal::block(libc::SIGCHLD)?;
    while CHILDREN.load(SeqCst) > 0 {
        CHILDREN.fetch_sub(process::reap(), SeqCst);
        if stop::left().is_zero() {
            return process::kill_children();
        }
        if CHILDREN.load(SeqCst) > 0 {
            process::wait_for_child(stop::left());
        }
    }
    Ok(())
}
