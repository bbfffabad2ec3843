//! The bug: the server treats an interrupted read as the end of the connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "interrupted",
    serve: |options| thread_per_client(options, echo),
    fails: "C7",
    evidence: "while the server was interrupted",
};

/// With a time-out on the socket the kernel does not restart an interrupted call.
const TIME_OUT: Duration = Duration::from_secs(60);

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(TIME_OUT))?;
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
