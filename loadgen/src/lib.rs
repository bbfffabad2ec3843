//! A load generator for echo servers.
//!
//! It checks every byte that comes back, keeps whole histograms instead of averages,
//! and shares no socket code with the servers that it measures. Three steps: make a
//! [`plan::CheckedPlan`], give it to [`run`], read the [`record::Load`] that comes back.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("echobench measures Linux on x86-64 and aarch64; other systems are not supported");

mod address;
pub mod affinity;
mod arrival_test;
pub mod capacity;
pub mod cgroup;
pub mod cli;
mod clock;
mod engine;
pub mod export;
mod gates;
pub mod interrupt;
pub mod limits;
mod lines;
pub mod merge;
pub mod pacer;
mod pattern;
pub mod plan;
mod prepare;
pub mod progress;
pub mod quota;
mod run;
pub mod sizes;
pub mod source;
mod stationarity;
pub mod target;
pub mod text;

pub use address::{Address, AddressError, SocketPath};
pub use prepare::PrepareError;

pub use run::{Lane, Observer, RunError, SliceReport, Snapshot, Steal, can_be_sliced, run};
