//! The bug: datagrams queued at SIGTERM are ignored.

use servers::stop;

use super::{Broken, answer_each, is_client};

pub const SERVER: Broken = Broken {
    name: "undrained",
    serve: |options| {
        answer_each(options, |datagram, options| {
            is_client(datagram, options) && !stop::requested()
        })
    },
    fails: "C13",
    evidence: "of 100 was queued at SIGTERM, and its reply was lost",
};
