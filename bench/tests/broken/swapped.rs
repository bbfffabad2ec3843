//! The bug: the first two bytes of each read come back in the wrong order, as if two threads wrote
//! to one connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "swapped",
    serve: |options| thread_per_client(options, echo),
    fails: "C1",
    evidence: "byte 0 came back as 0x01 instead of 0x00",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        match &mut buffer[..length] {
            [] => return Ok(()),
            [first, second, ..] => std::mem::swap(first, second),
            [_] => {}
        }
        stream.write_all(&buffer[..length])?;
    }
}
