//! # `thread-duplex`: two threads per client and one processor for all
//!
//! What it is: a pipeline. Each client has a receiver that only reads and a sender that only
//! writes, at the same time on one socket. Between them, a single processor thread does the
//! work for all clients. Bounded queues connect the stages. The buffers circulate: a receiver
//! takes an empty chunk, and the sender returns it. A client that does not read uses up its
//! chunks, and the server stops reading from it.
//!
//! The loop:
//! 1. the receiver waits for an empty chunk, reads into it and queues it for the processor;
//! 2. the processor does the work and queues the chunk for the sender of its client;
//! 3. the sender writes it and returns the empty chunk to the receiver;
//! 4. the end travels the same way: each stage closes its queue, the next one empties it and
//!    ends, and the last of a client's two threads closes the socket.
//!
//! What it costs: two threads with their stacks per client, two system calls per echo, and
//! three context switches, since a chunk passes through three threads. The processor thread
//! serialises the work of all clients, however many cores there are. A read fills a quarter
//! of `--buffer`, so a large message takes more reads and more work.
//!
//! When it wins: streams whose input and output overlap, and work that must stay on one
//! thread, such as work on data without a lock.
//!
//! Manual pages: pthreads(7), futex(7), pthread_cond_wait(3), shutdown(2), socket(7).
//!
//! Read next: `splice`.

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::clients::{Client, Clients, STACK_BYTES};
use crate::config::Config;
use crate::conn;
use crate::listener::Listener;
use crate::model::{Demands, Family, Model};
use crate::stop;
use crate::sys::socket;
use crate::sys::thread::spawn_detached;
use crate::work::Work;

pub struct ThreadDuplex;

/// Chunks of a client's buffer: one for each of the three threads, and one in a queue.
const CHUNKS: usize = 4;

/// Capacity of the processor's queue. A receiver that finds it full stops reading. The
/// processor never waits for a client, so the pipeline always makes progress.
const QUEUE: usize = 1024;

/// A part of a client's buffer. The server reads only into an empty one.
type Chunk = Vec<u8>;

/// A chunk of input, and the queue for its answer. That queue has room for all chunks of
/// its client, so sending to it never blocks.
type Task = (Chunk, SyncSender<Chunk>);

impl Model for ThreadDuplex {
    fn name(&self) -> &'static str {
        "thread-duplex"
    }

    fn family(&self) -> Family {
        Family::Thread
    }

    fn summary(&self) -> &'static str {
        "a receiver and a sender thread per client, and one processor between them"
    }

    fn demands(&self) -> Demands {
        Demands {
            threads_per_connection: 2,
            ..Demands::default()
        }
    }

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        // Leaked: nothing else outlives the detached threads.
        let clients: &Clients = Box::leak(Box::default());
        let (tasks, queue) = sync_channel(QUEUE);
        let work = config.work;
        spawn_detached(STACK_BYTES, move || process(queue, work))?;
        listener.announce()?;
        clients.start_each(&listener, |client| start(client, tasks.clone(), config.buffer))
    }
}

fn start(client: Client<'static>, tasks: SyncSender<Task>, buffer: usize) -> io::Result<()> {
    let chunks = CHUNKS.min(buffer);
    let (recycle, empty) = sync_channel(chunks);
    for _ in 0..chunks {
        // The queue has room for all chunks.
        let _ = recycle.send(conn::buffer(buffer / chunks)?);
    }
    let (answers, output) = sync_channel(chunks);
    let client = Arc::new(client);
    let same = Arc::clone(&client);
    // The sender first: if the receiver cannot start, the sender finds its queue closed.
    spawn_detached(STACK_BYTES, move || send(&same, output, recycle))?;
    spawn_detached(STACK_BYTES, move || receive(&client, empty, tasks, answers))
}

fn receive(client: &Client, empty: Receiver<Chunk>, tasks: SyncSender<Task>, answers: SyncSender<Chunk>) {
    while let Ok(mut chunk) = empty.recv() {
        loop {
            match socket::receive(client, &mut chunk) {
                Ok(0) => return,
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        if tasks.send((chunk, answers.clone())).is_err() {
            return;
        }
    }
}

fn process(queue: Receiver<Task>, work: Work) {
    for (chunk, answers) in queue {
        // At the end of the drain time all clients are cut off, and work would only delay
        // that. The chunk must still go on, or the client's threads would wait for each other.
        if !stop::drain_is_over() {
            work.perform();
        }
        // Fails if the client is gone.
        let _ = answers.send(chunk);
    }
}

fn send(client: &Client, output: Receiver<Chunk>, recycle: SyncSender<Chunk>) {
    for chunk in output {
        if (&**client).write_all(&chunk).is_err() {
            // Wakes the receiver, which may be blocked in `read`.
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        // Fails after the end of input, when the receiver is gone.
        let _ = recycle.send(chunk);
    }
}
