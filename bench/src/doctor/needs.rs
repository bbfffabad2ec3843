//! What a measurement needs of the host.

use record::{LoopKind, Placement, Plan};
use servers::config::Config;
use servers::listener::Transport;
use servers::models::{Demands, Model};
use servers::sys::uring;

use crate::participant::Participant;

/// What a measurement needs of the host: its servers, its load, and where both run.
#[derive(Clone)]
pub struct Needs {
    /// Processors of server and generator.
    pub placement: Placement,
    /// The models among the servers, each with the reason if this host cannot run it.
    pub models: Vec<(&'static dyn Model, Option<String>)>,
    /// The most connections that one server has at once, idle ones included.
    pub connections: usize,
    /// Threads of the generator.
    pub generator_threads: usize,
    /// Whether several servers run at the same time, as those of a block in slices do.
    pub at_once: bool,
    /// Whether connections come and go.
    pub short_connections: bool,
    /// Whether any server is reached over TCP.
    pub over_tcp: bool,
    /// Whether this process can create an io_uring, or why not.
    pub io_uring: Result<(), String>,
}

impl Needs {
    /// The needs of some servers under some loads.
    pub fn of<'a>(
        placement: &Placement,
        plans: impl Iterator<Item = &'a Plan> + Clone,
        participants: &[Participant],
        at_once: bool,
    ) -> Self {
        let models = participants.iter().filter_map(|participant| match participant {
            Participant::Model(model) => Some((*model, participant.unavailable())),
            _ => None,
        });
        let connections = plans.clone().map(|plan| plan.connections() + plan.idle).max();
        let is_short =
            |plan: &Plan| plan.loop_kind() == LoopKind::PartlyOpen || plan.messages_per_connection.is_some();
        Needs {
            placement: placement.clone(),
            models: models.collect(),
            connections: connections.unwrap_or_default(),
            generator_threads: placement.generator_cpus.len().max(1),
            at_once,
            short_connections: plans.clone().any(is_short),
            over_tcp: participants.iter().any(is_over_tcp),
            io_uring: uring::probe().map_err(|reason| reason.to_string()),
        }
    }

    /// The names of the models whose demands match.
    pub fn models_that(&self, matches: impl Fn(&Demands) -> bool) -> Vec<&'static str> {
        let matching = { self.models.iter() }.filter(|(model, _)| matches(&model.demands()));
        matching.map(|(model, _)| model.name()).collect()
    }

    /// Processes and threads that servers start at the same time, for their connections and ahead.
    pub fn tasks(&self) -> usize {
        let of = |model: &dyn Model| {
            let demands = model.demands();
            let each = demands.processes_per_connection + demands.threads_per_connection;
            each * self.connections + model.workers().count(&Config::default())
        };
        let each = { self.models.iter() }.map(|(model, _)| of(*model));
        match self.at_once {
            true => each.sum(),
            false => each.max().unwrap_or_default(),
        }
    }
}

fn is_over_tcp(participant: &Participant) -> bool {
    match participant {
        Participant::Target(target) => !target.address().is_unix(),
        other => other.transport() == Transport::Stream,
    }
}
