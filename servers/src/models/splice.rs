//! # `splice`: a thread per client, and no copy through user space
//!
//! What it is: as `thread`, but the program never sees the bytes. `splice` moves what has
//! arrived into a pipe and from there to the same socket: it passes references to the
//! kernel's pages along, where `read` and `write` copy into a buffer and out again.
//!
//! The loop:
//! 1. accept a connection, and give it a pipe and a thread;
//! 2. splice from the socket into the pipe, which waits for input;
//! 3. splice from the pipe to the socket until the pipe is empty;
//! 4. at the end of input, close the socket and both ends of the pipe.
//!
//! What it costs: a thread as in `thread`, two more descriptors and four more system calls
//! per connection, and two per echo. Each piece of input takes a page of the pipe, however
//! short it is. The pipe is the bound on what is held: `--buffer` in whole pages, or
//! the 64 KiB of a new pipe where the system permits no larger one.
//!
//! When it wins: large messages that nobody has to look at, as in a proxy. With small ones
//! copying costs no more than passing pages.
//!
//! Manual pages: splice(2), pipe(7) for the limits, fcntl(2) for F_SETPIPE_SZ.
//!
//! Read next: `spin`.

use std::{io, thread};

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::Config;
use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::model::{Family, Model};
use crate::sys::pipe::Pipe;
use crate::sys::thread::spawn_detached;

pub struct Splice;

impl Model for Splice {
    fn name(&self) -> &'static str {
        "splice"
    }

    fn family(&self) -> Family {
        Family::Thread
    }

    fn summary(&self) -> &'static str {
        "a thread per client that moves data through a pipe and never copies it"
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        // For the threads, which nothing else outlives.
        let clients: &Clients = Box::leak(Box::default());
        let config: &Config = Box::leak(Box::new(config.clone()));
        listener.announce()?;
        clients.start_each(&listener, |client| {
            let pipe = make_pipe(config.buffer)?;
            spawn_detached(STACK_BYTES, move || serve_client(&client, &pipe, config))
        })
    }
}

/// Waits for descriptors as accepting does, so that the client may stay; until a stop.
fn make_pipe(bytes: usize) -> io::Result<Pipe> {
    loop {
        match Pipe::new(bytes) {
            Err(error) if listener::remedy(&error) == Remedy::BackOff => thread::sleep(BACK_OFF),
            result => return result,
        }
    }
}

/// A peer that resets or vanishes ends its own connection and nothing else.
fn serve_client(client: &Client, pipe: &Pipe, config: &Config) {
    while let Ok(length @ 1..) = pipe.fill(&**client, config.buffer) {
        config.work.perform();
        if pipe.empty(&**client, length).is_err() {
            return;
        }
    }
}
