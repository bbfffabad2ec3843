//! # `thread`: a thread per client
//!
//! What it is: as `fork`, but the clients share one address space (UNP design 6). A
//! thread is started in a tenth of the time, and a crash takes everybody with it.
//!
//! The loop:
//! 1. accept a connection;
//! 2. start a thread that owns it;
//! 3. the thread echoes until the end of input, closes and ends;
//! 4. the scope lets go of it at once, and at a stop waits for those that still run.
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
use std::thread::{self, Builder, Scope};

use super::{Family, Model};
use crate::clients::{Client, Clients};
use crate::config::Config;
use crate::conn;
use crate::listener::{BACK_OFF, Listener};

pub struct Thread;

/// Enough for the echo loop, whose buffer is on the heap; small, so that the C library
/// keeps more stacks of ended threads for the next ones.
const STACK_BYTES: usize = 64 * 1024;

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
        let clients = Clients::default();
        thread::scope(|scope| {
            listener.announce()?;
            let result = accept(&listener, &clients, scope, config);
            clients.drain();
            result
        })
    }
}

fn accept<'scope>(
    listener: &Listener,
    clients: &'scope Clients,
    scope: &'scope Scope<'scope, '_>,
    config: &'scope Config,
) -> io::Result<()> {
    while let Some(stream) = listener.accept()? {
        if !listener.admits(clients.count()) {
            continue;
        }
        let client = clients.enter(stream);
        let thread = Builder::new().stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn_scoped(scope, move || serve_client(client, config)) {
            listener.turned_away("cannot start a thread", &error);
            thread::sleep(BACK_OFF);
        }
    }
    Ok(())
}

fn serve_client(client: Client, config: &Config) {
    let mut buffer = vec![0; config.buffer];
    conn::echo(&client, &mut buffer, config.work);
}
