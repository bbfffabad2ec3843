//! The bug: the queue between the readers and the writer has room for a few pieces, and pieces that
//! find it full are dropped.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "small_queue",
    serve: |options| thread_per_client(options, echo),
    fails: "C22",
    evidence: "sent a burst",
};

/// Enough while clients come one after another.
const ROOM: usize = 8;

static QUEUE: OnceLock<SyncSender<(TcpStream, Vec<u8>)>> = OnceLock::new();

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let piece = (stream.try_clone()?, buffer[..length].to_vec());
        let _ = QUEUE.get_or_init(start_writer).try_send(piece);
    }
}

fn start_writer() -> SyncSender<(TcpStream, Vec<u8>)> {
    let (queue, pieces) = sync_channel::<(TcpStream, Vec<u8>)>(ROOM);
    thread::spawn(move || {
        for (mut stream, piece) in pieces {
            let _ = stream.write_all(&piece);
        }
    });
    queue
}
