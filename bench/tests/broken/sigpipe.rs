//! The bug: a `write` to a peer that is gone, and no handling of SIGPIPE.

use std::io::{self, Read};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use nix::unistd::write;
use servers::sys::signal;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "sigpipe",
    serve: |options| {
        // The default of C programs; Rust ignores the signal.
        signal::restore(Signal::SIGPIPE as i32)?;
        thread_per_client(options, echo)
    },
    fails: "C5",
    evidence: "signal: 13 (SIGPIPE)",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut sent = 0;
        while sent < length {
            sent += write(stream, &buffer[sent..length])?;
        }
    }
}
