//! The bug: now and then the server examines all connections, one after another, and serves none
//! meanwhile.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "sweep",
    serve: |options| thread_per_client(options, echo),
    fails: "C20",
    evidence: "idle connections the p99 of the active one was",
};

/// Time to examine one connection.
const LOOK: Duration = Duration::from_micros(100);

/// Echoes between two examinations of all.
const ECHOES: u32 = 50;

static OPEN: AtomicU32 = AtomicU32::new(0);
static ECHOED: AtomicU32 = AtomicU32::new(0);

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    OPEN.fetch_add(1, Relaxed);
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            OPEN.fetch_sub(1, Relaxed);
            return Ok(());
        }
        if ECHOED.fetch_add(1, Relaxed).is_multiple_of(ECHOES) {
            thread::sleep(LOOK * OPEN.load(Relaxed));
        }
        stream.write_all(&buffer[..length])?;
    }
}
