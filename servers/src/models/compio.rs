//! # `compio`: completion-based tasks
//!
//! What it is: as `monoio`, a runtime per thread that hands operations to the kernel.
//! It is built on completion as such rather than on io_uring: the same code runs on the
//! completion ports of Windows, where an operation cannot be asked of a socket that is
//! merely ready.
//!
//! The loop:
//! 1. on each thread, submit an accept and await it;
//! 2. spawn a task on the same thread that owns the connection;
//! 3. the task submits a read with its buffer, then a write of the same buffer;
//! 4. when no task can go on, one call submits all that was queued and waits.
//!
//! What it costs: a fraction of a system call per echo when busy, and more bookkeeping
//! for each operation than in `monoio`; per connection a task and, also when idle, the
//! buffer of the read that is under way.
//!
//! When it wins: as `monoio`, in a program that also runs on other systems.
//!
//! Manual pages: io_uring(7), io_uring_enter(2), socket(7) on SO_REUSEPORT.
//!
//! Read next: `glommio`.

use std::io;

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{self, Runtime};
use compio::time::sleep;

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::sys::uring;
use crate::tasks::{self, Place, Tasks};

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

    fn probe(&self) -> io::Result<()> {
        uring::probe()
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        tasks::on_threads(listener, config, self.workers().count(config), |tasks, config| {
            Runtime::new()?.block_on(accept(tasks, config))
        })
    }
}

async fn accept(tasks: Tasks, config: &Config) -> io::Result<()> {
    let incoming = TcpListener::from_std(tasks.socket()?)?;
    let accept = async || Ok(incoming.accept().await?.0);
    let spawn = |stream, place| runtime::spawn(echo(place, stream, config.clone())).detach();
    tasks.run(accept, sleep, spawn).await
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(_place: Place, mut stream: TcpStream, config: Config) {
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
