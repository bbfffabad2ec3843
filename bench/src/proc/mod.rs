//! Readers of `/proc`: processes, their sockets and what they use.

pub mod processes;
pub mod sockets;
