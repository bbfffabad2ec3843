//! The machine: its fingerprint, and which processors run what.

pub mod affinity;
pub mod fingerprint;
pub mod foreign;
