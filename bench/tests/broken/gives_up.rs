//! The bug: any error of `accept` ends the server, even one of a single connection.

use std::net::TcpListener;
use std::thread;

use servers::conn;
use servers::work::Work;

use super::{Broken, Options};

pub const SERVER: Broken = Broken {
    name: "gives_up",
    serve,
    fails: "C8",
    evidence: "failed with ECONNABORTED: the next client",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen)?;
    println!("ready {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || conn::echo(&stream, &mut Vec::with_capacity(4096), Work::None));
    }
}
