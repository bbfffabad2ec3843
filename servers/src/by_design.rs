//! What designs answer otherwise: the conformance cases that do not apply to a kind of
//! model, and why.
//!
//! A row names a kind and not a model, so that a new model has its reasons by what it is.
//! Whatever has no row here must pass.

use crate::config::Config;
use crate::listener::Transport;
use crate::models::{Family, Model};

/// A kind of server, as far as cases tell kinds apart. A server may be of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Serves one client at a time.
    OneAtATime,
    /// Is built on processes or threads: each connection has one.
    WorkerEach,
    /// Has no process beside its main one.
    OneProcess,
    /// Serves connections with low descriptors alone.
    LowDescriptors,
    /// Speaks TCP.
    Streams,
    /// Speaks UDP.
    Datagrams,
}

/// A case that does not apply to a kind.
#[derive(Debug)]
pub struct ByDesign {
    /// Id of the case.
    pub case: &'static str,
    /// The kind that it does not apply to.
    pub kind: Kind,
    /// Why, as a sentence without its full stop.
    pub reason: &'static str,
}

/// Every case that does not apply to every kind.
pub static BY_DESIGN: &[ByDesign] = &[
    row("C2", Kind::Datagrams, "a datagram socket has no half to close"),
    row(
        "C3",
        Kind::OneAtATime,
        "it serves one client at a time: the second was answered once the first had ended",
    ),
    row(
        "C4",
        Kind::Datagrams,
        "there is no connection to reset before it is accepted",
    ),
    row(
        "C11",
        Kind::Datagrams,
        "it is one process and has no connections that could end",
    ),
    row(
        "C11",
        Kind::OneProcess,
        "it is one process, which dies whole: all of its clients saw their connections end",
    ),
    row(
        "C14",
        Kind::Datagrams,
        "there is no backlog of connections; datagrams that are queued are C13's",
    ),
    row(
        "C15",
        Kind::Datagrams,
        "a server of datagrams keeps nothing of a peer that could be gone",
    ),
    row(
        "C16",
        Kind::OneAtATime,
        "it serves one client at a time: while that one does not read, the others wait",
    ),
    row(
        "C17",
        Kind::Datagrams,
        "a datagram is sent or dropped at once: no write waits for a reader",
    ),
    row(
        "C18",
        Kind::Datagrams,
        "there is no backlog of connections; datagrams that are dropped are C27's",
    ),
    row(
        "C19",
        Kind::LowDescriptors,
        "its sets have no bit for a descriptor from 1024 on: such a client was turned away at once, and such a \
         listener refused at the start",
    ),
    row(
        "C22",
        Kind::Datagrams,
        "it has no queue of its own beside the kernel's, which is C27's",
    ),
    row(
        "C25",
        Kind::OneAtATime,
        "it serves one client at a time: while that one sends, the others wait",
    ),
    row(
        "C25",
        Kind::Datagrams,
        "what a firehose crowds out of the kernel's queue is lost, not late",
    ),
    row(
        "C27",
        Kind::Streams,
        "it speaks TCP, where there are no datagrams to drop",
    ),
];

const fn row(case: &'static str, kind: Kind, reason: &'static str) -> ByDesign {
    ByDesign { case, kind, reason }
}

/// The kinds that a model is of.
pub fn kinds(model: &dyn Model) -> Vec<Kind> {
    let defaults = Config::default();
    let one_at_a_time = model.at_once(&defaults) == Some(1);
    let mut kinds = vec![match model.transport() {
        Transport::Stream => Kind::Streams,
        Transport::Datagram => Kind::Datagrams,
    }];
    if one_at_a_time {
        kinds.push(Kind::OneAtATime);
    }
    if !one_at_a_time && matches!(model.family(), Family::Process | Family::Thread) {
        kinds.push(Kind::WorkerEach);
    }
    if model.descriptor_limit().is_some() {
        kinds.push(Kind::LowDescriptors);
    }
    if one_at_a_time || model.family() != Family::Process {
        kinds.push(Kind::OneProcess);
    }
    kinds
}

/// Why a case does not apply to a server that is of these kinds; the first reason, if there
/// are several.
pub fn reason(case: &str, kinds: &[Kind]) -> Option<&'static str> {
    let row = BY_DESIGN
        .iter()
        .find(|row| row.case == case && kinds.contains(&row.kind));
    row.map(|row| row.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    fn kinds_of(name: &str) -> Vec<Kind> {
        kinds(models::find(name).unwrap())
    }

    #[test]
    fn a_model_is_of_a_kind_by_what_it_says_of_itself() {
        use Kind::*;
        assert_eq!(kinds_of("iterative"), [Streams, OneAtATime, OneProcess]);
        assert_eq!(kinds_of("fork"), [Streams, WorkerEach]);
        assert_eq!(kinds_of("epoll"), [Streams, OneProcess]);
        assert_eq!(kinds_of("select"), [Streams, LowDescriptors, OneProcess]);
        assert_eq!(kinds_of("udp"), [Datagrams, OneProcess]);
    }

    #[test]
    fn the_reason_is_the_one_that_says_most() {
        let udp = reason("C11", &kinds_of("udp"));
        assert!(udp.is_some_and(|reason| reason.contains("no connections")));
    }

    #[test]
    fn a_case_applies_unless_a_row_says_that_it_does_not() {
        assert!(reason("C11", &kinds_of("epoll")).is_some());
        assert_eq!(reason("C11", &kinds_of("prefork")), None);
        assert_eq!(reason("C1", &kinds_of("udp")), None);
    }
}
