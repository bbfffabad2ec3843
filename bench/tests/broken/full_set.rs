//! The bug: a connection whose descriptor does not fit into the set is kept without being watched.
//! (Without a check of the limit, FD_SET would write past the end of the set.)

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use servers::conn;
use servers::sys::select;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "full_set",
    serve: |options| thread_per_client(options, echo),
    fails: "C19",
    evidence: "nothing came back for",
};

const LONGER_THAN_A_CLIENT_WAITS: Duration = Duration::from_secs(60);

fn echo(stream: &TcpStream) -> io::Result<()> {
    if stream.as_raw_fd() >= select::LIMIT {
        thread::sleep(LONGER_THAN_A_CLIENT_WAITS);
    }
    conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
    Ok(())
}
