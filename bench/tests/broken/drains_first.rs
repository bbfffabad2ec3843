//! The bug: one thread reads from a client until it has no more input before it turns to the next
//! client. A client that always has more keeps it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use servers::listener::{Remedy, remedy};

use super::{Broken, Options, listen};

pub const SERVER: Broken = Broken {
    name: "drains_first",
    serve,
    fails: "C25",
    evidence: "beside a firehose, client 1 of 10 got",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = listen(options)?;
    listener.set_nonblocking()?;
    listener.announce()?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut accepting = true;
    while accepting || !clients.is_empty() {
        match listener.try_accept() {
            Ok(stream) => clients.push(stream),
            Err(error) => accepting = accepting && remedy(&error) != Remedy::Stop,
        }
        clients.retain(|client| drain(client).is_ok_and(|ended| !ended));
        thread::yield_now();
    }
    Ok(())
}

/// Echoes until there is no more input now; returns whether the client has closed.
fn drain(mut client: &TcpStream) -> io::Result<bool> {
    // Small, so that a client that sends without pause is always ahead.
    let mut buffer = [0; 64];
    loop {
        let mut unsent = match client.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        while !unsent.is_empty() {
            match client.write(unsent) {
                Ok(length) => unsent = &unsent[length..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
    }
}
