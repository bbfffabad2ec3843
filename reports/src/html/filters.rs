//! The filters that the templates use.

use askama::{Result, Values};

use crate::diagnostics::Weight;
use crate::scenario::ScenarioSummary;
use crate::workload;

/// The load of a scenario in words.
#[askama::filter_fn]
pub fn load(scenario: &ScenarioSummary, _: &dyn Values) -> Result<String> {
    Ok(workload::describe(&scenario.plan, &scenario.setup))
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
