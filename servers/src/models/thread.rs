//! # `thread`: a thread per client
//!
//! What it is: as `fork`, but the clients share one address space (UNP design 6). A
//! thread is started in a tenth of the time, and a crash takes everybody with it.
//!
//! The loop:
//! 1. accept a connection;
//! 2. start a thread that owns it;
//! 3. the thread echoes until the end of input, closes and ends;
//! 4. nobody joins it: the C library collects it, and a stop waits for the list of clients.
//!
//! What it costs: a thread per connection with its stack and its buffer, two system
//! calls per echo, and a context switch whenever another client's turn comes.
//!
//! When it wins: hundreds of clients whose handlers block: the code stays sequential.
//!
//! Manual pages: pthreads(7), pthread_create(3), shutdown(2) to wake a blocked reader.
//!
//! Read next: `prethread`.

use std::io;

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::Config;
use crate::conn;
use crate::listener::Listener;
use crate::model::{Family, Model};
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

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        // For the threads, which nothing else outlives.
        let clients: &Clients = Box::leak(Box::default());
        let config: &Config = Box::leak(Box::new(config.clone()));
        listener.announce()?;
        clients.start_each(&listener, |client| {
            spawn_detached(STACK_BYTES, move || serve_client(client, config))
        })
    }
}

fn serve_client(client: Client, config: &Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    conn::echo(&client, &mut buffer, config.work);
}
