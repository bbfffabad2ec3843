//! Reads records and draws the report; does not measure.
//!
//! Names, families and descriptions come from the records, so the report of an old run or of an
//! unknown server needs nothing else.

pub mod achievement;
pub mod behaviour;
pub mod chart;
pub mod check;
pub mod compare;
pub mod comparison;
pub mod diagnostics;
mod exclusion;
pub mod format;
pub mod html;
mod markdown;
pub mod metrics;
pub mod row;
pub mod scenario;
mod source;
pub mod stats;
pub mod summary;
mod terminal;
pub mod text;
pub mod validate;
pub mod values;
pub mod verdict;
pub mod workload;

pub use check::check;
pub use source::{Error, read};
