//! The bug: answers whoever is said to have sent a datagram, other services included: one
//! forged datagram, and the two talk to each other for ever (CVE-2024-2169).

use super::{Broken, answer_each};

pub const SERVER: Broken = Broken {
    name: "answers_anyone",
    serve: |options| answer_each(options, |datagram, options| datagram.length <= options.buffer),
    fails: "C27",
    evidence: "a datagram from the server's own port was answered",
};
