//! One trial: starts a fresh server, loads it, meters it, and stops it.

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

/// Time to connect: enough for a server that accepts slowly; one that never accepts fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longer than the drain time of the models, which is five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// An external server that still runs after this time is killed, which costs it no trial.
const EXTERNAL_STOPS_WITHIN: Duration = Duration::from_secs(3);

/// Time for the end of a server to show after a load with errors: the kernel closes the
/// connections of a process before its exit status is known.
const EXIT_SEEN_WITHIN: Duration = Duration::from_secs(1);

/// A trial to run.
#[derive(Clone)]
pub struct Spec<'a> {
    /// Its suite, which has the times.
    pub suite: &'a Suite,
    /// The load.
    pub scenario: &'a Scenario,
    /// The server.
    pub participant: &'a Participant,
    /// The processors of server and generator.
    pub placement: &'a Placement,
    /// File for the server's standard error.
    pub log: PathBuf,
}

/// The transport of a server, as a record names it.
pub fn transport(participant: &Participant) -> record::Transport {
    match participant.transport() {
        Transport::Stream => record::Transport::Tcp,
        Transport::Datagram => record::Transport::Udp,
    }
}

/// The request to the load generator for a scenario.
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

/// Runs a trial; `None` if it was interrupted, since half a window is no result.
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
    // The load was checked before the run, but only for streams.
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
    let ended = match &load {
        Ok(load) if load.summary.errors.is_empty() => server.ended()?,
        _ => server.wait(EXIT_SEEN_WITHIN)?,
    };
    if let Some(status) = ended {
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
                "after the load and SIGTERM the server ended with {status}"
            );
        }
        // Only models must end with status 0: SIGTERM may kill any other program, or be ignored.
        Participant::External(_) => match server.stop(EXTERNAL_STOPS_WITHIN) {
            Ok(_) | Err(ServerError::NotStopped(_)) => {}
            Err(error) => return Err(error.into()),
        },
    }
    Ok(())
}
