//! The bug: the server truncates a datagram that does not fit into its buffer and sends that back.

use super::{Broken, answer_each, is_client};

pub const SERVER: Broken = Broken {
    name: "cut_off",
    serve: |options| answer_each(options, is_client),
    fails: "C27",
    evidence: "a datagram of 1025 bytes, more than the 1024 that fit, was answered",
};
