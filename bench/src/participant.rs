//! A server that takes part in a run: a model of the registry, another program, or a server that
//! already runs.

use std::fmt;
use std::path::PathBuf;

use record::Setup;
use servers::listener::Transport;
use servers::models::Model;

use crate::external::External;
use crate::server::Program;
use crate::target::ResolvedTarget;

/// A server under comparison or under test.
#[derive(Clone)]
pub enum Participant {
    /// A model of the registry, served by this executable.
    Model(&'static dyn Model),
    /// A command given by the user.
    External(External),
    /// An executable that keeps the contract of a model: a server that a test provides.
    Executable(Executable),
    /// A server that already runs: it is neither started nor stopped.
    Target(ResolvedTarget),
}

/// A program that takes the options of a model, prints the ready line and stops on SIGTERM.
#[derive(Debug, Clone)]
pub struct Executable {
    /// Its name in results.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Environment variables that it needs.
    pub environment: Vec<(String, String)>,
    /// The protocol that it serves.
    pub transport: Transport,
}

impl Participant {
    /// Its name in results.
    pub fn name(&self) -> &str {
        match self {
            Participant::Model(model) => model.name(),
            Participant::External(external) => external.name(),
            Participant::Executable(executable) => &executable.name,
            Participant::Target(target) => target.name(),
        }
    }

    /// The group it is shown in: a model's kind of concurrency.
    pub fn family(&self) -> String {
        match self {
            Participant::Model(model) => model.family().to_string(),
            Participant::External(_) | Participant::Executable(_) => "external".into(),
            Participant::Target(_) => "target".into(),
        }
    }

    /// A description in one line.
    pub fn summary(&self) -> &str {
        match self {
            Participant::Model(model) => model.summary(),
            Participant::External(external) => external.command(),
            Participant::Executable(executable) => &executable.name,
            Participant::Target(target) => target.summary(),
        }
    }

    /// The protocol that it serves; external servers and targets are assumed to serve TCP.
    pub fn transport(&self) -> Transport {
        match self {
            Participant::Model(model) => model.transport(),
            Participant::External(_) | Participant::Target(_) => Transport::Stream,
            Participant::Executable(executable) => executable.transport,
        }
    }

    /// Why this host cannot run it. The command of an external server is checked on startup
    /// instead, because a missing one is a usage error.
    pub fn unavailable(&self) -> Option<String> {
        match self {
            Participant::Model(model) => model.probe().err().map(|reason| reason.to_string()),
            Participant::External(_) | Participant::Executable(_) | Participant::Target(_) => None,
        }
    }

    /// Why it cannot be started as a scenario asks.
    pub fn refuses(&self, setup: &Setup) -> Option<String> {
        let arguments = setup.arguments();
        match self {
            _ if setup.is_usual() => None,
            Participant::Model(model) => servers::cli::check(*model, &arguments)
                .err()
                .map(|reason| format!("{reason:#}")),
            Participant::Executable(_) => None,
            Participant::External(_) | Participant::Target(_) => Some(format!(
                "this load starts the servers with `{}`, which only the models take",
                arguments.join(" ")
            )),
        }
    }

    /// Whether it keeps the contract of a model: it takes the models' options and exits with
    /// status 0 on SIGTERM.
    pub fn keeps_contract(&self) -> bool {
        !matches!(self, Participant::External(_) | Participant::Target(_))
    }

    /// How to start it; `None` for a target, which runs already.
    pub fn program(&self) -> Option<Program> {
        Some(match self {
            Participant::Model(model) => Program::Model(model.name()),
            Participant::External(external) => Program::External(external.clone()),
            Participant::Executable(executable) => Program::Command {
                path: executable.path.clone(),
                environment: executable.environment.clone(),
            },
            Participant::Target(_) => return None,
        })
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Participant").field(&self.name()).finish()
    }
}
