//! The bug: the server answers every source of a datagram, including other services: one forged
//! datagram makes the two loop forever (CVE-2024-2169).

use super::{Broken, answer_each};

pub const SERVER: Broken = Broken {
    name: "answers_anyone",
    serve: |options| answer_each(options, |datagram, options| datagram.length <= options.buffer),
    fails: "C27",
    evidence: "a datagram from the server's own port was answered",
};
