//! `echo-server` as a process: its contract and its command line.

mod command_line;
mod contract;
mod datagrams;
mod limits;
mod resources;
mod support;
mod unix;
mod workers;
