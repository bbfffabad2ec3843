//! # `thread`: a thread per client
//!
//! What it is: `fork` with a shared address space (UNP design 6). Starting a thread takes a
//! tenth of the time, and a crash affects all clients.
//!
//! The loop:
//! 1. accept a connection;
//! 2. start a thread that owns it;
//! 3. the thread echoes until the end of input, closes and ends;
//! 4. threads are detached, so the C library frees them; a stop waits for the open clients.
//!
//! What it costs: a thread with its stack and buffer per connection, two system calls per
//! echo, and a context switch whenever the processor moves to another client.
//!
//! When it wins: hundreds of clients with blocking handlers: the code stays sequential.
//!
//! Manual pages: pthreads(7), pthread_create(3), shutdown(2) to wake a blocked reader.
//!
//! Read next: `prethread`.

use std::io;

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::Config;
use crate::conn;
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::sys::thread::spawn_detached;

pub struct Thread;

impl Model for Thread {
    fn name(&self) -> &'static str {
        "thread"
    }

    fn family(&self) -> Family {
        Family::Thread
    }

    fn summary(&self) -> &'static str {
        "a thread per client"
    }

    fn demands(&self) -> Demands {
        Demands {
            threads_per_connection: 1,
            ..Demands::default()
        }
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        // Leaked: nothing else outlives the detached threads.
        let clients: &Clients = Box::leak(Box::default());
        let config: &Config = Box::leak(Box::new(config.clone()));
        listener.announce()?;
        clients.start_each(&listener, |client| {
            let buffer = conn::buffer(config.buffer)?;
            spawn_detached(STACK_BYTES, move || serve_client(&client, buffer, config))
        })
    }
}

fn serve_client(client: &Client, mut buffer: Vec<u8>, config: &Config) {
    conn::echo(client, &mut buffer, config.work);
}
