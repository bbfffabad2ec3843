//! The filters that the templates use.

use askama::{Result, Values};
use record::words::counted;

use crate::diagnostics::Weight;
use crate::format::message_size;
use crate::metrics::ECHOES;
use crate::scenario::ScenarioSummary;

/// The load of a scenario: `100 connections, messages of 64 B`.
#[askama::filter_fn]
pub fn load(scenario: &ScenarioSummary, _: &dyn Values) -> Result<String> {
    let connections = counted(scenario.connections, "connection");
    let size = message_size(&scenario.size);
    Ok(format!("{connections}, messages of {size}"))
}

/// The head of the column with the verdicts by a metric.
#[askama::filter_fn]
pub fn verdict_head(metric: &str, _: &dyn Values) -> Result<&'static str> {
    Ok(if metric == ECHOES {
        "Most echoes per second"
    } else {
        "Lowest p99 at that load"
    })
}

/// Names as a JSON array.
#[askama::filter_fn]
pub fn names(names: &[String], _: &dyn Values) -> Result<String> {
    serde_json::to_string(names).map_err(|error| askama::Error::Custom(error.into()))
}

/// The class of a weight in the style sheet.
#[askama::filter_fn]
pub fn class(weight: &Weight, _: &dyn Values) -> Result<String> {
    Ok(weight.word().to_lowercase())
}

/// The sign of a weight.
#[askama::filter_fn]
pub fn icon(weight: &Weight, _: &dyn Values) -> Result<&'static str> {
    Ok(match weight {
        Weight::Warning => "▲",
        Weight::Note => "○",
        Weight::Good => "✓",
    })
}
