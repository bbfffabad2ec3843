//! # `tokio`: a task per client on a work-stealing runtime
//!
//! What it is: the code of `thread` on the machinery of `epoll`. A task looks sequential. It
//! yields at each `await`, and the runtime polls it again, on any of its threads, when the
//! socket is ready.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task that owns it;
//! 3. the task awaits input, awaits the write, yields after a buffer full of input, and closes
//!    at the end;
//! 4. the threads of the runtime share the tasks and steal from each other.
//!
//! What it costs: the system calls of `epoll`, a task of a few hundred bytes and its buffer
//! per connection, and the scheduling of the runtime in between.
//!
//! When it wins: many connections whose handlers wait for other services, on many cores, with
//! sequential code.
//!
//! Manual pages: epoll(7); the runtime's documentation on scheduling.
//!
//! Read next: `tokio-local`.

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::tasks::{Socket, TaskGuard, Tasks};
use crate::workers::{self, LOOP_STACK_BYTES};

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
        let count = self.workers().count(config);
        // The runtime panics if a thread of its own cannot start.
        workers::check(count, LOOP_STACK_BYTES)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .enable_all()
            .build()
            .map_err(|error| workers::too_many(0, count, error))?;
        serve_on(runtime, listener, config)
    }
}

/// Serves on either kind of runtime, with the same tasks.
pub(super) fn serve_on(runtime: Runtime, listener: Listener, config: &Config) -> io::Result<()> {
    let (tasks, config) = (Tasks::new(listener), config.clone());
    // Accepts on a worker thread: the thread that calls `block_on` may not be one, and each
    // connection would wake it across threads.
    let result = runtime.block_on(async { tokio::spawn(accept(tasks, config)).await });
    // Ends the tasks that outlived the drain time.
    runtime.shutdown_background();
    result.map_err(io::Error::other)?
}

async fn accept(tasks: Tasks, config: Config) -> io::Result<()> {
    match tasks.socket()? {
        Socket::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            let incoming = TcpListener::from_std(socket)?;
            let accept = async || Ok(incoming.accept().await?.0);
            tasks.run(accept, sleep, spawn(config)).await
        }
        Socket::Unix(socket) => {
            socket.set_nonblocking(true)?;
            let incoming = UnixListener::from_std(socket)?;
            // `accept().await` would try a socket that is shut down for ever, without a pause.
            let accept = async || Ok(poll_fn(|context| incoming.poll_accept(context)).await?.0);
            tasks.run(accept, sleep, spawn(config)).await
        }
    }
}

/// Starts the task of a client.
fn spawn<S>(config: Config) -> impl Fn(S, TaskGuard)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    move |stream, guard| drop(tokio::spawn(echo(guard, stream, config.clone())))
}

/// Echoes until the connection ends for any reason.
async fn echo(_guard: TaskGuard, mut stream: impl AsyncRead + AsyncWrite + Unpin, config: Config) {
    let mut buffer = Vec::with_capacity(config.buffer);
    let mut since_yield = 0;
    while let Ok(length @ 1..) = stream.read_buf(&mut buffer).await {
        config.work.perform_in_task(sleep).await;
        if stream.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
        // Without this, the runtime would process 128 buffers of a busy client before it runs
        // other tasks.
        since_yield += length;
        if since_yield >= config.buffer {
            since_yield = 0;
            yield_now().await;
        }
    }
}
