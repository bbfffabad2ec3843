//! # `splice`: a thread per client, and no copy through user space
//!
//! What it is: `thread`, but the program never sees the bytes. `splice` moves input from the
//! socket into a pipe and from there back to the socket. It passes references to kernel pages,
//! where `read` and `write` copy into a buffer and out again.
//!
//! The loop:
//! 1. accept a connection, and give it a pipe and a thread;
//! 2. splice from the socket into the pipe; this call waits for input;
//! 3. splice from the pipe to the socket until the pipe is empty;
//! 4. at the end of input, close the socket and both ends of the pipe.
//!
//! What it costs: a thread as in `thread`; two more descriptors and four more system calls per
//! connection; two calls per echo. Each input takes a page of the pipe, however short it is.
//! The pipe bounds the memory: `--buffer` in whole pages, or the default 64 KiB where the
//! system permits no larger pipe.
//!
//! When it wins: large messages whose content does not matter, as in a proxy. For small
//! messages a copy costs no more than passing pages.
//!
//! Manual pages: splice(2), pipe(7) for the limits, fcntl(2) for F_SETPIPE_SZ.
//!
//! Read next: `spin`.

use std::{io, thread};

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::Config;
use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::model::{Demands, Family, Model};
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

    fn demands(&self) -> Demands {
        Demands {
            threads_per_connection: 1,
            // The socket, and both ends of the pipe.
            descriptors_per_connection: 3,
            ..Demands::default()
        }
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        // Leaked: nothing else outlives the detached threads.
        let clients: &Clients = Box::leak(Box::default());
        let config: &Config = Box::leak(Box::new(config.clone()));
        listener.announce()?;
        clients.start_each(&listener, |client| {
            let pipe = make_pipe(config.buffer)?;
            spawn_detached(STACK_BYTES, move || serve_client(&client, &pipe, config))
        })
    }
}

/// Waits for free descriptors as `accept` does, instead of rejecting the client.
fn make_pipe(bytes: usize) -> io::Result<Pipe> {
    loop {
        match Pipe::new(bytes) {
            Err(error) if listener::remedy(&error) == Remedy::BackOff => thread::sleep(BACK_OFF),
            result => return result,
        }
    }
}

/// A peer that resets or disappears ends only its own connection.
fn serve_client(client: &Client, pipe: &Pipe, config: &Config) {
    while let Ok(length @ 1..) = pipe.fill(&**client, config.buffer) {
        config.work.perform();
        if pipe.empty(&**client, length).is_err() {
            return;
        }
    }
}
