//! The bug: no test for a read of 0, which means that there is nothing more to read and
//! never will be. The thread and its descriptor stay for good.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "no_end_of_input",
    serve: |options| thread_per_client(options, echo),
    fails: "C6",
    evidence: "had not given everything back: threads: 6 instead of 1",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        stream.write_all(&buffer[..length])?;
        if length == 0 {
            // The true bug burns a processor here, which the tests beside this one need.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
