//! # `fork`: a process per client
//!
//! What it is: the parent accepts and forks; the child owns the connection and ends with it
//! (UNP design 1). The kernel does all the scheduling, and a crash affects one client only.
//!
//! The loop:
//! 1. accept a connection;
//! 2. fork: the child closes the listener, the parent closes the connection;
//! 3. the child echoes until the end of input and exits;
//! 4. on SIGCHLD, the parent reaps every child that has ended.
//!
//! What it costs: one fork per connection, which grows with the memory of the parent (so the
//! parent stays small). Then two system calls per echo, and an address space switch whenever
//! the processor moves to another client.
//!
//! When it wins: few, long connections that need isolation from each other.
//!
//! Manual pages: fork(2), waitpid(2), signal(7), prctl(2) for PR_SET_PDEATHSIG.
//!
//! Read next: `prefork`.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::config::Config;
use crate::listener::{self, BACK_OFF, Listener};
use crate::model::{Demands, Family, Model};
use crate::sys::process::{self, Forked};
use crate::sys::signal;
use crate::{children, conn};

pub struct Fork;

/// The number of children that are not reaped yet. The kernel keeps their list.
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

    fn demands(&self) -> Demands {
        Demands {
            processes_per_connection: 1,
            ..Demands::default()
        }
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        children::prepare()?;
        signal::catch(libc::SIGCHLD, collect_children)?;
        let mut buffer = conn::buffer(config.buffer)?;
        listener.announce()?;
        while let Some(stream) = listener.accept()? {
            if !listener.admits(CHILDREN.load(SeqCst)) {
                continue;
            }
            // Counted before it exists: the child may end before fork returns here.
            CHILDREN.fetch_add(1, SeqCst);
            match process::fork() {
                Ok(Forked::Child) => {
                    drop(listener);
                    children::run_child(|| {
                        conn::echo(&stream, &mut buffer, config.work);
                        Ok(())
                    });
                }
                Ok(Forked::Parent(_)) => {}
                Err(error) => {
                    CHILDREN.fetch_sub(1, SeqCst);
                    listener::report_rejected("cannot fork", &error);
                    thread::sleep(BACK_OFF);
                }
            }
        }
        drop(listener);
        children::drain()
    }
}

/// Signal handler. Signals merge, so it reaps all ended children. Reaping after the next
/// `accept` instead could leave zombies for ever.
extern "C" fn collect_children(_: i32) {
    signal::preserving_errno(|| {
        CHILDREN.fetch_sub(process::reap().count(), SeqCst);
    });
}
