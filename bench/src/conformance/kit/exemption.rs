//! Exemptions: the kinds of server that a case does not apply to, and why.
//!
//! An exemption names a kind, never a model, so a new model gets its exemptions from its own
//! description. Without an exemption a case must pass.

use servers::config::Config;
use servers::listener::Transport;
use servers::models::{Family, Model};

use crate::participant::Participant;

/// A property of a server that cases distinguish. A server can be of several kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Serves one connection at a time.
    Sequential,
    /// Has a process or a thread for each connection.
    WorkerPerConnection,
    /// Consists of its main process only.
    SingleProcess,
    /// Serves only connections with low descriptors.
    LowDescriptorsOnly,
    /// Serves TCP.
    Stream,
    /// Serves UDP.
    Datagram,
}

/// A kind of server that a case does not apply to.
#[derive(Debug)]
pub struct Exemption {
    /// The kind.
    pub kind: Kind,
    /// Why, as a sentence without its full stop.
    pub reason: &'static str,
}

impl Exemption {
    /// Exempts a kind for a reason.
    pub const fn new(kind: Kind, reason: &'static str) -> Self {
        Exemption { kind, reason }
    }
}

/// The kinds of a participant. Programs other than models show theirs only at run time.
pub fn kinds(participant: &Participant) -> Vec<Kind> {
    match participant {
        Participant::Model(model) => kinds_of_model(*model),
        other => vec![kind_of_transport(other.transport())],
    }
}

fn kind_of_transport(transport: Transport) -> Kind {
    match transport {
        Transport::Stream => Kind::Stream,
        Transport::Datagram => Kind::Datagram,
    }
}

fn kinds_of_model(model: &dyn Model) -> Vec<Kind> {
    let is_sequential = model.at_once(&Config::default()) == Some(1);
    let mut kinds = vec![kind_of_transport(model.transport())];
    if is_sequential {
        kinds.push(Kind::Sequential);
    }
    if !is_sequential && matches!(model.family(), Family::Process | Family::Thread) {
        kinds.push(Kind::WorkerPerConnection);
    }
    if model.descriptor_limit().is_some() {
        kinds.push(Kind::LowDescriptorsOnly);
    }
    if is_sequential || model.family() != Family::Process {
        kinds.push(Kind::SingleProcess);
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::models;

    fn kinds_of(name: &str) -> Vec<Kind> {
        kinds(&Participant::Model(models::find(name).unwrap()))
    }

    #[test]
    fn the_kinds_of_a_model_follow_from_its_description() {
        use Kind::*;
        assert_eq!(kinds_of("iterative"), [Stream, Sequential, SingleProcess]);
        assert_eq!(kinds_of("fork"), [Stream, WorkerPerConnection]);
        assert_eq!(kinds_of("epoll"), [Stream, SingleProcess]);
        assert_eq!(kinds_of("select"), [Stream, LowDescriptorsOnly, SingleProcess]);
        assert_eq!(kinds_of("udp"), [Datagram, SingleProcess]);
    }
}
