//! The trials without a valid result, with equal ones in one line.

use crate::row::Incident;
use crate::summary::Summary;

/// Trials of one server in one scenario with the same problem.
pub(super) struct IncidentView<'a> {
    pub(super) scenario: &'a str,
    pub(super) server: &'a str,
    pub(super) blocks: String,
    pub(super) outcome: &'static str,
    pub(super) reason: String,
    pub(super) stderr: String,
}

/// All incidents of a run.
pub(super) fn incidents(summary: &Summary) -> Vec<IncidentView<'_>> {
    let mut views = Vec::new();
    for scenario in &summary.scenarios {
        for row in &scenario.rows {
            let kinds = [
                ("failed", row.trials.failed.clone()),
                (
                    "not valid",
                    row.trials.invalid.iter().map(Incident::from).collect(),
                ),
                ("skipped", row.trials.skipped.clone()),
            ];
            for (outcome, incidents) in kinds {
                views.extend(
                    grouped(incidents)
                        .into_iter()
                        .map(|(blocks, first)| IncidentView {
                            scenario: &scenario.name,
                            server: &row.server,
                            blocks,
                            outcome,
                            reason: first.reason,
                            stderr: first.stderr,
                        }),
                );
            }
        }
    }
    views
}

fn grouped(incidents: Vec<Incident>) -> Vec<(String, Incident)> {
    let mut groups: Vec<(Vec<String>, Incident)> = Vec::new();
    for incident in incidents {
        let block = incident.block.to_string();
        let same = |other: &Incident| other.reason == incident.reason && other.stderr == incident.stderr;
        match groups.iter_mut().find(|(_, first)| same(first)) {
            Some((blocks, _)) => blocks.push(block),
            None => groups.push((vec![block], incident)),
        }
    }
    groups
        .into_iter()
        .map(|(blocks, first)| (blocks.join(", "), first))
        .collect()
}
