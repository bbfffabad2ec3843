//! The machine: its fingerprint, and which processors run what.

pub mod affinity;
mod busy;
pub mod fingerprint;
pub mod meter;
