//! The bug: the server drops the right datagrams and does not report them.

use super::{Broken, answer_each, is_client};

pub const SERVER: Broken = Broken {
    name: "unaccounted",
    serve: |options| {
        answer_each(options, |datagram, options| {
            is_client(datagram, options) && datagram.length <= options.buffer
        })
    },
    fails: "C27",
    evidence: "the server did not report the datagrams that it dropped",
};
