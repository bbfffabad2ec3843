//! The bug: SIGTERM is not handled, so it kills the process.

use std::net::TcpListener;
use std::thread;

use servers::conn;
use servers::work::Work;

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "dies_of_sigterm",
    serve,
    fails: "C2",
    evidence: "ended with signal: 15 (SIGTERM) after SIGTERM instead of exit status 0",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    println!("ready {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
    }
}
