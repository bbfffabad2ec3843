//! The bug: the end of one client ends the server.

use std::net::Shutdown;

use servers::conn;
use servers::sys::process;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "crash",
    serve: |options| {
        thread_per_client(options, |stream| {
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            stream.shutdown(Shutdown::Both)?;
            process::exit_now(3)
        })
    },
    fails: "C2",
    // The next check of the server or the next client reports it, whichever comes first.
    evidence: ": exit status: 3",
};
