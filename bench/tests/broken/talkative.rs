//! The bug: standard output carries more than the ready line.

use servers::conn;
use servers::work::Work;

use super::{Broken, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "talkative",
    serve: |options| {
        thread_per_client(options, |stream| {
            println!("a client came");
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            Ok(())
        })
    },
    fails: "C2",
    evidence: "standard output must contain only the ready line, but had more: [\"a client came\"",
};
