//! Measures the user-space memory of an idle connection.
//!
//! Compares two fresh servers, one with a single connection and one with many. A server whose
//! workers serve one connection each gets as many workers as connections, so the figure
//! includes a worker that waits for its client.
//!
//! PSS divides the pages of the executable between all processes that map it, including this
//! one and the guard. A server with many processes takes over their share, about 200 KiB:
//! with 200 processes the figure is 1 KiB too high.

use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use servers::config::{Config, Workers};
use servers::models::{Family, Model};
use servers::work::Work;

use crate::conformance::kit::{client::Client, payload::noise};
use crate::proc::processes::{descendants, lists_children};
use crate::proc::usage::pss_bytes;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Launch, Program, Server};

/// The most connections of a model that may start a process for each: a thousand processes
/// are too many for a small machine.
const MOST_PROCESSES: usize = 200;

/// Time for a server to release memory after its last echo.
const REST: Duration = Duration::from_millis(100);

/// Longer than the drain time of the servers, which is five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How to measure the memory of idle connections.
#[derive(Debug, Clone, Copy)]
pub struct MemoryPlan<'a> {
    /// Idle connections; fewer for models that start processes.
    pub connections: usize,
    /// Bytes that each connection has echoed before it is idle.
    pub message_bytes: usize,
    /// Number of measurements, each with two fresh servers.
    pub repetitions: usize,
    /// File for the standard error of the servers.
    pub log: &'a Path,
}

/// The memory of an idle connection.
#[derive(Debug, Clone)]
pub struct IdleMemory {
    /// Idle connections.
    pub connections: usize,
    /// Bytes per additional connection, one figure per repetition, in ascending order. Noise
    /// can make a small figure negative.
    sorted: Vec<f64>,
}

impl IdleMemory {
    /// The smallest figure.
    pub fn smallest_bytes(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest figure.
    pub fn largest_bytes(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The median.
    pub fn median_bytes(&self) -> f64 {
        let sorted = &self.sorted;
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }
}

/// Measures a model; the error gives the reason if it cannot be measured.
pub fn measure(model: &dyn Model, plan: &MemoryPlan) -> anyhow::Result<IdleMemory> {
    ensure!(
        plan.connections > 1 && plan.repetitions > 0,
        "give at least 2 connections and 1 repetition: the figure is a difference"
    );
    ensure!(
        lists_children(),
        "this kernel does not list the children of a process"
    );
    model.probe().context("this host cannot run it")?;
    let connections = connections(model, plan.connections)?;
    let mut sorted = (0..plan.repetitions)
        .map(|_| {
            let one = memory_of(model, 1, plan)?;
            let all = memory_of(model, connections, plan)?;
            Ok((all as f64 - one as f64) / (connections - 1) as f64)
        })
        .collect::<anyhow::Result<Vec<f64>>>()?;
    sorted.sort_by(f64::total_cmp);
    Ok(IdleMemory { connections, sorted })
}

/// The number of connections to measure the model with.
fn connections(model: &dyn Model, wanted: usize) -> anyhow::Result<usize> {
    ensure!(model.family() != Family::Datagram, "it has no connections");
    let wanted = match model.family() {
        Family::Process => wanted.min(MOST_PROCESSES),
        _ => wanted,
    };
    let config = Config {
        workers: NonZero::new(wanted),
        buffer: 64 * 1024,
        work: Work::None,
    };
    let at_once = model.at_once(&config).unwrap_or(wanted);
    ensure!(
        at_once >= wanted,
        "it serves {at_once} at a time; the other connections wait in the kernel"
    );
    Ok(wanted)
}

/// The memory of a fresh server with idle connections, each after one echo.
fn memory_of(model: &dyn Model, connections: usize, plan: &MemoryPlan) -> anyhow::Result<u64> {
    let arguments = match model.workers() {
        Workers::PerConnection => vec!["--workers".into(), connections.to_string()],
        Workers::Fixed | Workers::PerProcessor | Workers::Shared => Vec::new(),
    };
    let measured = || -> anyhow::Result<u64> {
        let server = Server::start(&Launch {
            program: Program::Model(model.name()),
            listen: ANY_PORT,
            arguments,
            conditions: Conditions::NONE,
            cpus: Vec::new(),
            log: plan.log.into(),
        })?;
        let message = noise(1, plan.message_bytes);
        let open = |number| -> anyhow::Result<Client> {
            let mut client = Client::connect(server.address())?;
            let echoed = client.echo(&message);
            echoed.with_context(|| format!("connection {number} of {connections}"))?;
            Ok(client)
        };
        let clients = (1..=connections).map(open).collect::<Result<Vec<_>, _>>()?;
        thread::sleep(REST);
        let bytes = pss_bytes(&descendants(server.guard()))
            .context("reading its memory needs the permission to trace it");
        // Closed connections do not delay the stop.
        drop(clients);
        let status = server.stop(STOP_WITHIN)?;
        ensure!(status.success(), "after SIGTERM the server ended with {status}");
        bytes
    };
    measured().map_err(|error| match server::stderr_tail(plan.log).trim_end() {
        "" => error,
        stderr => anyhow!("{error:#}; its standard error: {stderr}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::models;

    #[test]
    fn the_number_of_connections_is_limited_by_model_and_host() {
        let connections = |name: &str, wanted| connections(models::find(name).unwrap(), wanted);
        assert_eq!(connections("epoll", 1000).unwrap(), 1000);
        assert_eq!(connections("pool", 1000).unwrap(), 1000);
        assert_eq!(connections("fork", 1000).unwrap(), MOST_PROCESSES);
        assert_eq!(connections("fork", 50).unwrap(), 50);
        assert!(
            connections("iterative", 2)
                .unwrap_err()
                .to_string()
                .contains("1 at a time")
        );
    }

    #[test]
    fn the_median_is_the_middle_figure_or_halfway_between_two() {
        let median = |sorted: &[f64]| {
            IdleMemory {
                connections: 2,
                sorted: sorted.into(),
            }
            .median_bytes()
        };
        assert_eq!(median(&[5.0]), 5.0);
        assert_eq!(median(&[-1.0, 2.0, 90.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 90.0]), 3.0);
    }
}
