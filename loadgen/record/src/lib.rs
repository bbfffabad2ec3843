//! The schema of echobench: plans, loads, runs and their trials, conformance outcomes, capacities.
//!
//! `loadgen run --format json` prints one [`Load`], `loadgen capacity` one [`Capacity`], `echobench
//! conformance` one [`Conformance`], `echobench doctor` one [`HostChecks`]. The harness writes
//! `results.jsonl`, one [`Record`] per line: for a run a [`Run`] first, then each [`Trial`] as it
//! ends; a [`Conformance`] with its [`CaseResult`]s among them, or alone. `loadgen/record/schema/record.schema.json` is the JSON
//! Schema of these types; a test checks that it is current.
//!
//! The crate imports none of the others. [`units`], [`words`] and [`numbers`] parse and show
//! quantities, so that the command line, suites, text and reports agree.

#[cfg(feature = "clap")]
pub mod arguments;
pub mod bounded;
mod capacity;
pub mod condition;
mod conformance;
mod error_kind;
mod file;
pub mod finding;
mod findings;
pub mod histogram;
mod host_check;
mod identity;
mod load;
pub mod numbers;
mod pace;
mod plan;
pub mod processors;
mod run;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
mod schema;
mod single;
mod span;
mod text_form;
mod throttling;
pub mod units;
mod version;
pub mod words;

pub use capacity::{Capacity, CapacityTrial, Limit};
pub use condition::{Condition, ConditionError};
pub use conformance::{CaseDescription, CaseOutcome, CaseResult, Conformance};
pub use error_kind::ErrorKind;
pub use file::{LARGEST_LOAD, Measured, ReadError, Record, Records, check_version, read};
pub use finding::{Effect, Fault, Finding};
pub use findings::Findings;
pub use host_check::{HostCheck, HostChecks, HostState, Remedy};
pub use load::{Connections, Generator, Interval, Load, Reconnects, Summary, UNIX_PREFIX};
pub use pace::{PaceSetter, SATURATED, Saturation, fell_behind};
pub use plan::{
    Arrivals, Difference, Engine, LoopKind, MessageSize, MessageSizeError, Plan, SourceError, SourceRange,
    Stage, StageError, Stages, Transport, Wait, combine,
};
pub use run::{Cost, Host, Margins, Outcome, Placement, Run, Scenario, Server, Setup, Slice, Trial};
pub use schema::json_schema;
pub use span::{BySpan, Histograms, Latencies, Scope, Span};
pub use throttling::{Throttling, processors};
pub use version::SCHEMA_VERSION;
