//! # `smol`: a task per client on a runtime of small parts
//!
//! What it is: the same idea as `tokio`, put together from crates of a few hundred
//! lines: an executor is a queue of tasks that any thread may help to empty, and
//! whichever thread finds nothing to run waits in epoll on behalf of all.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task on the executor that owns it;
//! 3. the task awaits input, awaits the write of it, gives way after a buffer full of
//!    input, and at the end closes;
//! 4. the threads run what is ready, and one of them at a time asks epoll for more.
//!
//! What it costs: a socket is watched for one event at a time, so most echoes cost a
//! call of epoll_ctl(2) beside the read and the write; a task and its buffer per
//! connection.
//!
//! When it wins: as `tokio`, where a small dependency that can be read in an evening
//! counts for more than the last tenth of speed.
//!
//! Manual pages: epoll(7), epoll_ctl(2) on EPOLLONESHOT; the documentation of
//! async-executor and async-io.
//!
//! Read next: `monoio`.

use std::io;
use std::thread::{self, Builder};

use smol::channel::bounded;
use smol::future::yield_now;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Timer};

use crate::config::{Config, Workers};
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::tasks::{Place, Tasks};

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
        let executor = Executor::new();
        let (server, ended) = bounded::<()>(1);
        thread::scope(|scope| {
            // Dropping it closes the channel, on which the executor's threads wait.
            let _server = server;
            for _ in 0..self.workers().count(config) {
                let run = || smol::block_on(executor.run(ended.recv()));
                Builder::new().spawn_scoped(scope, run)?;
            }
            // Not on the executor: accepting would be looked at each time that a task is.
            smol::block_on(accept(tasks, &executor, config))
        })
    }
}

async fn accept<'a>(tasks: Tasks, executor: &Executor<'a>, config: &'a Config) -> io::Result<()> {
    let incoming = TcpListener::try_from(tasks.socket()?)?;
    let accept = async || Ok(incoming.accept().await?.0);
    let spawn = |stream, place| executor.spawn(echo(place, stream, config)).detach();
    tasks.run(accept, Timer::after, spawn).await
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(_place: Place, mut stream: TcpStream, config: &Config) {
    let mut buffer = vec![0; config.buffer];
    let mut turn = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        config.work.perform_in_task(Timer::after).await;
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        // Nothing else makes a task give way whose client always has more.
        turn += length;
        if turn >= config.buffer {
            turn = 0;
            yield_now().await;
        }
    }
}
