//! The bug: the server accepts a write deadline and does not apply it.

use servers::conn;
use servers::work::Work;

use super::{Broken, Options, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "no_deadline",
    serve,
    fails: "C17",
    evidence: "after a client had stopped reading, the server still had its connection",
};

fn serve(options: &Options) -> anyhow::Result<()> {
    let options = Options {
        write_deadline: None,
        ..*options
    };
    thread_per_client(&options, |stream| {
        conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
        Ok(())
    })
}
