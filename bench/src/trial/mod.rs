//! One trial: a fresh server, a load, what it cost, the end of the server.

pub mod meter;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::ensure;
use loadgen::plan::Request;
use loadgen::record::{self, Outcome, Placement};
use loadgen::sizes::Sizes;
use servers::listener::Transport;

use crate::host::affinity;
use crate::participant::Participant;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Launch, Server, ServerError};
use crate::suite::{Scenario, Suite};
use crate::trial::meter::Meter;

/// How long a connection may take: a server that is slow to accept is measured, one
/// that never does is not waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than the drain time of the servers, which is five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// An external server that has not ended by then is killed, after every trial.
const EXTERNAL_STOPS_WITHIN: Duration = Duration::from_secs(3);

/// What a trial is made of.
#[derive(Clone)]
pub struct Spec<'a> {
    /// The suite that it belongs to, for the times.
    pub suite: &'a Suite,
    /// The load.
    pub scenario: &'a Scenario,
    /// The server.
    pub participant: &'a Participant,
    /// Who runs where.
    pub placement: &'a Placement,
    /// Where the server's standard error goes.
    pub log: PathBuf,
}

/// The transport of a server in the words of a record.
pub fn transport(participant: &Participant) -> record::Transport {
    match participant.transport() {
        Transport::Stream => record::Transport::Tcp,
        Transport::Datagram => record::Transport::Udp,
    }
}

/// What the load generator is asked for in a scenario.
pub fn request(
    suite: &Suite,
    scenario: &Scenario,
    placement: &Placement,
    transport: record::Transport,
) -> Request {
    Request {
        transport,
        connections: scenario.connections,
        threads: placement.generator_cpus.len().clamp(1, scenario.connections),
        sizes: Sizes::Fixed(scenario.size),
        warmup: suite.warmup,
        duration: suite.duration,
        connect_timeout: CONNECT_TIMEOUT,
        cpus: placement.generator_cpus.clone(),
        ..Request::new(([127, 0, 0, 1], 0).into())
    }
}

/// Runs a trial; `None` when it was interrupted, since half a window is no result.
pub fn run(spec: &Spec, stop: &AtomicBool) -> Option<Outcome> {
    if let Some(reason) = spec.participant.unavailable() {
        return Some(Outcome::Skipped { reason });
    }
    let request = request(
        spec.suite,
        spec.scenario,
        spec.placement,
        transport(spec.participant),
    );
    // The load itself was checked before the run began, for streams.
    if let Err(reason) = request.clone().validate() {
        return Some(Outcome::Skipped {
            reason: reason.to_string(),
        });
    }
    let outcome = measure(spec, request, stop).unwrap_or_else(|error| Outcome::Failed {
        error: format!("{error:#}"),
        stderr: server::stderr_tail(&spec.log),
    });
    (!stop.load(Relaxed)).then_some(outcome)
}

fn measure(spec: &Spec, request: Request, stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let mut server = Server::start(&Launch {
        program: spec.participant.program(),
        listen: ANY_PORT,
        arguments: Vec::new(),
        conditions: Conditions::NONE,
        cpus: spec.placement.server_cpus.clone(),
        log: spec.log.clone(),
    })?;
    let plan = Request {
        target: server.address(),
        ..request
    }
    .validate()?;
    let mut meter = Meter::new(server.pid());
    let load = affinity::with(&spec.placement.generator_cpus, || {
        loadgen::run(&plan, &mut meter, stop)
    })?;
    if let Some(status) = server.ended()? {
        anyhow::bail!("the server ended during the trial: {status}");
    }
    let load = load?;
    end(server, spec.participant)?;
    let cost = meter.cost(load.summary.echoes).unwrap_or_default();
    Ok(Outcome::Measured { load, cost })
}

fn end(server: Server, participant: &Participant) -> anyhow::Result<()> {
    match participant {
        Participant::Model(_) | Participant::Executable(_) => {
            let status = server.stop(STOP_WITHIN)?;
            ensure!(
                status.success(),
                "told to stop after the load, the server ended with {status}"
            );
        }
        // The contract is that of the models: SIGTERM may be the end of any other program,
        // or nothing to it.
        Participant::External(_) => match server.stop(EXTERNAL_STOPS_WITHIN) {
            Ok(_) | Err(ServerError::NotStopped(_)) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(())
}
