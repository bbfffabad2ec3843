//! The bug: the server reads everything and stores it until it can be written. For a client that
//! does not read, it stores all input.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "hoards",
    serve: |options| thread_per_client(options, echo),
    fails: "C16",
    evidence: "the server's memory grew by",
};

fn echo(stream: &TcpStream) -> io::Result<()> {
    let (queue, unsent) = channel::<Vec<u8>>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for piece in unsent {
                if { stream }.write_all(&piece).is_err() {
                    // Ends the reads.
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
            }
        });
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = { stream }.read(&mut buffer) {
            // Fails once the writer has ended.
            let _ = queue.send(buffer[..length].to_vec());
        }
        drop(queue);
        Ok(())
    })
}
