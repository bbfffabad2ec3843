//! The harness: starts servers, loads them, meters them, and holds them to one contract.
//!
//! One side of the wire is always another process: a server of a trial is a fresh child,
//! pinned to its own processors and metered from outside. Programs that use this crate
//! call [`reexec::dispatch`] first in `main`, since they start themselves as servers.

pub mod cli;
pub mod conformance;
pub mod external;
pub mod host;
pub mod idle_memory;
pub mod participant;
pub mod proc;
pub mod progress;
pub mod reexec;
pub mod results;
pub mod run;
pub mod server;
pub mod suite;
pub mod trial;
