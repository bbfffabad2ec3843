//! The bug: the server does not treat a read of 0 as the end of input, so the thread and its
//! descriptor stay forever.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "no_end_of_input",
    serve: |options| thread_per_client(options, echo),
    fails: "C6",
    evidence: "had not released everything: threads: 6 instead of 1",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        stream.write_all(&buffer[..length])?;
        if length == 0 {
            // A real bug would spin here, and slow the tests that run in parallel.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
