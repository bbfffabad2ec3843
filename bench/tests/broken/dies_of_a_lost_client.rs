//! The bug: an unexpected read error, as when a client's host is gone, ends the server.

use std::io::{ErrorKind, Read, Write};

use servers::sys::process;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "dies_of_a_lost_client",
    serve: |options| {
        thread_per_client(options, |mut stream| {
            let mut buffer = [0; 4096];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(length) => stream.write_all(&buffer[..length])?,
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                    Err(_) => process::exit_now(4),
                }
            }
        })
    },
    fails: "C15",
    evidence: "the server had ended: exit status: 4",
};
