//! What an idle connection costs a server: user-space memory, read from outside.
//!
//! Two fresh servers are compared, one with a single connection and one with a crowd. A
//! server whose workers serve one connection each gets as many workers as connections,
//! so that a worker which waits for its client is counted as part of the price.
//!
//! PSS splits the pages of the executable between all processes that map it, this one
//! included. A crowd of processes therefore takes over what this one and the guard had of
//! them, about 200 KiB: with 200 processes one more KiB each than they cost.

use std::num::NonZero;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use servers::config::{Config, Workers};
use servers::models::{Family, Model};
use servers::work::Work;

use crate::conformance::kit::{client::Client, payload::noise};
use crate::proc::processes::{family, lists_children};
use crate::proc::usage::pss_bytes;
use crate::server::conditions::Conditions;
use crate::server::{self, ANY_PORT, Launch, Program, Server};

/// The largest crowd of a model that may start a process per connection: the figure is
/// per connection, and a thousand processes are a strain for a small machine.
const MOST_PROCESSES: usize = 200;

/// After its last echo a server may still tidy up; what it holds then is what counts.
const REST: Duration = Duration::from_millis(100);

/// Longer than the drain time of the servers, which is five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How the cost is found.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Connections of the crowd; fewer for models that start processes.
    pub connections: usize,
    /// Bytes that each connection has had echoed before it is idle.
    pub message_bytes: usize,
    /// How often both servers are started.
    pub repetitions: usize,
    /// Where the servers' standard error goes.
    pub log: &'a Path,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Connections of the crowd.
    pub connections: usize,
    /// Bytes for each connection more, a figure for each repetition, in ascending order.
    /// Noise can make one negative where a connection costs next to nothing.
    sorted: Vec<f64>,
}

impl Cost {
    /// The smallest figure.
    pub fn smallest_bytes(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest figure.
    pub fn largest_bytes(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The figure in the middle.
    pub fn median_bytes(&self) -> f64 {
        let sorted = &self.sorted;
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }
}

/// Measures a model; the error says why it cannot be measured.
pub fn measure(model: &dyn Model, plan: &Plan) -> anyhow::Result<Cost> {
    ensure!(
        plan.connections > 1 && plan.repetitions > 0,
        "a difference needs at least 2 connections and 1 repetition"
    );
    ensure!(
        lists_children(),
        "this kernel does not list the children of a process"
    );
    model.probe().context("this host cannot run it")?;
    let connections = crowd(model, plan.connections)?;
    let mut sorted = (0..plan.repetitions)
        .map(|_| {
            let one = held(model, 1, plan)?;
            let all = held(model, connections, plan)?;
            Ok((all as f64 - one as f64) / (connections - 1) as f64)
        })
        .collect::<anyhow::Result<Vec<f64>>>()?;
    sorted.sort_by(f64::total_cmp);
    Ok(Cost { connections, sorted })
}

/// How many connections the model is measured with.
fn crowd(model: &dyn Model, wanted: usize) -> anyhow::Result<usize> {
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
        "it serves {at_once} at a time; the others wait in the kernel and cost it nothing"
    );
    Ok(wanted)
}

/// What a fresh server holds while so many connections are idle, each after one echo.
fn held(model: &dyn Model, connections: usize, plan: &Plan) -> anyhow::Result<u64> {
    let arguments = match model.workers() {
        Workers::PerConnection => vec!["--workers".into(), connections.to_string()],
        Workers::Fixed | Workers::PerProcessor | Workers::Shared => Vec::new(),
    };
    let held = || -> anyhow::Result<u64> {
        let server = Server::start(&Launch {
            program: Program::Model(model.name()),
            listen: ANY_PORT,
            arguments,
            conditions: Conditions::NONE,
            cpus: Vec::new(),
            log: plan.log.into(),
        })?;
        let message = noise(1, plan.message_bytes);
        let enter = |number| -> anyhow::Result<Client> {
            let mut client = Client::connect(server.address())?;
            let echoed = client.echo(&message);
            echoed.with_context(|| format!("connection {number} of {connections}"))?;
            Ok(client)
        };
        let crowd = (1..=connections).map(enter).collect::<Result<Vec<_>, _>>()?;
        thread::sleep(REST);
        let bytes = pss_bytes(&family(server.pid()))
            .context("its memory cannot be read: that needs the permission to trace it");
        // Clients that are gone leave a stop nothing to wait for.
        drop(crowd);
        let status = server.stop(STOP_WITHIN)?;
        ensure!(status.success(), "told to stop, the server ended with {status}");
        bytes
    };
    held().map_err(|error| match server::stderr_tail(plan.log).trim_end() {
        "" => error,
        said => anyhow!("{error:#}; it said: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::models;

    #[test]
    fn a_crowd_is_as_large_as_the_model_can_serve_and_the_host_can_bear() {
        let crowd = |name: &str, wanted| crowd(models::find(name).unwrap(), wanted);
        assert_eq!(crowd("epoll", 1000).unwrap(), 1000);
        assert_eq!(crowd("pool", 1000).unwrap(), 1000);
        assert_eq!(crowd("fork", 1000).unwrap(), MOST_PROCESSES);
        assert_eq!(crowd("fork", 50).unwrap(), 50);
        assert!(
            crowd("iterative", 2)
                .unwrap_err()
                .to_string()
                .contains("1 at a time")
        );
    }

    #[test]
    fn the_median_is_the_figure_in_the_middle_or_half_way_between_two() {
        let median = |sorted: &[f64]| {
            Cost {
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
