//! A load of `loadgen` by itself, as a run with one trial.

use crate::file::{Measured, Records};
use crate::load::Load;
use crate::run::{Host, Margins, Outcome, Placement, Run, Scenario, Server, Setup, Trial};
use crate::words::plain_line;

/// The suite of such a run.
const SUITE: &str = "loadgen";

/// The scenario of its trial.
const SCENARIO: &str = "load";

/// As long as the name of a server may be; paths of Unix sockets are longer.
const LONGEST_NAME: usize = 100;

impl Run {
    /// Whether this is a load of `loadgen` by itself, which tells nothing of the host, and of the server
    /// only its address.
    pub fn is_single_load(&self) -> bool {
        self.suite == SUITE && self.command.is_empty()
    }
}

impl From<Load> for Records {
    fn from(load: Load) -> Self {
        let server: String = plain_line(&load.target).chars().take(LONGEST_NAME).collect();
        let run = Run {
            schema_version: load.schema_version,
            version: load.generator.version.clone(),
            started_at: load.started_at.clone(),
            command: Vec::new(),
            suite: SUITE.into(),
            question: None,
            scenarios: vec![Scenario {
                name: SCENARIO.into(),
                title: "One load".into(),
                plan: load.plan.clone(),
                slice: None,
                setup: Setup::default(),
                objectives: Vec::new(),
            }],
            servers: vec![Server {
                name: server.clone(),
                family: "target".into(),
                summary: "A server that was running already.".into(),
                transport: load.plan.transport(),
            }],
            blocks: 1,
            looks: Vec::new(),
            margins: Margins::default(),
            seed: 0,
            placement: Placement {
                server_cpus: Vec::new(),
                generator_cpus: load.generator.cpus.clone(),
            },
            host: Host::default(),
            host_checks: Vec::new(),
        };
        let trial = Trial {
            server,
            scenario: SCENARIO.into(),
            block: 0,
            started_at: load.started_at.clone(),
            outcome: Outcome::Measured {
                load,
                cost: None,
                slices: Vec::new(),
            },
        };
        Records {
            measured: Some(Measured {
                run,
                trials: vec![trial],
            }),
            conformance: None,
        }
    }
}
