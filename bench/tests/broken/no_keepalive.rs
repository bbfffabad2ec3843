//! The bug: keepalive is asked for and never set, so a client whose host has crashed is kept
//! for ever.

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
    evidence: "after the hosts of its clients had gone the server had not given everything back: threads:",
};
