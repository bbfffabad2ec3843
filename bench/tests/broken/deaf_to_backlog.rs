//! The bug: the server ignores the requested backlog and uses the default of the library's `bind`.

use super::{Broken, Options, healthy};

pub const SERVER: Broken = Broken {
    name: "deaf_to_backlog",
    serve: |options| {
        (healthy::SERVER.serve)(&Options {
            backlog: 128,
            ..*options
        })
    },
    fails: "C18",
    evidence: "50 of 50 clients were queued by 1 listeners with a backlog of 2",
};
