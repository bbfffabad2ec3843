//! The bug: after an error `accept` is called again at once, even when descriptors or memory have
//! run out.

use std::net::TcpListener;
use std::thread;

use servers::conn;
use servers::work::Work;

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "tries_on",
    serve,
    fails: "C8",
    evidence: "each call (accept,accept4) failed with EMFILE for 300ms: a busy loop",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    println!("ready {}", listener.local_addr()?);
    loop {
        if let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
        }
    }
}
