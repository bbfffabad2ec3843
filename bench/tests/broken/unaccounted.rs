//! The bug: drops the right datagrams, and nobody ever hears of it.

use super::{Broken, answer_each, is_client};

pub const SERVER: Broken = Broken {
    name: "unaccounted",
    serve: |options| {
        answer_each(options, |datagram, options| {
            is_client(datagram, options) && datagram.length <= options.buffer
        })
    },
    fails: "C27",
    evidence: "the server said nothing of the datagrams that it dropped",
};
