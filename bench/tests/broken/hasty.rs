//! The bug: time during which the server itself was stopped counts as silence of its clients.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "hasty",
    serve: |options| thread_per_client(options, echo),
    fails: "C23",
    evidence: "the server was stopped",
};

const SILENCE: Duration = Duration::from_secs(1);

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        let start = Instant::now();
        let length = stream.read(&mut buffer)?;
        if length == 0 || start.elapsed() > SILENCE {
            return Ok(());
        }
        stream.write_all(&buffer[..length])?;
    }
}
