//! Who takes part in a run: a model of the registry, or another server.

use servers::listener::Transport;
use servers::models::Model;

use crate::external::External;
use crate::server::Program;

/// A server that is compared.
#[derive(Clone, Copy)]
pub enum Contender<'a> {
    /// A model of the registry, served by this executable.
    Model(&'static dyn Model),
    /// A command of the user's.
    External(&'a External),
}

impl Contender<'_> {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Contender::Model(model) => model.name(),
            Contender::External(external) => external.name(),
        }
    }

    /// What it is grouped with: the kind of concurrency, where that is known.
    pub fn family(&self) -> String {
        match self {
            Contender::Model(model) => model.family().to_string(),
            Contender::External(_) => "external".into(),
        }
    }

    /// One line that says what it is.
    pub fn summary(&self) -> &str {
        match self {
            Contender::Model(model) => model.summary(),
            Contender::External(external) => external.command(),
        }
    }

    /// What it speaks; an external server is taken to speak TCP.
    pub fn transport(&self) -> Transport {
        match self {
            Contender::Model(model) => model.transport(),
            Contender::External(_) => Transport::Stream,
        }
    }

    /// Why this host cannot run it. (That of an external server is an error before
    /// anything is measured: its user named it.)
    pub fn unavailable(&self) -> Option<String> {
        match self {
            Contender::Model(model) => model.probe().err().map(|reason| reason.to_string()),
            Contender::External(_) => None,
        }
    }

    /// What is started.
    pub fn program(&self) -> Program {
        match self {
            Contender::Model(model) => Program::Model(model.name()),
            Contender::External(external) => Program::External((*external).clone()),
        }
    }
}
