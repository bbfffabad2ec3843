//! The conformance cases, which every server must pass, as a library.
//!
//! - [`cases`] has one file per case and the registry of all cases.
//! - [`kit`] has what cases use: clients, scripts, the server under test, faults.
//! - [`run()`] runs one case on one server; a [`Sweep`] runs many.
//! - [`results`] stores outcomes.
//!
//! Most cases have one form. Some have a quick form, which `cargo test` runs on every model,
//! and a full form, which takes too long for that ([`Scale`]).
//!
//! The time limits in the cases are behaviour, such as a stall or a time-out, and wide enough
//! for a busy machine: they must not fail a correct server.

pub mod cases;
pub mod kit;
pub mod results;
mod run;
mod sweep;

pub use cases::{CASES, find};
pub use kit::setup::{SEED, SEED_VARIABLE, seed};
pub use kit::{Case, Scale, Settings};
pub use record::{CaseOutcome as Outcome, CaseResult};
pub use run::run;
pub use sweep::Sweep;
