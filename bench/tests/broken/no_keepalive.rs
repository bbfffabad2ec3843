//! The bug: keepalive is requested and never set, so a client whose host has crashed stays forever.

use servers::conn;
use servers::work::Work;

use super::{Broken, Options, thread_per_client};

pub const SERVER: Broken = Broken {
    name: "no_keepalive",
    serve: |options| {
        let options = Options {
            keepalive: None,
            ..*options
        };
        thread_per_client(&options, |stream| {
            conn::echo(stream, &mut Vec::with_capacity(4096), Work::None);
            Ok(())
        })
    },
    fails: "C15",
    evidence: "after the hosts of its clients had failed the server had not released everything: threads:",
};
