//! # `tokio`: a task per client on a work-stealing runtime
//!
//! What it is: the code of `thread` on the machinery of `epoll`. A task looks
//! sequential; at each `await` it gives way, and the runtime polls it again, on any of
//! its threads, when its socket is ready.
//!
//! The loop:
//! 1. await a connection;
//! 2. spawn a task that owns it;
//! 3. the task awaits input, awaits the write of it, and at the end closes;
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
//! Read next: `udp`.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time;
use tokio_util::task::TaskTracker;

use super::{Family, Model};
use crate::config::{Config, Workers};
use crate::listener::{self, BACK_OFF, Listener, Remedy};
use crate::stop;
use crate::work::Work;

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
        let runtime = runtime(self.workers().count(config))?;
        let config = config.clone();
        // On a worker: the thread that calls `block_on` is not one, and would be woken
        // across threads for every connection.
        let result = runtime.block_on(async { tokio::spawn(accept(listener, config)).await });
        // Tasks that outlived the drain end with the runtime.
        runtime.shutdown_background();
        result.map_err(io::Error::other)?
    }
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_io()
        .enable_time()
        .build()
}

async fn accept(listener: Listener, config: Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let incoming = TcpListener::from_std(listener.socket().try_clone()?)?;
    let clients = TaskTracker::new();
    let config = Arc::new(config);
    listener.announce()?;
    loop {
        let error = match incoming.accept().await {
            Ok((stream, _)) => {
                if listener.admits(clients.len()) {
                    clients.spawn(echo(stream, Arc::clone(&config)));
                }
                continue;
            }
            Err(error) => error,
        };
        match listener::remedy(&error) {
            Remedy::Next | Remedy::Wait => {}
            Remedy::BackOff => time::sleep(BACK_OFF).await,
            Remedy::Stop => break,
            Remedy::GiveUp => return Err(error),
        }
    }
    clients.close();
    // At the end of the drain what is left is dropped with the runtime.
    let _ = time::timeout(stop::left(), clients.wait()).await;
    Ok(())
}

/// Ends with the connection, for whatever reason it ends.
async fn echo(mut stream: TcpStream, config: Arc<Config>) {
    let mut buffer = vec![0; config.buffer];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        match config.work {
            Work::Sleep(duration) => time::sleep(duration).await,
            work => work.perform(),
        }
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
