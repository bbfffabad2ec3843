//! Reads records and draws the report; it measures nothing.
//!
//! Names, families and descriptions come from the records alone, so an old result, or
//! one with a server that nobody here has heard of, renders like any other.

pub mod behaviour;
pub mod chart;
pub mod check;
pub mod doubts;
pub mod format;
pub mod html;
pub mod measure;
mod source;
pub mod stats;
pub mod summary;
pub mod text;
pub mod validate;
pub mod verdict;

pub use check::check;
pub use source::{Error, read};
