//! # `glommio`: an executor per core, on io_uring
//!
//! What it is: like `monoio`, a ring and a listener per thread, with nothing shared. For
//! sockets it uses the ring as other runtimes use epoll: the kernel reports readiness there,
//! and a separate call reads or writes.
//!
//! The loop:
//! 1. on each thread, accept, or await a connection in the ring;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task receives and sends directly, awaits readiness in the ring, and yields after a
//!    buffer full of input;
//! 4. the executor divides its thread among task queues according to their shares.
//!
//! What it costs: a receive and a send per echo, and a share of the call that submits and
//! waits, plus the executor's time accounting; per thread three rings, 512 KiB of lockable
//! memory, and 10 MiB reserved for files.
//!
//! When it wins: file servers with direct I/O that share a disk among tasks. Sockets are not
//! its focus.
//!
//! Manual pages: io_uring(7), recv(2) on MSG_DONTWAIT, getrlimit(2) on RLIMIT_MEMLOCK.
//!
//! Read next: `udp`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::TcpListener;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};
use nix::sys::resource::{Resource, getrlimit};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::sys::{socket, uring};
use crate::tasks::{self, Socket, TaskGuard, Tasks};

pub struct Glommio;

/// While any task is runnable, the executor polls for I/O only every 100 ms. A task that
/// sleeps, however briefly, makes it poll at once.
const PAUSE: Duration = Duration::from_micros(1);

/// Lockable memory that its executor requires.
const LOCKABLE_BYTES: u64 = 512 * 1024;

impl Model for Glommio {
    fn name(&self) -> &'static str {
        "glommio"
    }

    fn family(&self) -> Family {
        Family::Async
    }

    fn summary(&self) -> &'static str {
        "tasks on glommio: an executor per core, on io_uring"
    }

    fn workers(&self) -> Workers {
        Workers::PerProcessor
    }

    fn demands(&self) -> Demands {
        Demands {
            io_uring: true,
            lockable_bytes: LOCKABLE_BYTES,
            ..Demands::default()
        }
    }

    fn probe(&self) -> io::Result<()> {
        uring::probe()?;
        match getrlimit(Resource::RLIMIT_MEMLOCK)? {
            (LOCKABLE_BYTES.., _) => Ok(()),
            (bytes, _) => Err(io::Error::other(format!(
                "it needs 512 KiB of lockable memory, and the limit is {} KiB: raise it with `ulimit -l 512`",
                bytes / 1024
            ))),
        }
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        tasks::on_threads(listener, config, self.workers().count(config), |tasks, config| {
            let executor = LocalExecutorBuilder::new(Placement::Unbound).make()?;
            executor.run(accept(tasks, config))
        })
    }
}

async fn accept(tasks: Tasks, config: &Config) -> io::Result<()> {
    // Glommio makes no Unix listener from a socket. It accepts, reads and writes in the same way over both
    // families.
    let socket: OwnedFd = match tasks.socket()? {
        Socket::Tcp(socket) => socket.into(),
        Socket::Unix(socket) => socket.into(),
    };
    let incoming: TcpListener = socket::adopt(socket);
    let accept = async || Ok(incoming.accept().await?);
    tasks.run(accept, sleep, spawn(config)).await
}

/// Starts the task of a client.
fn spawn<S: AsyncRead + AsyncWrite + Unpin + 'static>(config: &Config) -> impl Fn(S, TaskGuard) {
    move |stream, guard| drop(glommio::spawn_local(echo(guard, stream, config.clone())).detach())
}

/// Echoes until the connection ends for any reason.
async fn echo(_guard: TaskGuard, mut stream: impl AsyncRead + AsyncWrite + Unpin, config: Config) {
    let mut buffer = vec![0; config.buffer];
    let mut since_yield = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        config.work.perform_in_task(sleep).await;
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        // Without this, the task of a busy client would never yield.
        since_yield += length;
        if since_yield >= config.buffer {
            since_yield = 0;
            sleep(PAUSE).await;
        }
    }
}
