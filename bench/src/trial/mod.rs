//! One trial: starts a fresh server, loads it, meters it, and stops it.

pub mod meter;
pub mod sliced;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::ensure;
use loadgen::plan::CheckedPlan;
use loadgen::{Address, Observer, RunError};
use nix::unistd::Pid;
use record::{ErrorKind, Load, LoopKind, Outcome, Placement, Plan, Setup};
use servers::listener::Transport;

use crate::host::affinity;
use crate::participant::Participant;
use crate::scenario::Scenario;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Launch, Server, ServerError};
use crate::trial::meter::Meter;

/// Stands for the address of a server that has not started.
pub const NO_TARGET: Address = Address::Internet(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

/// Longer than the drain time of the models, which is five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// An external server that still runs after this time is killed, which costs it no trial.
const EXTERNAL_STOPS_WITHIN: Duration = Duration::from_secs(3);

/// Time for the end of a server to show after a load with errors of connections: the kernel closes the
/// connections of a process before its exit status is known.
const EXIT_SEEN_WITHIN: Duration = Duration::from_secs(1);

/// A server to measure.
pub struct Entry<'a> {
    /// The server.
    pub participant: &'a Participant,
    /// File for its standard error.
    pub log: PathBuf,
}

/// The transport of a server, as a record names it.
pub fn transport(participant: &Participant) -> record::Transport {
    match participant.transport() {
        Transport::Stream => record::Transport::Tcp,
        Transport::Datagram => record::Transport::Udp,
    }
}

/// The plan of a scenario, with the processors of the generator and the transport of the server.
pub fn plan(scenario: &Scenario, placement: &Placement, transport: record::Transport) -> Plan {
    let udp = transport == record::Transport::Udp;
    let plan = &scenario.plan;
    let most_threads = match plan.loop_kind() {
        LoopKind::PartlyOpen => usize::MAX,
        _ => plan.connections().max(1),
    };
    Plan {
        udp,
        // Nothing ends a socket of datagrams.
        reconnect: plan.reconnect && !udp,
        // A socket of datagrams connects at once.
        connect_timeout: plan.connect_timeout.filter(|_| !udp),
        // TCP sends lost bytes again: an answer has no time limit.
        answer_timeout: plan.answer_timeout.filter(|_| udp),
        threads: Some(placement.generator_cpus.len().clamp(1, most_threads)),
        cpus: placement.generator_cpus.clone(),
        ..plan.clone()
    }
}

/// Runs a trial of a whole window; `None` if it was interrupted, since half a window is no result.
pub fn run(scenario: &Scenario, entry: &Entry, placement: &Placement, stop: &AtomicBool) -> Option<Outcome> {
    let outcome = match possible_plan(scenario, entry.participant, placement) {
        Err(reason) => Outcome::Skipped { reason },
        Ok(plan) => measure(entry, &plan, &scenario.setup, placement, stop)
            .unwrap_or_else(|error| failed(&error, &entry.log)),
    };
    (!stop.load(Relaxed)).then_some(outcome)
}

/// The plan of a trial, or why this host or the server cannot carry it out.
pub fn possible_plan(
    scenario: &Scenario,
    participant: &Participant,
    placement: &Placement,
) -> Result<Plan, String> {
    participant.unavailable().map_or(Ok(()), Err)?;
    participant.refuses(&scenario.setup).map_or(Ok(()), Err)?;
    let plan = plan(scenario, placement, transport(participant));
    // The load was checked before the run, but only for streams over TCP.
    let address = match participant {
        Participant::Target(target) => target.address().clone(),
        _ => NO_TARGET,
    };
    match CheckedPlan::new(&plan, address) {
        Ok(_) => Ok(plan),
        Err(reason) => Err(reason.to_string()),
    }
}

fn failed(error: &anyhow::Error, log: &Path) -> Outcome {
    Outcome::Failed {
        error: format!("{error:#}"),
        stderr: server::stderr_tail(log),
    }
}

fn measure(
    entry: &Entry,
    plan: &Plan,
    setup: &Setup,
    placement: &Placement,
    stop: &AtomicBool,
) -> anyhow::Result<Outcome> {
    let live = Live::start(entry, setup, placement)?;
    let plan = CheckedPlan::new(plan, live.address.clone())?;
    let mut meter = { live.guard() }.map(|guard| Meter::new(guard, placement.server_cpus.len()));
    let observer: &mut dyn Observer = match &mut meter {
        Some(meter) => meter,
        None => &mut (),
    };
    let load = affinity::with(&placement.generator_cpus, || loadgen::run(&plan, observer, stop))?;
    let load = live.conclude(entry.participant, load)?;
    let cost = meter.and_then(|meter| meter.cost(load.summary.echoes));
    Ok(Outcome::Measured {
        load,
        cost,
        slices: Vec::new(),
    })
}

