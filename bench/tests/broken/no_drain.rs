//! The bug: SIGTERM ends the server at once, even if replies are due.

use nix::sys::signal::Signal;
use servers::conn;
use servers::sys::{process, signal};
use servers::work::Work;

use super::{Broken, Options, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "no_drain",
    serve,
    fails: "C13",
    evidence: "was in flight at SIGTERM, and its reply was lost",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    thread_per_client(options, |stream| {
        // Replaces the handler of the listener.
        signal::catch(Signal::SIGTERM as i32, exit)?;
        conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
        Ok(())
    })
}

extern "C" fn exit(_: i32) {
    process::exit_now(0);
}
