//! The bug: on a non-blocking socket, the bytes that `send` does not take are dropped.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "partial_send",
    serve: |options| thread_per_client(options, echo),
    fails: "C2",
    evidence: "of 20000 lines came back",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => drop(stream.write(&buffer[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_micros(100));
            }
            Err(error) => return Err(error),
        }
    }
}