/// A server that is ready for its load.
struct Live {
    /// `None` of a target: it runs already, cannot be metered, and how it ends does not show.
    server: Option<Server>,
    address: Address,
}

impl Live {
    /// Starts a server on its processors, unless it runs already.
    fn start(entry: &Entry, setup: &Setup, placement: &Placement) -> Result<Self, ServerError> {
        let program = match entry.participant {
            Participant::Target(target) => {
                return Ok(Live {
                    server: None,
                    address: target.address().clone(),
                });
            }
            participant => participant.program().expect("only a target has no program"),
        };
        let server = Server::start(&Launch {
            program,
            listen: ANY_PORT,
            arguments: setup.arguments(),
            conditions: Conditions::NONE,
            cpus: placement.server_cpus.clone(),
            log: entry.log.clone(),
        })?;
        Ok(Live {
            address: server.address().into(),
            server: Some(server),
        })
    }

    /// The process that all processes of the server descend from.
    fn guard(&self) -> Option<Pid> {
        self.server.as_ref().map(Server::guard)
    }

    /// Stops a server after its load. An error if it did not survive the load, or there is none.
    fn conclude(self, participant: &Participant, load: Result<Load, RunError>) -> anyhow::Result<Load> {
        let Some(mut server) = self.server else {
            return Ok(load?);
        };
        let ended = match &load {
            Ok(load) if !suggests_an_end(&load.summary.errors) => server.ended()?,
            _ => server.wait(EXIT_SEEN_WITHIN)?,
        };
        if let Some(status) = ended {
            anyhow::bail!("the server ended during the trial: {status}");
        }
        let load = load?;
        end(server, participant)?;
        Ok(load)
    }
}

/// Whether errors may be those of a server that ended: the loss of single messages is not.
fn suggests_an_end(errors: &BTreeMap<ErrorKind, u64>) -> bool {
    errors.keys().any(|kind| !kind.is_of_a_message())
}

fn end(server: Server, participant: &Participant) -> anyhow::Result<()> {
    if participant.keeps_contract() {
        let status = server.stop(STOP_WITHIN)?;
        ensure!(
            status.success(),
            "after the load and SIGTERM the server ended with {status}"
        );
        return Ok(());
    }
    // Only models must end with status 0: SIGTERM may kill any other program, or be ignored.
    match server.stop(EXTERNAL_STOPS_WITHIN) {
        Ok(_) | Err(ServerError::NotStopped(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slicing::Slicing;

    fn planned(scenario: Plan, transport: record::Transport) -> Plan {
        let scenario = Scenario {
            name: "one".into(),
            title: "One".into(),
            plan: scenario,
            slicing: Slicing::Auto,
            setup: Setup::default(),
            objectives: Vec::new(),
        };
        let placement = Placement {
            server_cpus: vec![0],
            generator_cpus: vec![1, 2, 3],
        };
        plan(&scenario, &placement, transport)
    }

    #[test]
    fn the_generator_has_a_thread_for_each_processor_that_has_a_connection() {
        let threads = |plan| planned(plan, record::Transport::Tcp).threads;
        let busy = |connections| Plan {
            connections: Some(connections),
            ..Plan::default()
        };
        assert_eq!((threads(busy(2)), threads(busy(100))), (Some(2), Some(3)));
        let sessions = Plan {
            connect_rate: Some("1/s".parse().unwrap()),
            ..Plan::default()
        };
        assert_eq!(threads(sessions), Some(3));
    }

    #[test]
    fn the_server_decides_the_transport_and_which_time_limit_applies() {
        let (connect_timeout, answer_timeout) = ("1s".parse().ok(), "2s".parse().ok());
        let scenario = Plan {
            connect_timeout,
            answer_timeout,
            reconnect: true,
            ..Plan::default()
        };
        let limits = |plan: &Plan| {
            (
                plan.udp,
                plan.connect_timeout,
                plan.answer_timeout,
                plan.reconnect,
            )
        };
        let streams = planned(scenario.clone(), record::Transport::Tcp);
        assert_eq!(limits(&streams), (false, connect_timeout, None, true));
        let datagrams = planned(scenario, record::Transport::Udp);
        assert_eq!(limits(&datagrams), (true, None, answer_timeout, false));
    }

    #[test]
    fn a_lost_message_does_not_suggest_that_the_server_ended() {
        let suggests = |kinds: &[ErrorKind]| suggests_an_end(&kinds.iter().map(|&kind| (kind, 1)).collect());
        assert!(!suggests(&[]));
        assert!(!suggests(&[ErrorKind::Lost, ErrorKind::Stale]));
        assert!(suggests(&[ErrorKind::Lost, ErrorKind::Reset]));
    }
}
