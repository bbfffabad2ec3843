//! The bug: every now and then all connections are looked at, one after another, and nobody is
//! served meanwhile.

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

/// Time for the look at one connection.
const LOOK: Duration = Duration::from_micros(100);

/// Echoes from one look at all to the next.
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
