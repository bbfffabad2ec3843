//! Who is put to the test: how to start it, and what it is by design.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use servers::by_design::{self, Kind};
use servers::config::{Config, Workers};
use servers::listener::Transport;
use servers::models::Model;

use super::Case;
use crate::external::External;
use crate::server::{Launch, Program};

/// A server that can be started: it takes `--listen ADDRESS:PORT` and the arguments of
/// the case, prints `ready ADDRESS`, and stops on SIGTERM; or it is external.
#[derive(Debug, Clone)]
pub struct Subject {
    name: String,
    program: Program,
    arguments: Vec<String>,
    at_once: Option<usize>,
    workers: Workers,
    transport: Transport,
    kinds: Vec<Kind>,
    unavailable: Option<String>,
}

impl Subject {
    /// A model of the registry, served by this executable.
    pub fn model(model: &dyn Model) -> Self {
        let defaults = Config::default();
        Subject {
            name: model.name().into(),
            program: Program::Model(model.name()),
            arguments: Vec::new(),
            at_once: model.at_once(&defaults),
            workers: model.workers(),
            transport: model.transport(),
            kinds: by_design::kinds(model),
            unavailable: model.probe().err().map(|reason| reason.to_string()),
        }
    }

    /// Another program, which is taken to serve any number of connections over TCP at once.
    pub fn command(name: &str, path: impl Into<PathBuf>, environment: &[(&str, &str)]) -> Self {
        Subject {
            name: name.into(),
            program: Program::Command {
                path: path.into(),
                environment: environment
                    .iter()
                    .map(|&(name, value)| (name.into(), value.into()))
                    .collect(),
            },
            arguments: Vec::new(),
            at_once: None,
            workers: Workers::Fixed,
            transport: Transport::Stream,
            kinds: vec![Kind::Streams],
            unavailable: None,
        }
    }

    /// A command of the user's, which is told nothing but the address, and is taken to
    /// serve any number of connections at once.
    pub fn external(external: &External) -> Self {
        Subject {
            name: external.name().into(),
            program: Program::External(external.clone()),
            arguments: Vec::new(),
            at_once: None,
            workers: Workers::Fixed,
            transport: Transport::Stream,
            kinds: vec![Kind::Streams],
            unavailable: None,
        }
    }

    /// Whether it is a command of the user's: it takes no options, and may die of SIGTERM.
    pub fn is_external(&self) -> bool {
        matches!(self.program, Program::External(_))
    }

    /// The same over datagrams.
    pub fn over_datagrams(mut self) -> Self {
        self.transport = Transport::Datagram;
        self.kinds = vec![Kind::Datagrams];
        self
    }

    /// What it is by design.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Takes note of a kind that has shown when it ran. What a model is, it says itself:
    /// anything else is an error.
    pub(super) fn shows_to_be(&mut self, kind: Kind) -> anyhow::Result<()> {
        let is_model = matches!(self.program, Program::Model(_));
        match self.kinds.contains(&kind) {
            true => Ok(()),
            false if is_model => bail!("it shows to be of the kind {kind:?}, and does not say so"),
            false => {
                self.kinds.push(kind);
                Ok(())
            }
        }
    }

    /// What it speaks.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many connections it serves at the same time; `None` where nothing limits it.
    pub fn at_once(&self) -> Option<usize> {
        self.at_once
    }

    /// One that no host can run: unit tests have no guard, and must start nothing.
    #[cfg(test)]
    pub(super) fn absent(name: &str) -> Self {
        Subject {
            unavailable: Some("it is not there".into()),
            ..Subject::command(name, "", &[])
        }
    }

    /// Why this host cannot run it.
    pub(super) fn unavailable(&self) -> Option<&str> {
        self.unavailable.as_deref()
    }

    /// The same with enough workers for that many connections, if workers are what it
    /// lacks.
    pub(super) fn with_room(&self, connections: usize) -> Self {
        let mut subject = self.clone();
        let short = self.at_once.is_some_and(|most| most < connections);
        if short && self.workers == Workers::PerConnection {
            subject
                .arguments
                .extend(["--workers".into(), connections.to_string()]);
            subject.at_once = Some(connections);
        }
        subject
    }

    /// How to start it on an address for a case.
    pub(super) fn launch(&self, listen: SocketAddr, case: &Case, log: &Path) -> Launch {
        let own = self.arguments.iter().cloned();
        Launch {
            program: self.program.clone(),
            listen,
            arguments: own
                .chain(case.arguments.iter().map(|&argument| argument.into()))
                .collect(),
            conditions: case.conditions,
            cpus: Vec::new(),
            log: log.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::models;

    fn subject(name: &str) -> Subject {
        Subject::model(models::find(name).unwrap())
    }

    #[test]
    fn room_is_made_with_workers_and_only_where_workers_serve_one_connection_each() {
        assert_eq!(subject("pool").at_once(), Some(64));
        assert_eq!(subject("pool").with_room(500).at_once(), Some(500));
        assert_eq!(subject("pool").with_room(2).at_once(), Some(64));
        assert_eq!(subject("iterative").with_room(500).at_once(), Some(1));
        assert_eq!(subject("epoll").with_room(500).at_once(), None);
        assert!(
            !subject("tokio")
                .with_room(500)
                .arguments
                .contains(&"--workers".into())
        );
    }
}
