//! The bug: `write(fd, buffer, strlen(buffer))`. A NUL, a byte like any other, ends the reply.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "strlen",
    serve: |options| thread_per_client(options, echo),
    fails: "C1",
    evidence: "expecting 0x00 next",
};

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let text = buffer[..length].split(|&byte| byte == 0).next();
        stream.write_all(text.unwrap_or_default())?;
    }
}
