//! The bug: the server closes the connection at the end of input although output is pending.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "early_close",
    serve: |options| thread_per_client(options, echo),
    fails: "C2",
    evidence: "of 20000 lines came back",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut buffer = [0; 64 * 1024];
    let mut pending = Vec::new();
    let mut sent = 0;
    loop {
        match would_block(stream.read(&mut buffer))? {
            Some(0) => return Ok(()),
            Some(length) => pending.extend_from_slice(&buffer[..length]),
            None => thread::sleep(Duration::from_micros(100)),
        }
        if sent < pending.len() {
            sent += would_block(stream.write(&pending[sent..]))?.unwrap_or(0);
        }
    }
}

fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    }
}
