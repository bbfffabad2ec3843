//! The bug: what does not fit into the buffer comes back as much of it as did.

use super::{Broken, answer_each, is_client};

pub const SERVER: Broken = Broken {
    name: "cut_off",
    serve: |options| answer_each(options, is_client),
    fails: "C27",
    evidence: "a datagram of 1025 bytes, where 1024 fit, was answered",
};
