//! # `smol`: a task per client on a runtime of small parts
//!
//! What it is: the idea of `tokio`, assembled from crates of a few hundred lines. The executor
//! is a task queue that any thread may help to empty; a thread that finds no task waits in
//! epoll on behalf of all.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task on the executor that owns it;
//! 3. the task awaits input, awaits the write, yields after a buffer full of input, and closes
//!    at the end;
//! 4. the threads run the ready tasks, and one of them at a time asks epoll for more.
//!
//! What it costs: the runtime watches a socket for one event at a time, so most echoes need an
//! epoll_ctl(2) call in addition to the read and the write; a task and its buffer per
//! connection.
//!
//! When it wins: like `tokio`, when a small dependency that you can read in an evening matters
//! more than the last tenth of speed.
//!
//! Manual pages: epoll(7), epoll_ctl(2) on EPOLLONESHOT; the documentation of async-executor
//! and async-io.
//!
//! Read next: `monoio`.

use std::io;

use smol::future::{pending, yield_now};
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::TcpListener;
use smol::net::unix::UnixListener;
use smol::{Executor, Timer};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::thread::spawn_detached;
use crate::tasks::{Socket, TaskGuard, Tasks};
use crate::workers::{self, LOOP_STACK_BYTES};

pub struct Smol;

impl Model for Smol {
    fn name(&self) -> &'static str {
        "smol"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on smol's executor, shared by its threads"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let tasks = Tasks::new(listener);
        // Leaked: nothing else outlives the detached threads.
        let executor: &Executor = Box::leak(Box::new(Executor::new()));
        let config: &Config = Box::leak(Box::new(config.clone()));
        let count = self.workers().count(config);
        for started in 0..count {
            spawn_detached(LOOP_STACK_BYTES, move || smol::block_on(executor.run(pending())))
                .map_err(|error| workers::too_many(started, count, error))?;
        }
        // Not on the executor, which would poll it each time it polls a task.
        smol::block_on(accept(tasks, executor, config))
    }
}

async fn accept(tasks: Tasks, executor: &Executor<'static>, config: &'static Config) -> io::Result<()> {
    match tasks.socket()? {
        Socket::Tcp(socket) => {
            let incoming = TcpListener::try_from(socket)?;
            let accept = async || Ok(incoming.accept().await?.0);
            tasks.run(accept, Timer::after, spawn(executor, config)).await
        }
        Socket::Unix(socket) => {
            let incoming = UnixListener::try_from(socket)?;
            let accept = async || Ok(incoming.accept().await?.0);
            tasks.run(accept, Timer::after, spawn(executor, config)).await
        }
    }
}

/// Starts the task of a client.
fn spawn<S>(executor: &Executor<'static>, config: &'static Config) -> impl Fn(S, TaskGuard)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    move |stream, guard| executor.spawn(echo(guard, stream, config)).detach()
}

/// Echoes until the connection ends for any reason.
async fn echo(_guard: TaskGuard, mut stream: impl AsyncRead + AsyncWrite + Unpin, config: &Config) {
    let mut buffer = vec![0; config.buffer];
    let mut since_yield = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        config.work.perform_in_task(Timer::after).await;
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        // Without this, the task of a busy client would never yield.
        since_yield += length;
        if since_yield >= config.buffer {
            since_yield = 0;
            yield_now().await;
        }
    }
}
