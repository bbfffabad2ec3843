//! I/O backends: what a worker needs of the kernel, and the mechanisms that provide it.
//!
//! A worker identifies connections by slot numbers. It connects a slot, sends bytes, waits, and
//! takes the events one by one. What an event means is decided by the worker's machine, once
//! for all engines.

mod epoll;
mod failure;
mod interface;
#[cfg(test)]
pub mod simulated;
mod socket;
mod uring;

pub use epoll::Epoll;
pub use failure::Failure;
pub use interface::{Engine, Event, Until};
pub use uring::Uring;
