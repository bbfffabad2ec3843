//! # `thread-duplex`: two threads per client and one processor for all
//!
//! What it is: a pipeline. A client's receiver only reads, its sender only writes, both at
//! the same time on one socket; between them one processor does the work for all clients.
//! Bounded queues join them. The memory goes round: a receiver takes an empty piece, the
//! sender puts it back, so a client that does not read runs out of pieces, and stops.
//!
//! The loop:
//! 1. the receiver waits for an empty piece, reads into it and queues it to the processor;
//! 2. the processor does the work and queues the piece to the sender of its client;
//! 3. the sender writes it and returns it empty to the receiver;
//! 4. the end goes the same way: whoever ends closes its queue, the next one empties it
//!    and ends too, and the last of a client's two threads closes the socket.
//!
//! What it costs: two threads per client with their stacks, two system calls per echo, and
//! three context switches, for a piece passes through three threads. All work is done by
//! one thread: it serialises over all clients, however many processors there are. A read
//! takes a quarter of `--buffer`, so a large message is more pieces, and more work.
//!
//! When it wins: streams, in which input and output overlap, and work that must be done in
//! one place, as on data that nobody then has to lock.
//!
//! Manual pages: pthreads(7), futex(7), pthread_cond_wait(3), shutdown(2), socket(7).
//!
//! Read next: `splice`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use crate::clients::{self, Client, Clients};
use crate::config::Config;
use crate::listener::Listener;
use crate::model::{Family, Model};
use crate::stop;
use crate::work::Work;

pub struct ThreadDuplex;

/// Pieces that a client's buffer is divided into: one for each of the three threads to
/// be busy with, and one that waits.
const PIECES: usize = 4;

/// Room of the processor's queue. A receiver that finds it full waits and so stops
/// reading; the processor itself never waits for a client, so there is always progress.
const QUEUE: usize = 1024;

/// A part of a client's buffer. With all of them on the way, nothing more is read.
struct Piece {
    bytes: Box<[u8]>,
    length: usize,
}

/// A piece of input, and the queue that its answer goes to. That queue has room for all
/// pieces of its client: whoever holds one can hand it over without waiting.
type Task = (Piece, SyncSender<Piece>);

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

    fn serve(&self, listener: Listener, config: &Config) -> io::Result<()> {
        let clients = Clients::default();
        thread::scope(|scope| {
            let (tasks, queue) = sync_channel(QUEUE);
            clients::spawn(scope, move || process(queue, config.work))?;
            listener.announce()?;
            clients.start_each(&listener, |client| {
                start(scope, client, tasks.clone(), config.buffer)
            })
        })
    }
}

fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    client: Client<'scope>,
    tasks: SyncSender<Task>,
    buffer: usize,
) -> io::Result<()> {
    let pieces = PIECES.min(buffer);
    let (give_back, empty) = sync_channel(pieces);
    for _ in 0..pieces {
        let bytes = vec![0; buffer / pieces].into();
        // It has room for all of them.
        let _ = give_back.send(Piece { bytes, length: 0 });
    }
    let (answers, output) = sync_channel(pieces);
    let client = Arc::new(client);
    let same = Arc::clone(&client);
    // The sender first: should the receiver not start, it finds its queue closed.
    clients::spawn(scope, move || send(&same, output, give_back))?;
    clients::spawn(scope, move || receive(&client, empty, tasks, answers))
}

fn receive(client: &Client, empty: Receiver<Piece>, tasks: SyncSender<Task>, answers: SyncSender<Piece>) {
    while let Ok(mut piece) = empty.recv() {
        piece.length = loop {
            match (&**client).read(&mut piece.bytes) {
                Ok(0) => return,
                Ok(length) => break length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        };
        if tasks.send((piece, answers.clone())).is_err() {
            return;
        }
    }
}

fn process(queue: Receiver<Task>, work: Work) {
    for (piece, answers) in queue {
        // At the end of the drain all are cut off, and work would only delay that. The piece
        // goes on even so: without it the client's threads would wait for each other.
        if !stop::is_overdue() {
            work.perform();
        }
        // A client that is gone has nobody to take it.
        let _ = answers.send(piece);
    }
}

fn send(client: &Client, output: Receiver<Piece>, give_back: SyncSender<Piece>) {
    for piece in output {
        if (&**client).write_all(&piece.bytes[..piece.length]).is_err() {
            // For the receiver, which may be inside `read`.
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        // After the end of input nobody waits for it.
        let _ = give_back.send(piece);
    }
}
