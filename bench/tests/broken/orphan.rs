//! The bug: a process of the server outlives it.

use std::process::{Command, Stdio};

use servers::conn;
use servers::work::Work;

use super::{Broken, Options, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "orphan",
    serve,
    fails: "C2",
    evidence: "the server has ended and left behind processes: 1 instead of 0",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    Command::new("sleep").arg("600").stdout(Stdio::null()).spawn()?;
    thread_per_client(options, |stream| {
        conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
        Ok(())
    })
}
