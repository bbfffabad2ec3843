//! Reads records and draws the report; it measures nothing.
//!
//! Names, families and descriptions come from the records alone, so an old result, or
//! one with a server that nobody here has heard of, renders like any other.

pub mod doubts;
pub mod format;
pub mod measure;
pub mod stats;
pub mod summary;
pub mod validate;
pub mod verdict;
