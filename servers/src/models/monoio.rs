//! # `monoio`: a runtime per core, on io_uring
//!
//! What it is: tasks that never leave their thread, on a runtime that submits operations to
//! the kernel instead of asking for readiness. Each thread has its own ring and listener, so
//! threads share nothing. The kernel may write into the buffer of a read until the read is
//! done, so the task passes the buffer by value and gets it back with the result.
//!
//! The loop:
//! 1. on each thread, submit an accept and await it;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task submits a read with its buffer, then a write of the same buffer;
//! 4. when no task is runnable, one call submits all queued operations and waits.
//!
//! What it costs: a fraction of a system call per echo under load; per connection a task and,
//! even when idle, the buffer of the pending read. A client stays on the thread that accepted
//! it, however busy that thread is.
//!
//! When it wins: many busy and similar connections on many cores.
//!
//! Manual pages: io_uring(7), io_uring_enter(2), socket(7) on SO_REUSEPORT.
//!
//! Read next: `compio`.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, UnixListener};
use monoio::time::sleep;
use monoio::{IoUringDriver, RuntimeBuilder};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::sys::uring;
use crate::tasks::{self, Socket, TaskGuard, Tasks};

pub struct Monoio;

impl Model for Monoio {
    fn name(&self) -> &'static str {
        "monoio"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on monoio: a runtime per core, on io_uring"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn demands(&self) -> Demands {
        Demands {
            io_uring: true,
            ..Demands::default()
        }
    }

    fn probe(&self) -> io::Result<()> {
        uring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        tasks::on_threads(listener, config, self.workers().count(config), |tasks, config| {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?;
            runtime.block_on(accept(tasks, config))
        })
    }
}

async fn accept(tasks: Tasks, config: &Config) -> io::Result<()> {
    match tasks.socket()? {
        Socket::Tcp(socket) => {
            let incoming = TcpListener::from_std(socket)?;
            let accept = async || Ok(incoming.accept().await?.0);
            tasks.run(accept, sleep, spawn(config)).await
        }
        Socket::Unix(socket) => {
            let incoming = UnixListener::from_std(socket)?;
            let accept = async || Ok(incoming.accept().await?.0);
            tasks.run(accept, sleep, spawn(config)).await
        }
    }
}

/// Starts the task of a client.
fn spawn<S: AsyncReadRent + AsyncWriteRent + 'static>(config: &Config) -> impl Fn(S, TaskGuard) {
    move |stream, guard| drop(monoio::spawn(echo(guard, stream, config.clone())))
}

/// Echoes until the connection ends for any reason.
async fn echo(_guard: TaskGuard, mut stream: impl AsyncReadRent + AsyncWriteRent, config: Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    loop {
        let (read, input) = stream.read(buffer).await;
        let Ok(1..) = read else { return };
        config.work.perform_in_task(sleep).await;
        let (written, output) = stream.write_all(input).await;
        if written.is_err() {
            return;
        }
        buffer = output;
        buffer.clear();
    }
}
