//! # `compio`: completion-based tasks
//!
//! What it is: like `monoio`, a runtime per thread that submits operations to the kernel. It
//! builds on completion in general rather than on io_uring: the same code runs on Windows
//! completion ports, which have no operation that merely waits for readiness.
//!
//! The loop:
//! 1. on each thread, submit an accept and await it;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task submits a read with its buffer, then a write of the same buffer;
//! 4. when no task is runnable, one call submits all queued operations and waits.
//!
//! What it costs: a fraction of a system call per echo under load, and more bookkeeping per
//! operation than `monoio`; per connection a task and, even when idle, the buffer of the
//! pending read.
//!
//! When it wins: like `monoio`, for a program that also runs on other systems.
//!
//! Manual pages: io_uring(7), io_uring_enter(2), socket(7) on SO_REUSEPORT.
//!
//! Read next: `glommio`.

use std::io;

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use compio::net::{TcpListener, UnixListener};
use compio::runtime::{self, Runtime};
use compio::time::sleep;

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::sys::uring;
use crate::tasks::{self, Socket, TaskGuard, Tasks};
use crate::workers;

pub struct Compio;

impl Model for Compio {
    fn name(&self) -> &'static str {
        "compio"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "completion-based tasks on compio, a runtime per core"
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
        let count = self.workers().count(config);
        first_operation(&listener).map_err(|error| workers::too_many(0, count, error))?;
        tasks::on_threads(listener, config, count, |tasks, config| {
            Runtime::new()?.block_on(accept(tasks, config))
        })
    }
}

/// Closes a copy of the listener. With its first operation, compio creates another ring for a moment, to
/// ask the kernel which operations there are. If it cannot, it panics; so this happens once, before other
/// threads can take the descriptor for that.
fn first_operation(listener: &Listener) -> io::Result<()> {
    let socket = listener.socket().try_clone()?;
    Runtime::new()?.block_on(async {
        let socket = TcpListener::from_std(socket)?;
        uring::probe()?;
        socket.close().await
    })
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
fn spawn<S: AsyncRead + AsyncWrite + 'static>(config: &Config) -> impl Fn(S, TaskGuard) {
    move |stream, guard| runtime::spawn(echo(guard, stream, config.clone())).detach()
}

/// Echoes until the connection ends for any reason.
async fn echo(_guard: TaskGuard, mut stream: impl AsyncRead + AsyncWrite, config: Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    loop {
        let BufResult(read, input) = stream.read(buffer).await;
        let Ok(1..) = read else { return };
        config.work.perform_in_task(sleep).await;
        let BufResult(written, output) = stream.write_all(input).await;
        if written.is_err() {
            return;
        }
        buffer = output;
        buffer.clear();
    }
}
