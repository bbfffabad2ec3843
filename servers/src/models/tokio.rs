//! # `tokio`: a task per client on a work-stealing runtime
//!
//! What it is: the code of `thread` on the machinery of `epoll`. A task looks
//! sequential; at each `await` it gives way, and the runtime polls it again, on any of
//! its threads, when its socket is ready.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task that owns it;
//! 3. the task awaits input, awaits the write of it, gives way after a buffer full of
//!    input, and at the end closes;
//! 4. the runtime's threads share the tasks and steal from each other.
//!
//! What it costs: the system calls of `epoll`, a task of a few hundred bytes and its
//! buffer per connection, and the runtime's scheduling between them.
//!
//! When it wins: many connections whose handlers wait for something, on many cores,
//! without giving up sequential code.
//!
//! Manual pages: epoll(7); the runtime's own documentation on scheduling.
//!
//! Read next: `tokio-local`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::tasks::{Place, Tasks};

pub struct Tokio;

impl Model for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on tokio's work-stealing runtime"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(self.workers().count(config));
        serve_on(runtime.enable_all().build()?, listener, config)
    }
}

/// Serves on a runtime of either kind: the tasks are the same.
pub(super) fn serve_on(runtime: Runtime, listener: Listener, config: &Config) -> io::Result<()> {
    let (tasks, config) = (Tasks::new(listener), config.clone());
    // On a worker: the thread that calls `block_on` may not be one, and would be woken
    // across threads for every connection.
    let result = runtime.block_on(async { tokio::spawn(accept(tasks, config)).await });
    // Tasks that outlived the drain end with the runtime.
    runtime.shutdown_background();
    result.map_err(io::Error::other)?
}

async fn accept(tasks: Tasks, config: Config) -> io::Result<()> {
    let socket = tasks.socket()?;
    socket.set_nonblocking(true)?;
    let incoming = TcpListener::from_std(socket)?;
    let accept = async || Ok(incoming.accept().await?.0);
    let spawn = |stream, place| drop(tokio::spawn(echo(place, stream, config.clone())));
    tasks.run(accept, sleep, spawn).await
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(_place: Place, mut stream: TcpStream, config: Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    let mut turn = 0;
    while let Ok(length @ 1..) = stream.read_buf(&mut buffer).await {
        config.work.perform_in_task(sleep).await;
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
        // The runtime itself would take 128 buffers of a client that always has more, before
        // the others have a turn.
        turn += length;
        if turn >= config.buffer {
            turn = 0;
            yield_now().await;
        }
    }
}
