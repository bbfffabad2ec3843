//! System faults that a case injects into a running server, one mechanism per file.
//!
//! A fault is a value that lasts until it is dropped. It also ends with the harness, however
//! the harness ends.

mod limits;
pub mod network;
mod pids_cgroup;
mod strace;

pub use limits::Limit;
pub use pids_cgroup::{PidsCgroup, folder_of};
pub use rustix::process::Resource;
pub use strace::{EVERY, FIRST_THREE, Injection};
