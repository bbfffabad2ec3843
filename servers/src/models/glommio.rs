//! # `glommio`: an executor per core, on io_uring
//!
//! What it is: as `monoio`, a ring and a listener per thread, and nothing shared. For
//! sockets it uses the ring as others use epoll: the kernel says there what is ready,
//! and a call of its own reads or writes it.
//!
//! The loop:
//! 1. on each thread, accept, or await in the ring that somebody connects;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task receives and sends directly, awaits in the ring that it can, and gives way
//!    after a buffer full of input;
//! 4. the executor shares its thread out over queues of tasks by their weights.
//!
//! What it costs: a receive and a send per echo, and a share of the call that submits
//! and waits, with the executor's accounting of time between them; per thread three
//! rings, 512 KiB of memory that may be locked, and 10 MiB set aside for files.
//!
//! When it wins: servers of files, with direct I/O and shares of the disk to give out;
//! the sockets are not its point.
//!
//! Manual pages: io_uring(7), recv(2) on MSG_DONTWAIT, getrlimit(2) on RLIMIT_MEMLOCK.
//!
//! Read next: `udp`.

use std::io;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};
use nix::sys::resource::{Resource, getrlimit};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::{socket, uring};
use crate::tasks::{self, Place, Tasks};

pub struct Glommio;

/// As long as any task can run, its executor looks for input and output every 100 ms only. A
/// task that sleeps, however shortly, lets it look at once.
const PAUSE: Duration = Duration::from_micros(1);

/// What its executor insists on.
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

    fn probe(&self) -> io::Result<()> {
        uring::probe()?;
        match getrlimit(Resource::RLIMIT_MEMLOCK)? {
            (LOCKABLE_BYTES.., _) => Ok(()),
            (bytes, _) => Err(io::Error::other(format!(
                "it needs 512 KiB of lockable memory and may have {} KiB: `ulimit -l 512`",
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
    let incoming: TcpListener = socket::adopt(tasks.socket()?.into());
    let accept = async || Ok(incoming.accept().await?);
    let spawn = |stream, place| drop(glommio::spawn_local(echo(place, stream, config.clone())).detach());
    tasks.run(accept, sleep, spawn).await
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(_place: Place, mut stream: TcpStream, config: Config) {
    let mut buffer = vec![0; config.buffer];
    let mut turn = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        config.work.perform_in_task(sleep).await;
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        // Nothing else makes a task give way whose client always has more.
        turn += length;
        if turn >= config.buffer {
            turn = 0;
            sleep(PAUSE).await;
        }
    }
}
