//! A run in numbers, computed once: HTML, text, JSON and the figures agree to the last digit.

use record::words::plain_line;
use record::{Margins, Run, Server, Trial};
use serde::Serialize;

use crate::diagnostics::{self, Diagnostic};
use crate::scenario::ScenarioSummary;

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the suite.
    pub suite: String,
    /// The question that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// When the run began.
    pub started_at: String,
    /// How many blocks were planned.
    pub blocks: u32,
    /// The numbers of blocks after which verdicts were looked at; empty if only at the end.
    pub looks: Vec<u32>,
    /// How far servers may differ and still be tied.
    pub margins: Margins,
    /// The servers in the order of the run.
    pub servers: Vec<Server>,
    /// The scenarios in the order of the run.
    pub scenarios: Vec<ScenarioSummary>,
    /// Evidence for and against the numbers. The key in JSON is older than the name here.
    #[serde(rename = "doubts")]
    pub diagnostics: Vec<Diagnostic>,
}

impl Summary {
    /// Summarises a run. For records that [`crate::validate`] refuses, the summary covers the
    /// servers and scenarios that the run lists.
    pub fn of(run: &Run, trials: &[Trial]) -> Self {
        let scenarios: Vec<ScenarioSummary> = run
            .scenarios
            .iter()
            .map(|scenario| {
                let own: Vec<&Trial> = trials
                    .iter()
                    .filter(|trial| trial.scenario == scenario.name)
                    .collect();
                ScenarioSummary::of(run, scenario, &own)
            })
            .collect();
        Summary {
            suite: plain_line(&run.suite),
            question: run.question.as_deref().map(plain_line),
            started_at: plain_line(&run.started_at),
            blocks: run.blocks,
            looks: run.looks.clone(),
            margins: run.margins,
            servers: run.servers.iter().map(plain_server).collect(),
            diagnostics: diagnostics::of(run, trials, &scenarios),
            scenarios,
        }
    }

    /// Whether any trial gave numbers.
    pub fn measured_anything(&self) -> bool {
        self.scenarios
            .iter()
            .any(|scenario| scenario.measured().next().is_some())
    }
}

fn plain_server(server: &Server) -> Server {
    Server {
        name: plain_line(&server.name),
        family: plain_line(&server.family),
        summary: plain_line(&server.summary),
        transport: server.transport,
    }
}
