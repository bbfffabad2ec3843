//! Faults of the system that a case injects into a server that runs, one mechanism each.
//!
//! A fault is a value: it lasts until it is dropped, which ends what it does. It ends with
//! the harness, too, however that goes.

mod limits;
pub mod network;
mod pids_cgroup;
mod strace;

pub use limits::Limit;
pub use pids_cgroup::{PidsCgroup, folder_of};
pub use rustix::process::Resource;
pub use strace::{EVERY, FIRST_THREE, Injection};
